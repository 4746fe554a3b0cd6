//! Queues that fill, lag, overflow and stop.

use arm_smmu_v3::ErrorReport;
use iommu_hal::{Access, COMPLETION_LIMIT_NS, FaultReason, UnitError};

use super::*;

#[test]
fn a_slow_unit_is_waited_for_with_the_queue_full() {
    for command_queue_lg2 in [0, 1, 3, 19] {
        let kind = model::Config { command_queue_lg2, ..model::Config::default() };
        let mut board = start(&kind);
        let space = board.attached();
        board.bench.faults().reads_per_command = 30;
        for round in 0..5 {
            for page in 0..300 {
                board.invalidate(&space, page * PAGE, 1);
            }
            board.exercise(&space, IOVA + round * PAGE, DATA);
        }
    }
}

fn slow_clock() -> model::Config {
    model::Config { clock_step_ns: 10_000, ..model::Config::default() }
}

#[test]
fn a_sync_that_never_completes_meets_its_deadline_and_everything_aborts() {
    for coherent in [true, false] {
        let mut board = start(&model::Config { coherent, ..slow_clock() });
        let space = board.attached();
        board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        board.bench.dma_write(STREAM, IOVA, &[1]).expect("a write");
        board.bench.faults().sync_never_completes = true;
        board.invalidate(&space, IOVA, 1);

        let Board { unit, memory, clock, .. } = &mut board;
        let (result, ns) = elapsed(clock, || unit.sync(memory, clock).map(|_| ()));
        let waiting_for = "completion of CMD_SYNC";
        assert_eq!(result, Err(UnitError::Timeout { waiting_for, limit_ns: COMPLETION_LIMIT_NS }));
        assert!((COMPLETION_LIMIT_NS..2 * COMPLETION_LIMIT_NS).contains(&ns), "{ns} ns");
        assert_eq!(unit.error_counts().timeouts, 1);

        // Nothing waits any more, nothing is promised, nothing passes.
        let (results, ns) = elapsed(clock, || {
            [
                unit.sync(memory, clock).map(|_| ()),
                unit.attach(memory, clock, NEIGHBOUR, &space),
                unit.block(memory, clock, STREAM),
                unit.invalidate_all(memory, clock, space.tag, &space.geometry),
            ]
        });
        assert_eq!(results, [Err(UnitError::OutOfOrder); 4]);
        assert!(ns < COMPLETION_LIMIT_NS / 10);
        assert!(unit.service_errors(memory, clock).out_of_order);
        assert!(board.nothing_passes(IOVA));
    }
}

#[test]
fn a_queue_that_stays_full_meets_its_deadline() {
    let kind = model::Config { command_queue_lg2: 2, ..slow_clock() };
    let mut board = start(&kind);
    let space = board.attached();
    board.bench.faults().reads_per_command = u32::MAX;
    let range = IovaRange::from_length(0, PAGE).unwrap();
    let Board { unit, memory, clock, .. } = &mut board;
    let mut results = (0..).map(|_| unit.invalidate(memory, clock, space.tag, &space.geometry, range, false));
    assert!(results.by_ref().take(4).all(|result| result.is_ok()));
    let waiting_for = "space in the command queue";
    let limit_ns = iommu_hal::QUEUE_SPACE_LIMIT_NS;
    assert_eq!(results.next(), Some(Err(UnitError::Timeout { waiting_for, limit_ns })));
    assert_eq!(results.next(), Some(Err(UnitError::OutOfOrder)));
    drop(results);
    assert!(board.nothing_passes(IOVA));
}

#[test]
fn a_timeout_in_attach_or_block_aborts_everything() {
    for block in [false, true] {
        let mut board = start(&slow_clock());
        let space = board.attached();
        board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        board.bench.faults().sync_never_completes = true;
        let Board { unit, memory, clock, .. } = &mut board;
        let result = if block {
            unit.block(memory, clock, STREAM)
        } else {
            unit.attach(memory, clock, NEIGHBOUR, &space)
        };
        assert!(matches!(result, Err(UnitError::Timeout { .. })), "{result:?}");
        assert!(board.nothing_passes(IOVA));
    }
}

#[test]
fn a_unit_that_cannot_even_be_turned_off_has_abort_in_every_entry() {
    let mut board = start(&slow_clock());
    let space = board.attached();
    board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    {
        let mut faults = board.bench.faults();
        faults.sync_never_completes = true;
        faults.cr0_ack = model::Ack::Never;
    }
    board.invalidate(&space, IOVA, 1);
    let Board { unit, memory, clock, bench, .. } = &mut board;
    let (result, ns) = elapsed(clock, || unit.sync(memory, clock).map(|_| ()));
    assert!(matches!(result, Err(UnitError::Timeout { .. })), "the first timeout is the one told");
    assert!(ns < 2 * (COMPLETION_LIMIT_NS + iommu_hal::REGISTER_LIMIT_NS), "{ns} ns");
    assert_eq!(unit.error_counts().timeouts, 2);
    assert_eq!(bench.entry_history(STREAM).last().map(|entry| entry[0]), Some(1), "valid, abort");
}

#[test]
fn an_overflow_is_counted_and_acknowledged_and_events_go_on() {
    for event_queue_lg2 in [1, 4, 10, 12] {
        for coherent in [true, false] {
            let kind = model::Config { event_queue_lg2, coherent, ..model::Config::default() };
            let mut board = start(&kind);
            let space = board.attached();
            board.map(&space, IOVA, DATA, 12, Rights::READ);
            let capacity = u64::from(board.unit.report().events);
            assert_eq!(capacity, 1 << event_queue_lg2.min(11));
            for lap in 1..=3 {
                let lost_before = board.bench.observed().events_lost;
                for page in 0..capacity + 3 {
                    assert!(board.bench.dma_read(STREAM, page * PAGE, &mut [0]).is_err());
                }
                assert_eq!(board.bench.observed().events_lost - lost_before, 3);
                for page in 0..capacity {
                    let fault = board.unit.next_fault(&mut board.memory).expect("a record");
                    assert_eq!((fault.stream, fault.reason), (STREAM, FaultReason::NotMapped));
                    assert_eq!((fault.iova, fault.access), (Some(page * PAGE), Access::Read));
                }
                assert_eq!(board.unit.next_fault(&mut board.memory), None);
                assert_eq!(board.unit.error_counts().event_overflows, lap);

                assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err());
                let fault = board.unit.next_fault(&mut board.memory).expect("a record after the overflow");
                assert_eq!((fault.reason, fault.access), (FaultReason::Permission, Access::Write));
                assert_eq!(board.unit.next_fault(&mut board.memory), None);
                assert_eq!(board.unit.error_counts().event_overflows, lap, "counted once");
            }
        }
    }
}

#[test]
fn an_event_queue_that_cannot_be_written_is_reported_and_goes_on() {
    let mut board = start(&model::Config::default());
    board.attached();
    let table = model::Config::default();
    board.bench.memory().abort_at(table.table_base, table.table_base + table.table_bytes - 1);
    board.bench.inject_event([0x10 | u64::from(STREAM.0) << 32, 0, 0, 0]);
    board.bench.memory().abort_nowhere();
    let Board { unit, memory, clock, .. } = &mut board;
    let report = unit.service_errors(memory, clock);
    assert!(report.event_queue_abort && !report.out_of_order, "{report:?}");
    assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
    assert_eq!(unit.error_counts().event_queue_aborts, 1);
    while unit.next_fault(memory).is_some() {}
    assert!(board.bench.dma_read(STREAM, 0x5000, &mut [0]).is_err());
    let fault = board.unit.next_fault(&mut board.memory).expect("a record");
    assert_eq!(fault.iova, Some(0x5000));
}
