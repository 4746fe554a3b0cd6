//! What a PD receives, and the system calls that its main loop makes.

use core::fmt;

use crate::{
    Channel, Child, MessageInfo,
    arch::{self, FastWords, Received},
    message,
};

// Where Microkit puts a PD's capabilities.
const INPUT_SLOT: u64 = 1;
const REPLY_SLOT: u64 = 4;
const MONITOR_SLOT: u64 = 5;

// Badges: these bits mark a call and a child's fault; without them it is a notification.
const CALL_BADGE: u64 = 1 << 63;
const FAULT_BADGE: u64 = 1 << 62;

/// What ended a wait.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Signals or interrupts.
    Notified(ChannelSet),
    /// A call, to be replied to.
    Protected(Channel, MessageInfo),
    /// A child's fault.
    Fault(Child, MessageInfo),
}

impl Event {
    fn new(received: Received) -> Self {
        message::set_fast_words(received.words);
        let info = MessageInfo::from_tag(received.tag);
        let badge = received.badge;
        if badge & CALL_BADGE != 0 {
            Self::Protected(Channel::new((badge & !CALL_BADGE) as usize), info)
        } else if badge & FAULT_BADGE != 0 {
            Self::Fault(Child::new((badge & !FAULT_BADGE) as usize), info)
        } else {
            Self::Notified(ChannelSet(badge))
        }
    }
}

/// Channels that were signalled.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(u64);

impl ChannelSet {
    /// Those whose bits are set.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether `channel` is among them.
    pub fn contains(&self, channel: Channel) -> bool {
        self.0 & 1 << channel.index() != 0
    }

    /// Them, in the order of their ids.
    pub fn iter(&self) -> ChannelSetIter {
        ChannelSetIter(self.0)
    }

    /// Them as text: `{1, 5}`.
    pub fn display(&self) -> DisplayChannelSet<'_> {
        DisplayChannelSet(self)
    }
}

/// An iterator over the channels of a [`ChannelSet`].
#[doc(hidden)]
pub struct ChannelSetIter(u64);

impl Iterator for ChannelSetIter {
    type Item = Channel;

    fn next(&mut self) -> Option<Channel> {
        if self.0 == 0 {
            return None;
        }
        let index = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(Channel::new(index as usize))
    }
}

/// A [`ChannelSet`] as text.
pub struct DisplayChannelSet<'a>(&'a ChannelSet);

impl fmt::Display for DisplayChannelSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, channel) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}", channel.index())?;
        }
        f.write_str("}")
    }
}

/// Signals the notification in `slot`.
pub(crate) fn signal(slot: u64) {
    arch::send(slot, MessageInfo::default().tag());
}

/// Calls what is in `slot`.
pub(crate) fn call(slot: u64, info: MessageInfo) -> MessageInfo {
    let received = arch::call(slot, info.tag(), message::fast_words());
    message::set_fast_words(received.words);
    MessageInfo::from_tag(received.tag)
}

/// Waits for the next event.
pub(crate) fn recv() -> Event {
    Event::new(arch::recv(INPUT_SLOT, REPLY_SLOT))
}

/// Answers the last call, then waits.
pub(crate) fn reply_recv(info: MessageInfo) -> Event {
    Event::new(arch::reply_recv(INPUT_SLOT, info.tag(), message::fast_words(), REPLY_SLOT))
}

/// Tells the monitor that init is over, so that it takes the scheduling context, then waits.
pub(crate) fn forfeit_and_recv() -> Event {
    let (tag, words): (u64, FastWords) = (MessageInfo::default().tag(), [0; 4]);
    Event::new(arch::nb_send_recv(MONITOR_SLOT, tag, words, INPUT_SLOT, REPLY_SLOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_in_order_each_once() {
        let set = ChannelSet(1 << 61 | 1 << 5 | 1);
        assert_eq!(set.iter().map(|channel| channel.index()).collect::<Vec<_>>(), [0, 5, 61]);
        assert_eq!(set.display().to_string(), "{0, 5, 61}");
        assert!(set.contains(Channel::new(5)) && !set.contains(Channel::new(4)));
        assert_eq!(ChannelSet(0).display().to_string(), "{}");
        assert_eq!(ChannelSet(0).iter().count(), 0);
    }
}
