//! How a request ended.

/// The label of a reply. Each refusal names exactly one broken rule; in parentheses the errno that a POSIX
/// personality would return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Done as far as the reply says; the same call continues it. Not a refusal.
    Again = 1,
    /// The label is no opcode (ENOSYS).
    UnknownRequest = 2,
    /// The number of words is wrong, or a reserved bit is set (EINVAL).
    BadMessage = 3,
    /// The channel is not granted this kind of request (EPERM).
    NotAllowed = 4,
    /// No such address space on this channel (ENOENT).
    NoSuchSpace = 5,
    /// No such device on this channel (ENOENT).
    NoSuchDevice = 6,
    /// No such region slot on this channel (ENOENT).
    NoSuchRegion = 7,
    /// The slot's grant was withdrawn or renewed since (ESTALE).
    StaleRegion = 8,
    /// Offset and length reach outside the region (EINVAL).
    OutOfRegion = 9,
    /// More rights than the region's grant has (EPERM).
    NotPermitted = 10,
    /// IOVA, offset or length is no multiple of the space's granule (EINVAL).
    Misaligned = 11,
    /// The length is zero (EINVAL).
    ZeroLength = 12,
    /// First plus length passes the last address (EOVERFLOW).
    Overflow = 13,
    /// The IOVA range touches one that a device of the space reserves, or leaves the space's aperture (EINVAL).
    Reserved = 14,
    /// The IOVA range overlaps a mapping (EEXIST).
    Overlap = 15,
    /// Neither read nor write was asked for (EINVAL).
    NoRights = 16,
    /// The table format cannot express these rights (EOPNOTSUPP).
    NotExpressible = 17,
    /// No hole is large enough (ENOSPC).
    NoSpace = 18,
    /// Nothing is mapped in the range (ENOENT).
    NotMapped = 19,
    /// The range cuts through a mapping; nothing was removed (ENOENT).
    WouldSplit = 20,
    /// The object is in use: a device holds the space, or a supervisor holds or ends the channel's own
    /// objects (EBUSY).
    Busy = 21,
    /// The server is out of areas, table frames or spaces (ENOMEM).
    NoMemory = 22,
    /// The channel's own quota is used up (ENOMEM).
    QuotaExceeded = 23,
    /// The device is attached already; detach or replace (EBUSY).
    AlreadyAttached = 24,
    /// The device is not attached (EINVAL).
    NotAttached = 25,
    /// The device's unit cannot walk this space's tables (EINVAL).
    Incompatible = 26,
    /// The hardware did not answer in time; what was taken out stays out of use (ETIMEDOUT).
    HardwareTimeout = 27,
    /// The unit is out of order; its streams are aborted (EIO).
    HardwareFailed = 28,
    /// A reserved range of the device meets a mapping or an allowed range of the space, or an allowed range a
    /// reserved one (EADDRINUSE).
    RangeInUse = 29,
    /// More ranges or mappings than one request takes (E2BIG).
    TooMany = 30,
    /// Nothing is held that the channel could claim (EINVAL).
    NothingHeld = 31,
    /// The index is past the end of what it counts (ENOENT).
    NoSuchEntry = 32,
    /// The server stopped the device after a fault storm; enable or detach it (EIO).
    Stopped = 33,
    /// No such client in the supervisor's list (ENOENT).
    NoSuchClient = 34,
    /// The grant is not withdrawn (EINVAL).
    NotRevoked = 35,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 36] = [
        Self::Ok,
        Self::Again,
        Self::UnknownRequest,
        Self::BadMessage,
        Self::NotAllowed,
        Self::NoSuchSpace,
        Self::NoSuchDevice,
        Self::NoSuchRegion,
        Self::StaleRegion,
        Self::OutOfRegion,
        Self::NotPermitted,
        Self::Misaligned,
        Self::ZeroLength,
        Self::Overflow,
        Self::Reserved,
        Self::Overlap,
        Self::NoRights,
        Self::NotExpressible,
        Self::NoSpace,
        Self::NotMapped,
        Self::WouldSplit,
        Self::Busy,
        Self::NoMemory,
        Self::QuotaExceeded,
        Self::AlreadyAttached,
        Self::NotAttached,
        Self::Incompatible,
        Self::HardwareTimeout,
        Self::HardwareFailed,
        Self::RangeInUse,
        Self::TooMany,
        Self::NothingHeld,
        Self::NoSuchEntry,
        Self::Stopped,
        Self::NoSuchClient,
        Self::NotRevoked,
    ];

    /// The status of a reply's label; `None` for a label that this version does not know.
    pub fn from_label(label: u64) -> Option<Self> {
        usize::try_from(label).ok().and_then(|index| Self::ALL.get(index)).copied()
    }

    /// The reply's label.
    pub const fn label(self) -> u64 {
        self as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_statuses_are_one_to_one() {
        for (label, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.label(), label as u64);
            assert_eq!(Status::from_label(label as u64), Some(status));
        }
        assert_eq!(Status::from_label(Status::ALL.len() as u64), None);
        assert_eq!(Status::from_label(u64::MAX), None);
    }
}
