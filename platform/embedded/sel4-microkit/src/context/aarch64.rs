//! AArch64.

use crate::object::Word;

/// Words of a user context.
pub(crate) const CONTEXT_WORDS: usize = 36;

/// A thread's registers (`seL4_UserContext`), in the kernel's order: pc, sp, spsr, x0 to x8, x16 to x18, x29, x30, x9 to
/// x15, x19 to x28, the thread pointers.
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
    const SPSR: usize = 2;

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

    /// The processor's status.
    pub fn spsr(&self) -> &Word {
        &self.0[Self::SPSR]
    }

    /// The processor's status, to change it.
    pub fn spsr_mut(&mut self) -> &mut Word {
        &mut self.0[Self::SPSR]
    }

    /// General register `ix`.
    ///
    /// # Panics
    /// If there is none: they are 0 to 30.
    pub fn gpr(&self, ix: usize) -> &Word {
        &self.0[Self::place(ix)]
    }

    /// General register `ix`, to change it.
    ///
    /// # Panics
    /// As [`UserContext::gpr`].
    pub fn gpr_mut(&mut self, ix: usize) -> &mut Word {
        &mut self.0[Self::place(ix)]
    }

    fn place(ix: usize) -> usize {
        match ix {
            0..=8 => ix + 3,
            9..=15 => ix + 8,
            16..=18 => ix - 4,
            19..=28 => ix + 5,
            29..=30 => ix - 14,
            _ => panic!("general registers are 0 to 30"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_in_the_kernels_order() {
        let mut registers = UserContext::default();
        (0..31).for_each(|ix| *registers.gpr_mut(ix) = 100 + ix as u64);
        (*registers.pc_mut(), *registers.sp_mut(), *registers.spsr_mut()) = (1, 2, 3);
        let order = (0..=8).chain(16..=18).chain(29..=30).chain(9..=15).chain(19..=28);
        let expected: Vec<u64> = [1, 2, 3].into_iter().chain(order.map(|x| 100 + x)).collect();
        assert_eq!(registers.words()[..34], expected);
        assert_eq!((registers.words().len(), &registers.words()[34..]), (36, &[0, 0][..]));
        assert!((0..31).all(|ix| *registers.gpr(ix) == 100 + ix as u64));
        assert_eq!((*registers.pc(), *registers.sp(), *registers.spsr()), (1, 2, 3));
    }
}
