//! Machines that the core runs on.
//!
//! `system` beside this folder is the rest of the bootable kernel, the same for all. An architecture is a module here
//! that offers it:
//!
//! | | |
//! |---|---|
//! | `ABI`, `BOARDS`, `HAS_IO_PORTS` | the ABI; the boards, by their number in the image's header, and their names; whether PDs can have I/O ports |
//! | [`Frame`] | where the registers of a PD are while the kernel runs: `new` at an entry with a stack, `get`, `set`, `system_call_number`; `put_away` and `take_up` exchange what entry and exit leave in the processor, and the address space |
//! | [`leave`] | resumes the PD of a frame |
//! | [`Float`] | everybody's floating-point registers: `new`, `about_to_run` has the use of others' registers trap, `hand_over` |
//! | [`Interrupts`] | interrupt controller and timer: `new`, `enable` an interrupt of the image, `mask`, `wait` for one while no PD runs, `take` and `end` it; `ticks_per_second`, `now`, `arm` |
//! | [`Console`] | `new`, `enable`, `put` a byte |
//! | [`fault`] | the exception that a PD has just made: `exception` for its parent; `describe` (what and how), `address`, `detail` in words |
//! | [`memory`] | `RAM`, `WINDOW` (the kernel's part of it), `TAKEN` (what no PD may map), `PHYSICAL_END`, `USER_END`, `KERNEL_OFFSET`, `BUFFERS` (IPC buffers in the kernel's space); `kernel_address` of RAM while booting; `filled` memory; `KernelSpace`: `new`, `user_space`, `enter` |
//! | `open_to_user`, `halt`, `read_port`, `write_port` | what user level may do with the processor; the end; I/O ports |
//!
//! In return it calls [`system::start`](crate::system::start) once the processor is set up, and from its exceptions'
//! handlers, by [`system::handle`](crate::system::handle), `system_call`, `floating_point`, `exception` or `interrupt`.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("embedded-kernel: AArch64 and x86-64 alone so far");

/// What the interrupt controller had for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The time that the timer was armed for.
    Timer,
    /// An interrupt of the image, by number.
    Irq(u32),
    /// What nobody is to hear of.
    #[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "every interrupt there is somebody's"))]
    Nothing,
}
