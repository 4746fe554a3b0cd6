//! Translation, protection and invalidation on QEMU's VT-d units, with DMA by a device.

mod common;

use common::{Bench, DATA, KINDS, PAGE, TAG, bench, pattern};
use intel_vtd::Mode;
use iommu_hal::{
    Access, Binding, DomainTag, FaultReason, Format, Geometry, PhysAddr, Rights, StreamId, Unit, UnitError,
};

const IOVA: u64 = 0x123_4000;

#[test]
fn dma_reaches_mapped_pages_both_ways() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ);
        bench.map(&space, IOVA + PAGE, DATA + 0x10_0000, 12, Rights::READ_WRITE);
        let data = bench.load_device(IOVA, DATA, 1);
        bench.edu.write_ram(IOVA + PAGE, PAGE);
        assert!(bench.qemu.read(DATA + 0x10_0000, 4096) == data, "{kind}");
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn blocks_and_the_last_page_of_the_aperture_translate() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        assert_eq!(space.geometry.levels(), if kind == "aw-bits=39" { 3 } else { 4 });
        assert_eq!(space.geometry.page_sizes, 1 << 12 | 1 << 21 | 1 << 30);
        let last_page = space.geometry.aperture().last() - (PAGE - 1);
        bench.map(&space, 0x20_0000, DATA, 21, Rights::READ_WRITE);
        bench.map(&space, 1 << 30, 0, 30, Rights::READ_WRITE);
        bench.map(&space, last_page, DATA + 0x30_0000, 12, Rights::READ_WRITE);
        for (iova, pa) in [
            (0x20_0000, DATA),
            (0x3f_f000, DATA + 0x1f_f000),
            ((1 << 30) + DATA + 0x12_3000, DATA + 0x12_3000),
            (last_page, DATA + 0x30_0000),
        ] {
            assert!(bench.reaches(iova, pa, 3), "{kind}, {iova:#x}");
        }
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn three_levels_translate_where_the_unit_prefers_four() {
    for kind in ["", "x-scalable-mode=on"] {
        let mut bench = bench(kind);
        let mut space = bench.space(TAG);
        space.geometry.input_bits = 39;
        assert!(bench.unit.supports(&space.geometry) && space.geometry.levels() == 3);
        bench.attach(&space);
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        assert!(bench.reaches(IOVA, DATA, 4), "{kind}");
        bench.edu.write_ram(1 << 39, 16);
        bench.assert_fault(FaultReason::AddressSize, 1 << 39, Access::Write);
    }
}

#[test]
fn rights_are_kept_cold_and_warm() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        for warm in [false, true] {
            bench.map(&space, IOVA, DATA, 12, Rights::READ);
            bench.map(&space, IOVA + PAGE, DATA, 12, Rights::WRITE);
            bench.invalidate_all(&space);
            bench.sync();
            if warm {
                bench.edu.read_ram(IOVA, 16);
                bench.edu.write_ram(IOVA + PAGE, 16);
                assert_eq!(bench.fault(), None, "{kind}");
            }
            let before = pattern(5);
            bench.qemu.write(DATA, &before);
            bench.edu.write_ram(IOVA + 0x100, 16);
            assert!(bench.qemu.read(DATA, 4096) == before, "{kind}");
            if warm {
                // QEMU refuses but does not record what a cached entry forbids.
                assert_eq!(bench.fault(), None);
                continue;
            }
            bench.assert_fault(FaultReason::Permission, IOVA + 0x100, Access::Write);
            bench.edu.read_ram(IOVA + PAGE + 0x100, 16);
            bench.assert_fault(FaultReason::Permission, IOVA + PAGE, Access::Read);
        }
    }
}

#[test]
fn an_address_never_mapped_is_stopped_and_recorded() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 6);
        bench.edu.read_ram(IOVA + PAGE, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA + PAGE, Access::Read);
        bench.edu.write_ram(IOVA - 16, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA - 16, Access::Write);
        bench.edu.write_ram(1 << 33, 16);
        bench.assert_fault(FaultReason::NotMapped, 1 << 33, Access::Write);
        let beyond = space.geometry.aperture().last() + 1;
        bench.edu.write_ram(beyond, 16);
        bench.assert_fault(FaultReason::AddressSize, beyond, Access::Write);
    }
}

/// Has the hardware cache `IOVA` -> `DATA`, then changes the entry to the next page; shows that the old one is still
/// used.
fn with_stale_entry(bench: &mut Bench, space: &Binding) {
    bench.map(space, IOVA, DATA, 12, Rights::READ_WRITE);
    bench.invalidate_all(space);
    bench.sync();
    let data = bench.load_device(IOVA, DATA, 7);
    bench.store(space, IOVA, DATA + PAGE, 12, Rights::READ_WRITE);
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
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        for (what, range, tables) in [
            ("one page", Some((IOVA, PAGE)), false),
            ("one page and tables", Some((IOVA, PAGE)), true),
            ("a range", Some((IOVA - 3 * PAGE, 37 * PAGE)), false),
            ("a long range and tables", Some((0, 1 << 30)), true),
            ("more pieces than go one by one", Some((PAGE, (1 << 38) - PAGE)), false),
            ("by domain", None, true),
        ] {
            with_stale_entry(&mut bench, &space);
            // Another address space's invalidation leaves ours cached.
            bench.invalidate_all(&Binding { tag: DomainTag(2), ..space });
            bench.sync();
            match range {
                Some((iova, bytes)) => bench.invalidate(&space, iova, bytes, tables),
                None => bench.invalidate_all(&space),
            }
            bench.edu.write_ram(IOVA, 16);
            assert!(bench.qemu.read(DATA, 16) != [0; 16], "{kind}, {what}: nothing was rung before sync");
            bench.qemu.fill(DATA, 2 * PAGE, 0);
            bench.sync();
            assert_fresh(&mut bench, what);
        }
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn an_unmapped_page_or_block_is_out_of_reach_after_sync() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        for size_lg2 in [12, 21, 30] {
            let iova = 3 << 30;
            let (inside, pa) = if size_lg2 == 30 { (iova + DATA, 0) } else { (iova, DATA) };
            bench.map(&space, iova, pa, size_lg2, Rights::READ_WRITE);
            assert!(bench.reaches(inside, DATA, 8));
            bench.store(&space, iova, 0, size_lg2, Rights::NONE);
            bench.invalidate(&space, iova, 1 << size_lg2, false);
            bench.sync();
            bench.qemu.fill(DATA, PAGE, 0);
            bench.edu.write_ram(inside, PAGE);
            assert!(bench.qemu.read(DATA, 4096) == [0; 4096], "{kind}, {size_lg2}");
            bench.assert_fault(FaultReason::NotMapped, inside, Access::Write);
            // The next block takes the place of this one's table.
            bench.store(&space, iova, 0, (size_lg2 + 9).min(30), Rights::NONE);
            bench.invalidate(&space, iova, 1 << 30, true);
            bench.sync();
        }
    }
}

#[test]
fn attach_replace_and_block_point_the_stream() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let (one, two) = (bench.space(DomainTag(1)), bench.space(DomainTag(0xffff)));
        bench.map(&one, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.map(&two, IOVA, DATA + PAGE, 12, Rights::READ_WRITE);
        bench.attach(&one);
        bench.load_device(IOVA, DATA, 10);
        let goes_to = |bench: &mut Bench| {
            bench.qemu.fill(DATA, 2 * PAGE, 0);
            bench.edu.write_ram(IOVA, 16);
            let pages = [DATA, DATA + PAGE];
            pages.into_iter().position(|pa| bench.qemu.read(pa, 16) != [0; 16])
        };
        assert_eq!(goes_to(&mut bench), Some(0));
        for _ in 0..3 {
            bench.attach(&two);
            assert_eq!(goes_to(&mut bench), Some(1), "{kind}");
            bench.attach(&one);
            assert_eq!(goes_to(&mut bench), Some(0), "{kind}");
        }
        // The same space again is no change.
        let before = bench.unit.commands();
        bench.attach(&one);
        assert_eq!(bench.unit.commands_since(before), 0);
        assert_eq!(goes_to(&mut bench), Some(0));
        for _ in 0..2 {
            bench.block();
            assert_eq!(goes_to(&mut bench), None);
            assert_eq!(bench.fault(), None, "{kind}: a blocked stream fills no records");
        }
        bench.attach(&two);
        assert_eq!(goes_to(&mut bench), Some(1));
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn attaching_forgets_what_was_cached_under_the_tag() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let old = bench.attached();
        bench.map(&old, IOVA, DATA, 12, Rights::READ_WRITE);
        bench.load_device(IOVA, DATA, 12);
        bench.block();
        let new = bench.space(TAG);
        bench.attach(&new);
        bench.edu.write_ram(IOVA, 16);
        bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Write);
    }
}

#[test]
fn what_the_unit_cannot_do_is_refused_and_changes_nothing() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        let arm = Geometry { format: Format::ArmStage2, ..space.geometry };
        let Bench { unit, memory, clock, stream, .. } = &mut bench;
        let unsupported = [
            Binding { tag: DomainTag(0), ..space },
            Binding { root: PhysAddr(space.root.0 + 64), ..space },
            Binding { root: PhysAddr(1 << 48), ..space },
            Binding { geometry: arm, ..space },
            Binding { geometry: Geometry { input_bits: 30, ..space.geometry }, ..space },
        ];
        for binding in &unsupported {
            let refused = unit.attach(memory, clock, *stream, binding);
            assert_eq!(refused, Err(UnitError::Unsupported), "{binding:?}");
        }
        let nobody = StreamId(stream.0 + 1);
        assert_eq!(unit.attach(memory, clock, nobody, &space), Err(UnitError::UnknownStream(nobody)));
        assert_eq!(unit.block(memory, clock, nobody), Err(UnitError::UnknownStream(nobody)));
        assert!(bench.reaches(IOVA, DATA, 13), "still attached");
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn the_mode_is_scalable_where_the_unit_has_its_second_stage() {
    for kind in KINDS {
        let bench = bench(kind);
        let expected = if kind == "x-scalable-mode=on" { Mode::Scalable } else { Mode::Legacy };
        assert_eq!(bench.unit.report().mode, expected, "{kind}");
        assert!(bench.unit.needs_clean(), "QEMU's walks do not say that they snoop");
        assert_eq!(bench.unit.caches_absence(), kind == "caching-mode=on");
    }
}
