//! System calls, per architecture.
//!
//! Each module offers `call`, `reply_recv`, `nb_send_recv`, `send`, `recv`, `debug_put_char`, `stop` and
//! `ipc_buffer`.

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod aarch64;
#[cfg(not(target_os = "none"))]
mod host;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub(crate) use aarch64::*;
#[cfg(not(target_os = "none"))]
pub(crate) use host::*;

#[cfg(all(target_os = "none", not(target_arch = "aarch64")))]
compile_error!("sel4-microkit knows the system calls of AArch64 alone so far");

/// Message words 0 to 3, which travel in registers.
pub(crate) type FastWords = [u64; 4];

/// What a system call hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Who sent it: the badge of the capability used, or the bits of a notification.
    pub badge: u64,
    /// The message's tag.
    pub tag: u64,
    /// The message's first words.
    pub words: FastWords,
}
