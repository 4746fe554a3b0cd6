//! The PDs' floating-point registers, which change hands when a PD uses them that did not use them last.
#![allow(unsafe_code, reason = "registers that no Rust type knows")]

use core::arch::global_asm;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CPACR_EL1, Writeable};
use embedded_image::MAX_PDS;

#[cfg(target_feature = "neon")]
compile_error!("build the kernel for aarch64-unknown-none-softfloat: it must not touch the PDs' registers");

/// V0 to V31, FPCR and FPSR of one PD.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
struct Registers {
    v: [u128; 32],
    control: u64,
    status: u64,
}

/// Everybody's floating-point registers.
#[derive(Debug)]
pub(crate) struct Float {
    saved: [Registers; MAX_PDS],
    /// Whose registers the processor holds.
    owner: Option<usize>,
}

unsafe extern "C" {
    /// Stores the processor's registers.
    fn float_save(to: *mut Registers);
    /// Loads the processor's registers.
    fn float_load(from: *const Registers);
}

impl Float {
    pub(crate) const fn new() -> Self {
        Self { saved: [Registers { v: [0; 32], control: 0, status: 0 }; MAX_PDS], owner: None }
    }

    /// `pd` is about to run: its use of the registers traps unless they are its own.
    pub(crate) fn about_to_run(&self, pd: usize) {
        if self.owner == Some(pd) {
            CPACR_EL1.write(CPACR_EL1::FPEN::TrapNothing);
        } else {
            CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0);
        }
    }

    /// `pd` used the registers and trapped.
    pub(crate) fn hand_over(&mut self, pd: usize) {
        if let Some(owner) = self.owner {
            // SAFETY: the processor's registers are the owner's, and the place is theirs.
            unsafe { float_save(&raw mut self.saved[owner]) };
        }
        // SAFETY: the place holds what was saved, or zeroes at first; nobody else's registers are lost.
        unsafe { float_load(&raw const self.saved[pd]) };
        self.owner = Some(pd);
        self.about_to_run(pd);
        barrier::isb(barrier::SY);
    }
}

global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".section .text.float, \"ax\"",
    ".macro EACH_PAIR operation, base",
    "    \\operation q0, q1, [\\base, #0]",
    "    \\operation q2, q3, [\\base, #32]",
    "    \\operation q4, q5, [\\base, #64]",
    "    \\operation q6, q7, [\\base, #96]",
    "    \\operation q8, q9, [\\base, #128]",
    "    \\operation q10, q11, [\\base, #160]",
    "    \\operation q12, q13, [\\base, #192]",
    "    \\operation q14, q15, [\\base, #224]",
    "    \\operation q16, q17, [\\base, #256]",
    "    \\operation q18, q19, [\\base, #288]",
    "    \\operation q20, q21, [\\base, #320]",
    "    \\operation q22, q23, [\\base, #352]",
    "    \\operation q24, q25, [\\base, #384]",
    "    \\operation q26, q27, [\\base, #416]",
    "    \\operation q28, q29, [\\base, #448]",
    "    \\operation q30, q31, [\\base, #480]",
    ".endm",
    ".global float_save",
    "float_save:",
    "    EACH_PAIR stp, x0",
    "    mrs x1, fpcr",
    "    mrs x2, fpsr",
    "    str x1, [x0, #512]",
    "    str x2, [x0, #520]",
    "    ret",
    ".global float_load",
    "float_load:",
    "    EACH_PAIR ldp, x0",
    "    ldr x1, [x0, #512]",
    "    ldr x2, [x0, #520]",
    "    msr fpcr, x1",
    "    msr fpsr, x2",
    "    ret",
);
