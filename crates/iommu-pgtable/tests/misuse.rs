//! What only a bug of the caller can ask for is caught before it reaches the hardware.

mod common;

use common::{GIB1, KIB4, MIB2, rig::Rig};
use iommu_hal::{Format, Geometry, IovaRange, PhysAddr, Rights};
use iommu_pgtable::{Extent, Reservation, expressible};

fn rig(format: Format) -> Rig {
    let geometry = Geometry { format, input_bits: 39, output_bits: 40, page_sizes: KIB4 | MIB2 | GIB1 };
    Rig::new(geometry, 16, false)
}

const EXTENT: Extent = Extent { iova: MIB2, pa: PhysAddr(MIB2), bytes: MIB2, rights: Rights::READ_WRITE };

fn fill(format: Format, extents: &[Extent]) {
    let mut rig = rig(format);
    let mut reservation = rig.pool.reserve(8).unwrap();
    for extent in extents {
        rig.fill(&mut reservation, extent, &mut { u32::MAX });
    }
}

#[test]
#[should_panic(expected = "mapped already")]
fn a_page_under_a_block() {
    fill(Format::ArmStage2, &[EXTENT, Extent { bytes: KIB4, ..EXTENT }]);
}

#[test]
#[should_panic(expected = "outside the aperture")]
fn past_the_aperture() {
    fill(Format::ArmStage2, &[Extent { iova: (1 << 39) - KIB4, bytes: 2 * KIB4, ..EXTENT }]);
}

#[test]
#[should_panic(expected = "outside the aperture")]
fn past_the_last_address() {
    fill(Format::ArmStage2, &[Extent { iova: KIB4, bytes: u64::MAX - KIB4 + 1, ..EXTENT }]);
}

#[test]
#[should_panic(expected = "outside the output size")]
fn past_the_output_size() {
    fill(Format::ArmStage2, &[Extent { pa: PhysAddr((1 << 40) - KIB4), ..EXTENT }]);
}

#[test]
#[should_panic(expected = "not whole pages")]
fn half_a_page() {
    fill(Format::ArmStage2, &[Extent { pa: PhysAddr(0x800), ..EXTENT }]);
}

#[test]
#[should_panic(expected = "rights that the format does not have")]
fn write_only_at_stage_1() {
    fill(Format::ArmStage1, &[Extent { rights: Rights::WRITE, ..EXTENT }]);
}

#[test]
#[should_panic(expected = "a table was not reserved")]
fn a_table_that_was_not_reserved() {
    rig(Format::ArmStage2).fill(&mut { Reservation::EMPTY }, &EXTENT, &mut { u32::MAX });
}

#[test]
#[should_panic(expected = "the range cuts a block in two")]
fn half_a_block() {
    let mut rig = rig(Format::ArmStage2);
    rig.map(EXTENT, u32::MAX).unwrap();
    let range = IovaRange::from_length(MIB2, MIB2 / 2).unwrap();
    let _ = rig.table.clear(&mut rig.pool, &mut rig.ram, false, range, &mut 10);
}

#[test]
#[should_panic(expected = "destroyed tables map something")]
fn destroying_what_is_in_use() {
    let mut rig = rig(Format::ArmStage2);
    rig.map(EXTENT, u32::MAX).unwrap();
    let _ = rig.table.destroy(&mut rig.pool);
}

#[test]
fn rights_that_each_format_has() {
    for (format, write_only) in
        [(Format::ArmStage1, false), (Format::ArmStage2, true), (Format::VtdSecondStage, true)]
    {
        assert!(expressible(format, Rights::READ) && expressible(format, Rights::READ_WRITE));
        assert_eq!(expressible(format, Rights::WRITE), write_only);
        assert!(!expressible(format, Rights::NONE));
    }
}
