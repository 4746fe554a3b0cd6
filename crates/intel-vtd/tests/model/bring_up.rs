//! Bring-up of many kinds of unit, in many states, and of units that do not answer.

use intel_vtd::{Mode, ModeReason};
use iommu_hal::REGISTER_LIMIT_NS;
use model::{Ack, LeftOn};

use super::*;

#[test]
fn every_kind_of_unit_translates_and_protects() {
    for kind in kinds() {
        let mut board = start(&kind);
        let report = *board.unit.report();
        assert_eq!(report.mode, if kind.scalable { Mode::Scalable } else { Mode::Legacy });
        assert_eq!(board.unit.needs_clean(), !kind.coherent);
        assert_eq!(board.unit.caches_absence(), kind.caching_mode || kind.write_buffer);
        assert!(board.nothing_passes(DATA));
        assert_eq!(board.bench.observed().faults_recorded, 0, "streams that are not attached are silent");
        let space = board.attached();
        let last_page = space.geometry.aperture().last() - (PAGE - 1);
        for iova in [0, 0x1234_5000, last_page] {
            board.exercise(&space, iova, DATA);
        }
        assert!(board.bench.dma_write(NEIGHBOUR, 0, &[1]).is_err());
        board.block(STREAM);
        assert!(board.nothing_passes(0));
        assert_eq!(board.bench.observed().translation_ended, 0, "{kind:?}");
    }
}

fn states() -> Vec<LeftOn> {
    let states = (0..64).map(|bits: u32| LeftOn {
        translating: bits & 1 != 0,
        queue: bits & 2 != 0,
        interrupts: bits & 4 != 0,
        faults: bits & 8 != 0,
        queue_error: bits & 2 != 0 && bits & 16 != 0,
        protected_memory: bits & 32 != 0,
        stale_translations: bits & 1 != 0,
    });
    states.collect()
}

#[test]
fn a_unit_left_on_is_taken_over_without_a_moment_of_bypass() {
    for kind in [model::Config::default(), model::Config::server(), model::Config::caching_mode()] {
        let kind = model::Config { protected_memory: true, ..kind };
        for left in states() {
            let bench = Bench::left_on(kind.clone(), &left);
            let mut board = start_with(bench, &kind, &config(&[STREAM, NEIGHBOUR]))
                .unwrap_or_else(|error| panic!("{error}, {left:?}"));
            let report = *board.unit.report();
            if left.translating && kind.scalable {
                assert_eq!((report.mode, report.mode_reason), (Mode::Legacy, ModeReason::LeftOn));
            }
            assert_eq!(report.protection_found, left.protected_memory);
            for iova in [0, 0x1000, DATA, 0x3000_0000] {
                assert!(board.nothing_passes(iova), "{left:?}");
            }
            assert_eq!(board.bench.observed().translation_ended, 0, "{left:?}");
            assert_eq!(board.unit.next_fault(&mut board.memory), None);
            let space = board.attached();
            board.exercise(&space, 0, DATA);
            board.exercise(&space, IOVA, 0x20_0000);
        }
    }
}

fn expect_timeout(bench: Bench, kind: &model::Config, words: &str) {
    let (_, _, clock) = bench.ports();
    let keep = bench.clone();
    let (result, ns) = elapsed(&clock, || start_with(bench, kind, &config(&[STREAM])));
    match result.map(|_| ()) {
        Err(BringUpError::Timeout { waiting_for, limit_ns }) => {
            assert!(waiting_for.contains(words), "waited for {waiting_for}, not {words}");
            assert_eq!(limit_ns, REGISTER_LIMIT_NS);
            assert!(ns >= limit_ns && ns < 3 * limit_ns, "{ns} ns");
        }
        other => panic!("{other:?} instead of a timeout of {words}"),
    }
    drop(keep);
}

#[test]
fn registers_that_never_answer_meet_the_deadline() {
    let kind = model::Config {
        clock_step_ns: 10_000,
        protected_memory: true,
        write_buffer: true,
        ..model::Config::default()
    };
    let on = LeftOn { interrupts: true, protected_memory: true, ..LeftOn::default() };
    let never = |left: Option<&LeftOn>, set: fn(&mut model::Faults), words| {
        let bench = match left {
            Some(left) => Bench::left_on(kind.clone(), left),
            None => Bench::new(kind.clone()),
        };
        set(&mut bench.faults());
        expect_timeout(bench.clone(), &kind, words);
        bench
    };
    never(None, |faults| faults.write_buffer_flush = Ack::Never, "WBFS");
    never(None, |faults| faults.root_pointer = Ack::Never, "RTPS");
    let bench = never(None, |faults| faults.queue_enable = Ack::Never, "QIES");
    assert!(bench.dma_write(STREAM, DATA, &[1]).is_err(), "translation is on all the same");
    never(None, |faults| faults.translation_enable = Ack::Never, "TES");
    never(Some(&on), |faults| faults.root_pointer = Ack::Never, "RTPS");
    never(Some(&on), |faults| faults.interrupt_enable = Ack::Never, "IRES");
    never(Some(&on), |faults| faults.queue_enable = Ack::Never, "QIES");
    never(Some(&on), |faults| faults.protected_memory = Ack::Never, "PRS");
}

#[test]
fn registers_that_answer_late_are_waited_for() {
    let kind = model::Config { protected_memory: true, write_buffer: true, ..model::Config::default() };
    let on = LeftOn { interrupts: true, protected_memory: true, ..LeftOn::default() };
    for left in [None, Some(on)] {
        let bench = match &left {
            Some(left) => Bench::left_on(kind.clone(), left),
            None => Bench::new(kind.clone()),
        };
        {
            let mut faults = bench.faults();
            let late = Ack::AfterReads(20);
            (faults.translation_enable, faults.root_pointer, faults.queue_enable) = (late, late, late);
            (faults.write_buffer_flush, faults.interrupt_enable) = (late, late);
            faults.protected_memory = late;
            faults.reads_per_descriptor = 7;
        }
        let mut board = start_with(bench, &kind, &config(&[STREAM, NEIGHBOUR])).expect("bring-up");
        let space = board.attached();
        board.exercise(&space, IOVA, DATA);
    }
}

#[test]
fn a_wait_that_never_completes_ends_bring_up_with_everything_aborting() {
    for kind in [model::Config::default(), model::Config::scalable()] {
        let kind = model::Config { clock_step_ns: 10_000, ..kind };
        let bench = Bench::new(kind.clone());
        bench.faults().wait_never_completes = true;
        let error = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("invalidation wait"), "{error}");
        assert!(bench.dma_write(STREAM, DATA, &[1]).is_err());
    }
}

#[test]
fn a_descriptor_that_is_refused_in_bring_up_ends_it() {
    for kind in [model::Config::default(), model::Config::scalable()] {
        let all = if kind.scalable { 7 } else { 5 };
        for descriptors_before_failure in 0..all {
            let bench = Bench::new(kind.clone());
            {
                let mut faults = bench.faults();
                faults.next_descriptor_fails = true;
                faults.descriptors_before_failure = descriptors_before_failure;
            }
            let result = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ());
            assert!(
                matches!(result, Err(BringUpError::DescriptorRejected(_))),
                "descriptor {descriptors_before_failure}: {result:?}"
            );
            assert!(bench.dma_write(STREAM, DATA, &[1]).is_err());
        }
    }
}

#[test]
fn units_that_cannot_be_used_are_refused_and_abort() {
    let base = model::Config::default();
    for (kind, word) in [
        (model::Config { queued_invalidation: false, interrupt_remapping: false, ..base.clone() }, "ECAP.QI"),
        (model::Config { fault_records: 256, fault_offset: 0x800, ..base.clone() }, "CAP.FRO"),
    ] {
        let left = LeftOn { queue: false, ..LeftOn::default() };
        let bench = Bench::new(kind.clone());
        let on = Bench::left_on(kind.clone(), &left);
        for bench in [bench, on] {
            let error = start_with(bench.clone(), &kind, &config(&[STREAM])).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(bench.is_translating());
            assert_eq!(bench.observed().translation_ended, 0);
        }
    }
}

#[test]
fn streams_in_many_places_have_entries_of_their_own() {
    for kind in [model::Config::default(), model::Config::scalable()] {
        let ids = [0, 0x7f, 0x80, 0xff, 0x100, 0x8018, 0xff00, 0xffff].map(StreamId);
        let mut board = start_with(Bench::new(kind.clone()), &kind, &config(&ids)).expect("bring-up");
        for (index, id) in ids.into_iter().enumerate() {
            let space = board.space(index as u16 + 1);
            board.map(&space, IOVA, DATA + index as u64 * PAGE, 12, Rights::READ_WRITE);
            board.attach(id, &space);
        }
        for (index, id) in ids.into_iter().enumerate() {
            assert!(board.write_lands(id, IOVA, DATA + index as u64 * PAGE), "{id:?}");
        }
        for id in [1, 0x7e, 0x81, 0x101, 0x200, 0x8017, 0x8019, 0xfffe].map(StreamId) {
            assert!(board.bench.dma_write(id, IOVA, &[1]).is_err());
        }
        assert_eq!(board.unit.next_fault(&mut board.memory), None, "streams that are not named are silent");
    }
}

#[test]
fn requests_with_a_pasid_abort() {
    let kind = model::Config { scalable: true, ..model::Config::server() };
    let mut board = start(&kind);
    let space = board.attached();
    board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
    assert!(board.write_lands(STREAM, IOVA, DATA));
    for pasid in [0, 1, 64, 0xf_ffff] {
        assert!(board.bench.dma_write_with_pasid(STREAM, pasid, IOVA, &[1]).is_err(), "{pasid}");
    }
}

/// Without a queue the driver forgets through registers alone, and gives up on a unit that does not do that.
#[test]
fn a_unit_without_a_queue_that_forgets_nothing_translates_all_the_same() {
    for which in 0..2 {
        let kind = model::Config { clock_step_ns: 10_000, ..model::Config::old() };
        let bench = Bench::new(kind.clone());
        match which {
            0 => bench.faults().context_command = Ack::Never,
            _ => bench.faults().iotlb_command = Ack::Never,
        }
        let (_, _, clock) = bench.ports();
        let (result, ns) = elapsed(&clock, || start_with(bench.clone(), &kind, &config(&[STREAM])));
        assert!((REGISTER_LIMIT_NS..2 * REGISTER_LIMIT_NS).contains(&ns), "{which}: {ns} ns");
        let error = result.map(|_| ()).expect_err("it has no queue");
        assert!(matches!(error, BringUpError::Unsupported(why) if why.contains("ECAP.QI")), "{error}");
        assert!(bench.is_translating(), "{which}");
        assert!(bench.dma_write(STREAM, DATA, &[1]).is_err(), "{which}");
    }
}
