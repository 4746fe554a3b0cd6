//! Who is behind a channel, and how a client fares.

use iommu_core::ClientId;
use iommu_hal::StreamId;

use heapless::Vec;

use crate::{
    policy::{MAX_CLIENTS, MAX_DEVICES},
    stats::Counts,
    storm::Watched,
};

/// Everything that the server keeps of clients and devices beside the core: too large to be moved about, so that it
/// lies in a static.
#[derive(Debug)]
pub struct Roll {
    pub(crate) seats: Vec<Seat, MAX_CLIENTS>,
    /// Of every device, sorted by [`Watched::key`].
    pub(crate) watched: Vec<Watched, MAX_DEVICES>,
    /// The clients of supervisors: the supervisor's number, the client's.
    pub(crate) wards: Vec<(u8, u8), MAX_CLIENTS>,
}

impl Roll {
    /// Nobody.
    pub const NEW: Self = Self { seats: Vec::new(), watched: Vec::new(), wards: Vec::new() };

    /// Which of [`Roll::watched`] is of `stream` of the unit at index `unit`.
    pub(crate) fn watched(&self, unit: usize, stream: StreamId) -> Option<usize> {
        self.watched.binary_search_by_key(&(unit as u8, stream), Watched::key).ok()
    }
}

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

/// One client, as the server sees it: a channel, and what is to be done about it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) channel: u8,
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

impl Seat {
    pub(crate) const fn new(channel: u8, measured: bool) -> Self {
        let chores = Chores { ending: false, sweeping: false, revoking: false, next_ns: 0, failures: 0 };
        Self {
            channel,
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
