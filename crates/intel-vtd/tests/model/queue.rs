//! Refused and lost descriptors, waits that never complete, lost faults.

use intel_vtd::ErrorReport;
use iommu_hal::{Access, COMPLETION_LIMIT_NS, FaultReason, QUEUE_SPACE_LIMIT_NS, UnitError};
use model::Ack;

use super::*;

fn both() -> [model::Config; 2] {
    [model::Config::default(), model::Config { rid_pasid: true, ..model::Config::scalable() }]
}

#[test]
fn a_refused_or_lost_descriptor_is_made_good_wherever_it_is() {
    for kind in both() {
        for at in 0..9 {
            for lost in [false, true] {
                let mut board = start(&kind);
                let space = board.attached();
                board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
                assert!(board.write_lands(STREAM, IOVA, DATA));
                {
                    let mut faults = board.bench.faults();
                    if lost {
                        faults.next_wait_times_out = true;
                    } else {
                        faults.next_descriptor_fails = true;
                        faults.descriptors_before_failure = at;
                    }
                }
                // Something of everything: the last may fail only after all this, or not at all.
                board.unmap(&space, IOVA, 12, false);
                assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err(), "{kind:?}, {at}, {lost}");
                board.block(STREAM);
                let other = board.space(2);
                board.map(&other, IOVA, DATA, 12, Rights::READ_WRITE);
                board.attach(STREAM, &other);
                assert!(board.write_lands(STREAM, IOVA, DATA));
                board.block(STREAM);
                assert!(board.nothing_passes(IOVA), "{kind:?}, {at}, {lost}");
                let counts = board.unit.error_counts();
                assert_eq!(counts.timeouts, 0);
                assert!(counts.descriptors + counts.others <= 1);
                let Board { unit, memory, clock, .. } = &mut board;
                assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
            }
        }
    }
}

#[test]
fn a_unit_that_refuses_everything_is_told_of() {
    for kind in both() {
        let mut board = start(&kind);
        let space = board.attached();
        for _ in 0..3 {
            board.bench.faults().next_descriptor_fails = true;
            board.invalidate(&space, IOVA, PAGE, false);
            // The queue stops at the first, and once more at what is to make it good.
            let Board { unit, memory, clock, bench, .. } = &mut board;
            let _ = unit.service_errors(memory, clock);
            bench.faults().descriptors_before_failure = 2;
            let first = unit.sync(memory, clock).map(|_| ());
            bench.faults().next_descriptor_fails = false;
            if first.is_err() {
                assert!(matches!(first, Err(UnitError::CommandRejected(_))), "{first:?}");
            }
            let _ = unit.sync(memory, clock).expect("made good");
        }
        board.exercise(&space, IOVA, DATA);
    }
}

#[test]
fn a_wait_that_never_completes_meets_the_deadline_and_everything_aborts() {
    for kind in both() {
        // What is cached without having been used, only a new root table takes away, and not in every unit.
        let kind = model::Config { clock_step_ns: 10_000, pointer_invalidates: true, ..kind };
        for by_block in [false, true] {
            let mut board = start(&kind);
            let space = board.attached();
            board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
            board.bench.faults().wait_never_completes = true;
            let Board { unit, memory, clock, .. } = &mut board;
            let (result, ns) = elapsed(&clock.clone(), || {
                if by_block {
                    unit.block(memory, clock, STREAM)
                } else {
                    unit.invalidate_all(memory, clock, space.tag, &space.geometry)
                        .and_then(|()| unit.sync(memory, clock).map(|_| ()))
                }
            });
            let Err(UnitError::Timeout { waiting_for, limit_ns }) = result else { panic!("{result:?}") };
            assert!(waiting_for.contains("wait") && limit_ns == COMPLETION_LIMIT_NS);
            assert!(ns >= limit_ns && ns < 2 * limit_ns, "{ns} ns");
            assert_eq!(unit.error_counts().timeouts, 1);
            assert!(board.nothing_passes(IOVA), "{by_block}");
            assert_eq!(board.bench.observed().translation_ended, 0);

            // It stays so, and says so at once.
            board.bench.faults().wait_never_completes = false;
            let Board { unit, memory, clock, .. } = &mut board;
            let (results, ns) = elapsed(&clock.clone(), || {
                let sync = unit.sync(memory, clock).map(|_| ());
                let attach = unit.attach(memory, clock, STREAM, &space);
                let block = unit.block(memory, clock, STREAM);
                [sync, attach, block]
            });
            assert_eq!(results, [Err(UnitError::OutOfOrder); 3]);
            assert!(ns < COMPLETION_LIMIT_NS / 10);
            let Board { unit, memory, clock, .. } = &mut board;
            assert!(unit.service_errors(memory, clock).out_of_order);
            assert!(board.nothing_passes(IOVA));
        }
    }
}

/// Where the unit takes no other root table either, the entries are all that stands before memory.
#[test]
fn a_unit_that_takes_no_new_root_table_either_finds_entries_that_abort() {
    for kind in both() {
        // What it has not read yet it will read as it is now.
        let kind = model::Config { clock_step_ns: 10_000, reads_ahead: false, ..kind };
        let mut board = start(&kind);
        let space = board.attached();
        board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        {
            let mut faults = board.bench.faults();
            (faults.wait_never_completes, faults.root_pointer) = (true, Ack::Never);
        }
        let Board { unit, memory, clock, .. } = &mut board;
        let waited = unit
            .invalidate_all(memory, clock, space.tag, &space.geometry)
            .and_then(|()| unit.sync(memory, clock).map(|_| ()));
        assert!(matches!(waited, Err(UnitError::Timeout { .. })), "{waited:?}");
        assert_eq!(unit.error_counts().timeouts, 2, "of the wait and of the root table");
        assert!(board.nothing_passes(IOVA), "{kind:?}");
    }
}

#[test]
fn a_queue_that_stays_full_meets_the_deadline() {
    for kind in both() {
        let mut board = start(&model::Config { clock_step_ns: 10_000, ..kind });
        let space = board.attached();
        board.bench.faults().reads_per_descriptor = u32::MAX;
        let descriptors = u64::from(board.unit.report().descriptors);
        let Board { unit, memory, clock, .. } = &mut board;
        let range = IovaRange::from_length(IOVA, PAGE).unwrap();
        let mut queue = || unit.invalidate(memory, clock, space.tag, &space.geometry, range, false);
        for _ in 0..descriptors {
            queue().expect("room");
        }
        let (result, ns) = elapsed(&clock.clone(), queue);
        let Err(UnitError::Timeout { waiting_for, limit_ns }) = result else { panic!("{result:?}") };
        assert!(waiting_for.contains("space") && limit_ns == QUEUE_SPACE_LIMIT_NS);
        assert!(ns >= limit_ns && ns < 2 * limit_ns);
        assert_eq!(board.unit.error_counts().timeouts, 1);
    }
}

#[test]
fn write_buffers_that_are_never_flushed_meet_the_deadline() {
    let kind = model::Config { write_buffer: true, clock_step_ns: 10_000, ..model::Config::default() };
    let mut board = start(&kind);
    let space = board.attached();
    board.bench.faults().write_buffer_flush = Ack::Never;
    let Board { unit, memory, clock, .. } = &mut board;
    for result in [unit.block(memory, clock, STREAM), unit.attach(memory, clock, NEIGHBOUR, &space)] {
        assert!(result.is_err());
    }
    assert_eq!(unit.sync(memory, clock).map(|_| ()), Err(UnitError::OutOfOrder));
}

#[test]
fn faults_come_in_order_and_an_overflow_is_counted() {
    let kind = model::Config { fault_records: 4, collapses_faults: false, ..model::Config::server() };
    let legacy = model::Config { scalable: false, pasid_bits: 0, rid_pasid: false, ..kind.clone() };
    for kind in [kind, legacy] {
        let mut board = start(&kind);
        let space = board.attached();
        board.map(&space, IOVA, DATA, 12, Rights::READ);
        for lap in 1..=3 {
            for page in 0..6 {
                assert!(board.bench.dma_write(STREAM, IOVA + page * PAGE + 8, &[1]).is_err());
            }
            for page in 0..4 {
                let fault = board.unit.next_fault(&mut board.memory).expect("a record");
                let reason = if page == 0 { FaultReason::Permission } else { FaultReason::NotMapped };
                assert_eq!((fault.stream, fault.reason), (STREAM, reason));
                assert_eq!((fault.iova, fault.access), (Some(IOVA + page * PAGE), Access::Write));
            }
            assert_eq!(board.unit.next_fault(&mut board.memory), None);
            assert_eq!(board.unit.error_counts().fault_overflows, lap);
            // One at a time, they come at every place.
            assert!(board.bench.dma_read(STREAM, 0, &mut [0]).is_err());
            let fault = board.unit.next_fault(&mut board.memory).expect("a record");
            assert_eq!((fault.access, fault.iova), (Access::Read, Some(0)));
        }
    }
}
