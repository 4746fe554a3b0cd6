//! Translation, protection and invalidation on QEMU's SMMUv3, with DMA by a device.

mod common;

use arm_smmu_v3::Stage;
use common::{Bench, DATA, PAGE, STAGES, TAG, bench, pattern};
use iommu_hal::{Access, Binding, DomainTag, FaultReason, IovaRange, Rights, StreamId, Unit, UnitError};

const IOVA: u64 = 0x123_4000;

#[test]
fn dma_reaches_mapped_pages_both_ways() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ);
        bench.map(&space, IOVA + PAGE, DATA + 0x10_0000, 12, Rights::READ_WRITE);
        let data = bench.load_device(IOVA, DATA, 1);
        bench.edu.write_ram(IOVA + PAGE, PAGE);
        assert!(bench.qemu.read(DATA + 0x10_0000, 4096) == data, "{stage:?}");
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn blocks_and_the_last_page_of_the_aperture_translate() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        let last_page = space.geometry.aperture().last() - (PAGE - 1);
        bench.map(&space, 0x20_0000, DATA, 21, Rights::READ_WRITE);
        bench.map(&space, 1 << 30, 0x4000_0000, 30, Rights::READ_WRITE);
        bench.map(&space, last_page, DATA + 0x30_0000, 12, Rights::READ_WRITE);
        for (iova, pa) in [
            (0x20_0000, DATA),
            (0x3f_f000, DATA + 0x1f_f000),
            ((1 << 30) + 0x123_4000, 0x4123_4000),
            (last_page, DATA + 0x30_0000),
        ] {
            let data = bench.load_device(iova, pa, 3);
            bench.qemu.fill(pa, PAGE, 0);
            bench.edu.write_ram(iova, PAGE);
            assert!(bench.qemu.read(pa, 4096) == data, "{stage:?}, {iova:#x}");
        }
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn a_write_through_a_read_only_page_is_stopped_and_recorded() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 4);
        // Cold: QEMU refuses but does not record what a cached stage 2 entry forbids.
        bench.map(&space, IOVA, DATA, 12, Rights::READ);
        let Bench { unit, memory, clock, .. } = &mut bench;
        unit.invalidate_all(memory, clock, TAG, &space.geometry).unwrap();
        bench.sync();
        let before = pattern(5);
        bench.qemu.write(DATA, &before);
        bench.edu.write_ram(IOVA + 0x100, 16);
        assert!(bench.qemu.read(DATA, 4096) == before, "{stage:?}");
        bench.assert_fault(FaultReason::Permission, IOVA + 0x100, Access::Write);
    }
}

#[test]
fn a_read_through_a_write_only_page_is_stopped_where_the_format_knows_such_pages() {
    let mut bench = bench(Stage::Two);
    let space = bench.attached();
    bench.map(&space, IOVA, DATA, 12, Rights::WRITE);
    bench.edu.read_ram(IOVA, 16);
    bench.assert_fault(FaultReason::Permission, IOVA, Access::Read);
    bench.edu.write_ram(IOVA, 16);
    assert_eq!(bench.fault(), None);
}

#[test]
fn an_address_never_mapped_is_stopped_and_recorded() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 6);
        bench.edu.read_ram(IOVA + PAGE, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA + PAGE, Access::Read);
        bench.edu.write_ram(IOVA - 16, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA - 16, Access::Write);
        let beyond = space.geometry.aperture().last() + 1;
        bench.edu.write_ram(beyond, 16);
        // QEMU stops it at stage 2 as well, but takes it for a fault of stage 1, which is off.
        if let Some(fault) = bench.faults_alike(16) {
            assert_eq!((fault.iova, fault.access), (Some(beyond), Access::Write), "{stage:?}");
            assert!(matches!(fault.reason, FaultReason::NotMapped | FaultReason::AddressSize), "{fault:x?}");
        } else {
            assert_eq!(stage, Stage::Two);
        }
    }
}

/// Has the hardware cache `IOVA` -> `DATA`, then changes the entry to the next page; shows that the old one is
/// still used.
fn with_stale_entry(bench: &mut Bench, space: &Binding) {
    bench.map(space, IOVA, DATA, 12, Rights::READ_WRITE);
    let Bench { unit, memory, clock, .. } = &mut *bench;
    unit.invalidate_all(memory, clock, space.tag, &space.geometry).unwrap();
    bench.sync();
    let data = bench.load_device(IOVA, DATA, 7);
    bench.map(space, IOVA, DATA + PAGE, 12, Rights::READ_WRITE);
    bench.qemu.fill(DATA, 2 * PAGE, 0);
    bench.edu.write_ram(IOVA, PAGE);
    assert!(bench.qemu.read(DATA, 4096) == data, "the entry is not cached: this test shows nothing");
    bench.qemu.fill(DATA, 2 * PAGE, 0);
}

fn assert_fresh(bench: &mut Bench, what: &str) {
    bench.edu.write_ram(IOVA, PAGE);
    assert!(bench.qemu.read(DATA, 4096) == [0; 4096], "{what}: a stale entry was used");
    assert!(bench.qemu.read(DATA + PAGE, 4096) != [0; 4096], "{what}");
}

#[test]
fn stale_entries_are_used_until_each_kind_of_invalidation() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        let page = IovaRange::from_length(IOVA, PAGE).unwrap();
        let around = IovaRange::from_length(IOVA - 3 * PAGE, 37 * PAGE).unwrap();
        for (what, range, tables) in [
            ("one page", Some(page), false),
            ("one page and tables", Some(page), true),
            ("a range", Some(around), false),
            ("a range and tables", Some(around), true),
            ("everything by range", Some(IovaRange::ALL), true),
            ("by tag", None, true),
        ] {
            with_stale_entry(&mut bench, &space);
            let Bench { unit, memory, clock, .. } = &mut bench;
            // Another address space's invalidation leaves ours cached.
            unit.invalidate_all(memory, clock, DomainTag(2), &space.geometry).unwrap();
            match range {
                Some(range) => {
                    unit.invalidate(memory, clock, TAG, &space.geometry, range, tables).unwrap();
                }
                None => unit.invalidate_all(memory, clock, TAG, &space.geometry).unwrap(),
            }
            bench.edu.write_ram(IOVA, 16);
            assert!(bench.qemu.read(DATA, 4096) != [0; 4096], "{what}: nothing was rung before sync");
            bench.qemu.fill(DATA, 2 * PAGE, 0);
            bench.sync();
            assert_fresh(&mut bench, what);
        }
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn another_tags_invalidation_leaves_an_entry_cached() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        with_stale_entry(&mut bench, &space);
        let Bench { unit, memory, clock, .. } = &mut bench;
        unit.invalidate_all(memory, clock, DomainTag(2), &space.geometry).unwrap();
        bench.sync();
        bench.edu.write_ram(IOVA, PAGE);
        assert!(bench.qemu.read(DATA + PAGE, 4096) == [0; 4096], "{stage:?}");
    }
}

#[test]
fn an_unmapped_page_is_out_of_reach_after_sync() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 8);
        bench.unmap(&space, IOVA, 12);
        let page = IovaRange::from_length(IOVA, PAGE).unwrap();
        let Bench { unit, memory, clock, .. } = &mut bench;
        unit.invalidate(memory, clock, TAG, &space.geometry, page, false).unwrap();
        bench.sync();
        bench.qemu.fill(DATA, PAGE, 0);
        bench.edu.write_ram(IOVA, PAGE);
        assert!(bench.qemu.read(DATA, 4096) == [0; 4096], "{stage:?}");
        bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Write);
    }
}

#[test]
fn a_2_mib_block_is_forgotten_by_its_range() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        let (iova, bytes) = (0x40_0000, 2 << 20);
        bench.map(&space, iova, DATA, 21, Rights::READ_WRITE);
        bench.load_device(iova + 0x12_3000, DATA + 0x12_3000, 9);
        bench.unmap(&space, iova, 21);
        let Bench { unit, memory, clock, .. } = &mut bench;
        let range = IovaRange::from_length(iova, bytes).unwrap();
        unit.invalidate(memory, clock, TAG, &space.geometry, range, false).unwrap();
        bench.sync();
        bench.edu.write_ram(iova + 0x12_3000, 16);
        bench.assert_fault(FaultReason::NotMapped, iova + 0x12_3000, Access::Write);
    }
}

#[test]
fn attach_replace_and_block_point_the_stream() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let (one, two) = (bench.space(DomainTag(1)), bench.space(DomainTag(0xffff)));
        bench.map(&one, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.map(&two, IOVA, DATA + PAGE, 12, Rights::READ_WRITE);
        bench.qemu.write(DATA, &pattern(10));
        bench.qemu.write(DATA + PAGE, &pattern(11));
        let goes_to = |bench: &mut Bench| {
            bench.qemu.fill(DATA, 2 * PAGE, 0);
            bench.edu.write_ram(IOVA, 16);
            let pages = [DATA, DATA + PAGE];
            pages.into_iter().position(|pa| bench.qemu.read(pa, 16) != [0; 16])
        };
        bench.attach(&one);
        bench.edu.read_ram(IOVA, 16);
        assert_eq!(goes_to(&mut bench), Some(0));
        for _ in 0..3 {
            bench.attach(&two);
            assert_eq!(goes_to(&mut bench), Some(1), "{stage:?}");
            bench.attach(&one);
            assert_eq!(goes_to(&mut bench), Some(0), "{stage:?}");
        }
        // The same space again is no change.
        bench.attach(&one);
        assert_eq!(goes_to(&mut bench), Some(0));

        let Bench { unit, memory, clock, stream, .. } = &mut bench;
        unit.block(memory, clock, *stream).unwrap();
        assert_eq!(goes_to(&mut bench), None);
        let Bench { unit, memory, clock, stream, .. } = &mut bench;
        unit.block(memory, clock, *stream).unwrap();
        assert_eq!(goes_to(&mut bench), None);
        assert_eq!(bench.fault(), None, "a blocked stream fills no queue");
        bench.attach(&two);
        assert_eq!(goes_to(&mut bench), Some(1));
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn attaching_forgets_what_was_cached_under_the_tag() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let old = bench.attached();
        bench.map(&old, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 12);
        let Bench { unit, memory, clock, stream, .. } = &mut bench;
        unit.block(memory, clock, *stream).unwrap();
        let new = bench.space(TAG);
        bench.attach(&new);
        bench.edu.write_ram(IOVA, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Write);
    }
}

#[test]
fn what_the_unit_cannot_do_is_refused_and_changes_nothing() {
    for stage in STAGES {
        let mut bench = bench(stage);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        let other_format = match space.geometry.format {
            iommu_hal::Format::ArmStage1 => iommu_hal::Format::ArmStage2,
            _ => iommu_hal::Format::ArmStage1,
        };
        let Bench { unit, memory, clock, stream, .. } = &mut bench;
        let unsupported = [
            Binding { tag: DomainTag(0), ..space },
            Binding { root: iommu_hal::PhysAddr(space.root.0 + 64), ..space },
            Binding { root: iommu_hal::PhysAddr(1 << 44), ..space },
            Binding { geometry: common::geometry(other_format), ..space },
        ];
        for binding in &unsupported {
            let refused = unit.attach(memory, clock, *stream, binding);
            assert_eq!(refused, Err(UnitError::Unsupported), "{binding:?}");
        }
        let nobody = StreamId(stream.0 + 1);
        assert_eq!(unit.attach(memory, clock, nobody, &space), Err(UnitError::UnknownStream(nobody)));
        assert_eq!(unit.block(memory, clock, nobody), Err(UnitError::UnknownStream(nobody)));
        assert!(!unit.supports(&common::geometry(other_format)));
        bench.load_device(IOVA, DATA, 13);
        assert_eq!(bench.fault(), None, "still attached");
    }
}
