//! Bring-up of many kinds of unit, in many states, and of units that do not answer.

use iommu_hal::{REGISTER_LIMIT_NS, UnitError};
use model::{Ack, LeftOn};

use super::*;

fn kinds() -> Vec<model::Config> {
    let base = model::Config::default();
    let mut kinds = vec![
        model::Config { coherent: false, ..base.clone() },
        model::Config { reads_ahead: true, ..base.clone() },
        model::Config { coherent: false, reads_ahead: true, range_invalidation: false, ..base.clone() },
        model::Config { range_invalidation: false, ..base.clone() },
        model::Config { asid16: false, vmid16: false, ..base.clone() },
        model::Config { two_level: false, ..base.clone() },
        model::Config { stream_bits: 5, ..base.clone() },
        model::Config { stream_bits: 8, coherent: false, ..base.clone() },
        model::Config { stream_bits: 9, ..base.clone() },
        model::Config { stream_bits: 32, ..base.clone() },
        model::Config { hypervisor: true, msi: true, wake_events: true, ..base.clone() },
        model::Config { command_queue_lg2: 1, event_queue_lg2: 1, ..base.clone() },
        model::Config { command_queue_lg2: 0, event_queue_lg2: 0, ..base.clone() },
        model::Config { aborts_at_reset: true, ..base.clone() },
        model::Config { granules: vec![12], ..base.clone() },
        model::Config { overrides_types: true, overrides_permissions: true, ..base.clone() },
        model::Config { hierarchy_disable: false, block_change_level: 0, ..base.clone() },
        model::Config { always_aborts: false, minor_version: 0, substream_bits: 20, ..base.clone() },
    ];
    for output_bits in [32, 36, 40, 42, 44, 48] {
        kinds.push(model::Config { output_bits, ..base.clone() });
    }
    kinds.push(base);
    let with_stages = |stage1, stage2| {
        kinds.iter().map(move |kind| model::Config { stage1, stage2, ..kind.clone() }).collect::<Vec<_>>()
    };
    [with_stages(true, true), with_stages(true, false), with_stages(false, true)].concat()
}

#[test]
fn every_kind_of_unit_translates_and_protects() {
    for kind in kinds() {
        let mut board = start(&kind);
        assert_eq!(board.unit.needs_clean(), !kind.coherent);
        let space = board.attached();
        // A machine of 32 bits has its RAM below 4 GiB, and its input addresses too.
        let last_page = space.geometry.aperture().last() - (PAGE - 1);
        for iova in [0, 0x1234_5000, last_page] {
            board.exercise(&space, iova, DATA);
        }
        assert!(board.bench.dma_write(NEIGHBOUR, 0, &[1]).is_err());
        board.unit.block(&mut board.memory, &board.clock, STREAM).expect("block");
        assert!(board.nothing_passes(0));
        assert_eq!(board.bench.observed().global_bypasses, 0, "{kind:?}");
        assert_eq!(board.bench.active_errors(), 0);
    }
}

#[test]
fn blocks_of_every_size_are_forgotten_with_and_without_range_commands() {
    for kind in kinds().into_iter().filter(|kind| kind.output_bits >= 40) {
        let mut board = start(&kind);
        let space = board.attached();
        for (size_lg2, iova) in [(12, 0x1000), (21, 0x60_0000), (30, 0x8000_0000u64)] {
            board.map(&space, iova, 0x8000_0000, size_lg2, Rights::READ_WRITE);
            let inside = iova + (1 << size_lg2) - 16;
            board.bench.dma_write(STREAM, inside, &[1; 16]).expect("a write");
            board.map(&space, iova, 0, size_lg2, Rights::NONE);
            board.invalidate(&space, iova, 1 << (size_lg2 - 12));
            board.sync();
            assert!(board.bench.dma_write(STREAM, inside, &[1; 16]).is_err(), "{size_lg2}, {kind:?}");
        }
    }
}

#[test]
fn tables_that_are_taken_out_are_forgotten_too() {
    for kind in kinds() {
        let mut board = start(&kind);
        let space = board.attached();
        let (page, bytes) = (0x60_0000, 1 << 21);
        board.map(&space, page, DATA, 12, Rights::READ_WRITE);
        board.bench.dma_write(STREAM, page, &[1]).expect("a write");
        // The table of the last level goes, then another comes in its place.
        board.map(&space, page, 0, 21, Rights::NONE);
        let Board { unit, memory, clock, .. } = &mut board;
        let range = IovaRange::from_length(page, bytes).unwrap();
        unit.invalidate(memory, clock, space.tag, &space.geometry, range, true).expect("invalidate");
        board.sync();
        assert!(board.bench.dma_write(STREAM, page + PAGE, &[1]).is_err());
        assert!(board.bench.dma_write(STREAM, page, &[1]).is_err(), "{kind:?}");
        board.map(&space, page, DATA + PAGE, 12, Rights::READ_WRITE);
        board.bench.dma_write(STREAM, page, &[2]).expect("a write");
        let mut byte = [0];
        board.bench.memory().peek(DATA + PAGE, &mut byte);
        assert_eq!(byte, [2], "{kind:?}");
    }
}

#[test]
fn a_unit_left_on_is_taken_over_without_a_moment_of_bypass() {
    let kind = model::Config::default();
    let mut states = vec![LeftOn::default()];
    for bit in 0..32 {
        states.push(LeftOn {
            translating: bit & 1 != 0,
            command_queue: bit & 2 != 0,
            event_queue: (bit & 4 != 0).then_some([0, 5, 128][bit as usize % 3]),
            aborts: bit & 8 != 0,
            errors: if bit & 16 != 0 { 0x1d } else { 0 },
            stale_translations: bit & 1 != 0,
        });
    }
    for left in states {
        for coherent in [true, false] {
            let kind = model::Config { coherent, ..kind.clone() };
            let bench = Bench::left_on(kind.clone(), &left);
            let before = bench.observed().global_bypasses;
            let mut board = start_with(bench, &kind, &config(&[STREAM, NEIGHBOUR])).expect("bring-up");
            assert!(board.nothing_passes(DATA), "{left:?}");
            assert!(board.nothing_passes(0), "{left:?}");
            assert_eq!(board.bench.observed().global_bypasses, before, "{left:?}");
            assert_eq!(board.bench.active_errors(), 0);
            let space = board.attached();
            board.exercise(&space, 0, DATA);
            board.exercise(&space, IOVA, DATA);
        }
    }
}

fn expect_timeout(bench: Bench, kind: &model::Config, words: &str) {
    let (_, _, clock) = bench.ports();
    let keep = bench.clone();
    let (result, ns) = elapsed(&clock, || start_with(bench, kind, &config(&[STREAM])));
    match result.map(|_| ()) {
        Err(BringUpError::Timeout { waiting_for, limit_ns }) => {
            assert!(waiting_for.contains(words), "waited for {waiting_for}");
            assert_eq!(limit_ns, REGISTER_LIMIT_NS);
            assert!(ns >= limit_ns && ns < 2 * limit_ns, "{ns} ns");
        }
        other => panic!("{other:?} instead of a timeout of {words}"),
    }
    drop(keep);
}

#[test]
fn registers_that_never_answer_meet_the_deadline() {
    let kind = model::Config { clock_step_ns: 10_000, ..model::Config::default() };
    let bench = || Bench::new(kind.clone());
    let on = || Bench::left_on(kind.clone(), &LeftOn::default());

    let stuck = bench();
    stuck.faults().gbpa_update = Ack::Never;
    expect_timeout(stuck, &kind, "GBPA.Update");
    let stuck = bench();
    stuck.faults().cr0_ack = Ack::Never;
    expect_timeout(stuck, &kind, "command queue is on");
    let stuck = on();
    stuck.faults().cr0_ack = Ack::Never;
    expect_timeout(stuck, &kind, "everything is off");
    let stuck = bench();
    stuck.faults().irq_ctrl_ack = Ack::Never;
    expect_timeout(stuck, &kind, "IRQ_CTRLACK");
}

#[test]
fn registers_that_answer_late_are_waited_for() {
    let kind = model::Config::default();
    for left in [None, Some(LeftOn::default())] {
        let bench = match &left {
            Some(left) => Bench::left_on(kind.clone(), left),
            None => Bench::new(kind.clone()),
        };
        {
            let mut faults = bench.faults();
            faults.cr0_ack = Ack::AfterReads(20);
            faults.gbpa_update = Ack::AfterReads(20);
            faults.irq_ctrl_ack = Ack::AfterReads(20);
            faults.reads_per_command = 7;
        }
        let mut board = start_with(bench, &kind, &config(&[STREAM, NEIGHBOUR])).expect("bring-up");
        let space = board.attached();
        board.exercise(&space, IOVA, DATA);
    }
}

#[test]
fn a_sync_that_never_completes_ends_bring_up_with_everything_aborting() {
    let kind = model::Config { clock_step_ns: 10_000, ..model::Config::default() };
    let bench = Bench::new(kind.clone());
    bench.faults().sync_never_completes = true;
    let error = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("CMD_SYNC"), "{error}");
    assert!(bench.dma_write(STREAM, DATA, &[1]).is_err());
}

#[test]
fn a_command_that_is_refused_in_bring_up_ends_it() {
    for commands_before_failure in 0..4 {
        let kind = model::Config::default();
        let bench = Bench::new(kind.clone());
        {
            let mut faults = bench.faults();
            faults.next_command_fails = Some(1);
            faults.commands_before_failure = commands_before_failure;
        }
        let result = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ());
        assert_eq!(result, Err(BringUpError::CommandRejected(1)), "command {commands_before_failure}");
        assert!(bench.dma_write(STREAM, DATA, &[1]).is_err());
    }
}

#[test]
fn units_that_cannot_be_used_are_refused_and_abort() {
    let base = model::Config::default();
    for (kind, word) in [
        (model::Config { granules: vec![16], ..base.clone() }, "4 KiB"),
        (model::Config { formats: 1, ..base.clone() }, "AArch64"),
        (model::Config { stage1: false, stage2: false, ..base.clone() }, "neither"),
    ] {
        let bench = Bench::left_on(kind.clone(), &LeftOn::default());
        let error = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert!(bench.dma_write(STREAM, DATA, &[1]).is_err());
    }
}

#[test]
fn streams_in_many_places_share_level_2_tables() {
    let kind = model::Config { stream_bits: 24, ..model::Config::default() };
    let ids = [0, 0xff, 0x100, 0x1ff, 0xff_0000, 0xff_00ff].map(StreamId);
    let mut board = start_with(Bench::new(kind.clone()), &kind, &config(&ids)).expect("bring-up");
    for (index, id) in ids.into_iter().enumerate() {
        let geometry = board.unit.geometry();
        let space = board.space(index as u16 + 1, geometry);
        board.map(&space, IOVA, DATA + index as u64 * PAGE, 12, Rights::READ_WRITE);
        board.unit.attach(&mut board.memory, &board.clock, id, &space).expect("attach");
    }
    for (index, id) in ids.into_iter().enumerate() {
        board.bench.dma_write(id, IOVA, &[index as u8 + 1]).expect("a write");
        let mut byte = [0];
        board.bench.memory().peek(DATA + index as u64 * PAGE, &mut byte);
        assert_eq!(byte, [index as u8 + 1]);
    }
    for id in [1, 0x101, 0x200, 0xff_0001, 0xfe_0000, 0x7f_ffff].map(StreamId) {
        assert!(board.bench.dma_write(id, IOVA, &[1]).is_err());
        let space = board.space(9, board.unit.geometry());
        let refused = board.unit.attach(&mut board.memory, &board.clock, id, &space);
        assert_eq!(refused, Err(UnitError::UnknownStream(id)));
    }
    assert_eq!(board.unit.next_fault(&mut board.memory), None, "unknown streams are silent");
}

#[test]
fn unknown_streams_are_recorded_on_wish() {
    let kind = model::Config::default();
    let wish = Config { record_unknown: true, ..config(&[STREAM]) };
    let mut board = start_with(Bench::new(kind.clone()), &kind, &wish).expect("bring-up");
    for id in [STREAM.0 + 1, 0x1234].map(StreamId) {
        assert!(board.bench.dma_write(id, IOVA, &[1]).is_err());
        let fault = board.unit.next_fault(&mut board.memory).expect("a record");
        assert_eq!((fault.stream, fault.reason), (id, iommu_hal::FaultReason::StreamAborted));
    }
    assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err());
    assert_eq!(board.unit.next_fault(&mut board.memory), None, "a named stream aborts silently");
}
