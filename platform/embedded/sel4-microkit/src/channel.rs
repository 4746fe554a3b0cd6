//! Channels to other PDs and interrupts, and children.

use core::fmt;

use crate::{MessageInfo, ipc, object::Tcb, sdk, symbols};

// Where Microkit puts a PD's capabilities: 64 slots for each kind.
const NOTIFICATION_SLOT: u64 = 10;
const ENDPOINT_SLOT: u64 = 74;
const IRQ_SLOT: u64 = 138;
const TCB_SLOT: u64 = 202;

/// Channels of one PD: a badge is a bit each, and two bits mark calls and faults.
const MAX_CHANNELS: usize = 62;

/// One end of a channel, or an interrupt, by the id that the system description gives it in this PD.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Channel {
    index: usize,
}

impl Channel {
    /// Channel `index`.
    ///
    /// # Panics
    /// If `index` is above 61.
    pub const fn new(index: usize) -> Self {
        assert!(index < MAX_CHANNELS, "a PD has channels 0 to 61");
        Self { index }
    }

    /// Its id.
    pub const fn index(&self) -> usize {
        self.index
    }

    fn slot(&self, operation: &str, valid: u64, first: u64) -> u64 {
        assert!(valid & 1 << self.index != 0, "{operation}: not valid for channel '{}'", self.index);
        first + self.index as u64
    }

    /// Signals the other end's PD.
    ///
    /// # Panics
    /// If the system description does not let this end notify.
    pub fn notify(&self) {
        ipc::signal(self.slot("notify", symbols::pd_notifications(), NOTIFICATION_SLOT));
    }

    /// Tells the kernel that this interrupt is handled and may come again.
    ///
    /// # Errors
    /// The kernel's refusal.
    ///
    /// # Panics
    /// If the channel is no interrupt.
    pub fn irq_ack(&self) -> Result<(), IrqAckError> {
        let slot = self.slot("irq_ack", symbols::pd_irqs(), IRQ_SLOT);
        match ipc::call(slot, MessageInfo::new(sdk::IRQ_ACK_LABEL, 0)).label() {
            0 => Ok(()),
            error => Err(IrqAckError(error)),
        }
    }

    /// Calls the other end's PD and waits for its answer; the words are those of
    /// [`with_msg_regs`](crate::with_msg_regs).
    ///
    /// # Panics
    /// If the system description does not let this end call.
    pub fn pp_call(&self, msg_info: MessageInfo) -> MessageInfo {
        ipc::call(self.slot("pp_call", symbols::pd_pps(), ENDPOINT_SLOT), msg_info)
    }
}

/// The kernel's refusal of [`Channel::irq_ack`]: its `seL4_Error`.
#[derive(Debug, PartialEq, Eq)]
pub struct IrqAckError(u64);

impl fmt::Display for IrqAckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "irq ack error: {}", self.0)
    }
}

/// A child PD, by the id that the system description gives it.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Child {
    index: usize,
}

impl Child {
    /// Child `index`.
    pub const fn new(index: usize) -> Self {
        Self { index }
    }

    /// Its id.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Its thread.
    pub fn tcb(&self) -> Tcb {
        Tcb::new(TCB_SLOT + self.index as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arch::{
            Asked, Received,
            script::{asked, queue},
        },
        get_mr, set_mr,
    };

    #[test]
    fn capabilities_are_where_microkit_puts_them() {
        Channel::new(2).notify();
        set_mr(0, 5);
        queue(Received { badge: 0, tag: 8 << 12 | 1, words: [6, 0, 0, 0] });
        let reply = Channel::new(3).pp_call(MessageInfo::new(4, 1));
        assert_eq!((reply.label(), reply.count(), get_mr(0)), (8, 1, 6));
        queue(Received { badge: 0, tag: 0, words: [0; 4] });
        assert_eq!(Channel::new(61).irq_ack(), Ok(()));
        let called = Asked::Call { cap: 77, tag: 4 << 12 | 1, words: [5, 0, 0, 0] };
        let acknowledged = Asked::Call { cap: 199, tag: sdk::IRQ_ACK_LABEL << 12, words: [6, 0, 0, 0] };
        assert_eq!(asked(), [Asked::Send { cap: 12, tag: 0 }, called, acknowledged]);
    }

    #[test]
    #[should_panic(expected = "pp_call: not valid for channel '2'")]
    fn a_channel_without_calls() {
        Channel::new(2).pp_call(MessageInfo::default());
    }

    #[test]
    #[should_panic(expected = "notify: not valid for channel '3'")]
    fn a_channel_without_notifications() {
        Channel::new(3).notify();
    }

    #[test]
    #[should_panic(expected = "a PD has channels 0 to 61")]
    fn channel_numbers_end() {
        Channel::new(62);
    }
}
