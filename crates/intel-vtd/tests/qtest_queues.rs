//! Invalidation queue and fault records of QEMU's VT-d units: wrap, refused descriptors, lost faults.

mod common;

use common::{Bench, DATA, PAGE, bench};
use intel_vtd::ErrorReport;
use iommu_hal::{Access, Binding, FaultReason, Registers, Rights, Unit};

const IOVA: u64 = 0x80_0000;
const IQH: u32 = 0x80;
const IQT: u32 = 0x88;
const IQA: u32 = 0x90;
const FSTS: u32 = 0x34;

const KINDS: [&str; 2] = ["", "x-scalable-mode=on"];

#[test]
fn the_queue_wraps_many_times() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        let descriptors = u64::from(bench.unit.report().descriptors);
        let before = bench.unit.commands();
        let mut queued = 0;
        // A batch of a prime number of descriptors ends at every index in turn; batches longer than the queue too.
        for round in 0..12 {
            let batch = if round % 4 == 3 { 2 * descriptors + 5 } else { 97 };
            for page in 0..batch {
                bench.invalidate(&space, page * PAGE, PAGE, false);
            }
            bench.sync();
            queued += batch + 1;
            assert_eq!(u64::from(bench.unit.commands_since(before)), queued);
            let iova = IOVA + round * PAGE;
            bench.map(&space, iova, DATA, 12, Rights::READ_WRITE);
            bench.load_device(iova, DATA, round as u8);
            bench.store(&space, iova, 0, 12, Rights::NONE);
            bench.invalidate(&space, iova, PAGE, false);
            bench.sync();
            queued += 2;
            bench.edu.read_ram(iova, 4);
            bench.assert_fault(FaultReason::NotMapped, iova, Access::Read);
        }
        let Bench { unit, memory, clock, .. } = &mut bench;
        assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
    }
}

/// Overwrites the next descriptor that the driver stored but has not rung for.
fn spoil_next_descriptor(bench: &mut Bench) {
    let regs = bench.unit.registers();
    let at = (regs.read64(IQA) & !0xfff) + regs.read64(IQT);
    assert_ne!(bench.qemu.read64(at), 0, "a descriptor is there");
    bench.qemu.write64(at, 0xf);
}

fn with_something_to_forget(bench: &mut Bench, space: &Binding) {
    bench.map(space, IOVA, DATA, 12, Rights::READ_WRITE);
    bench.load_device(IOVA, DATA, 1);
    bench.store(space, IOVA, 0, 12, Rights::NONE);
}

#[test]
fn a_refused_descriptor_is_replaced_and_what_it_was_to_do_is_done() {
    for kind in KINDS {
        for by_interrupt in [false, true] {
            let mut bench = bench(kind);
            let space = bench.attached();
            let bytes = if kind.is_empty() { 16 } else { 32 };
            for round in 1..=3 {
                with_something_to_forget(&mut bench, &space);
                bench.invalidate(&space, IOVA, PAGE, false);
                spoil_next_descriptor(&mut bench);
                if by_interrupt {
                    // The queue stops at it while it is rung for something else, as when it was full.
                    let regs = bench.unit.registers();
                    let tail = regs.read64(IQT);
                    regs.write64(IQT, tail + bytes);
                    assert_eq!(regs.read32(FSTS) & 1 << 4, 1 << 4, "IQE");
                    assert_eq!(regs.read64(IQH), tail, "it stays there");
                    let Bench { unit, memory, clock, .. } = &mut bench;
                    let report = unit.service_errors(memory, clock);
                    assert_eq!((report.active, report.descriptor), (1 << 4, Some(0)));
                    assert!(!report.out_of_order);
                    assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
                }
                bench.sync();
                assert_eq!(bench.unit.error_counts().descriptors, round, "{kind}");
                bench.edu.read_ram(IOVA, 4);
                bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Read);
            }
            assert_eq!(bench.unit.error_counts().timeouts, 0);
        }
    }
}

#[test]
fn a_refused_wait_is_made_good_too() {
    for kind in KINDS {
        let mut bench = bench(kind);
        let space = bench.attached();
        with_something_to_forget(&mut bench, &space);
        // The descriptor is spoilt twice: the one that was queued and, one further on, what sync will queue.
        bench.invalidate(&space, IOVA, PAGE, false);
        spoil_next_descriptor(&mut bench);
        bench.invalidate(&space, 0, PAGE, false);
        let regs = bench.unit.registers();
        let bytes = if kind.is_empty() { 16 } else { 32 };
        let at = (regs.read64(IQA) & !0xfff) + regs.read64(IQT) + bytes;
        bench.qemu.write64(at, 0xf);
        bench.sync();
        assert_eq!(bench.unit.error_counts().descriptors, 2);
        bench.edu.read_ram(IOVA, 4);
        bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Read);
    }
}

#[test]
fn a_device_that_faults_again_and_again_has_one_record_at_a_time() {
    let mut bench = bench("");
    let space = bench.attached();
    bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    for round in 1..=3 {
        for page in 1..5 {
            bench.edu.write_ram(IOVA + page * PAGE, 16);
        }
        // Translation goes on.
        assert!(bench.reaches(IOVA, DATA, round));
        bench.assert_fault(FaultReason::NotMapped, IOVA + PAGE, Access::Write);
        bench.edu.read_ram(IOVA - PAGE, 4);
        bench.assert_fault(FaultReason::NotMapped, IOVA - PAGE, Access::Read);
    }
    assert_eq!(bench.unit.registers().read32(FSTS), 0);
}

#[test]
fn two_devices_overflow_one_record_and_the_overflow_is_counted() {
    let machine = common::machine("").with("-device edu,dma_mask=0xffffffffffffffff");
    let qemu = iommu_qtest::Qemu::start(&machine).unwrap_or_else(|error| panic!("{error}"));
    let functions = iommu_qtest::Ecam::new(&qemu, iommu_qtest::Q35_ECAM.into())
        .find(iommu_qtest::Edu::IDS.0, iommu_qtest::Edu::IDS.1);
    let edu = iommu_qtest::Edu::new(&functions[0], common::EDU_BAR);
    let other = iommu_qtest::Edu::new(&functions[1], common::EDU_BAR + iommu_qtest::Edu::BAR_BYTES);
    let memory = iommu_qtest::QemuMemory::new(&qemu, common::TABLES, common::TABLE_BYTES);
    let mut bare = common::Bare { qemu, edu, memory, clock: iommu_qtest::HostClock::new() };
    let streams = [bare.stream(), iommu_hal::StreamId(other.requester().into())];
    let config = intel_vtd::Config { streams: &streams, record_unknown: false, fault_message: None };
    let (mut unit, mut frames) = bare.try_bring_up(&config).unwrap();
    for (stream, tag) in streams.into_iter().zip(1..) {
        let root = frames.take(&mut bare.memory);
        let geometry = unit.geometry();
        let space = Binding { tag: iommu_hal::DomainTag(tag), geometry, root };
        unit.attach(&mut bare.memory, &bare.clock, stream, &space).expect("attach");
    }
    for round in 1..=2 {
        bare.edu.write_ram(IOVA, 16);
        other.write_ram(IOVA, 16);
        let fault = unit.next_fault(&mut bare.memory).expect("a record");
        assert_eq!(fault.stream, streams[0]);
        assert_eq!(unit.next_fault(&mut bare.memory), None);
        assert_eq!(unit.error_counts().fault_overflows, round);
    }
    other.write_ram(IOVA, 16);
    assert_eq!(unit.next_fault(&mut bare.memory).map(|fault| fault.stream), Some(streams[1]));
}
