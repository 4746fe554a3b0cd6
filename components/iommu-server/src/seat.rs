//! Who is behind a channel, and how a client fares.

use iommu_core::ClientId;

use crate::{faults::RingWriter, stats::Counts};

/// Who is behind a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Nobody,
    Client(ClientId),
    /// A client with which the server does something before or after its request: see [`Seat::is_aside`].
    Aside(ClientId),
    PciHost,
    /// By its number.
    Supervisor(u8),
}

/// One client, as the server sees it: a channel, a ring, and what is to be done about it.
#[derive(Debug)]
pub(crate) struct Seat<P> {
    pub(crate) channel: u8,
    pub(crate) ring: Option<RingWriter<P>>,
    /// The client that may take over from this one, and the other way round.
    pub(crate) partner: Option<ClientId>,
    /// The channel of its supervisor.
    pub(crate) supervisor: Option<u8>,
    /// Its requests are counted and timed.
    pub(crate) measured: bool,
    pub(crate) counts: Counts,
    /// It is held, until this time.
    pub(crate) held_until_ns: Option<u64>,
    pub(crate) chores: Chores,
}

/// What the server does by itself about a client, a bounded step at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chores {
    /// Everything that it has is to go.
    pub(crate) ending: bool,
    /// What it left half done is to go.
    pub(crate) sweeping: bool,
    /// What maps its withdrawn grants is to go.
    pub(crate) revoking: bool,
    /// Not before this time.
    pub(crate) next_ns: u64,
    /// How often in a row the hardware did not confirm it.
    pub(crate) failures: u8,
}

impl Chores {
    /// Whether there is something to do.
    pub(crate) const fn any(&self) -> bool {
        self.ending || self.sweeping || self.revoking
    }
}

impl<P> Seat<P> {
    pub(crate) const fn new(channel: u8, ring: Option<RingWriter<P>>, measured: bool) -> Self {
        let chores = Chores { ending: false, sweeping: false, revoking: false, next_ns: 0, failures: 0 };
        Self {
            channel,
            ring,
            partner: None,
            supervisor: None,
            measured,
            counts: Counts::NEW,
            held_until_ns: None,
            chores,
        }
    }

    /// Whether its requests that would change something are refused.
    pub(crate) const fn is_busy(&self) -> bool {
        self.held_until_ns.is_some() || self.chores.ending
    }

    /// Whether its requests take the longer way.
    pub(crate) const fn is_aside(&self) -> bool {
        self.measured || self.is_busy()
    }
}
