//! Into the kernel and out of it: exception vectors.
#![allow(unsafe_code, reason = "exception entry and exit")]

use core::arch::global_asm;

use super::Frame;

unsafe extern "C" {
    /// The vector table.
    static vectors: u8;

    /// Resumes the PD of a frame.
    ///
    /// # Safety
    /// The frame is that of a PD whose address space is in TTBR0_EL1, and nobody holds a reference to it.
    pub(crate) fn leave(frame: *mut Frame) -> !;
}

/// The vector table's address, for VBAR_EL1.
pub(super) fn address() -> u64 {
    (&raw const vectors).addr() as u64
}

// `leave` takes the frame to resume in x0. The handlers return it there.
global_asm!(
    ".macro ENTRY handler",
    ".balign 128",
    "    b \\handler",
    ".endm",
    ".macro FROM_PD name, handler",
    "\\name:",
    "    stp x0, x1, [sp, #0]",
    "    stp x2, x3, [sp, #16]",
    "    stp x4, x5, [sp, #32]",
    "    stp x6, x7, [sp, #48]",
    "    stp x8, x9, [sp, #64]",
    "    stp x10, x11, [sp, #80]",
    "    stp x12, x13, [sp, #96]",
    "    stp x14, x15, [sp, #112]",
    "    stp x16, x17, [sp, #128]",
    "    stp x18, x19, [sp, #144]",
    "    stp x20, x21, [sp, #160]",
    "    stp x22, x23, [sp, #176]",
    "    stp x24, x25, [sp, #192]",
    "    stp x26, x27, [sp, #208]",
    "    stp x28, x29, [sp, #224]",
    "    mrs x0, sp_el0",
    "    mrs x1, elr_el1",
    "    mrs x2, spsr_el1",
    "    stp x30, x0, [sp, #240]",
    "    stp x1, x2, [sp, #256]",
    "    adrp x1, __stack_top",
    "    mov sp, x1",
    "    mov x29, xzr",
    "    bl \\handler",
    "    b leave",
    ".endm",
    ".section .text.vectors, \"ax\"",
    "FROM_PD from_pd_synchronous, {on_synchronous}",
    "FROM_PD from_pd_interrupt, {on_interrupt}",
    "FROM_PD from_pd_error, {on_error}",
    "from_kernel:",
    "    adrp x1, __stack_top",
    "    mov sp, x1",
    "    b {on_kernel_exception}",
    "leave:",
    ".global leave",
    "    mov sp, x0",
    "    ldp x1, x2, [sp, #256]",
    "    ldp x30, x0, [sp, #240]",
    "    msr spsr_el1, x2",
    "    msr elr_el1, x1",
    "    msr sp_el0, x0",
    "    ldp x28, x29, [sp, #224]",
    "    ldp x26, x27, [sp, #208]",
    "    ldp x24, x25, [sp, #192]",
    "    ldp x22, x23, [sp, #176]",
    "    ldp x20, x21, [sp, #160]",
    "    ldp x18, x19, [sp, #144]",
    "    ldp x16, x17, [sp, #128]",
    "    ldp x14, x15, [sp, #112]",
    "    ldp x12, x13, [sp, #96]",
    "    ldp x10, x11, [sp, #80]",
    "    ldp x8, x9, [sp, #64]",
    "    ldp x6, x7, [sp, #48]",
    "    ldp x4, x5, [sp, #32]",
    "    ldp x2, x3, [sp, #16]",
    "    ldp x0, x1, [sp, #0]",
    "    eret",
    ".balign 2048",
    ".global vectors",
    "vectors:",
    // The kernel itself, on either stack pointer: never on purpose.
    ".rept 8",
    "ENTRY from_kernel",
    ".endr",
    // PDs, AArch64.
    "ENTRY from_pd_synchronous",
    "ENTRY from_pd_interrupt",
    "ENTRY from_kernel",
    "ENTRY from_pd_error",
    // PDs, AArch32: no PD gets there.
    ".rept 4",
    "ENTRY from_kernel",
    ".endr",
    on_synchronous = sym super::on_synchronous,
    on_interrupt = sym super::on_interrupt,
    on_error = sym super::on_error,
    on_kernel_exception = sym super::on_kernel_exception,
);
