//! Messages, replies and signals, with the scheduling contexts that travel along (seL4 16.0.0, MCS).
//!
//! What lies on the way of a call and its reply is inlined: calls are what servers are measured by.

use crate::domain::State;
use crate::fault::rewind;
use crate::kernel::Kernel;
use crate::machine::{Machine, Register};
use crate::message::{MessageInfo, REGISTER_WORDS};

/// How a message is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// Waits for a receiver.
    pub(crate) blocks: bool,
    /// Waits for a reply.
    pub(crate) call: bool,
    /// The sender's scheduling context goes to a receiver that has none.
    pub(crate) donates: bool,
}

impl Kernel {
    /// Sends the message in `from`'s registers to the endpoint of `to`.
    #[inline(always)]
    pub(crate) fn send<M: Machine>(
        &mut self,
        machine: &mut M,
        from: usize,
        to: usize,
        badge: u64,
        how: Sending,
    ) {
        let State::Receiving { reply } = self.domains[to].state else {
            if how.blocks {
                self.set_state(from, State::Sending { to, badge, call: how.call });
                self.enqueue(from, to);
            }
            return;
        };
        transfer(machine, from, to, badge);
        if how.call {
            self.await_reply(machine, from, to, reply, how.donates);
        } else if let (true, Some(context), None) =
            (how.donates, self.domains[from].runs_on, self.domains[to].runs_on)
        {
            self.donate(context, to);
        }
        self.set_state(to, State::Running);
    }

    /// Sends the fault of `child` to the endpoint of `parent`, as a call.
    pub(crate) fn send_fault<M: Machine>(
        &mut self,
        machine: &mut M,
        child: usize,
        parent: usize,
        badge: u64,
    ) {
        let State::Receiving { reply } = self.domains[parent].state else {
            self.set_state(child, State::Sending { to: parent, badge, call: true });
            self.enqueue(child, parent);
            return;
        };
        self.transfer_fault(machine, child, parent, badge);
        self.await_reply(machine, child, parent, reply, true);
        self.set_state(parent, State::Running);
    }

    fn enqueue(&mut self, from: usize, to: usize) {
        let priority = self.domains[from].priority;
        let ahead = |&other: &u8| self.domains[usize::from(other)].priority >= priority;
        let position = self.domains[to].senders.iter().position(|other| !ahead(other));
        let senders = &mut self.domains[to].senders;
        // Each PD waits at most once, so that all fit.
        let _ = senders.insert(position.unwrap_or(senders.len()), from as u8);
    }

    /// Lets `caller` wait for the reply of `callee`, which has its message.
    #[inline(always)]
    fn await_reply<M: Machine>(
        &mut self,
        machine: &mut M,
        caller: usize,
        callee: usize,
        reply: bool,
        donates: bool,
    ) {
        if !reply {
            // Without a reply object nobody can wake it but a parent, as on seL4.
            if self.domains[caller].fault.is_none() {
                rewind(machine, caller);
            }
            self.set_state(caller, State::Stopped);
            return;
        }
        self.set_state(caller, State::AwaitingReply { from: callee });
        let context = self.domains[caller].runs_on;
        let lent = context.filter(|_| donates && self.domains[callee].runs_on.is_none());
        let below = lent.and_then(|context| self.domains[context].top);
        let object = &mut self.domains[callee];
        object.caller = Some(caller);
        object.lent = lent;
        object.below = below;
        if let Some(context) = lent {
            self.domains[context].top = Some(callee);
            self.donate(context, callee);
        }
    }

    /// Gives a scheduling context to `to`, which has none, from whoever runs on it.
    #[inline(always)]
    fn donate(&mut self, context: usize, to: usize) {
        if let Some(from) = self.domains[context].holder.replace(to) {
            self.set_context(from, None);
        }
        self.set_context(to, Some(context));
    }

    /// Receives on the own endpoint or, before that, from the own notification.
    pub(crate) fn receive<M: Machine>(&mut self, machine: &mut M, pd: usize, blocks: bool, reply: bool) {
        if reply && let Some(forgotten) = self.domains[pd].caller {
            // The reply object serves the next caller: this one waits until a parent makes it run, as on seL4.
            self.suspend(machine, forgotten);
        }
        if self.take_signals(machine, pd) {
            return;
        }
        if blocks {
            self.return_context(pd);
        }
        if self.domains[pd].senders.is_empty() {
            if blocks {
                self.set_state(pd, State::Receiving { reply });
            } else {
                machine.set_register(pd, Register::Capability, 0);
            }
            return;
        }
        let sender = usize::from(self.domains[pd].senders.remove(0));
        let State::Sending { badge, call, .. } = self.domains[sender].state else {
            return;
        };
        if self.domains[sender].fault.is_some() {
            self.transfer_fault(machine, sender, pd, badge);
        } else {
            transfer(machine, sender, pd, badge);
        }
        if call {
            self.await_reply(machine, sender, pd, reply, true);
        } else {
            self.set_state(sender, State::Running);
        }
    }

    /// Waits for a signal on the own notification.
    pub(crate) fn wait<M: Machine>(&mut self, machine: &mut M, pd: usize, blocks: bool) {
        if self.take_signals(machine, pd) {
            return;
        }
        if blocks {
            self.return_context(pd);
            self.set_state(pd, State::Waiting);
        } else {
            machine.set_register(pd, Register::Capability, 0);
        }
    }

    /// Replies to whoever waits on the reply object of `pd`, if anybody.
    #[inline(always)]
    pub(crate) fn reply<M: Machine>(&mut self, machine: &mut M, pd: usize) {
        if let Some(caller) = self.domains[pd].caller {
            self.take_off_stack(pd, true);
            let runs = match self.domains[caller].fault.take() {
                None => {
                    transfer(machine, pd, caller, 0);
                    true
                }
                Some(fault) => self.answer_fault(machine, pd, caller, &fault),
            };
            self.set_state(caller, if runs { State::Running } else { State::Stopped });
        }
    }

    /// Empties the reply object of `pd`, whose caller does not wait any more.
    pub(crate) fn forget_caller(&mut self, pd: usize) {
        self.take_off_stack(pd, false);
    }

    /// Empties the reply object of `pd`. If the caller `resumes` and its scheduling context is still where the
    /// object sent it, it gets it back.
    #[inline(always)]
    fn take_off_stack(&mut self, pd: usize, resumes: bool) {
        let object = &mut self.domains[pd];
        let (caller, lent, below) = (object.caller.take(), object.lent.take(), object.below.take());
        let (Some(caller), Some(context)) = (caller, lent) else {
            return;
        };
        if self.domains[context].top == Some(pd) {
            self.domains[context].top = below.filter(|_| resumes);
            if resumes && self.domains[caller].runs_on.is_none() {
                self.donate(context, caller);
            }
        } else if let Some(above) = self.domains.iter_mut().find(|domain| domain.below == Some(pd)) {
            above.below = None;
        }
    }

    /// Signals the notification of `pd`.
    pub(crate) fn signal<M: Machine>(&mut self, machine: &mut M, pd: usize, badge: u64) {
        match self.domains[pd].state {
            State::Receiving { .. } | State::Waiting => {
                machine.set_register(pd, Register::Capability, badge);
                self.lend_context(pd);
                self.set_state(pd, State::Running);
            }
            _ => self.domains[pd].signals |= badge,
        }
    }

    fn take_signals<M: Machine>(&mut self, machine: &mut M, pd: usize) -> bool {
        let signals = core::mem::take(&mut self.domains[pd].signals);
        if signals == 0 {
            return false;
        }
        machine.set_register(pd, Register::Capability, signals);
        self.lend_context(pd);
        true
    }

    /// Lets `pd` run on its notification's scheduling context, if it needs one and the notification has it.
    fn lend_context(&mut self, pd: usize) {
        let domain = &self.domains[pd];
        if domain.lends_context && domain.runs_on.is_none() && domain.holder.is_none() {
            self.donate(pd, pd);
        }
    }

    /// Gives the notification's scheduling context back before `pd` blocks.
    fn return_context(&mut self, pd: usize) {
        let domain = &mut self.domains[pd];
        if domain.lends_context && domain.runs_on == Some(pd) {
            domain.holder = None;
            self.set_context(pd, None);
        }
    }
}

/// Copies a message; capabilities that it announces stay behind.
#[inline(always)]
fn transfer<M: Machine>(machine: &mut M, from: usize, to: usize, badge: u64) {
    let info = MessageInfo::from_word(machine.register(from, Register::Info));
    for index in 0..info.words.min(REGISTER_WORDS) {
        let word = machine.register(from, Register::Word(index));
        machine.set_register(to, Register::Word(index), word);
    }
    if info.words > REGISTER_WORDS {
        machine.copy_words(from, to, REGISTER_WORDS..info.words);
    }
    machine.set_register(to, Register::Info, info.to_word());
    machine.set_register(to, Register::Capability, badge);
}
