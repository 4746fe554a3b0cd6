//! One client takes over what another has.

use super::watch::{areas, request, space};
use super::*;
use crate::Resource;

/// A client that succeeds A: the same grants, no devices.
const NEXT: ClientId = ClientId::new(7).unwrap();

fn rig(machine: &Machine) -> (TestCore, SpaceId) {
    let mut core = core(machine);
    core.set_quota(NEXT, PLENTY);
    core.add_grant(NEXT, 0, REGION, REGION_BYTES, Rights::READ_WRITE).unwrap();
    core.add_grant(NEXT, 1, SMALL, PAGE, Rights::READ).unwrap();
    core.ioas_alloc(A).unwrap();
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.ioas_destroy(A, SpaceId(1)).unwrap();
    core.attach(A, id, 0).unwrap();
    core.map(A, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    (core, id)
}

#[test]
fn everything_is_the_successors_and_no_hardware_is_asked() {
    let machine = Machine::default();
    let (mut core, id) = rig(&machine);
    let used = core.usage(A);
    let stores = machine.0.stores.get();
    machine.take_calls();
    core.hand_over(A, NEXT).unwrap();
    assert_eq!((machine.take_calls(), machine.0.stores.get()), (Vec::new(), stores));
    super::watch::check(&mut core, &machine);
    assert_eq!((core.usage(A), core.usage(NEXT)), (Quota::ZERO, used));
    assert_eq!(core.owner_of(0, stream(A, 1)), Some((NEXT, 1)));
    assert!(core.is_attached(stream(A, 0)));
    assert_eq!(core.holdings(NEXT), (1 << 2, 1));
    assert_eq!(core.holdings(A), (0, 0));
    assert_eq!(core.region_info(NEXT, 0).unwrap().live_areas, 1);
    assert_eq!(core.map(A, &fixed(id, 0x2000, 0, PAGE)), Err(Refusal::NoSuchSpace(id)));
    assert_eq!(core.detach(A, 0), Err(Refusal::NoSuchDevice(0)));
    request(&mut core, &machine, |core| core.map(NEXT, &fixed(id, 0x2000, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.unmap(NEXT, id, 0, u64::MAX)).unwrap();
    request(&mut core, &machine, |core| core.detach(NEXT, 0)).unwrap();
    // And back, as it may be the other way round next time.
    core.hand_over(NEXT, A).unwrap();
    repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
    assert_eq!((core.usage(A), core.usage(NEXT), core.frames.free()), (Quota::ZERO, Quota::ZERO, 64));
}

#[test]
fn a_handover_that_is_refused_changes_nothing() {
    type Change = fn(&mut TestCore);
    let cases: [(Change, Refusal); 6] = [
        (
            |core| core.set_quota(NEXT, Quota { frames: 2, ..PLENTY }),
            Refusal::QuotaExceeded(Resource::Frames),
        ),
        (|core| core.set_quota(NEXT, Quota { areas: 0, ..PLENTY }), Refusal::QuotaExceeded(Resource::Areas)),
        (
            |core| core.set_quota(NEXT, Quota { spaces: 0, ..PLENTY }),
            Refusal::QuotaExceeded(Resource::Spaces),
        ),
        (|core| assert!(core.ioas_alloc(NEXT).is_ok()), Refusal::Busy),
        (|core| assert!(core.revoke(NEXT, 0).is_ok()), Refusal::StaleRegion { asked: 1, current: 2 }),
        (|core| assert!(core.add_device(NEXT, StreamId(9), 0).is_ok()), Refusal::Busy),
    ];
    for (change, refusal) in cases {
        let machine = Machine::default();
        let (mut core, id) = rig(&machine);
        change(&mut core);
        let before = (core.usage(A), core.usage(NEXT), core.holdings(A));
        assert_eq!(core.hand_over(A, NEXT), Err(refusal));
        assert_eq!((core.usage(A), core.usage(NEXT), core.holdings(A)), before);
        super::watch::check(&mut core, &machine);
        request(&mut core, &machine, |core| core.unmap(A, id, 0, u64::MAX)).unwrap();
    }
    let machine = Machine::default();
    let (mut core, _) = rig(&machine);
    assert_eq!(core.hand_over(A, A), Err(Refusal::Busy));
    let stranger = ClientId::new(8).unwrap();
    core.set_quota(stranger, PLENTY);
    assert_eq!(core.hand_over(A, stranger), Err(Refusal::NoSuchRegion(0)), "not the same grants");
}

#[test]
fn what_was_withdrawn_stays_withdrawn() {
    let machine = Machine::default();
    let (mut core, id) = rig(&machine);
    core.map(A, &MapRequest { slot: 1, rights: Rights::READ, ..fixed(id, 0x8000, 0, PAGE) }).unwrap();
    // Not complete: both areas are still there.
    machine.fail_at(1, super::machine::TIMEOUT);
    core.revoke(A, 0).unwrap_err();
    core.hand_over(A, NEXT).unwrap();
    let map = MapRequest { generation: 1, ..fixed(id, 0x2000, 0, PAGE) };
    assert_eq!(core.map(NEXT, &map), Err(Refusal::StaleRegion { asked: 1, current: 2 }));
    let map = MapRequest { generation: 2, ..map };
    assert!(matches!(core.map(NEXT, &map), Err(Refusal::NotPermitted { .. })));
    repeat(|| request(&mut core, &machine, |core| core.finish_revoking(NEXT))).unwrap();
    let left = areas(&core, space(&core, NEXT, id));
    assert_eq!(left.iter().map(|area| area.slot).collect::<Vec<_>>(), [1]);
}
