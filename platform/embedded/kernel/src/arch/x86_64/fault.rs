//! What an exception says, in words (Intel SDM volume 3, chapter 7).

use core::fmt;

use embedded_kernel::Exception;
use x86_64::registers::control::Cr2;
use x86_64::structures::idt::PageFaultErrorCode;

use super::Frame;

/// Vectors of exceptions.
pub(super) mod vector {
    pub(in super::super) const FLOATING_POINT_TRAPPED: u64 = 7;
    pub(super) const PAGE_FAULT: u64 = 14;
}

/// The address of the last page fault.
pub(super) fn page_fault_address() -> u64 {
    Cr2::read_raw()
}

/// The exception that the PD of `frame` made just now, as seL4 tells of it.
pub(crate) fn exception(frame: &Frame) -> Exception {
    if frame.vector == vector::PAGE_FAULT {
        let fetch = PageFaultErrorCode::INSTRUCTION_FETCH.bits() & frame.error != 0;
        return Exception::Memory { address: page_fault_address(), fetch, status: frame.error };
    }
    Exception::Other { number: frame.vector, code: frame.error }
}

/// The address that the exception is about, if not the instruction's own.
pub(crate) fn address(frame: &Frame) -> Option<u64> {
    (frame.vector == vector::PAGE_FAULT).then(page_fault_address)
}

/// The rest of what the processor says of the exception.
pub(crate) fn detail(frame: &Frame) -> impl fmt::Display + use<> {
    let (vector, error) = (frame.vector, frame.error);
    fmt::from_fn(move |f| write!(f, "vector {vector}, error code {error:#x}"))
}

/// The exception in words: what was done, and what was wrong with it.
pub(crate) fn describe(frame: &Frame) -> (&'static str, &'static str) {
    match frame.vector {
        0 => ("division error", ""),
        1 => ("debug exception", ""),
        3 => ("breakpoint instruction", ""),
        4 => ("overflow", ""),
        5 => ("bound range exceeded", ""),
        6 => ("undefined instruction", ""),
        vector::FLOATING_POINT_TRAPPED => ("floating-point instruction", " (the PD has fpu=\"false\")"),
        11 => ("segment that is not there", ""),
        12 => ("stack fault", " (an address that is not canonical)"),
        13 => ("general protection fault", " (an instruction, port or address that is not for user level)"),
        vector::PAGE_FAULT => page_fault(PageFaultErrorCode::from_bits_truncate(frame.error)),
        16 => ("x87 floating-point exception", ""),
        17 => ("misaligned access", ""),
        19 => ("SSE floating-point exception", ""),
        _ => ("unexpected exception", ""),
    }
}

fn page_fault(error: PageFaultErrorCode) -> (&'static str, &'static str) {
    let what = if error.contains(PageFaultErrorCode::INSTRUCTION_FETCH) {
        "instruction fetch fault"
    } else if error.contains(PageFaultErrorCode::CAUSED_BY_WRITE) {
        "write fault"
    } else {
        "read fault"
    };
    let there = error.contains(PageFaultErrorCode::PROTECTION_VIOLATION);
    (what, if there { " (not permitted)" } else { " (not mapped)" })
}
