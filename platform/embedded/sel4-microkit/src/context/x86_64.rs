//! x86-64.

use crate::object::Word;

/// Words of a user context.
pub(crate) const CONTEXT_WORDS: usize = 20;

/// A thread's registers (`seL4_UserContext`), in the kernel's order: rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8
/// to r15, fs_base, gs_base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserContext([Word; CONTEXT_WORDS]);

impl Default for UserContext {
    fn default() -> Self {
        Self([0; CONTEXT_WORDS])
    }
}

impl UserContext {
    pub(crate) fn words(&self) -> &[Word] {
        &self.0
    }

    const PC: usize = 0;
    const SP: usize = 1;
    /// The registers of a C function's arguments: rdi, rsi, rdx, rcx, r8, r9.
    const PARAMETERS: [usize; 6] = [8, 7, 6, 5, 10, 11];

    /// The program counter.
    pub fn pc(&self) -> &Word {
        &self.0[Self::PC]
    }

    /// The program counter, to change it.
    pub fn pc_mut(&mut self) -> &mut Word {
        &mut self.0[Self::PC]
    }

    /// The stack pointer.
    pub fn sp(&self) -> &Word {
        &self.0[Self::SP]
    }

    /// The stack pointer, to change it.
    pub fn sp_mut(&mut self) -> &mut Word {
        &mut self.0[Self::SP]
    }

    /// The register of a C function's argument `ix`.
    ///
    /// # Panics
    /// If there is none: they are 0 to 5.
    pub fn c_param(&self, ix: usize) -> &Word {
        &self.0[Self::PARAMETERS[ix]]
    }

    /// The register of a C function's argument `ix`, to change it.
    ///
    /// # Panics
    /// As [`UserContext::c_param`].
    pub fn c_param_mut(&mut self, ix: usize) -> &mut Word {
        &mut self.0[Self::PARAMETERS[ix]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_in_the_kernels_order() {
        let mut registers = UserContext::default();
        (*registers.pc_mut(), *registers.sp_mut()) = (1, 2);
        (0..6).for_each(|ix| *registers.c_param_mut(ix) = 100 + ix as u64);
        let expected = [1, 2, 0, 0, 0, 103, 102, 101, 100, 0, 104, 105, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(registers.words(), expected);
        assert_eq!((*registers.pc(), *registers.sp(), *registers.c_param(5)), (1, 2, 105));
    }
}
