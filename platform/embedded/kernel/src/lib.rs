//! The embedded kernel: boots an [`embedded_image::Image`] and runs its protection domains (PDs) with the
//! system-call ABI of seL4 16.0.0 (MCS) and the capability layout of Microkit 2.3.0, for the subset that
//! Microkit PDs use. It is a test bench; seL4 is what a system ships on.
//!
//! This library is the architecture-neutral core, without unsafe code and without hardware: PDs, endpoints,
//! notifications, reply objects, scheduling contexts, interrupts' routes, the scheduler and the system calls.
//! It reaches registers, IPC buffers, timer and interrupt controller through [`Machine`]. The binary (feature
//! `kernel`) adds a machine under `src/arch` and boots it.
//!
//! # What differs from seL4
//! - Budget equals period: a scheduling context whose budget is spent goes to the end of its priority's turn.
//! - The fault of a PD without a parent is reported on the console, and the PD never runs again. Callers that
//!   wait for it wait for ever, as on seL4 when nobody handles the fault. A child's fault goes to its parent.
//! - What PDs print comes a line at a time.
//! - Messages carry no capabilities.
//! - Children's threads can be suspended, resumed, and their registers written, as Microkit does; a PD's own
//!   thread, its address space and the monitor's fault endpoint have no operations (seL4's error
//!   `IllegalOperation`).
//!
//! # Boot form
//! One flat file: the kernel, zero-initialised memory included, up to the linker symbol `__image`, which is page aligned;
//! there, the image. `objcopy -O binary` of the kernel's ELF ends exactly at `__image`, so that the file is made by
//! appending the image. Kernel, image and page tables own a part of RAM, in which PDs get nothing.
//!
//! | | AArch64 | x86-64 |
//! |---|---|---|
//! | machine | QEMU's `virt`, `virtualization=on`, GICv2, `-cpu cortex-a53` | QEMU's `q35`, one processor |
//! | loaded | to 0x7000_0000, and entered there at EL2 or EL1 | by Multiboot 0.6.96 (QEMU's `-kernel`), to 0x10_0000 |
//! | the kernel's RAM | 0x7000_0000 to 0x7fff_ffff | 0 to 0x07ff_ffff |
//! | built for | `aarch64-unknown-none-softfloat` | `x86_64-unknown-none`, static, code model `kernel` |
//!
//! Neither touches the PDs' floating-point registers; these change hands only when another PD uses them.
//!
//! # x86-64
//! PDs are at ring 3 in an address space each, with no-execute pages, and SMEP and SMAP where the processor has them; the
//! kernel's half is in all of them, for ring 0. They have the x87 and SSE registers, TSC and, where there are the
//! instructions, their segment bases. I/O ports and interrupts are those that the image names: pins of the first I/O APIC,
//! and messages, of which number n is vector 0x30 + n, as on seL4. A message is never held back. Differences from seL4:
//! debug exceptions have no messages of their own (`UserException` 1 and 3), and INT instructions but INT3 are general
//! protection faults. VT-d is left to who maps it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod abi;
mod caps;
mod domain;
mod fault;
mod ipc;
mod kernel;
mod lines;
mod machine;
mod message;
mod ports;
mod schedule;
mod syscall;
#[cfg(test)]
mod tests;
mod thread;

pub use abi::{AARCH64, Abi, X86_64};
pub use caps::{MAX_IRQS, SetupError};
pub use kernel::{Kernel, MAX_PRIORITY};
pub use lines::Lines;
pub use machine::{Cause, Exception, Machine, PdSet, PortWidth, Register};
pub use message::{MAX_WORDS, MessageInfo, REGISTER_WORDS};
pub use ports::MAX_PORT_RANGES;
