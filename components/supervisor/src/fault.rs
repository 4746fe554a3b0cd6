//! What a child died of.

use core::fmt;

/// Labels of faults (seL4 16.0.0, `seL4_Fault`).
mod label {
    pub const CAPABILITY: u64 = 1;
    pub const SYSTEM_CALL: u64 = 2;
    pub const EXCEPTION: u64 = 3;
    pub const DEBUG: u64 = 4;
    pub const MEMORY: u64 = 6;
}

/// A fault: its message's label and first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The label.
    pub label: u64,
    /// The words; those past the message's count are zero.
    pub words: [u64; 4],
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [pc, what, ..] = self.words;
        match self.label {
            label::MEMORY if self.words[2] != 0 => {
                write!(f, "an instruction fetch at {what:#x} that is not allowed (pc {pc:#x})")
            }
            label::MEMORY => write!(f, "a memory access at {what:#x} that is not allowed (pc {pc:#x})"),
            label::CAPABILITY => write!(f, "a system call with capability {what} (pc {pc:#x})"),
            label::SYSTEM_CALL => f.write_str("an unknown system call"),
            label::EXCEPTION => write!(f, "an exception (pc {pc:#x}), such as a panic's end"),
            label::DEBUG => write!(f, "a breakpoint (pc {pc:#x}), such as a panic's end"),
            other => write!(f, "fault {other}"),
        }
    }
}
