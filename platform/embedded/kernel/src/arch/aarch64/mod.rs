//! AArch64: QEMU's `virt` with GICv2 and `-cpu cortex-a53`.

mod boot;
mod console;
pub(crate) mod fault;
mod float;
mod frame;
mod interrupts;
pub(crate) mod memory;
mod vectors;

use core::fmt::Write;

use aarch64_cpu::asm::wfi;
use aarch64_cpu::registers::{
    CNTKCTL_EL1, CPACR_EL1, ELR_EL1, FAR_EL1, MDSCR_EL1, Readable, TPIDRRO_EL0, VBAR_EL1, Writeable,
};
use embedded_image::board as boards;
use embedded_kernel::{AARCH64, Abi, PortWidth};

use crate::system::{self, System, handle};

pub(crate) use console::Console;
pub(crate) use float::Float;
pub(crate) use frame::Frame;
pub(crate) use interrupts::Interrupts;
pub(crate) use vectors::leave;

pub(crate) const ABI: &Abi = &AARCH64;

pub(crate) const BOARDS: [(u32, &str); 2] = [
    (boards::QEMU_VIRT_AARCH64, "qemu_virt_aarch64"),
    (boards::QEMU_VIRT_AARCH64_EL1, "qemu_virt_aarch64_el1"),
];

pub(crate) const HAS_IO_PORTS: bool = false;

pub(crate) fn read_port(_: u16, _: PortWidth) -> u32 {
    0
}

pub(crate) fn write_port(_: u16, _: PortWidth, _: u32) {}

/// The first Rust of the kernel.
extern "C" fn start() -> ! {
    VBAR_EL1.set(vectors::address());
    system::start()
}

pub(crate) fn halt() -> ! {
    loop {
        wfi();
    }
}

/// What EL0 may do with the processor, as on seL4's board: read the physical counter and its frequency, use the
/// physical timer. The virtual counter and timer are the kernel's.
pub(crate) fn open_to_user() {
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0PCTEN::SET + CNTKCTL_EL1::EL0PTEN::SET);
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0);
    MDSCR_EL1.set(0);
    TPIDRRO_EL0.set(0);
}

fn synchronous(system: &mut System) {
    match fault::class_of(fault::syndrome()) {
        fault::class::SVC => system.system_call(),
        fault::class::FLOATING_POINT_TRAPPED => system.floating_point(),
        _ => system.exception(),
    }
}

/// A PD made a system call or a fault; returns the frame to resume.
#[allow(unsafe_code, reason = "a handler of exceptions")]
extern "C" fn on_synchronous() -> *mut Frame {
    // SAFETY: the vectors call this when a PD ran.
    unsafe { handle(synchronous) }
}

/// An interrupt came while a PD ran; returns the frame to resume.
#[allow(unsafe_code, reason = "a handler of exceptions")]
extern "C" fn on_interrupt() -> *mut Frame {
    // SAFETY: as in `on_synchronous`.
    unsafe { handle(System::interrupt) }
}

/// An asynchronous abort came while a PD ran, which is taken for its own; returns the frame to resume.
#[allow(unsafe_code, reason = "a handler of exceptions")]
extern "C" fn on_error() -> *mut Frame {
    // SAFETY: as in `on_synchronous`.
    unsafe { handle(System::exception) }
}

/// The kernel itself made an exception: it has a bug, and stops.
extern "C" fn on_kernel_exception() -> ! {
    let (pc, address, syndrome) = (ELR_EL1.get(), FAR_EL1.get(), fault::syndrome());
    let _ = writeln!(
        Console::new(),
        "kernel: exception in the kernel at address {address:#x}, pc {pc:#x}, esr {syndrome:#x}"
    );
    halt()
}
