//! The entry formats: what one 64-bit entry of each says.

mod arm;
mod arm_stage1;
mod arm_stage2;
mod vtd_second_stage;

pub(crate) use arm_stage1::ArmStage1;
pub(crate) use arm_stage2::ArmStage2;
pub(crate) use vtd_second_stage::VtdSecondStage;

use iommu_hal::{Format, PhysAddr, Rights};

/// One entry format. An entry is absent, a leaf (a page or a block), or points at a table one height lower; all
/// zeroes is absent.
pub(crate) trait EntryFormat {
    /// The page and block sizes that the format has, as a bit mask of bytes.
    const PAGE_SIZES: u64;

    /// A leaf at `height` without its address.
    fn leaf(height: u32, rights: Rights) -> u64;

    /// The entry that points at the table `table`.
    fn table(table: PhysAddr) -> u64;

    /// Whether the hardware finds anything in `entry`.
    fn is_present(entry: u64) -> bool;

    /// Whether the present `entry` of a table at `height` points at a table.
    fn is_table(entry: u64, height: u32) -> bool;

    /// The address in a present entry.
    fn address(entry: u64) -> PhysAddr;

    /// The rights that a leaf gives.
    fn rights(entry: u64) -> Rights;

    /// Whether a leaf can give exactly `rights`.
    fn expressible(rights: Rights) -> bool;
}

/// Whether tables of format `format` can give a device exactly `rights`. Giving none is no mapping.
pub fn expressible(format: Format, rights: Rights) -> bool {
    match format {
        Format::ArmStage1 => ArmStage1::expressible(rights),
        Format::ArmStage2 => ArmStage2::expressible(rights),
        Format::VtdSecondStage => VtdSecondStage::expressible(rights),
    }
}
