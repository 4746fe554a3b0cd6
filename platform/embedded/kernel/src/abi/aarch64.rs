//! AArch64 (seL4 16.0.0, libsel4's `sel4_arch_include/aarch64`).

use super::{Abi, PC, SP, STATUS, Said};

/// Where x0 is in a context; x1 to x8 follow.
const X0: usize = 3;

/// AArch64.
pub const AARCH64: Abi = Abi {
    system_call_bytes: 4,
    // The program counter, the stack pointer, the status, x0 to x8, x16 to x18, x29, x30, the other general registers,
    // the two thread pointers.
    context_words: 36,
    system_call_message: &[
        Said::Context(X0),
        Said::Context(X0 + 1),
        Said::Context(X0 + 2),
        Said::Context(X0 + 3),
        Said::Context(X0 + 4),
        Said::Context(X0 + 5),
        Said::Context(X0 + 6),
        Said::Context(X0 + 7),
        Said::Context(PC),
        Said::Context(SP),
        Said::Next,
        Said::Context(STATUS),
    ],
};
