//! x86-64: QEMU's `q35`, one processor with its I/O APIC, entered by Multiboot.

mod boot;
mod console;
mod descriptors;
mod entry;
pub(crate) mod fault;
mod float;
mod frame;
mod interrupts;
pub(crate) mod memory;
mod ports;
mod processor;

use core::fmt::Write;

use embedded_image::board as boards;
use embedded_kernel::{Abi, X86_64};
use x86_64::instructions::{hlt, interrupts as flag};

use crate::system::{self, System, handle};

pub(crate) use console::Console;
pub(crate) use entry::leave;
pub(crate) use float::Float;
pub(crate) use frame::Frame;
pub(crate) use interrupts::Interrupts;
pub(crate) use ports::{read_port, write_port};
pub(crate) use processor::open_to_user;

pub(crate) const ABI: &Abi = &X86_64;

pub(crate) const BOARDS: [(u32, &str); 1] = [(boards::X86_64_GENERIC, "x86_64_generic")];

pub(crate) const HAS_IO_PORTS: bool = true;

/// The first vector that is an interrupt and no exception.
const FIRST_INTERRUPT: u64 = 32;

/// The first Rust of the kernel.
extern "C" fn start() -> ! {
    descriptors::load();
    entry::enable_system_calls();
    system::start()
}

pub(crate) fn halt() -> ! {
    loop {
        flag::disable();
        hlt();
    }
}

/// A PD made a system call or an exception, or was interrupted; returns the frame to resume.
#[allow(unsafe_code, reason = "a handler of exceptions")]
extern "C" fn on_exception(vector: u64) -> *mut Frame {
    let handler = |system: &mut System| match vector {
        frame::SYSTEM_CALL => system.system_call(),
        fault::vector::FLOATING_POINT_TRAPPED => system.floating_point(),
        ..FIRST_INTERRUPT => system.exception(),
        // A byte, as the other number is a system call's.
        _ => {
            system.interrupts().came(vector as u8);
            system.interrupt();
        }
    };
    // SAFETY: the entry calls this when a PD ran.
    unsafe { handle(handler) }
}

/// The kernel itself made an exception: it has a bug, and stops. So it does where the machine reports a failure.
extern "C" fn on_kernel_exception(vector: u64, error: u64, pc: u64) -> ! {
    let address = fault::page_fault_address();
    let _ = writeln!(
        Console::new(),
        "kernel: exception in the kernel at address {address:#x}, pc {pc:#x}, vector {vector}, error code {error:#x}"
    );
    halt()
}
