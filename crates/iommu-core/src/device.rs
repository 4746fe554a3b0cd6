//! Devices and what they are attached to.

use iommu_hal::StreamId;

use crate::SpaceId;
use crate::space::SpaceSlot;

/// What a device's stream table entry says, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Every access aborts.
    None,
    /// The tables of this space.
    To(SpaceSlot),
    /// Abort, in memory; the hardware has not confirmed it, and may still walk the tables of these spaces.
    Unsettled(SpaceSlot, Option<SpaceSlot>),
}

/// One place of a client's device table, fixed at bring-up.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) stream: StreamId,
    /// Index of the unit that its accesses pass.
    pub(crate) unit: u8,
    pub(crate) attachment: Attachment,
}

/// What a client is told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its stream.
    pub stream: StreamId,
    /// The space whose tables it uses; `None` if its accesses abort.
    pub space: Option<SpaceId>,
}
