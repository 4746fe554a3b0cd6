//! Queues and errors of QEMU's SMMUv3: wrap, refused commands, lost events.

mod common;

use arm_smmu_v3::{ErrorReport, Stage};
use common::{Bench, DATA, PAGE, TAG, bench};
use iommu_hal::{Access, FaultReason, IovaRange, Registers, Rights, Unit};
use iommu_qtest::Edu;

const CMDQ_BASE: u32 = 0x90;
const CMDQ_PROD: u32 = 0x98;
const IOVA: u64 = 0x80_0000;

fn invalidate_page(bench: &mut Bench, iova: u64) {
    let page = IovaRange::from_length(iova, PAGE).unwrap();
    let Bench { unit, memory, clock, .. } = bench;
    let geometry = unit.geometry();
    unit.invalidate(memory, clock, TAG, &geometry, page, false).unwrap();
}

#[test]
fn the_command_queue_wraps_many_times() {
    let mut bench = bench(Stage::Two);
    let space = bench.attached();
    let commands = bench.unit.report().commands;
    // A batch of a prime number of commands ends at every index in turn; batches longer than the queue too.
    for round in 0..12 {
        for page in 0..if round % 4 == 3 { 2 * u64::from(commands) + 5 } else { 97 } {
            invalidate_page(&mut bench, page * PAGE);
        }
        bench.sync();
        let iova = IOVA + round * PAGE;
        bench.map(&space, iova, DATA, 12, Rights::READ_WRITE);
        bench.load_device(iova, DATA, round as u8);
        bench.unmap(&space, iova, 12);
        invalidate_page(&mut bench, iova);
        bench.sync();
        bench.edu.read_ram(iova, 4);
        bench.assert_fault(FaultReason::NotMapped, iova, Access::Read);
    }
    let Bench { unit, memory, clock, .. } = &mut bench;
    assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
}

/// Overwrites the next command that the driver stored but has not rung for.
fn spoil_next_command(bench: &mut Bench) {
    let regs = bench.unit.registers();
    let queue = regs.read64(CMDQ_BASE);
    let entries = 1 << (queue & 31);
    let index = u64::from(regs.read32(CMDQ_PROD)) & (entries - 1);
    let at = (queue & 0x00ff_ffff_ffff_ffe0) + 16 * index;
    assert_ne!(bench.qemu.read64(at), 0, "a command is there");
    bench.qemu.write64(at, 0xff);
}

#[test]
fn a_refused_command_is_replaced_and_what_it_was_to_do_is_done() {
    for by_interrupt in [false, true] {
        let mut bench = bench(Stage::Two);
        let space = bench.attached();
        for round in 1..=3 {
            bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
            bench.load_device(IOVA, DATA, 1);
            bench.unmap(&space, IOVA, 12);
            invalidate_page(&mut bench, IOVA);
            spoil_next_command(&mut bench);
            if by_interrupt {
                // The queue stops at it while it is rung for something else, as when it was full.
                let regs = bench.unit.registers();
                let prod = regs.read32(CMDQ_PROD);
                regs.write32(CMDQ_PROD, prod + 1);
                let Bench { unit, memory, clock, .. } = &mut bench;
                let report = unit.service_errors(memory, clock);
                assert_eq!(report.command.map(|error| error.0), Some(1), "CERROR_ILL");
                assert!(!report.out_of_order);
                assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
            }
            bench.sync();
            assert_eq!(bench.unit.error_counts().commands, round);
            bench.edu.read_ram(IOVA, 4);
            bench.assert_fault(FaultReason::NotMapped, IOVA, Access::Read);
        }
        let Bench { unit, memory, clock, .. } = &mut bench;
        assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
    }
}

#[test]
fn a_full_event_queue_loses_records_but_nothing_else() {
    let mut bench = bench(Stage::Two);
    let space = bench.attached();
    bench.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    let events = bench.unit.report().events;
    // QEMU records every 4 bytes.
    let per_dma = Edu::BUFFER_BYTES as u32 / 4;
    for lap in 1..=2 {
        for _ in 0..events / per_dma + 1 {
            bench.edu.write_ram(IOVA + PAGE, Edu::BUFFER_BYTES);
        }
        // Translation goes on.
        let data = bench.load_device(IOVA, DATA, lap as u8);
        bench.qemu.fill(DATA, PAGE, 0);
        bench.edu.write_ram(IOVA, PAGE);
        assert!(bench.qemu.read(DATA, 4096) == data);

        let Bench { unit, memory, clock, .. } = &mut bench;
        let report = unit.service_errors(memory, clock);
        assert!(report.event_queue_abort && !report.out_of_order, "{report:?}");
        assert_eq!(unit.service_errors(memory, clock), ErrorReport::default(), "acknowledged");
        assert_eq!(unit.error_counts().event_queue_aborts, lap);

        let mut records = 0;
        while let Some(fault) = bench.fault() {
            assert_eq!((fault.reason, fault.access), (FaultReason::NotMapped, Access::Write));
            let iova = fault.iova.expect("an address");
            assert_eq!(iova, IOVA + PAGE + u64::from(records % per_dma) * 4);
            records += 1;
            assert!(records <= events, "no record twice");
        }
        assert_eq!(records, events);

        bench.edu.read_ram(IOVA - PAGE, 4);
        bench.assert_fault(FaultReason::NotMapped, IOVA - PAGE, Access::Read);
    }
}
