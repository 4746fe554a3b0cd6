//! Why a request is refused.

use iommu_hal::{IovaRange, Rights, UnitError};

use crate::SpaceId;

/// What a client can run out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Frames for tables.
    Frames,
    /// Areas.
    Areas,
    /// Address spaces.
    Spaces,
}

/// The one rule that a request breaks. Of several, the first in the order that the request names; what was refused has changed nothing, save where a variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client has no such address space.
    NoSuchSpace(SpaceId),
    /// The client has no such device, or its unit knows no such stream.
    NoSuchDevice(u16),
    /// The client has no such region slot.
    NoSuchRegion(u16),
    /// The slot's grant is of another generation.
    StaleRegion {
        /// The generation that was named.
        asked: u16,
        /// The grant's.
        current: u16,
    },
    /// Offset and length reach outside the region.
    OutOfRegion {
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
        /// The region's bytes.
        bytes: u64,
    },
    /// More rights than were granted.
    NotPermitted {
        /// Rights asked for.
        asked: Rights,
        /// Rights granted.
        granted: Rights,
    },
    /// This IOVA, offset or length is no multiple of the granule.
    Misaligned(u64),
    /// No bytes.
    ZeroLength,
    /// The range passes the last address.
    Overflow {
        /// Its first address.
        first: u64,
    },
    /// The range leaves the aperture.
    Reserved {
        /// The range.
        range: IovaRange,
        /// The aperture.
        aperture: IovaRange,
    },
    /// The range touches one that a device of the space reserves.
    ReservedByDevice {
        /// The range.
        range: IovaRange,
        /// The device's.
        reserved: IovaRange,
    },
    /// The range overlaps this area.
    Overlap(IovaRange),
    /// Neither read nor write was asked for.
    NoRights,
    /// The format has no entry with these rights.
    NotExpressible(Rights),
    /// No hole was found; see [`Tree::first_fit`](crate::tree::Tree::first_fit).
    NoSpace {
        /// Bytes asked for.
        length: u64,
        /// Their alignment.
        align: u64,
    },
    /// Nothing is mapped in the range, or nothing that waits to be resumed.
    NotMapped(IovaRange),
    /// The range cuts through this area.
    WouldSplit(IovaRange),
    /// The space still has devices, or the device waits for a DETACH that the hardware confirms.
    Busy,
    /// The server has run out.
    NoMemory(Resource),
    /// The client's quota is used up.
    QuotaExceeded(Resource),
    /// The device is attached to this space.
    AlreadyAttached(SpaceId),
    /// The device is not attached.
    NotAttached,
    /// The device's unit cannot walk the space's tables.
    Incompatible,
    /// A reserved range of a device, this one, meets a mapping or an allowed range of the space.
    RangeInUse(IovaRange),
    /// More ranges, or areas, than this.
    TooMany(usize),
    /// The index is past the last.
    NoSuchEntry(u16),
    /// The device is stopped; enable or detach it.
    Stopped,
    /// The grant is not withdrawn.
    NotRevoked,
    /// The hardware did not answer in time. What was being taken out stays out of use; the same request tries
    /// again.
    HardwareTimeout {
        /// What was waited for, in words.
        waiting_for: &'static str,
        /// The deadline, in nanoseconds.
        limit_ns: u64,
    },
    /// The unit is out of order. As for [`Refusal::HardwareTimeout`].
    HardwareFailed(UnitError),
}

impl From<UnitError> for Refusal {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::Timeout { waiting_for, limit_ns } => Self::HardwareTimeout { waiting_for, limit_ns },
            error => Self::HardwareFailed(error),
        }
    }
}
