//! The PDs' x87 and SSE registers, which change hands when a PD uses them that did not use them last.
#![allow(unsafe_code, reason = "registers that no Rust type knows")]

use core::arch::asm;

use embedded_image::MAX_PDS;
use x86_64::registers::control::{Cr0, Cr0Flags};

#[cfg(target_feature = "sse")]
compile_error!("build the kernel for x86_64-unknown-none: it must not touch the PDs' registers");

/// What FXSAVE stores of one PD (Intel SDM volume 1, section 10.5.1).
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
struct Registers([u64; 64]);

/// As FNINIT and a reset leave them: all exceptions masked, in the x87 control word, bits 15:0, and in MXCSR, at byte 24.
const INITIAL: Registers = {
    let mut registers = [0; 64];
    registers[0] = 0x037f;
    registers[3] = 0x1f80;
    Registers(registers)
};

/// Everybody's floating-point registers.
#[derive(Debug)]
pub(crate) struct Float {
    saved: [Registers; MAX_PDS],
    /// Whose registers the processor holds.
    owner: Option<usize>,
}

impl Float {
    pub(crate) const fn new() -> Self {
        Self { saved: [INITIAL; MAX_PDS], owner: None }
    }

    /// `pd` is about to run: its use of the registers traps unless they are its own.
    pub(crate) fn about_to_run(&self, pd: usize) {
        let mut flags = Cr0::read();
        flags.set(Cr0Flags::TASK_SWITCHED, self.owner != Some(pd));
        // SAFETY: whether floating point traps is nothing that the kernel's own code depends on.
        unsafe { Cr0::write(flags) };
    }

    /// `pd` used the registers and trapped.
    pub(crate) fn hand_over(&mut self, pd: usize) {
        let last = self.owner.replace(pd);
        self.about_to_run(pd);
        if let Some(last) = last {
            let to = &raw mut self.saved[last];
            // SAFETY: the processor's registers are the last owner's, and the place is theirs, 16-byte aligned.
            unsafe { asm!("fxsave64 [{}]", in(reg) to, options(nostack, preserves_flags)) };
        }
        let from = &raw const self.saved[pd];
        // SAFETY: the place holds what was saved, or the initial state; nobody else's registers are lost.
        unsafe { asm!("fxrstor64 [{}]", in(reg) from, options(nostack, preserves_flags)) };
    }
}
