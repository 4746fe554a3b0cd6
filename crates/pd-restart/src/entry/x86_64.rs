//! Their first instructions, x86-64. Programs are built without floating point there, so that its control register is
//! nobody's.

use core::arch::{asm, global_asm};

use super::{KEPT, keep, put_back};

// The stack's top is at a page, so that each call finds the stack pointer as the ABI has it.
global_asm!(
    ".section .text._first_start, \"ax\"",
    ".global _first_start",
    ".global _restart",
    "_first_start:",
    "    mov rdi, rsp",
    "    xor ebp, ebp",
    "    call {keep}",
    "    jmp _start",
    "_restart:",
    "    mov rsp, [rip + {kept}]",
    "    cld",
    "    xor ebp, ebp",
    "    call {put_back}",
    "    jmp _start",
    keep = sym keep,
    put_back = sym put_back,
    kept = sym KEPT,
);

/// Stops by an undefined instruction.
pub(super) fn stop() -> ! {
    // SAFETY: the instruction never completes.
    unsafe { asm!("ud2", options(noreturn, nostack, nomem)) }
}
