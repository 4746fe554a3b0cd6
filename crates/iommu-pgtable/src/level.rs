//! The arithmetic of levels.
//!
//! A table is named by its height: 0 holds pages, and an entry one height up spans a whole table. The
//! architectures count the other way round, and each its own.

use iommu_hal::{Geometry, PhysAddr};

/// Entries of a table.
pub(crate) const ENTRIES: u64 = 1 << Geometry::LEVEL_BITS;

/// The most levels that a table can have: 48 bits of address (`Geometry::input_bits`).
pub(crate) const MAX_LEVELS: usize = 4;

// The shifts below wrap: a height is less than MAX_LEVELS, and checking that again at each of them would cost
// as much as the walk.

/// Base-2 logarithm of the bytes that one entry of a table at `height` spans.
pub(crate) const fn span_lg2(height: u32) -> u32 {
    Geometry::GRANULE_LG2.wrapping_add(Geometry::LEVEL_BITS.wrapping_mul(height))
}

/// The bytes that one entry of a table at `height` spans.
pub(crate) const fn span(height: u32) -> u64 {
    1_u64.wrapping_shl(span_lg2(height))
}

/// The index of `iova`'s entry in a table at `height`.
pub(crate) const fn index(iova: u64, height: u32) -> u64 {
    iova.wrapping_shr(span_lg2(height)) & (ENTRIES - 1)
}

/// Where `iova`'s entry lies in the table `table` at `height`.
pub(crate) const fn slot(table: PhysAddr, iova: u64, height: u32) -> PhysAddr {
    PhysAddr(table.0 | index(iova, height) << 3)
}

/// The last address that the entry of `iova` in a table at `height` spans.
pub(crate) const fn last_of(iova: u64, height: u32) -> u64 {
    iova | (span(height) - 1)
}

/// Whether one table at `height` serves both addresses.
pub(crate) const fn in_one_table(first: u64, last: u64, height: u32) -> bool {
    first >> span_lg2(height + 1) == last >> span_lg2(height + 1)
}
