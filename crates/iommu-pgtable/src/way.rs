//! What a table knows of itself between calls.

use iommu_hal::{IovaRange, PhysAddr};

use crate::level::{last_of, span, span_lg2};

/// The way to the table where the last change was made, so that the next change near it needs no walk. Forgotten
/// when any table is taken out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    table: PhysAddr,
    /// The addresses that the table serves, less the bits that differ among them.
    window: u64,
    height: u32,
}

impl Way {
    /// To nowhere: no table is so high.
    pub(crate) const NONE: Self = Self { table: PhysAddr(0), window: 0, height: u32::MAX };

    /// To `table`, at `height`, which serves `iova`.
    #[inline]
    pub(crate) const fn to(iova: u64, height: u32, table: PhysAddr) -> Self {
        Self { table, window: iova >> span_lg2(height + 1), height }
    }

    /// The table at `height` that serves `iova`, if this is the way there.
    #[inline]
    pub(crate) const fn leads_to(&self, iova: u64, height: u32) -> Option<PhysAddr> {
        if self.height == height && self.window == iova >> span_lg2(height + 1) {
            Some(self.table)
        } else {
            None
        }
    }
}

/// A table below the root that holds no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) table: PhysAddr,
    /// An address that it serves.
    pub(crate) iova: u64,
    pub(crate) height: u32,
}

impl Spare {
    /// `table`, at `height`, which serves `iova`.
    pub(crate) const fn new(iova: u64, height: u32, table: PhysAddr) -> Self {
        Self { table, iova: iova & !(span(height + 1) - 1), height }
    }

    /// All addresses that it serves.
    pub(crate) const fn window(&self) -> IovaRange {
        match IovaRange::new(self.iova, last_of(self.iova, self.height + 1)) {
            Some(window) => window,
            None => unreachable!(),
        }
    }
}
