//! Work a request, at full capacity.

use super::machine::Call;
use super::watch::{check, request};
use super::*;
use crate::{
    CopyRequest, MAX_AREAS_PER_REQUEST, MAX_COMMANDS, MAX_COPIED, MAX_COPIED_AT_ONCE, MAX_DEVICES,
    MAX_TABLE_WRITES, MAX_UNITS, Resource,
};

/// The areas of the default build.
const CAPACITY: u64 = 16_384;

#[test]
fn all_areas_can_be_in_use_and_be_taken_out_in_bounded_requests() {
    let machine = Machine::default();
    let mut core = core_of::<{ CAPACITY as usize + 1 }>(&machine, &[STAGE2], 200);
    assert_eq!(u64::from(core.area_capacity()), CAPACITY);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    for n in 0..CAPACITY {
        // Every second page, in an order that is not sorted.
        let page = 2 * (n * 10_007 % CAPACITY) + 1;
        let done = core.map(A, &fixed(id, page * PAGE, 0, PAGE)).unwrap();
        assert_eq!((done.iova, done.more), (page * PAGE, false));
    }
    check(&mut core, &machine);
    let full = Refusal::NoMemory(Resource::Areas);
    assert_eq!(core.map(A, &any(id, 0, PAGE)), Err(full));
    assert_eq!(core.map(A, &fixed(id, 0, 0, PAGE)), Err(full));
    // Place is found as soon as an area is free: the lowest hole but page 0.
    core.unmap(A, id, 9 * PAGE, 10 * PAGE - 1).unwrap();
    assert_eq!(core.map(A, &any(id, 0, PAGE)).unwrap().iova, 2 * PAGE);

    let mut requests = 0;
    let bytes = repeat(|| {
        requests += 1;
        machine.take_calls();
        machine.0.stores.take();
        let done = core.unmap(A, id, 0, u64::MAX)?;
        assert!(machine.0.stores.get() <= MAX_TABLE_WRITES.into());
        let calls = machine.take_calls();
        assert!(matches!(calls[..], [(0, Call::Invalidate { .. }), (0, Call::Sync)]), "{calls:?}");
        Ok(done)
    });
    assert_eq!(bytes, Ok(CAPACITY * PAGE));
    assert_eq!(requests, CAPACITY / u64::from(MAX_AREAS_PER_REQUEST));
    check(&mut core, &machine);
    assert_eq!(core.usage(A), Quota { frames: 1, areas: 0, spaces: 1 });
}

#[test]
fn two_mebibytes_of_pages_are_one_request() {
    let machine = Machine::default();
    // All four levels are missing, and no block fits.
    let deep = Geometry { input_bits: 48, ..STAGE2 };
    let mut core = core_of::<AREAS>(&machine, &[deep], 64);
    let (id, _) = core.ioas_alloc(A).unwrap();
    for iova in [1 << 40, (1 << 41) + 2 * MIB] {
        let done = core.map(A, &fixed(id, iova, PAGE, 2 * MIB)).unwrap();
        assert_eq!((done.bytes, done.more), (2 * MIB, false));
        let done = core.unmap(A, id, iova, iova + 2 * MIB - 1).unwrap();
        assert_eq!((done.bytes, done.more), (2 * MIB, false));
    }
}

#[test]
fn the_hot_path_is_a_few_stores_and_two_commands() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.map(A, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    machine.take_calls();
    machine.0.stores.take();
    core.map(A, &fixed(id, 0x2000, PAGE, PAGE)).unwrap();
    assert_eq!((machine.0.stores.take(), machine.take_calls().len()), (1, 0));
    core.unmap(A, id, 0x2000, 0x2fff).unwrap();
    assert_eq!((machine.0.stores.take(), machine.take_calls().len()), (1, 2));
}

/// A client with all the devices that there can be, behind all the units, attached to one space of `areas` areas of a
/// page each, in as many tables; and a second space.
fn full(machine: &Machine, areas: u64) -> (TestCore, SpaceId, SpaceId) {
    let mut core = core_of::<400>(machine, &[STAGE2; MAX_UNITS], 1200);
    for device in 2..MAX_DEVICES {
        core.add_device(A, StreamId(device as u32), device % MAX_UNITS).unwrap();
    }
    let (id, _) = core.ioas_alloc(A).unwrap();
    let (second, _) = core.ioas_alloc(A).unwrap();
    for n in 0..areas {
        core.map(A, &fixed(id, n << 22, 0, PAGE)).unwrap();
    }
    for device in 0..MAX_DEVICES {
        core.attach(A, id, device as u16).unwrap();
    }
    (core, id, second)
}

#[test]
fn every_kind_of_request_keeps_to_its_worst_case() {
    type Request = fn(&mut TestCore, SpaceId, SpaceId) -> Result<Progress, Refusal>;
    const NONE: Progress = Progress { iova: 0, bytes: 0, more: false };
    let on_each_unit = 2 * MAX_UNITS as u32;
    // The request, its calls of units, and whether there is more to do.
    let cases: [(&str, Request, u32, bool); 14] = [
        ("map", |core, id, _| core.map(A, &fixed(id, 1 << 38, PAGE, 8 * MIB)), 0, true),
        ("map any", |core, id, _| core.map(A, &any(id, 0, PAGE)), 0, false),
        ("copy", |core, id, second| core.copy(A, &copy(id, second, 0, PAGE)), 0, false),
        ("unmap", |core, id, _| core.unmap(A, id, 0, u64::MAX), on_each_unit, true),
        ("revoke", |core, _, _| core.revoke(A, 0).map(|(_, done)| done), on_each_unit, true),
        ("finish revoking", |core, _, _| core.finish_revoking(A), 0, false),
        ("sweep", |core, _, _| core.sweep(A), 0, true),
        ("reset", |core, _, _| core.reset(A), MAX_COMMANDS, true),
        ("detach", |core, _, _| core.detach(A, 0).map(|()| NONE), 1, false),
        ("replace", |core, _, second| core.replace(A, second, 0).map(|()| NONE), 1, false),
        ("stop", |core, _, _| core.stop(A, 0).map(|()| NONE), 1, false),
        ("enable", |core, _, _| core.enable(A, 0).map(|()| NONE), 0, false),
        ("destroy", |core, _, second| core.ioas_destroy(A, second), 0, false),
        ("alloc", |core, _, _| core.ioas_alloc(A).map(|_| NONE), 0, false),
    ];
    for (name, step, calls, more) in cases {
        let machine = Machine::default();
        let (mut core, id, second) = full(&machine, 200);
        check(&mut core, &machine);
        // Asserts the bounds of stores, of zeroed tables and of calls too.
        let done = request(&mut core, &machine, |core| step(core, id, second)).unwrap();
        assert_eq!(machine.take_calls().len(), calls as usize, "{name}");
        assert_eq!(done.more, more, "{name}");
    }
    assert_eq!(MAX_COMMANDS, MAX_DEVICES as u32 + on_each_unit);
}

fn copy(source: SpaceId, target: SpaceId, first: u64, length: u64) -> CopyRequest {
    CopyRequest { target, source, rights: Rights::READ, fixed: true, resume: false, iova: 0, first, length }
}

#[test]
fn a_removal_looks_at_no_more_areas_than_it_may_take_out() {
    let machine = Machine::default();
    let (mut core, _, _) = full(&machine, 200);
    // None of them leaves, but all of them are looked at.
    core.begin_sweep(A);
    let mut requests = 0;
    repeat(|| {
        requests += 1;
        request(&mut core, &machine, |core| core.sweep(A))
    })
    .unwrap();
    // And once for the space without areas.
    assert_eq!(requests, 200_u32.div_ceil(MAX_AREAS_PER_REQUEST) + 1);
}

#[test]
fn the_longest_copy_of_many_areas_at_once_is_one_request() {
    let machine = Machine::default();
    let deep = Geometry { input_bits: 48, ..STAGE2 };
    let mut core = core_of::<200>(&machine, &[deep], 64);
    let (source, _) = core.ioas_alloc(A).unwrap();
    let (target, _) = core.ioas_alloc(A).unwrap();
    let length = MAX_COPIED_AT_ONCE / u64::from(MAX_COPIED);
    for n in 0..u64::from(MAX_COPIED) {
        core.map(A, &fixed(source, n * length, 0, length)).unwrap();
    }
    // Across the highest boundary, so that all levels are missing on both sides.
    let iova = (1 << 39) - MAX_COPIED_AT_ONCE / 2;
    let all = CopyRequest { iova, ..copy(source, target, 0, MAX_COPIED_AT_ONCE) };
    let done = request(&mut core, &machine, |core| core.copy(A, &all)).unwrap();
    assert_eq!((done.bytes, done.more), (MAX_COPIED_AT_ONCE, false));
    // A page more, and each piece has tables of its own set aside.
    core.unmap(A, source, MAX_COPIED_AT_ONCE - length, MAX_COPIED_AT_ONCE - 1).unwrap();
    core.map(A, &fixed(source, MAX_COPIED_AT_ONCE - length, 0, length + PAGE)).unwrap();
    repeat(|| request(&mut core, &machine, |core| core.unmap(A, target, 0, u64::MAX))).unwrap();
    let longer = CopyRequest { length: MAX_COPIED_AT_ONCE + PAGE, ..all };
    let refused = request(&mut core, &machine, |core| core.copy(A, &longer));
    assert_eq!(refused, Err(Refusal::NoMemory(Resource::Frames)), "64 areas and three tables each");
}
