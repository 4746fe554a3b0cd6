//! Work a request, at full capacity.

use super::machine::Call;
use super::watch::check;
use super::*;
use crate::{MAX_AREAS_PER_REQUEST, MAX_TABLE_WRITES, Resource};

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
