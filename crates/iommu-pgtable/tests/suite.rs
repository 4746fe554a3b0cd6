//! One suite over every format, start level and set of page sizes.

mod common;

use common::{GIB1, KIB4, MIB2, geometries, reference::Reference, rig::Rig};
use iommu_hal::{PhysAddr, Rights};
use iommu_pgtable::Extent;

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
