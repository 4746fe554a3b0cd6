//! What an exception says, in words (Arm DDI 0487, ESR_EL1 in D24.2).

use core::fmt;

use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
use embedded_kernel::Exception;

use super::Frame;

/// Exception classes, ESR_EL1.EC.
pub(super) mod class {
    pub(in super::super) const FLOATING_POINT_TRAPPED: u64 = 0x07;
    pub(in super::super) const SVC: u64 = 0x15;
    pub(super) const UNKNOWN: u64 = 0x00;
    pub(super) const ILLEGAL_STATE: u64 = 0x0e;
    pub(super) const SYSTEM_INSTRUCTION: u64 = 0x18;
    pub(super) const INSTRUCTION_ABORT: u64 = 0x20;
    pub(super) const PC_ALIGNMENT: u64 = 0x22;
    pub(super) const DATA_ABORT: u64 = 0x24;
    pub(super) const SP_ALIGNMENT: u64 = 0x26;
    pub(super) const FLOATING_POINT: u64 = 0x2c;
    pub(super) const SERROR: u64 = 0x2f;
    pub(super) const BREAKPOINT: u64 = 0x3c;
}

/// ISS of a data abort: the access was a write.
const WRITE: u64 = 1 << 6;
/// ISS of a data abort: the access was cache maintenance, which also counts as a write.
const MAINTENANCE: u64 = 1 << 8;

/// ESR_EL1 of the exception that was taken last.
pub(super) fn syndrome() -> u64 {
    ESR_EL1.get()
}

/// Its exception class.
pub(super) fn class_of(syndrome: u64) -> u64 {
    syndrome >> 26 & 0x3f
}

/// The address that the exception is about, if not the instruction's own.
pub(crate) fn address(_: &Frame) -> Option<u64> {
    let class = class_of(syndrome());
    matches!(class, class::INSTRUCTION_ABORT | class::DATA_ABORT | class::PC_ALIGNMENT).then(|| FAR_EL1.get())
}

/// The rest of what the processor says of the exception.
pub(crate) fn detail(_: &Frame) -> impl fmt::Display + use<> {
    fmt::from_fn(|f| write!(f, "esr {:#x}", syndrome()))
}

/// Bits of ESR_EL1 that seL4 gives in the message of a memory fault.
const FAULT_STATUS: u64 = 0x3fff_ffff;

/// The exception that was taken last, as seL4 tells of it.
pub(crate) fn exception(_: &Frame) -> Exception {
    let syndrome = syndrome();
    match class_of(syndrome) {
        class @ (class::INSTRUCTION_ABORT | class::DATA_ABORT) => Exception::Memory {
            address: FAR_EL1.get(),
            fetch: class == class::INSTRUCTION_ABORT,
            status: syndrome & FAULT_STATUS,
        },
        _ => Exception::Other { number: syndrome, code: 0 },
    }
}

/// The exception in words: what was done, and what was wrong with it.
pub(crate) fn describe(_: &Frame) -> (&'static str, &'static str) {
    let syndrome = syndrome();
    let class = class_of(syndrome);
    match class {
        class::INSTRUCTION_ABORT => ("instruction fetch fault", abort(syndrome)),
        class::DATA_ABORT if syndrome & MAINTENANCE != 0 => ("cache maintenance fault", abort(syndrome)),
        class::DATA_ABORT if syndrome & WRITE != 0 => ("write fault", abort(syndrome)),
        class::DATA_ABORT => ("read fault", abort(syndrome)),
        class::UNKNOWN => ("undefined instruction", ""),
        class::ILLEGAL_STATE => ("illegal execution state", ""),
        class::SYSTEM_INSTRUCTION => ("system register or instruction that is not for user level", ""),
        class::PC_ALIGNMENT => ("misaligned program counter", ""),
        class::SP_ALIGNMENT => ("misaligned stack pointer", ""),
        class::FLOATING_POINT_TRAPPED => ("floating-point instruction", " (the PD has fpu=\"false\")"),
        class::FLOATING_POINT => ("floating-point exception", ""),
        class::SERROR => ("asynchronous external abort", " (something does not answer)"),
        class::BREAKPOINT => ("breakpoint instruction", ""),
        _ => ("unexpected exception", ""),
    }
}

/// The fault status of an abort.
fn abort(syndrome: u64) -> &'static str {
    match syndrome & 0x3f {
        0x00..=0x03 => " (address size fault)",
        0x04..=0x07 => " (not mapped)",
        0x08..=0x0b => " (access flag fault)",
        0x0c..=0x0f => " (not permitted)",
        0x10 => " (external abort: no device or memory answers)",
        0x14..=0x17 => " (external abort on a table walk)",
        0x21 => " (misaligned)",
        _ => " (unknown fault status)",
    }
}
