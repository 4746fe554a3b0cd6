//! One suite over every format, start level and set of page sizes.

mod common;

use common::{GIB1, KIB4, MIB2, geometries, reference::Reference, rig::Rig, rig::rest};
use iommu_hal::{Format, Geometry, PhysAddr, Rights};
use iommu_pgtable::{Extent, Reservation, Table};

/// More pages than a case of a suite that runs for every shape should have.
const MANY_PAGES: usize = 1100;

const UNLIMITED: u32 = u32::MAX;

fn extent(iova: u64, pa: u64, bytes: u64) -> Extent {
    Extent { iova, pa: PhysAddr(pa), bytes, rights: Rights::READ_WRITE }
}

#[test]
fn a_page_at_either_end_of_the_aperture() {
    for geometry in geometries() {
        let mut rig = Rig::new(geometry, 16, false);
        let last = (1 << geometry.input_bits) - KIB4;
        rig.map(extent(last, 0x4000_0000, KIB4), UNLIMITED).unwrap();
        rig.check();
        rig.map(extent(0, 0xffff_ffff_f000, KIB4), UNLIMITED).unwrap();
        rig.check();
        rig.unmap(last, last + (KIB4 - 1), UNLIMITED);
        rig.check();
        rig.unmap(0, last + (KIB4 - 1), UNLIMITED);
        rig.check();
        rig.recycle();
        rig.check();
    }
}

#[test]
fn every_page_size_at_every_offset_of_its_level() {
    for geometry in geometries() {
        let aperture = 1 << geometry.input_bits;
        for size in [KIB4, MIB2, GIB1] {
            for (iova, pa, bytes) in [
                (0, 0, size),
                (size, 5 * size, size),
                (size - KIB4, 3 * size - KIB4, 2 * KIB4 + size),
                (size, size + KIB4, size),
                (511 * size, 0, 2 * size),
                (3 * size + KIB4, KIB4, 2 * size),
                (aperture.max(size) - size, 7 * size, size),
            ] {
                let mapping = extent(iova, pa, bytes);
                let reference = Reference { geometry, areas: Vec::new() };
                if iova + bytes > aperture || reference.pages(&mapping).nth(MANY_PAGES).is_some() {
                    continue;
                }
                let mut rig = Rig::new(geometry, 16, false);
                rig.map(mapping, UNLIMITED).unwrap();
                rig.check();
                rig.unmap(iova, iova + (bytes - 1), UNLIMITED);
                rig.check();
            }
        }
    }
}

#[test]
fn slices_of_any_size_make_the_same_tables() {
    let extents = [
        extent(MIB2 - 3 * KIB4, 5 * MIB2, 5 * KIB4),
        extent(3 * MIB2 - 4 * KIB4, 7 * MIB2 - 4 * KIB4, MIB2 + 9 * KIB4),
        extent(0, KIB4, KIB4),
    ];
    for geometry in geometries().filter(|geometry| geometry.input_bits > 21) {
        let run = |slice| {
            let mut rig = Rig::new(geometry, 16, false);
            for extent in extents {
                rig.map(extent, slice).unwrap();
            }
            rig.check();
            let mapped = rig.ram.words.clone();
            rig.unmap(MIB2 - 3 * KIB4, 4 * MIB2 + 5 * KIB4 - 1, slice);
            rig.check();
            let unmapped = rig.ram.words.clone();
            rig.unmap(0, KIB4 - 1, slice);
            rig.check();
            (mapped, unmapped)
        };
        let whole = run(UNLIMITED);
        for slice in [1, 2, 3, 7, 100] {
            assert!(run(slice) == whole, "slices of {slice}");
        }
    }
}

/// What a mapping in slices was planned with must not depend on a neighbour that goes before it is done.
#[test]
fn a_neighbour_of_the_last_page_may_go_or_come_between_slices() {
    for geometry in geometries().filter(|geometry| geometry.input_bits > 21) {
        let slow = extent(MIB2 - 2 * KIB4, 9 * MIB2, 4 * KIB4);
        let neighbour = extent(MIB2 + 7 * KIB4, 0, KIB4);
        for comes in [false, true] {
            let mut rig = Rig::new(geometry, 16, false);
            if !comes {
                rig.map(neighbour, UNLIMITED).unwrap();
            }
            let mut reservation = rig.reserve(&slow).unwrap();
            // One page of the first table.
            let missing = if comes { geometry.levels() - 1 } else { 1 };
            let done = rig.fill(&mut reservation, &slow, &mut (missing * Table::FRESH_TABLE_WRITES + 1));
            assert_eq!(done, KIB4);
            if comes {
                // It may find tables that the slow mapping has made, so the reference has no say here.
                let frames = rig.table.plan(&rig.ram, &neighbour).frames;
                let mut own = rig.pool.reserve(frames).unwrap();
                assert_eq!(rig.fill(&mut own, &neighbour, &mut { UNLIMITED }), KIB4);
                assert_eq!(own, Reservation::EMPTY);
                rig.reference.areas.push(neighbour);
            } else {
                rig.unmap(neighbour.iova, neighbour.iova + (KIB4 - 1), UNLIMITED);
            }
            let left = rest(&slow, done);
            assert_eq!(rig.fill(&mut reservation, &left, &mut { UNLIMITED }), left.bytes);
            assert_eq!(reservation.frames(), u32::from(comes));
            rig.pool.release(reservation);
            rig.reference.areas.push(slow);
            rig.check();
        }
    }
}

#[test]
fn a_gibibyte_of_pages() {
    let geometry = Geometry { format: Format::ArmStage2, input_bits: 39, output_bits: 40, page_sizes: KIB4 };
    let mut rig = Rig::new(geometry, 520, false);
    let mapping = extent(GIB1 + MIB2 - KIB4, 3 * GIB1, GIB1);
    rig.map(mapping, UNLIMITED).unwrap();
    rig.check();
    rig.ram.log.clear();
    rig.unmap(0, (1 << 39) - 1, UNLIMITED);
    rig.check();
    // One for each table of pages, and one for what is above them where nothing else is left.
    assert!(rig.ram.writes() <= 1 + 511 + 511 + 1, "{} stores", rig.ram.writes());
}

#[test]
fn clearing_crosses_from_any_table_to_the_next_and_leaves_neighbours() {
    for geometry in geometries() {
        for border in [MIB2, GIB1, 512 * GIB1] {
            if border >= 1 << geometry.input_bits {
                continue;
            }
            for slice in [1, 5, UNLIMITED] {
                let mut rig = Rig::new(geometry, 16, false);
                rig.map(extent(border - 5 * KIB4, 0, KIB4), UNLIMITED).unwrap();
                rig.map(extent(border + 5 * KIB4, 0, KIB4), UNLIMITED).unwrap();
                rig.map(extent(border - 3 * KIB4, MIB2, 6 * KIB4), UNLIMITED).unwrap();
                rig.unmap(border - 3 * KIB4, border + 3 * KIB4 - 1, slice);
                rig.check();
            }
        }
    }
}
