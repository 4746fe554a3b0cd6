//! Refused commands and global errors.

use arm_smmu_v3::{ErrorReport, decode};
use iommu_hal::UnitError;
use proptest::prelude::*;

use super::*;

/// CMDQ_CONS.ERR: illegal, fetch abort, ATS invalidation before a CMD_SYNC.
const COMMAND_ERRORS: [u8; 3] = [1, 2, 3];

fn fail_command(board: &Board, error: u8, after: u32) {
    let mut faults = board.bench.faults();
    faults.next_command_fails = Some(error);
    faults.commands_before_failure = after;
}

#[test]
fn a_sync_makes_good_what_a_refused_command_left_undone() {
    for error in COMMAND_ERRORS {
        for after in 0..3 {
            let mut board = start(&model::Config::default());
            let space = board.attached();
            board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
            board.bench.dma_write(STREAM, IOVA, &[1]).expect("a write");
            board.map(&space, IOVA, 0, 12, Rights::NONE);
            fail_command(&board, error, after);
            board.invalidate(&space, IOVA + PAGE, 1);
            board.invalidate(&space, IOVA, 1);
            board.sync();
            assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err(), "error {error} after {after}");
            assert_eq!(board.unit.error_counts().commands, 1);
            assert_eq!(board.bench.active_errors(), 0);
            board.exercise(&space, IOVA, DATA);
        }
    }
}

#[test]
fn a_refused_command_in_attach_or_block_is_made_good() {
    for block in [false, true] {
        for error in COMMAND_ERRORS {
            for after in 0..6 {
                let mut board = start(&model::Config::default());
                let (one, two) = (board.attached(), board.space(2, board.unit.geometry()));
                board.map(&one, IOVA, DATA, 12, Rights::READ_WRITE);
                board.map(&two, IOVA, DATA + PAGE, 12, Rights::READ_WRITE);
                board.bench.dma_write(STREAM, IOVA, &[1]).expect("a write");
                fail_command(&board, error, after);
                let Board { unit, memory, clock, bench, .. } = &mut board;
                if block {
                    unit.block(memory, clock, STREAM).unwrap();
                    assert!(bench.dma_write(STREAM, IOVA, &[7]).is_err());
                } else {
                    unit.attach(memory, clock, STREAM, &two).unwrap();
                    bench.dma_write(STREAM, IOVA, &[7]).expect("a write");
                    let mut byte = [0];
                    bench.memory().peek(DATA + PAGE, &mut byte);
                    assert_eq!(byte, [7]);
                }
            }
        }
    }
}

#[test]
fn an_error_found_by_its_interrupt_is_made_good_by_the_next_sync() {
    let mut board = start(&model::Config::default());
    let space = board.attached();
    board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    board.bench.dma_write(STREAM, IOVA, &[1]).expect("a write");
    // The error is raised while nobody waits, so the interrupt is the first to tell.
    board.bench.raise_errors(1);
    let Board { unit, memory, clock, .. } = &mut board;
    let report = unit.service_errors(memory, clock);
    assert!(report.command.is_some());
    assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
    board.sync();
    assert_eq!(board.bench.cached_translations(), 0, "everything was invalidated");
    board.exercise(&space, IOVA, DATA);
}

#[test]
fn every_global_error_is_acknowledged_and_reported() {
    for bit in [0u32, 2, 3, 4, 5, 6, 7] {
        let mut board = start(&model::Config { msi: true, ..model::Config::default() });
        let space = board.attached();
        board.bench.raise_errors(1 << bit);
        let Board { unit, memory, clock, bench, .. } = &mut board;
        let report = unit.service_errors(memory, clock);
        assert_eq!(report.active, 1 << bit);
        assert_eq!(report.command.is_some(), bit == 0);
        assert_eq!(report.event_queue_abort, bit == 2);
        assert_eq!(report.page_request_abort, bit == 3);
        assert_eq!(u32::from(report.message_abort), 1 << bit >> 4 & 0xf);
        assert!(!report.service_failure && !report.out_of_order);
        assert_eq!(bench.active_errors(), 0);
        assert_eq!(unit.service_errors(memory, clock), ErrorReport::default());
        let counts = unit.error_counts();
        assert_eq!(counts.commands + counts.event_queue_aborts + counts.others, 1);
        board.exercise(&space, IOVA, DATA);
    }
}

#[test]
fn several_errors_at_once_are_all_acknowledged() {
    let mut board = start(&model::Config::default());
    board.bench.raise_errors(0xfd);
    let Board { unit, memory, clock, bench, .. } = &mut board;
    assert_eq!(unit.service_errors(memory, clock).active, 0xfd);
    assert_eq!(bench.active_errors(), 0);
}

#[test]
fn service_failure_turns_everything_off() {
    let mut board = start(&model::Config::default());
    let space = board.attached();
    board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    board.bench.raise_errors(1 << 8);
    let Board { unit, memory, clock, .. } = &mut board;
    let report = unit.service_errors(memory, clock);
    assert!(report.service_failure && report.out_of_order);
    assert_eq!(unit.sync(memory, clock).map(|_| ()), Err(UnitError::OutOfOrder));
    assert!(board.nothing_passes(IOVA));
    assert_eq!(board.bench.active_errors(), 0);
}

proptest! {
    #[test]
    fn any_record_decodes(raw: [u64; 4]) {
        let fault = decode(raw);
        prop_assert_eq!(fault.raw, raw);
        prop_assert_eq!(u64::from(fault.stream.0), raw[0] >> 32);
    }
}
