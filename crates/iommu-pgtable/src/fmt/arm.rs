//! What both stages of VMSAv8-64 with the 4 KiB granule share: Arm DDI 0487, D8.3
//! (descriptor formats). SMMUv3 walks the same tables (Arm IHI 0070, 3.4).

use iommu_hal::PhysAddr;

/// Bit 0: valid.
const VALID: u64 = 1 << 0;
/// Bit 1: at height 0 a page (and reserved when clear), above it a table; a block when clear.
const TABLE_OR_PAGE: u64 = 1 << 1;
/// SH, bits 9:8: inner shareable.
const INNER_SHAREABLE: u64 = 0b11 << 8;
/// AF: accessed; when clear, an access faults.
const ACCESSED: u64 = 1 << 10;
/// Output or next-level table address, bits 47:12.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// 4 KiB pages, 2 MiB and 1 GiB blocks.
pub(super) const PAGE_SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

/// The bits that every leaf at `height` has.
pub(super) const fn leaf(height: u32) -> u64 {
    let kind = if height == 0 { TABLE_OR_PAGE } else { 0 };
    VALID | kind | INNER_SHAREABLE | ACCESSED
}

/// A table descriptor; its hierarchical attributes are 0, so that they take nothing away.
pub(super) const fn table(table: PhysAddr) -> u64 {
    table.0 | VALID | TABLE_OR_PAGE
}

pub(super) const fn is_present(entry: u64) -> bool {
    entry & VALID != 0
}

pub(super) const fn is_table(entry: u64, height: u32) -> bool {
    entry & TABLE_OR_PAGE != 0 && height > 0
}

pub(super) const fn address(entry: u64) -> PhysAddr {
    PhysAddr(entry & ADDRESS)
}
