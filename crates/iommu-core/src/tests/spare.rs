//! The empty table that a space keeps, and what it must not stand in the way of.

use iommu_hal::{DomainTag, IovaRange};

use super::machine::{Call, TIMEOUT};
use super::watch::{request, space};
use super::*;
use crate::{CopyRequest, Resource};

const GIB: u64 = 1 << 30;
const TAG: DomainTag = DomainTag(1);

/// A space with a device attached and the table of the page at `iova` as its spare.
fn with_spare(core: &mut TestCore, machine: &Machine, iova: u64) -> SpaceId {
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    map_and_unmap(core, machine, id, iova);
    assert!(space(core, A, id).table.spare().is_some_and(|spare| spare.contains(iova)));
    id
}

fn map_and_unmap(core: &mut TestCore, machine: &Machine, id: SpaceId, iova: u64) {
    request(core, machine, |core| core.map(A, &fixed(id, iova, 0, PAGE))).unwrap();
    request(core, machine, |core| core.unmap(A, id, iova, iova + PAGE - 1)).unwrap();
}

fn page(iova: u64) -> IovaRange {
    IovaRange::from_length(iova, PAGE).unwrap()
}

#[test]
fn what_comes_and_goes_keeps_its_table_and_is_one_command() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let id = with_spare(&mut core, &machine, GIB);
    for _ in 0..3 {
        map_and_unmap(&mut core, &machine, id, GIB);
        let leaf = Call::Invalidate { tag: TAG, range: page(GIB), tables: false };
        assert_eq!(machine.take_calls(), [(0, leaf), (0, Call::Sync)]);
        assert_eq!(core.usage(A).frames, 3);
    }
}

#[test]
fn the_next_spare_takes_the_place_of_the_last_and_both_are_invalidated() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let id = with_spare(&mut core, &machine, GIB + PAGE);
    map_and_unmap(&mut core, &machine, id, 5 * GIB);
    let calls = [
        Call::Invalidate { tag: TAG, range: page(5 * GIB), tables: false },
        Call::Invalidate { tag: TAG, range: page(GIB), tables: true },
        Call::Sync,
    ];
    assert_eq!(machine.take_calls(), calls.map(|call| (0, call)));
    assert_eq!(core.usage(A).frames, 3);
}

#[test]
fn a_spare_makes_room_where_frames_are_short() {
    // By the pool, and by the quota.
    for (frames, quota) in [(3, 64), (64, 3)] {
        let machine = Machine::default();
        let mut core = core_of::<AREAS>(&machine, &[STAGE2], frames);
        core.set_quota(A, Quota { frames: quota, ..PLENTY });
        let id = with_spare(&mut core, &machine, GIB);
        request(&mut core, &machine, |core| core.map(A, &fixed(id, 5 * GIB, 0, PAGE))).unwrap();
        let tables = Call::Invalidate { tag: TAG, range: page(GIB), tables: true };
        assert_eq!(machine.take_calls(), [(0, tables), (0, Call::Sync)]);
        // And where it does not help, it is still refused.
        let refusal =
            request(&mut core, &machine, |core| core.map(A, &fixed(id, 7 * GIB, 0, PAGE))).unwrap_err();
        let resource = Resource::Frames;
        assert!([Refusal::NoMemory(resource), Refusal::QuotaExceeded(resource)].contains(&refusal));
    }
}

#[test]
fn a_block_takes_the_place_of_a_spare() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let id = with_spare(&mut core, &machine, GIB + PAGE);
    request(&mut core, &machine, |core| core.map(A, &fixed(id, GIB, 0, 2 * MIB))).unwrap();
    let tables = Call::Invalidate { tag: TAG, range: page(GIB), tables: true };
    assert_eq!(machine.take_calls(), [(0, tables), (0, Call::Sync)]);
    assert_eq!(space(&core, A, id).table.lookup(&core.hardware.memory, GIB).unwrap().page_bytes, 2 * MIB);
}

#[test]
fn a_copy_takes_the_place_of_a_spare() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let id = with_spare(&mut core, &machine, GIB + PAGE);
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 5 * GIB, 0, 2 * MIB))).unwrap();
    let copy = CopyRequest {
        target: id,
        source: id,
        rights: Rights::READ,
        fixed: true,
        resume: false,
        iova: GIB,
        first: 5 * GIB,
        length: 2 * MIB,
    };
    request(&mut core, &machine, |core| core.copy(A, &copy)).unwrap();
    assert_eq!(space(&core, A, id).table.lookup(&core.hardware.memory, GIB).unwrap().page_bytes, 2 * MIB);
}

#[test]
fn a_spare_whose_going_is_not_confirmed_refuses_the_mapping_and_is_not_used() {
    for n in 0..2 {
        let machine = Machine::default();
        let mut core = core_of::<AREAS>(&machine, &[STAGE2], 3);
        let id = with_spare(&mut core, &machine, GIB);
        for iova in [5 * GIB, GIB] {
            machine.fail_at(n, TIMEOUT);
            let length = if iova == GIB { 2 * MIB } else { PAGE };
            let refused = request(&mut core, &machine, |core| core.map(A, &fixed(id, iova, 0, length)));
            // The spare has gone at the first try, whatever came of it; then there is only no memory.
            let refusal = if machine.disarm() { Refusal::NoMemory(Resource::Frames) } else { TIMEOUT.into() };
            assert_eq!(refused, Err(refusal));
            assert_eq!(core.usage(A).frames, 3, "what may still be walked stays charged");
        }
        assert_eq!(space(&core, A, id).quarantine.len(), 2);
        request(&mut core, &machine, |core| core.reset(A)).unwrap();
        assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 3));
    }
}

#[test]
fn a_space_goes_with_its_spare() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let id = with_spare(&mut core, &machine, GIB);
    request(&mut core, &machine, |core| core.detach(A, 0)).unwrap();
    request(&mut core, &machine, |core| core.ioas_destroy(A, id)).unwrap();
    assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 64));
}
