//! The same mappings made by `aarch64-paging`, which shares nothing with this crate: every descriptor must be
//! the same, but for where the tables lie.

mod common;

use aarch64_paging::{
    descriptor::{El1Attributes, PhysicalAddress, Stage2Attributes},
    paging::{Constraints, El1And0, MemoryRegion, RootTable, Stage2, TranslationRegime, VaRange},
    target::TargetAllocator,
};
use common::{GIB1, KIB4, MIB2, ram::BASE, rig::Rig};
use iommu_hal::{Format, Geometry, PhysAddr, Rights};
use iommu_pgtable::Extent;

/// Where the other's tables lie.
const THEIR_BASE: u64 = 0x7_7000_0000;

const TABLE_ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The other's tables, its attributes' bits given by `flags`.
struct Theirs<R: TranslationRegime> {
    root: RootTable<R, TargetAllocator<R::Attributes>>,
    flags: fn(Rights) -> R::Attributes,
}

impl<R: TranslationRegime> Theirs<R> {
    fn map(&mut self, extent: &Extent) {
        let region = MemoryRegion::new(extent.iova as usize, (extent.iova + extent.bytes) as usize);
        let pa = PhysicalAddress(extent.pa.0 as usize);
        self.root.map_range(&region, pa, (self.flags)(extent.rights), Constraints::empty()).unwrap();
    }

    fn unmap(&mut self, extent: &Extent) {
        let region = MemoryRegion::new(extent.iova as usize, (extent.iova + extent.bytes) as usize);
        let nothing = R::Attributes::default();
        self.root.map_range(&region, PhysicalAddress(0), nothing, Constraints::empty()).unwrap();
        self.root.compact_subtables();
    }

    fn words(&self) -> Vec<u64> {
        let bytes = self.root.translation().as_bytes();
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    }
}

/// Compares the table at `our_table` with the one at `their_table`, both at the architecture's `level`, and
/// all below.
fn compare(ours: &[u64], theirs: &[u64], our_table: u64, their_table: u64, level: u32) {
    let word = |table: u64, base: u64| ((table - base) / 8) as usize;
    let (our_first, their_first) = (word(our_table, BASE), word(their_table, THEIR_BASE));
    for index in 0..512 {
        let (our, their) = (ours[our_first + index], theirs[their_first + index]);
        if level < 3 && our & 3 == 3 && their & 3 == 3 {
            assert_eq!(our & !TABLE_ADDRESS, their & !TABLE_ADDRESS, "table entry");
            compare(ours, theirs, our & TABLE_ADDRESS, their & TABLE_ADDRESS, level + 1);
        } else {
            assert_eq!(our, their, "{our:#x} {their:#x}, entry {index} at level {level}");
        }
    }
}

/// Mappings of every page size and alignment for an aperture of `input_bits`.
fn mappings(input_bits: u8, rights: &[Rights]) -> Vec<Extent> {
    [
        (0, 0x1234_5000, KIB4),
        (2 * KIB4, 0, 3 * KIB4),
        (MIB2 - 5 * KIB4, 0xffff_ff00_0000, 5 * KIB4),
        (MIB2, 6 * MIB2, MIB2),
        (3 * MIB2 - KIB4, 3 * MIB2 - KIB4, 2 * MIB2 + 2 * KIB4),
        (9 * MIB2, 4 * GIB1 + KIB4, MIB2 + 3 * KIB4),
        (GIB1 - MIB2, 8 * GIB1 - MIB2, MIB2),
        (GIB1, 3 * GIB1, GIB1),
        (3 * GIB1 - MIB2 - KIB4, 7 * GIB1 - MIB2 - KIB4, 2 * GIB1 + MIB2 + KIB4),
        (9 * GIB1, 9 * GIB1 + 2 * MIB2, GIB1),
        (512 * GIB1 - GIB1, 5 * GIB1, 3 * GIB1),
        ((1 << 48) - KIB4, 0x9_9999_9000, KIB4),
    ]
    .into_iter()
    .filter(|(iova, _, bytes)| iova + bytes <= 1 << input_bits)
    .enumerate()
    .map(|(n, (iova, pa, bytes))| Extent { iova, pa: PhysAddr(pa), bytes, rights: rights[n % rights.len()] })
    .collect()
}

fn agree<R: TranslationRegime>(format: Format, rights: &[Rights], theirs: impl Fn(usize) -> Theirs<R>) {
    for (input_bits, level) in [(21, 3), (30, 2), (39, 1), (48, 0)] {
        let page_sizes = KIB4 | MIB2 | GIB1;
        let geometry = Geometry { format, input_bits, output_bits: 48, page_sizes };
        let mut rig = Rig::new(geometry, 64, false);
        let mut theirs = theirs(level as usize);
        let compare = |rig: &Rig, theirs: &Theirs<R>| {
            let root = theirs.root.to_physical().0 as u64;
            compare(&rig.ram.words, &theirs.words(), rig.table.root().0, root, level);
        };
        let mappings = mappings(input_bits, rights);
        for extent in &mappings {
            rig.map(*extent, u32::MAX).unwrap();
            theirs.map(extent);
            compare(&rig, &theirs);
        }
        for extent in mappings.iter().step_by(2).chain(mappings.iter().skip(1).step_by(2)) {
            rig.unmap(extent.iova, extent.iova + (extent.bytes - 1), u32::MAX);
            theirs.unmap(extent);
            compare(&rig, &theirs);
        }
    }
}

#[test]
fn stage_1_descriptors_are_those_of_aarch64_paging() {
    let flags = |rights: Rights| {
        let read_only = if rights.write { El1Attributes::empty() } else { El1Attributes::READ_ONLY };
        El1Attributes::VALID
            | El1Attributes::ATTRIBUTE_INDEX_0
            | El1Attributes::INNER_SHAREABLE
            | El1Attributes::USER
            | El1Attributes::ACCESSED
            | El1Attributes::NON_GLOBAL
            | El1Attributes::PXN
            | El1Attributes::UXN
            | read_only
    };
    agree(Format::ArmStage1, &[Rights::READ_WRITE, Rights::READ], |level| Theirs {
        root: RootTable::with_va_range(TargetAllocator::new(THEIR_BASE), level, El1And0, VaRange::Lower),
        flags,
    });
}

#[test]
fn stage_2_descriptors_are_those_of_aarch64_paging() {
    let flags = |rights: Rights| {
        let access = match (rights.read, rights.write) {
            (true, true) => Stage2Attributes::S2AP_ACCESS_RW,
            (true, false) => Stage2Attributes::S2AP_ACCESS_RO,
            (false, true) => Stage2Attributes::S2AP_ACCESS_WO,
            (false, false) => unreachable!(),
        };
        Stage2Attributes::VALID
            | Stage2Attributes::MEMATTR_NORMAL_INNER_WB
            | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB
            | Stage2Attributes::SH_INNER
            | Stage2Attributes::ACCESS_FLAG
            | Stage2Attributes::XN
            | access
    };
    agree(Format::ArmStage2, &[Rights::READ_WRITE, Rights::READ, Rights::WRITE], |level| Theirs {
        root: RootTable::new(TargetAllocator::new(THEIR_BASE), level, Stage2),
        flags,
    });
}
