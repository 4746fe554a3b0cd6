//! System calls: the seL4 MCS set (libsel4 16.0.0, `sel4/syscall.h` with MCS).

use crate::caps::{Cap, Caps};
use crate::ipc::Sending;
use crate::kernel::Kernel;
use crate::machine::{Cause, Machine, Register};
use crate::message::{ILLEGAL_OPERATION, INVALID_CAPABILITY, MessageInfo, OK};

const CALL: i64 = -1;
const REPLY_RECV: i64 = -2;
const NB_SEND_RECV: i64 = -3;
const NB_SEND_WAIT: i64 = -4;
const SEND: i64 = -5;
const NB_SEND: i64 = -6;
const RECV: i64 = -7;
const NB_RECV: i64 = -8;
const WAIT: i64 = -9;
const NB_WAIT: i64 = -10;
const YIELD: i64 = -11;
const DEBUG_PUT_CHAR: i64 = -12;

const CALLING: Sending = Sending { blocks: true, call: true, donates: true };
const PLAIN: Sending = Sending { blocks: true, call: false, donates: false };
const NON_BLOCKING: Sending = Sending { blocks: false, call: false, donates: false };
/// The send of a joined send and receive.
const FIRST_HALF: Sending = Sending { blocks: false, call: false, donates: true };

impl Kernel {
    /// The PD that runs made system call `number`, its arguments in its registers.
    pub fn system_call<M: Machine>(&mut self, machine: &mut M, number: i64) {
        let Some(pd) = self.current() else {
            return;
        };
        match number {
            CALL => self.invoke(machine, pd, Register::Capability, CALLING),
            REPLY_RECV => self.send_receive(machine, pd, Register::Reply, true),
            NB_SEND_RECV => self.send_receive(machine, pd, Register::Destination, true),
            NB_SEND_WAIT => self.send_receive(machine, pd, Register::Reply, false),
            SEND => self.invoke(machine, pd, Register::Capability, PLAIN),
            NB_SEND => self.invoke(machine, pd, Register::Capability, NON_BLOCKING),
            RECV => self.receive_from(machine, pd, true, true),
            NB_RECV => self.receive_from(machine, pd, false, true),
            WAIT => self.receive_from(machine, pd, true, false),
            NB_WAIT => self.receive_from(machine, pd, false, false),
            YIELD => self.end_turn(pd),
            DEBUG_PUT_CHAR if self.prints => {
                machine.put_char(pd, machine.register(pd, Register::Capability) as u8);
            }
            _ => self.stop_pd(machine, pd, Cause::UnknownSystemCall(number)),
        }
        self.settle(machine);
    }

    fn send_receive<M: Machine>(&mut self, machine: &mut M, pd: usize, to: Register, reply: bool) {
        // The monitor runs after the whole system call, whatever its priority: what it does comes last.
        let gives_context = self.caps[pd].lookup(machine.register(pd, to)) == Some(Cap::Monitor);
        if !gives_context {
            self.invoke(machine, pd, to, FIRST_HALF);
        }
        self.receive_from(machine, pd, true, reply);
        if gives_context {
            self.domains[pd].lends_context = true;
        }
    }

    fn receive_from<M: Machine>(&mut self, machine: &mut M, pd: usize, blocks: bool, reply: bool) {
        let slot = machine.register(pd, Register::Capability);
        if !Caps::is_input(slot) {
            self.stop_pd(machine, pd, Cause::NoCapability { slot, receiving: true });
            return;
        }
        if !self.domains[pd].takes_calls {
            self.wait(machine, pd, blocks);
            return;
        }
        let through = machine.register(pd, Register::Reply);
        if reply && !Caps::is_reply(through) {
            self.stop_pd(machine, pd, Cause::NoCapability { slot: through, receiving: true });
            return;
        }
        self.receive(machine, pd, blocks, reply);
    }

    /// Invokes the capability that `named` holds the slot of, with the message in the registers of `pd`.
    fn invoke<M: Machine>(&mut self, machine: &mut M, pd: usize, named: Register, how: Sending) {
        let slot = machine.register(pd, named);
        let Some(cap) = self.caps[pd].lookup(slot) else {
            if how.blocks {
                self.stop_pd(machine, pd, Cause::NoCapability { slot, receiving: false });
            }
            return;
        };
        let error = match cap {
            Cap::Endpoint { pd: to, badge } => return self.send(machine, pd, to, badge, how),
            Cap::Input if self.domains[pd].takes_calls => return self.send(machine, pd, pd, 0, how),
            Cap::Input => OK,
            Cap::Notification { pd: to, badge } => {
                self.signal(machine, to, badge);
                OK
            }
            Cap::Reply => {
                self.reply(machine, pd);
                OK
            }
            Cap::Monitor if !how.call => {
                self.domains[pd].lends_context = true;
                OK
            }
            Cap::Irq(route) => {
                let info = MessageInfo::from_word(machine.register(pd, Register::Info));
                if info.label == self.acknowledge_label {
                    machine.mask(self.routes[route].number, false);
                    OK
                } else {
                    ILLEGAL_OPERATION
                }
            }
            Cap::Ports(range) => return self.invoke_ports(machine, pd, range, how.call),
            Cap::Thread { pd: child } => self.invoke_thread(machine, pd, child),
            Cap::Monitor | Cap::Inert => ILLEGAL_OPERATION,
            Cap::Null => INVALID_CAPABILITY,
        };
        if how.call {
            answer(machine, pd, error);
        }
    }
}

/// The kernel's own reply to a call.
pub(crate) fn answer<M: Machine>(machine: &mut M, pd: usize, error: u64) {
    // seL4 names the capability in word 0, and the invoked one is number 0.
    let words = usize::from(error == INVALID_CAPABILITY);
    if words != 0 {
        machine.set_register(pd, Register::Word(0), 0);
    }
    machine.set_register(pd, Register::Capability, 0);
    machine.set_register(pd, Register::Info, MessageInfo { label: error, words }.to_word());
}
