//! What stops a child, as the message that its parent gets, and what the parent's reply makes of it
//! (seL4 16.0.0: libsel4's `seL4_Fault` types, AArch64's words).

use crate::kernel::Kernel;
use crate::machine::{Cause, Exception, Machine, Register};
use crate::message::{MessageInfo, REGISTER_WORDS};

/// Bit of a badge that says "a child's fault", as in Microkit.
pub(crate) const FAULT_BADGE: u64 = 1 << 62;

/// Bytes of a system call's instruction, which a PD is behind while the kernel serves it.
const INSTRUCTION_BYTES: u64 = 4;

/// Words of `seL4_UserContext`: the program counter, the stack pointer, the status, x0 to x8, x16 to x18, x29, x30,
/// the other general registers, the two thread pointers.
pub const CONTEXT_WORDS: usize = 36;

/// The program counter.
const PC: Register = Register::Context(0);
/// The stack pointer.
const SP: Register = Register::Context(1);
/// The processor's status (SPSR).
const STATUS: Register = Register::Context(2);
/// Where x0 is in a context; x1 to x7 follow.
const X0: usize = 3;

/// Words of the longest message: that of an unknown system call.
const MAX_FAULT_WORDS: usize = 13;

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

/// What a reply sets of a child that made an unknown system call, word by word: x0 to x7, the program counter, the
/// stack pointer, the link register (without effect, as on seL4), the status.
const SYSCALL_REPLY: [Option<Register>; 12] = [
    Some(Register::Context(X0)),
    Some(Register::Context(X0 + 1)),
    Some(Register::Context(X0 + 2)),
    Some(Register::Context(X0 + 3)),
    Some(Register::Context(X0 + 4)),
    Some(Register::Context(X0 + 5)),
    Some(Register::Context(X0 + 6)),
    Some(Register::Context(X0 + 7)),
    Some(PC),
    Some(SP),
    None,
    Some(STATUS),
];

/// What a reply sets of a child that made an exception.
const EXCEPTION_REPLY: [Option<Register>; 3] = [Some(PC), Some(SP), Some(STATUS)];

/// A fault that nobody has replied to.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    label: u64,
    words: heapless::Vec<u64, MAX_FAULT_WORDS>,
}

impl Fault {
    fn new(label: u64, words: &[u64]) -> Self {
        // No message here is longer.
        Self { label, words: heapless::Vec::from_slice(words).unwrap_or_default() }
    }
}

impl Kernel {
    /// Takes note of what stopped `pd`, and lets its program counter say where it goes on after a reply.
    pub(crate) fn note_fault<M: Machine>(&mut self, machine: &mut M, pd: usize, cause: Cause) {
        if cause != Cause::Exception {
            rewind(machine, pd);
        }
        let get = |register| machine.register(pd, register);
        let pc = get(PC);
        let fault = match cause {
            Cause::NoCapability { slot, receiving: true } => {
                Fault::new(CAP_FAULT, &[pc, slot, 1, MISSING_CAPABILITY, 0])
            }
            Cause::NoCapability { slot, receiving: false } => {
                Fault::new(CAP_FAULT, &[pc, slot, 0, GUARD_MISMATCH, BITS_LEFT, 0, GUARD_BITS])
            }
            Cause::UnknownSystemCall(number) => {
                let x = |index| get(Register::Context(X0 + index));
                let after = pc.wrapping_add(INSTRUCTION_BYTES);
                let [sp, status] = [get(SP), get(STATUS)];
                let words =
                    [x(0), x(1), x(2), x(3), x(4), x(5), x(6), x(7), pc, sp, after, status, number as u64];
                Fault::new(UNKNOWN_SYSCALL, &words)
            }
            Cause::Exception => match machine.exception(pd) {
                Exception::Memory { address, fetch, status } => {
                    Fault::new(VM_FAULT, &[pc, address, fetch.into(), status])
                }
                Exception::Other { number, code } => {
                    Fault::new(USER_EXCEPTION, &[pc, get(SP), get(STATUS), number, code])
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
            UNKNOWN_SYSCALL => &SYSCALL_REPLY[..],
            USER_EXCEPTION => &EXCEPTION_REPLY[..],
            _ => return true,
        };
        for (index, register) in set.iter().enumerate().take(info.words) {
            if let Some(register) = *register {
                let word = message_word(machine, parent, index);
                machine.set_register(child, register, word);
            }
        }
        info.label == 0
    }
}

/// Lets `pd`, which is inside a system call, make it again when it goes on.
pub(crate) fn rewind<M: Machine>(machine: &mut M, pd: usize) {
    let pc = machine.register(pd, PC).wrapping_sub(INSTRUCTION_BYTES);
    machine.set_register(pd, PC, pc);
}

/// Word `index` of the message that `pd` sends, below [`MAX_WORDS`](crate::MAX_WORDS).
pub(crate) fn message_word<M: Machine>(machine: &M, pd: usize, index: usize) -> u64 {
    if index < REGISTER_WORDS {
        machine.register(pd, Register::Word(index))
    } else {
        machine.buffer_word(pd, index)
    }
}
