//! Their first instructions, AArch64.

use core::arch::{asm, global_asm};

use super::{KEPT, keep, put_back};

global_asm!(
    ".section .text._first_start, \"ax\"",
    ".global _first_start",
    ".global _restart",
    "_first_start:",
    "    mov x0, sp",
    "    mov x29, xzr",
    "    mov x30, xzr",
    "    bl {keep}",
    "    b _start",
    "_restart:",
    "    adrp x0, {kept}",
    "    ldr x0, [x0, :lo12:{kept}]",
    "    mov sp, x0",
    // A program that is built without floating point may have no right to its registers.
    #[cfg(target_feature = "neon")]
    "    msr fpcr, xzr",
    #[cfg(target_feature = "neon")]
    "    msr fpsr, xzr",
    "    mov x29, xzr",
    "    mov x30, xzr",
    "    bl {put_back}",
    "    b _start",
    keep = sym keep,
    put_back = sym put_back,
    kept = sym KEPT,
);

/// Stops by an undefined instruction.
pub(super) fn stop() -> ! {
    // SAFETY: the instruction never completes.
    unsafe { asm!("udf #0", options(noreturn, nostack, nomem)) }
}
