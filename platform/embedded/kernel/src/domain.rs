//! One PD: its thread and the objects that Microkit gives it, one of each kind.

use embedded_image::MAX_PDS;

use crate::PdSet;
use crate::fault::Fault;

/// What a PD's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Runs as soon as it has a scheduling context and its turn.
    Running,
    /// Waits for a message on its endpoint or a signal on its notification; `reply` says whether it brought its
    /// reply object, without which a caller can never be answered.
    Receiving { reply: bool },
    /// Waits for a signal on its notification.
    Waiting,
    /// Waits until the PD `to` receives its message.
    Sending { to: usize, badge: u64, call: bool },
    /// Waits for the reply of the PD `from`.
    AwaitingReply { from: usize },
    /// Does not run, unless a parent makes it.
    Stopped,
}

/// A PD. Scheduling contexts and reply objects are named by the PD that they were made for.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) priority: u8,
    /// Its place in the scheduler.
    pub(crate) rank: u8,

    // The thread.
    pub(crate) state: State,
    /// The fault that it waits for its parent's reply to.
    pub(crate) fault: Option<Fault>,
    /// The scheduling context that it runs on.
    pub(crate) runs_on: Option<usize>,

    // The endpoint.
    /// Others may call it, so that it has one.
    pub(crate) takes_calls: bool,
    /// Who waits to send to it, highest priority first, then longest wait first.
    pub(crate) senders: heapless::Vec<u8, MAX_PDS>,

    // The notification.
    /// Badges of the signals that nobody has taken yet.
    pub(crate) signals: u64,
    /// The PD's scheduling context belongs to the notification, which lends it to the thread.
    pub(crate) lends_context: bool,

    // The reply object.
    /// Who waits for the reply.
    pub(crate) caller: Option<usize>,
    /// The scheduling context that came with the call and goes back with the reply.
    pub(crate) lent: Option<usize>,
    /// The reply object that `lent` came through before.
    pub(crate) below: Option<usize>,

    // The scheduling context.
    /// The thread that runs on it.
    pub(crate) holder: Option<usize>,
    /// The reply object that it was last lent through.
    pub(crate) top: Option<usize>,
    /// Ticks of a turn.
    pub(crate) budget: u64,
    /// Ticks left of this turn.
    pub(crate) left: u64,
}

impl Domain {
    /// A place in the table that no PD takes.
    pub(crate) const fn absent() -> Self {
        Self {
            priority: 0,
            rank: 0,
            state: State::Stopped,
            fault: None,
            runs_on: None,
            takes_calls: false,
            senders: heapless::Vec::new(),
            signals: 0,
            lends_context: false,
            caller: None,
            lent: None,
            below: None,
            holder: None,
            top: None,
            budget: 0,
            left: 0,
        }
    }

    /// The PD `index` as it starts: running on its own scheduling context.
    pub(crate) fn new(index: usize, rank: u8, priority: u8, budget: u64, takes_calls: bool) -> Self {
        let state = State::Running;
        let (runs_on, holder) = (Some(index), Some(index));
        let left = budget;
        Self { priority, rank, state, runs_on, takes_calls, holder, budget, left, ..Self::absent() }
    }

    /// Its bit in the scheduler.
    #[inline(always)]
    pub(crate) fn bit(&self) -> PdSet {
        1 << (self.rank % MAX_PDS as u8)
    }
}
