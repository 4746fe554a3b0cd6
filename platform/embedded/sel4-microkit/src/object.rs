//! Kernel objects: a child's thread. The crate `sel4` beside this one exports them.

use core::fmt;

use crate::{MessageInfo, context::CONTEXT_WORDS, ipc, set_mr};

pub use crate::context::UserContext;

/// A machine word.
pub type Word = u64;

/// What an invocation yields.
pub type Result<T> = core::result::Result<T, Error>;

/// Labels of the invocations, the same in all kernel configurations.
const WRITE_REGISTERS: u64 = 3;
const SUSPEND: u64 = 12;
const RESUME: u64 = 13;

/// The kernel's refusal (`seL4_Error`).
#[derive(Debug, Clone, Copy, Eq, PartialEq)]
pub enum Error {
    /// A word of the message is wrong.
    InvalidArgument,
    /// There is no such capability.
    InvalidCapability,
    /// The object does not do that.
    IllegalOperation,
    /// A word of the message is out of range.
    RangeError,
    /// A word of the message is not aligned.
    AlignmentError,
    /// A capability that the message names leads nowhere.
    FailedLookup,
    /// The message has too few words.
    TruncatedMessage,
    /// Something must be deleted first.
    DeleteFirst,
    /// Something must be revoked first.
    RevokeFirst,
    /// There is not enough memory.
    NotEnoughMemory,
}

impl Error {
    pub(crate) fn from_label(label: u64) -> Result<()> {
        Err(match label {
            0 => return Ok(()),
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => panic!("invalid seL4_Error: {label}"),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seL4_Error: {self:?}")
    }
}

/// A thread (`seL4_TCB`), by the slot of its capability.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Tcb {
    slot: u64,
}

impl Tcb {
    pub(crate) const fn new(slot: u64) -> Self {
        Self { slot }
    }

    /// Stops the thread: what it waits for is called off.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tcb_suspend(self) -> Result<()> {
        self.invoke(SUSPEND, 0)
    }

    /// Lets a stopped thread go on; a system call that it was in, it makes again.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tcb_resume(self) -> Result<()> {
        self.invoke(RESUME, 0)
    }

    /// Writes the first `count` registers of `regs`, and lets the thread run if it `resume`s.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tcb_write_registers(self, resume: bool, count: Word, regs: &mut UserContext) -> Result<()> {
        set_mr(0, resume.into());
        set_mr(1, count);
        for (index, &word) in regs.words().iter().enumerate() {
            set_mr(2 + index, word);
        }
        self.invoke(WRITE_REGISTERS, 2 + CONTEXT_WORDS)
    }

    /// Writes all registers, and lets the thread run if it `resume`s.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn tcb_write_all_registers(self, resume: bool, regs: &mut UserContext) -> Result<()> {
        self.tcb_write_registers(resume, CONTEXT_WORDS as Word, regs)
    }

    fn invoke(self, label: u64, words: usize) -> Result<()> {
        Error::from_label(ipc::call(self.slot, MessageInfo::new(label, words)).label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Child,
        arch::{
            Asked, Received,
            script::{asked, queue},
        },
        get_mr,
    };

    fn answer(error: u64) {
        queue(Received { badge: 0, tag: error << 12, words: [0; 4] });
    }

    #[test]
    fn a_child_is_stopped_and_goes_on() {
        let tcb = Child::new(5).tcb();
        answer(0);
        answer(3);
        assert_eq!((tcb.tcb_suspend(), tcb.tcb_resume()), (Ok(()), Err(Error::IllegalOperation)));
        let called = |label: u64| Asked::Call { cap: 207, tag: label << 12, words: [0; 4] };
        assert_eq!(asked(), [called(SUSPEND), called(RESUME)]);
    }

    #[test]
    fn a_child_is_restarted_as_libmicrokit_does_it() {
        let mut registers = UserContext::default();
        *registers.pc_mut() = 0x20_0000;
        answer(0);
        assert_eq!(Child::new(0).tcb().tcb_write_registers(true, 1, &mut registers), Ok(()));
        let tag = WRITE_REGISTERS << 12 | 38;
        assert_eq!(asked(), [Asked::Call { cap: 202, tag, words: [1, 1, 0x20_0000, 0] }]);
    }

    #[test]
    fn all_registers_go_behind_the_head() {
        let mut registers = UserContext::default();
        (*registers.pc_mut(), *registers.sp_mut()) = (1, 2);
        *registers.gpr_mut(30) = 130;
        answer(7);
        let refused = Child::new(1).tcb().tcb_write_all_registers(false, &mut registers);
        assert_eq!(refused, Err(Error::TruncatedMessage));
        let tag = WRITE_REGISTERS << 12 | (2 + CONTEXT_WORDS as u64);
        assert_eq!(asked(), [Asked::Call { cap: 203, tag, words: [0, CONTEXT_WORDS as u64, 1, 2] }]);
        // Words 0 to 3 have the answer in them by now.
        let sent: Vec<u64> = (4..2 + CONTEXT_WORDS).map(get_mr).collect();
        assert_eq!(sent, registers.words()[2..]);
    }
}
