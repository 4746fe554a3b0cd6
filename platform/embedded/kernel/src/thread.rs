//! What a parent does to its children's threads: suspend, resume, write registers (seL4 16.0.0).

use crate::domain::State;
use crate::fault::{message_word, rewind};
use crate::kernel::Kernel;
use crate::machine::{Machine, Register};
use crate::message::{ILLEGAL_OPERATION, MAX_WORDS, MessageInfo, OK, TRUNCATED_MESSAGE};

/// Labels of the invocations, the same in all kernel configurations.
const WRITE_REGISTERS: u64 = 3;
const SUSPEND: u64 = 12;
const RESUME: u64 = 13;

/// Words of WriteRegisters before the context: flags and how many words of it there are.
const HEAD_WORDS: usize = 2;
/// Flag of WriteRegisters: the thread runs then.
const RESUMES: u64 = 1;

impl Kernel {
    /// `pd` invokes the thread of its child, with the message in its registers; seL4's error.
    pub(crate) fn invoke_thread<M: Machine>(&mut self, machine: &mut M, pd: usize, child: usize) -> u64 {
        let info = MessageInfo::from_word(machine.register(pd, Register::Info));
        match info.label {
            SUSPEND => self.suspend(machine, child),
            RESUME => self.restart(machine, child),
            WRITE_REGISTERS => return self.write_registers(machine, pd, child, info.words),
            _ => return ILLEGAL_OPERATION,
        }
        OK
    }

    fn write_registers<M: Machine>(&mut self, machine: &mut M, pd: usize, child: usize, words: usize) -> u64 {
        let Some(room) = words.min(MAX_WORDS).checked_sub(HEAD_WORDS) else { return TRUNCATED_MESSAGE };
        let [flags, count] = [0, 1].map(|index| message_word(machine, pd, index));
        if count > room as u64 {
            return TRUNCATED_MESSAGE;
        }
        let resumes = flags & RESUMES != 0;
        if resumes {
            // Before the registers are written: a system call that is taken back changes the program counter.
            self.cancel(machine, child);
        }
        // Exact: at most `room`.
        for index in 0..M::ABI.context_words.min(count as usize) {
            let word = message_word(machine, pd, HEAD_WORDS + index);
            machine.set_register(child, Register::Context(index), word);
        }
        if resumes {
            self.set_state(child, State::Running);
        }
        OK
    }

    pub(crate) fn suspend<M: Machine>(&mut self, machine: &mut M, child: usize) {
        self.cancel(machine, child);
        self.set_state(child, State::Stopped);
    }

    fn restart<M: Machine>(&mut self, machine: &mut M, child: usize) {
        self.cancel(machine, child);
        self.set_state(child, State::Running);
    }

    /// Takes `pd` out of the system call that it waits in, so that it makes the call again if it goes on, or out of
    /// its fault. A scheduling context that it has lent stays where it is.
    fn cancel<M: Machine>(&mut self, machine: &mut M, pd: usize) {
        let faulted = self.domains[pd].fault.take().is_some();
        match self.domains[pd].state {
            State::Running | State::Stopped => return,
            State::Receiving { .. } | State::Waiting => {}
            State::Sending { to, .. } => self.domains[to].senders.retain(|&sender| usize::from(sender) != pd),
            State::AwaitingReply { from } => self.forget_caller(from),
        }
        if !faulted {
            rewind(machine, pd);
        }
        self.set_state(pd, State::Stopped);
    }
}
