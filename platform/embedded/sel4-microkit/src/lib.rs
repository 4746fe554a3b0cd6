//! The runtime of a protection domain (PD) on the embedded kernel: the part of rust-sel4's crate of this name
//! that the project's `main.rs` files use.
//!
//! A `main.rs` that compiles against this crate compiles unchanged against rust-sel4 v5.0.0, and behaves alike.
//! The system calls are those of seL4 16.0.0 (MCS) and the layout that of Microkit 2.3.0, so that one ELF file
//! runs on both kernels.
//!
//! What there is:
//! - [`protection_domain`] (without `stack_size` and `heap_size`), [`Handler`] (without `take_deferred_action`),
//!   [`NullHandler`], [`Infallible`], [`Never`];
//! - [`Channel`], [`ChannelSet`], [`DisplayChannelSet`], [`Child`] (with its thread), [`IrqAckError`];
//! - [`MessageInfo`], [`MessageLabel`], [`MessageRegisterValue`], [`with_msg_regs`], [`with_msg_regs_mut`],
//!   [`get_mr`], [`set_mr`];
//! - [`memory_region_symbol!`], [`var!`], [`pd_name`], [`pd_is_passive`];
//! - [`debug_print!`], [`debug_println!`] and a panic handler.
//!
//! The stack is the one that the system description gives the PD (`stack_size` there); the PD starts on it.
//!
//! # Board and configuration
//! Where the IPC buffer lies, which label acknowledges an interrupt and whether printing exists depend on the
//! SDK that a PD is built for. Two environment variables name it when this crate is compiled:
//!
//! | variable | values | without it |
//! |---|---|---|
//! | `MICROKIT_BOARD` | `qemu_virt_aarch64`, `qemu_virt_aarch64_el1`, `x86_64_generic` | `qemu_virt_aarch64`; on x86-64 `x86_64_generic` |
//! | `MICROKIT_CONFIG` | `debug`, `release`, `benchmark` | `debug` |
//!
//! # Linking
//! A PD is linked with `pd.ld`, which stands beside this crate's manifest.
//!
//! # On a host
//! Built for an operating system, the crate has a scripted kernel in place of system calls: its own tests play
//! the main loop against it.
#![cfg_attr(target_os = "none", no_std)]

mod arch;
mod channel;
mod context;
mod handler;
pub mod ioport;
mod ipc;
mod message;
pub mod object;
mod printing;
mod sdk;
mod start;
mod symbols;

pub use channel::{Channel, Child, IrqAckError};
pub use handler::{Handler, Infallible, Never, NullHandler};
pub use ipc::{ChannelSet, DisplayChannelSet};
pub use message::{
    MessageInfo, MessageLabel, MessageRegisterValue, get_mr, set_mr, with_msg_regs, with_msg_regs_mut,
};
pub use symbols::{pd_is_passive, pd_name};

/// Declares the function that makes the protection domain's [`Handler`].
///
/// It runs once, when the PD starts, and takes no arguments:
///
/// ```
/// use sel4_microkit::{Handler, NullHandler, protection_domain};
///
/// #[protection_domain]
/// fn init() -> impl Handler {
///     NullHandler::new()
/// }
/// # fn main() {}
/// ```
///
/// The attribute takes no arguments either: the stack's size stands in the system description, and there is no
/// heap.
pub use sel4_microkit_macros::protection_domain;

/// What the macros expand to.
#[doc(hidden)]
pub mod _private {
    pub use crate::printing::print;
    pub use crate::sdk::PRINTING;
    pub use crate::start::run_main;
    pub use crate::symbols::Patched;
}

/// Declares `init` as what the entry point calls.
#[doc(hidden)]
#[macro_export]
macro_rules! declare_protection_domain {
    (init = $init:ident) => {
        #[unsafe(no_mangle)]
        fn __sel4_microkit_main() -> ! {
            $crate::_private::run_main($init)
        }
    };
}
