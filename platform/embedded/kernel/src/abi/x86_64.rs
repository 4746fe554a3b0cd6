//! x86-64 (seL4 16.0.0, libsel4's `sel4_arch_include/x86_64`).

use super::{Abi, PC, SP, STATUS, Said};

/// Where RAX is in a context; RBX, RCX, RDX, RSI, RDI, RBP and R8 to R15 follow.
const RAX: usize = 3;

/// x86-64.
pub const X86_64: Abi = Abi {
    system_call_bytes: 2,
    // RIP, RSP, RFLAGS, the other general registers, the two segment bases.
    context_words: 20,
    system_call_message: &[
        Said::Context(RAX),
        Said::Context(RAX + 1),
        Said::Context(RAX + 2),
        Said::Context(RAX + 3),
        Said::Context(RAX + 4),
        Said::Context(RAX + 5),
        Said::Context(RAX + 6),
        Said::Context(RAX + 7),
        Said::Context(RAX + 8),
        Said::Context(RAX + 9),
        Said::Context(RAX + 10),
        Said::Context(RAX + 11),
        Said::Context(RAX + 12),
        Said::Context(RAX + 13),
        Said::Context(RAX + 14),
        Said::Context(PC),
        Said::Context(SP),
        Said::Context(STATUS),
    ],
};
