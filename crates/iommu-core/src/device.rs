//! Devices and what they are attached to.

use iommu_hal::{IovaRange, StreamId};

use crate::space::SpaceSlot;
use crate::{MAX_RESERVED, SpaceId};

/// What a device's stream table entry says, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Every access aborts.
    None,
    /// The tables of this space.
    To(SpaceSlot),
    /// Abort, in memory; the hardware has not confirmed it, and may still walk the tables of these spaces.
    Unsettled(SpaceSlot, Option<SpaceSlot>),
    /// Abort, confirmed, until it is enabled for this space again.
    Stopped(SpaceSlot),
}

impl Attachment {
    /// The spaces that it keeps from being destroyed.
    pub(crate) fn holds(self) -> impl Iterator<Item = SpaceSlot> {
        let (slot, other) = match self {
            Self::None => (None, None),
            Self::To(slot) | Self::Stopped(slot) => (Some(slot), None),
            Self::Unsettled(slot, other) => (Some(slot), other),
        };
        slot.into_iter().chain(other)
    }
}

/// One place of a client's device table, fixed at bring-up.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) stream: StreamId,
    /// Index of the unit that its accesses pass.
    pub(crate) unit: u8,
    pub(crate) attachment: Attachment,
    /// Ranges of addresses that no space to which it is attached may map.
    pub(crate) reserved: heapless::Vec<IovaRange, MAX_RESERVED>,
}

/// What a client is told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its stream.
    pub stream: StreamId,
    /// The space whose tables it uses; `None` if its accesses abort.
    pub space: Option<SpaceId>,
    /// It is attached, but [stopped](crate::Core::stop).
    pub stopped: Option<SpaceId>,
}
