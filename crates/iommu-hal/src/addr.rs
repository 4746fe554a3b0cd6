//! Addresses, closed intervals and access rights.

use core::fmt;

/// An address as the IOMMU puts it on the bus.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// The address `bytes` further on; `None` past the end of the address space.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pa:{:#x}", self.0)
    }
}

/// A closed interval of IO virtual addresses, never empty: `first..=last`, so that `u64::MAX` is a valid last
/// address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IovaRange {
    first: u64,
    last: u64,
}

impl IovaRange {
    /// Every IO virtual address.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// The interval `first..=last`; `None` where `last` is below `first`.
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// The interval of `length` bytes from `first`; `None` for no bytes or past `u64::MAX`.
    pub const fn from_length(first: u64, length: u64) -> Option<Self> {
        if length == 0 {
            return None;
        }
        match first.checked_add(length - 1) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    /// The lowest address.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The highest address.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// Whether `iova` lies inside.
    pub const fn contains(self, iova: u64) -> bool {
        self.first <= iova && iova <= self.last
    }

    /// Whether all of `other` lies inside.
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The number of bytes less one, so that [`IovaRange::ALL`] has an answer.
    pub const fn length_minus_one(self) -> u64 {
        self.last - self.first
    }
}

impl fmt::Debug for IovaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "iova:{:#x}..={:#x}", self.first, self.last)
    }
}

/// What a device may do with a mapped address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights {
    /// The device may read.
    pub read: bool,
    /// The device may write.
    pub write: bool,
}

impl Rights {
    /// Neither read nor write.
    pub const NONE: Self = Self { read: false, write: false };
    /// Read alone.
    pub const READ: Self = Self { read: true, write: false };
    /// Write alone.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Read and write.
    pub const READ_WRITE: Self = Self { read: true, write: true };

    /// Whether nothing is allowed.
    pub const fn is_none(self) -> bool {
        !self.read && !self.write
    }

    /// Whether `self` allows all that `other` allows.
    pub const fn covers(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.read, self.write) {
            (false, false) => "--",
            (true, false) => "r-",
            (false, true) => "-w",
            (true, true) => "rw",
        })
    }
}
