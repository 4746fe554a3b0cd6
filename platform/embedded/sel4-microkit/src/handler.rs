//! The main loop of a PD, and what an application puts into it.

pub use core::convert::Infallible;
use core::fmt;

use crate::{
    Channel, ChannelSet, Child, MessageInfo,
    ipc::{self, Event},
    pd_is_passive, symbols,
};

/// What a PD does when it is notified, called, or told of a child's fault.
pub trait Handler {
    /// What ends the PD.
    type Error: fmt::Display;

    /// Handles notifications and interrupts.
    ///
    /// # Errors
    /// An error ends the PD.
    ///
    /// # Panics
    /// Unless overridden.
    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        panic!("unexpected notification from channels {}", channels.display())
    }

    /// Answers a call. The words of both messages are those of [`with_msg_regs`](crate::with_msg_regs).
    ///
    /// # Errors
    /// An error ends the PD.
    ///
    /// # Panics
    /// Unless overridden.
    fn protected(&mut self, channel: Channel, msg_info: MessageInfo) -> Result<MessageInfo, Self::Error> {
        panic!("unexpected protected procedure call from channel {channel:?} with msg_info={msg_info:?}")
    }

    /// Handles a child's fault; an answer lets the child go on.
    ///
    /// # Errors
    /// An error ends the PD.
    ///
    /// # Panics
    /// Unless overridden.
    fn fault(&mut self, child: Child, msg_info: MessageInfo) -> Result<Option<MessageInfo>, Self::Error> {
        panic!("unexpected fault from protection domain {child:?} with msg_info={msg_info:?}")
    }

    #[doc(hidden)]
    fn run(&mut self) -> Result<Never, Self::Error> {
        main_loop(self, pd_is_passive())
    }
}

fn main_loop<H: Handler + ?Sized>(handler: &mut H, passive: bool) -> Result<Never, H::Error> {
    // Works around seL4 issue 1536: an interrupt that came before is lost unless acknowledged.
    for channel in ChannelSet::from_bits(symbols::pd_irqs()).iter() {
        if let Err(error) = channel.irq_ack() {
            panic!("channel {}: {error}", channel.index());
        }
    }
    let mut event = if passive { ipc::forfeit_and_recv() } else { ipc::recv() };
    loop {
        let answer = match event {
            Event::Notified(channels) => {
                handler.notified(channels)?;
                None
            }
            Event::Protected(channel, msg_info) => Some(handler.protected(channel, msg_info)?),
            Event::Fault(child, msg_info) => handler.fault(child, msg_info)?,
        };
        event = match answer {
            Some(msg_info) => ipc::reply_recv(msg_info),
            None => ipc::recv(),
        };
    }
}

/// What does not happen.
#[doc(hidden)]
pub enum Never {}

impl Handler for Never {
    type Error = Infallible;
}

/// A handler that expects nothing.
pub struct NullHandler(());

impl NullHandler {
    /// The handler.
    #[allow(clippy::new_without_default)] // rust-sel4 has no `Default` here.
    pub fn new() -> Self {
        Self(())
    }
}

impl Handler for NullHandler {
    type Error = Infallible;
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

    const ACKNOWLEDGE: u64 = crate::sdk::IRQ_ACK_LABEL << 12;
    const QUIET: Received = Received { badge: 0, tag: 0, words: [0; 4] };

    /// Ends with an error once it was notified on channel 4.
    struct Adder;

    impl Handler for Adder {
        type Error = &'static str;

        fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
            if channels.contains(Channel::new(4)) { Err("told to end") } else { Ok(()) }
        }

        fn protected(&mut self, channel: Channel, info: MessageInfo) -> Result<MessageInfo, Self::Error> {
            assert_eq!((channel.index(), info.label(), info.count()), (7, 9, 2));
            set_mr(0, get_mr(0) + get_mr(1));
            Ok(MessageInfo::new(1, 1))
        }

        fn fault(&mut self, child: Child, info: MessageInfo) -> Result<Option<MessageInfo>, Self::Error> {
            assert_eq!((child.index(), info.label()), (3, 6));
            Ok(None)
        }
    }

    fn acknowledgements() -> [Asked; 2] {
        [139, 199].map(|cap| Asked::Call { cap, tag: ACKNOWLEDGE, words: [0; 4] })
    }

    #[test]
    fn acknowledges_waits_replies() {
        let waits = Asked::Recv { source: 1, reply: 4 };
        queue(QUIET);
        queue(QUIET);
        queue(Received { badge: 1 << 2, ..QUIET });
        queue(Received { badge: 1 << 63 | 7, tag: 9 << 12 | 2, words: [30, 12, 0, 0] });
        queue(Received { badge: 1 << 62 | 3, tag: 6 << 12 | 4, words: [0; 4] });
        queue(Received { badge: 1 << 4, ..QUIET });
        assert_eq!(Adder.run().err(), Some("told to end"));
        let replies = Asked::ReplyRecv { source: 1, tag: 1 << 12 | 1, words: [42, 12, 0, 0], reply: 4 };
        let [first, second] = acknowledgements();
        assert_eq!(asked(), [first, second, waits, waits, replies, waits]);
    }

    #[test]
    fn a_passive_pd_gives_its_scheduling_context_back_first() {
        queue(QUIET);
        queue(QUIET);
        queue(Received { badge: 1 << 4, ..QUIET });
        assert_eq!(main_loop(&mut Adder, true).err(), Some("told to end"));
        let [first, second] = acknowledgements();
        assert_eq!(asked(), [first, second, Asked::NbSendRecv { cap: 5, tag: 0, source: 1, reply: 4 }]);
    }

    #[test]
    #[should_panic(expected = "channel 1: irq ack error: 3")]
    fn a_refused_acknowledgement_ends_it() {
        queue(Received { tag: 3 << 12, ..QUIET });
        main_loop(&mut Adder, false).ok();
    }

    #[test]
    #[should_panic(expected = "unexpected notification from channels {0, 6}")]
    fn by_default_a_notification_is_unexpected() {
        NullHandler::new().notified(ChannelSet::from_bits(1 << 6 | 1)).ok();
    }
}
