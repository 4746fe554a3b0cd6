//! What stops a child, as the message that its parent gets, and what the parent's reply makes of it
//! (seL4 16.0.0: libsel4's `seL4_Fault` types).

use crate::abi::{MAX_FAULT_WORDS, PC, SP, STATUS, Said};
use crate::kernel::Kernel;
use crate::machine::{Cause, Exception, Machine, Register};
use crate::message::{MessageInfo, REGISTER_WORDS};

/// Bit of a badge that says "a child's fault", as in Microkit.
pub(crate) const FAULT_BADGE: u64 = 1 << 62;

const CAP_FAULT: u64 = 1;
const UNKNOWN_SYSCALL: u64 = 2;
const USER_EXCEPTION: u64 = 3;
const VM_FAULT: u64 = 6;

/// How looking up a capability failed: none there, or an address that leads nowhere.
const MISSING_CAPABILITY: u64 = 2;
const GUARD_MISMATCH: u64 = 4;
/// Bits of an address below the 6 that Microkit's root node takes, and those of them that must be zero.
const BITS_LEFT: u64 = 58;
const GUARD_BITS: u64 = 49;

/// The message of an exception but for its last words, its number and its code.
const EXCEPTION_MESSAGE: [Said; 3] = [Said::Context(PC), Said::Context(SP), Said::Context(STATUS)];

/// A fault that nobody has replied to.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    label: u64,
    words: heapless::Vec<u64, MAX_FAULT_WORDS>,
}

impl Fault {
    /// `words` are at most [`MAX_FAULT_WORDS`].
    fn new(label: u64, words: impl IntoIterator<Item = u64>) -> Self {
        Self { label, words: words.into_iter().take(MAX_FAULT_WORDS).collect() }
    }
}

impl Kernel {
    /// Takes note of what stopped `pd`, and lets its program counter say where it goes on after a reply.
    pub(crate) fn note_fault<M: Machine>(&mut self, machine: &mut M, pd: usize, cause: Cause) {
        if cause != Cause::Exception {
            rewind(machine, pd);
        }
        let context = |word| machine.register(pd, Register::Context(word));
        let said = |said: &Said| match *said {
            Said::Context(word) => context(word),
            Said::Next => context(PC).wrapping_add(M::ABI.system_call_bytes),
        };
        let pc = context(PC);
        let fault = match cause {
            Cause::NoCapability { slot, receiving: true } => {
                Fault::new(CAP_FAULT, [pc, slot, 1, MISSING_CAPABILITY, 0])
            }
            Cause::NoCapability { slot, receiving: false } => {
                Fault::new(CAP_FAULT, [pc, slot, 0, GUARD_MISMATCH, BITS_LEFT, 0, GUARD_BITS])
            }
            Cause::UnknownSystemCall(number) => {
                let words = M::ABI.system_call_message.iter().map(said);
                Fault::new(UNKNOWN_SYSCALL, words.chain([number as u64]))
            }
            Cause::Exception => match machine.exception(pd) {
                Exception::Memory { address, fetch, status } => {
                    Fault::new(VM_FAULT, [pc, address, fetch.into(), status])
                }
                Exception::Other { number, code } => {
                    Fault::new(USER_EXCEPTION, EXCEPTION_MESSAGE.iter().map(said).chain([number, code]))
                }
            },
        };
        self.domains[pd].fault = Some(fault);
    }

    /// Gives the message of the fault of `child` to `parent`, as `badge`.
    pub(crate) fn transfer_fault<M: Machine>(
        &self,
        machine: &mut M,
        child: usize,
        parent: usize,
        badge: u64,
    ) {
        let Some(fault) = &self.domains[child].fault else { return };
        for (index, &word) in fault.words.iter().enumerate() {
            if index < REGISTER_WORDS {
                machine.set_register(parent, Register::Word(index), word);
            } else {
                machine.set_buffer_word(parent, index, word);
            }
        }
        let info = MessageInfo { label: fault.label, words: fault.words.len() };
        machine.set_register(parent, Register::Info, info.to_word());
        machine.set_register(parent, Register::Capability, badge);
    }

    /// Ends the fault of `child` by the reply in the registers of `parent`; whether the child is to run.
    pub(crate) fn answer_fault<M: Machine>(
        &mut self,
        machine: &mut M,
        parent: usize,
        child: usize,
        fault: &Fault,
    ) -> bool {
        let info = MessageInfo::from_word(machine.register(parent, Register::Info));
        let set = match fault.label {
            UNKNOWN_SYSCALL => M::ABI.system_call_message,
            USER_EXCEPTION => &EXCEPTION_MESSAGE[..],
            _ => return true,
        };
        for (index, said) in set.iter().enumerate().take(info.words) {
            if let Said::Context(register) = *said {
                let word = message_word(machine, parent, index);
                machine.set_register(child, Register::Context(register), word);
            }
        }
        info.label == 0
    }
}

/// Lets `pd`, which is inside a system call, make it again when it goes on.
pub(crate) fn rewind<M: Machine>(machine: &mut M, pd: usize) {
    let pc = Register::Context(PC);
    let before = machine.register(pd, pc).wrapping_sub(M::ABI.system_call_bytes);
    machine.set_register(pd, pc, before);
}

/// Word `index` of the message that `pd` sends, below [`MAX_WORDS`](crate::MAX_WORDS).
pub(crate) fn message_word<M: Machine>(machine: &M, pd: usize, index: usize) -> u64 {
    if index < REGISTER_WORDS {
        machine.register(pd, Register::Word(index))
    } else {
        machine.buffer_word(pd, index)
    }
}
