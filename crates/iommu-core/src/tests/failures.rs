//! Hardware that fails at the n-th call, and memory that is used up.

use iommu_hal::UnitError;

use super::machine::{Call, TIMEOUT};
use super::watch::{areas, request, space};
use super::*;
use crate::area::State;
use crate::{CopyRequest, MAX_AREAS_PER_REQUEST, Resource};

fn timeout() -> Refusal {
    TIMEOUT.into()
}

#[test]
fn what_was_unmapped_stays_out_of_use_until_the_hardware_answers() {
    // Neither a failing invalidation nor a failing wait frees anything.
    for n in 0..2 {
        let machine = Machine::default();
        let mut core = core(&machine);
        let (id, _) = core.ioas_alloc(A).unwrap();
        core.attach(A, id, 0).unwrap();
        let map = fixed(id, 0x5000, 0, PAGE);
        request(&mut core, &machine, |core| core.map(A, &map)).unwrap();
        let before = core.usage(A);
        machine.fail_at(n, TIMEOUT);
        // More than the mapping, so that its table goes too.
        let unmap = |core: &mut TestCore| core.unmap(A, id, 0x5000, 0x6fff);
        assert_eq!(request(&mut core, &machine, unmap), Err(timeout()));
        let area = areas(&core, space(&core, A, id))[0];
        assert_eq!((area.state, area.cursor), (State::Removing, PAGE));
        assert_eq!(core.usage(A), before);
        assert_eq!(space(&core, A, id).quarantine.len(), 2);
        assert_eq!(core.map(A, &map), Err(Refusal::Overlap(area.range)));
        // Another range is free meanwhile, and what is mapped there settles the quarantine, not the area.
        request(&mut core, &machine, |core| core.map(A, &fixed(id, 0x9000, 0, PAGE))).unwrap();
        assert!(machine.take_calls().iter().any(|call| matches!(call.1, Call::InvalidateAll(_))));
        request(&mut core, &machine, |core| core.unmap(A, id, 0x8000, 0x9fff)).unwrap();
        assert_eq!(core.usage(A).frames, 1);
        assert_eq!(request(&mut core, &machine, unmap).map(|done| done.bytes), Ok(PAGE));
        assert_eq!(core.usage(A), Quota { frames: 1, areas: 0, spaces: 1 });
        request(&mut core, &machine, |core| core.map(A, &map)).unwrap();
    }
}

/// The units may still walk a table that was taken out, where something new is to be.
#[test]
fn nothing_is_mapped_before_the_hardware_has_forgotten_what_was_there() {
    let block = |id| fixed(id, 0, 0, 2 * MIB);
    let beside = |id| fixed(id, 0x9000, 0, PAGE);
    let long = |id| fixed(id, 8 * MIB, PAGE, 4 * MIB);
    for (what, left, again) in
        [("block", 0, 0), ("beside", 1, 0), ("resumed", 1, 1), ("copy", 1, 2), ("copy on", 1, 3)]
    {
        let machine = Machine::default();
        let mut core = core(&machine);
        let (id, _) = core.ioas_alloc(A).unwrap();
        let (other, _) = core.ioas_alloc(A).unwrap();
        core.attach(A, id, 0).unwrap();
        map_all(&mut core, A, &long(other)).unwrap();
        let copy = CopyRequest { target: id, source: other, iova: 16 * MIB, first: 8 * MIB, ..copy(id) };
        let copy = CopyRequest { length: 4 * MIB, ..copy };
        let half = match again {
            1 => core.map(A, &long(id)).unwrap().more,
            3 => core.copy(A, &copy).unwrap().more,
            _ => false,
        };
        assert_eq!(half, again % 2 == 1);
        core.map(A, &fixed(id, 0x5000, 0, PAGE)).unwrap();
        if left == 0 {
            // Its table stays, empty, until the block is to be in its place.
            core.unmap(A, id, 0x5000, 0x5fff).unwrap();
        }
        let step = |core: &mut TestCore| match (left, again) {
            (0, _) => core.map(A, &block(id)),
            (_, 0) => core.map(A, &beside(id)),
            (_, 1) => core.map(A, &MapRequest { resume: true, ..long(id) }),
            (_, 2) => core.copy(A, &copy),
            _ => core.copy(A, &CopyRequest { resume: true, ..copy }),
        };
        machine.fail_at(1, TIMEOUT);
        let failing = match left {
            0 => request(&mut core, &machine, step),
            // More than the mapping, so that its table goes too.
            _ => request(&mut core, &machine, |core| core.unmap(A, id, 0x5000, 0x6fff)),
        };
        assert_eq!(failing, Err(timeout()), "{what}");
        let before = areas(&core, space(&core, A, id));
        machine.fail_at(0, TIMEOUT);
        assert_eq!(request(&mut core, &machine, step), Err(timeout()), "{what}");
        assert_eq!(areas(&core, space(&core, A, id)), before, "{what}: nothing has changed");
        machine.take_calls();
        request(&mut core, &machine, step).unwrap();
        let calls: Vec<_> = machine.take_calls().into_iter().map(|call| call.1).collect();
        assert!(matches!(calls[..], [Call::InvalidateAll(_), Call::Sync]), "{what}: {calls:?}");
        repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
        assert_eq!(core.usage(A), Quota::ZERO, "{what}");
    }
}

#[test]
fn an_error_that_is_no_timeout_is_told_as_it_is() {
    for error in [UnitError::OutOfOrder, UnitError::CommandRejected(2)] {
        let machine = Machine::default();
        let mut core = core(&machine);
        let (id, _) = core.ioas_alloc(A).unwrap();
        core.attach(A, id, 0).unwrap();
        core.map(A, &any(id, 0, PAGE)).unwrap();
        machine.fail_at(1, error);
        let unmap = request(&mut core, &machine, |core| core.unmap(A, id, 0, u64::MAX));
        assert_eq!(unmap, Err(Refusal::HardwareFailed(error)));
    }
}

#[test]
fn a_device_that_may_not_have_let_go_holds_its_spaces() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (old, _) = core.ioas_alloc(A).unwrap();
    let (new, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, old, 0).unwrap();
    machine.fail_at(0, TIMEOUT);
    assert_eq!(request(&mut core, &machine, |core| core.replace(A, new, 0)), Err(timeout()));
    assert_eq!(core.device_info(A, 0).unwrap().space, None);
    assert!(!core.is_attached(stream(A, 0)));
    for _ in 0..2 {
        for id in [old, new] {
            assert_eq!(core.ioas_destroy(A, id), Err(Refusal::Busy));
            assert_eq!(core.attach(A, id, 0), Err(Refusal::Busy));
            assert_eq!(core.replace(A, id, 0), Err(Refusal::Busy));
        }
        machine.fail_at(0, TIMEOUT);
        assert_eq!(request(&mut core, &machine, |core| core.detach(A, 0)), Err(timeout()));
    }
    request(&mut core, &machine, |core| core.detach(A, 0)).unwrap();
    request(&mut core, &machine, |core| core.attach(A, new, 0)).unwrap();
    request(&mut core, &machine, |core| core.ioas_destroy(A, old)).unwrap();
}

#[test]
fn reset_blocks_every_device_even_if_one_fails() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.attach(A, id, 1).unwrap();
    machine.fail_at(0, TIMEOUT);
    assert_eq!(request(&mut core, &machine, |core| core.reset(A)), Err(timeout()));
    assert!(!core.is_attached(stream(A, 0)) && !core.is_attached(stream(A, 1)));
    assert_eq!(space(&core, A, id).devices, 1);
    request(&mut core, &machine, |core| core.reset(A)).unwrap();
    assert_eq!(core.usage(A), Quota::ZERO);
}

/// A life of two spaces and two devices. Every step is tried again until it succeeds, at most twice.
fn life(core: &mut TestCore, machine: &Machine) -> u32 {
    let mut failures = 0;
    fn insist<T>(
        core: &mut TestCore,
        machine: &Machine,
        failures: &mut u32,
        step: impl Fn(&mut TestCore) -> Result<T, Refusal>,
    ) -> T {
        loop {
            let armed = machine.0.fail.get().is_some();
            match request(core, machine, &step) {
                Ok(done) => {
                    if armed && machine.0.fail.get().is_none() {
                        // What is mapped stands, though the unit was not told of it.
                        assert!(machine.0.caches_absence.get(), "a failure was not told");
                        *failures += 1;
                        assert_eq!(*failures, 1, "one failure was asked for");
                    }
                    return done;
                }
                // An attachment that failed must be undone first.
                Err(Refusal::Busy) => core.detach(A, 0).unwrap(),
                Err(refusal) => {
                    assert_eq!(refusal, timeout());
                    *failures += 1;
                    assert_eq!(*failures, 1, "one failure was asked for");
                }
            }
        }
    }
    let mut step = |step: &dyn Fn(&mut TestCore) -> Result<Progress, Refusal>| {
        while insist(core, machine, &mut failures, step).more {}
    };
    let none = |()| Progress { iova: 0, bytes: 0, more: false };
    let (first, second) = (SpaceId(1), SpaceId(2));
    step(&|core| core.ioas_alloc(A).map(|_| none(())));
    step(&|core| core.ioas_alloc(A).map(|_| none(())));
    step(&|core| core.map(A, &fixed(first, 0x1000, 0, 3 * PAGE)));
    step(&|core| core.attach(A, first, 0).map(none));
    step(&|core| core.map(A, &fixed(first, 4 * MIB, 0, 2 * MIB)));
    step(&|core| core.map(A, &fixed(second, 1 << 30, 0, PAGE)));
    step(&|core| core.unmap(A, first, 0x1000, 0x3fff));
    step(&|core| match core.device_info(A, 0)?.space {
        Some(_) => core.replace(A, second, 0).map(none),
        None => core.attach(A, second, 0).map(none),
    });
    step(&|core| core.unmap(A, first, 0, u64::MAX));
    step(&|core| core.ioas_destroy(A, first));
    step(&|core| core.map(A, &fixed(second, 0x1000, 0, PAGE)));
    step(&|core| core.unmap(A, second, 0, (1 << 31) - 1));
    step(&|core| core.stop(A, 0).map(none));
    step(&|core| match core.enable(A, 0) {
        Err(Refusal::NotAttached) => core.attach(A, second, 0).map(none),
        enabled => enabled.map(none),
    });
    step(&|core| core.map(A, &fixed(second, 0x1000, 0, PAGE)));
    step(&|core| core.copy(A, &copy(second)));
    step(&|core| core.unmap(A, second, 0x1000, 0x1fff));
    step(&|core| core.revoke(A, 0).map(|(_, done)| done));
    step(&|core| core.regrant(A, 0).map(|_| none(())));
    step(&|core| core.detach(A, 0).map(none));
    step(&|core| core.map(A, &MapRequest { generation: 2, ..fixed(second, 0x1000, 0, PAGE) }));
    step(&|core| core.reset(A));
    failures
}

fn copy(space: SpaceId) -> CopyRequest {
    CopyRequest {
        target: space,
        source: space,
        rights: Rights::READ,
        fixed: true,
        resume: false,
        iova: 0x9000,
        first: 0x1000,
        length: PAGE,
    }
}

/// The calls that a whole life makes, each of which fails once.
fn any_one_call_may_fail(shape: Geometry, caches_absence: bool) -> u32 {
    let mut n = 0;
    loop {
        let machine = Machine::default();
        machine.0.caches_absence.set(caches_absence);
        let mut core = core_of::<AREAS>(&machine, &[shape], 64);
        machine.fail_at(n, TIMEOUT);
        let failures = life(&mut core, &machine);
        assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 64));
        assert!(core.areas.in_use() == 0 && machine.0.cached.borrow().is_empty());
        assert!(machine.0.absent.borrow().is_empty());
        if machine.disarm() {
            assert_eq!(failures, 0);
            return n;
        }
        assert_eq!(failures, 1);
        n += 1;
    }
}

#[test]
fn any_one_call_of_the_hardware_may_fail() {
    let calls = any_one_call_may_fail(STAGE2, false);
    assert!(calls >= 16, "only {calls} calls were made");
    assert_eq!(any_one_call_may_fail(VTD, false), calls);
    let caching = any_one_call_may_fail(VTD, true);
    assert!(caching > calls, "{caching}: a unit in caching mode is told of new mappings too");
}

#[test]
fn any_number_of_free_frames_will_do_for_taking_out() {
    for frames in 1..12 {
        let machine = Machine::default();
        let mut core = core_of::<AREAS>(&machine, &[STAGE2], frames);
        let (id, _) = core.ioas_alloc(A).unwrap();
        core.attach(A, id, 0).unwrap();
        let mut far = 0;
        let refusal = loop {
            // By turns one that needs many tables and one that needs few, up to half-filled ones.
            let length = if far % 2 == 0 { PAGE } else { 4 * MIB - PAGE };
            match request(&mut core, &machine, |core| core.map(A, &fixed(id, far << 29, PAGE, length))) {
                Ok(_) => far += 1,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, Refusal::NoMemory(Resource::Frames));
        while request(&mut core, &machine, |core| core.ioas_alloc(B)).is_ok() {}
        assert_eq!(core.frames.free(), 0);
        machine.fail_at(1, TIMEOUT);
        let unmap = |core: &mut TestCore| core.unmap(A, id, 0, u64::MAX);
        match request(&mut core, &machine, unmap) {
            Err(refusal) => assert_eq!(refusal, timeout()),
            Ok(_) => assert!(frames < 3 && machine.disarm()),
        }
        repeat(|| request(&mut core, &machine, unmap)).unwrap();
        repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
        repeat(|| request(&mut core, &machine, |core| core.reset(B))).unwrap();
        assert_eq!(core.frames.free(), frames as u32);
    }
}

#[test]
fn more_areas_than_one_request_takes_out_survive_a_failure() {
    let machine = Machine::default();
    let mut core = core_of::<200>(&machine, &[STAGE2], 64);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    for n in 0..150 {
        core.map(A, &fixed(id, 2 * n * PAGE, n * PAGE, PAGE)).unwrap();
    }
    let unmap = |core: &mut TestCore| core.unmap(A, id, 0, u64::MAX);
    machine.fail_at(1, TIMEOUT);
    assert_eq!(request(&mut core, &machine, unmap), Err(timeout()));
    assert_eq!(core.usage(A).areas, 150);
    let done = request(&mut core, &machine, unmap).unwrap();
    assert_eq!(done, Progress { iova: 0, bytes: u64::from(MAX_AREAS_PER_REQUEST) * PAGE, more: true });
    let bytes = repeat(|| request(&mut core, &machine, unmap)).unwrap();
    assert_eq!(done.bytes + bytes, 150 * PAGE);
}
