//! Withdrawn grants, and what a client left half done.

use super::machine::TIMEOUT;
use super::watch::{areas, request, space};
use super::*;
use crate::area::State;
use crate::{CopyRequest, MAX_AREAS_PER_REQUEST};

/// A core with 300 areas of A, in two spaces, one of which has both devices: by turns of slot 0 and of slot 1.
fn rig(machine: &Machine) -> (TestCore, [SpaceId; 2]) {
    let mut core = core_of::<400>(machine, &[STAGE2], 64);
    let spaces = [core.ioas_alloc(A).unwrap().0, core.ioas_alloc(A).unwrap().0];
    core.attach(A, spaces[0], 0).unwrap();
    core.attach(A, spaces[0], 1).unwrap();
    for space in spaces {
        for n in 0..150 {
            let map = fixed(space, 2 * (n + 1) * PAGE, 0, PAGE);
            let slot = (n % 2) as u16;
            core.map(A, &MapRequest { slot, rights: Rights::READ, ..map }).unwrap();
        }
    }
    (core, spaces)
}

#[test]
fn a_withdrawn_grant_leaves_every_space_and_nothing_else_does() {
    let machine = Machine::default();
    let (mut core, spaces) = rig(&machine);
    let (generation, first) = request(&mut core, &machine, |core| core.revoke(A, 0)).unwrap();
    assert!(generation == 2 && first.more);
    // From the first call on.
    let stale = Refusal::StaleRegion { asked: 1, current: 2 };
    assert_eq!(core.map(A, &fixed(spaces[1], 64 * MIB, 0, PAGE)), Err(stale));
    let renewed = MapRequest { generation: 2, ..fixed(spaces[1], 64 * MIB, 0, PAGE) };
    assert!(matches!(core.map(A, &renewed), Err(Refusal::NotPermitted { .. })));
    let copy = CopyRequest {
        target: spaces[0],
        source: spaces[1],
        rights: Rights::READ,
        fixed: true,
        resume: false,
        iova: 64 * MIB,
        first: 2 * PAGE,
        length: PAGE,
    };
    assert_eq!(core.copy(A, &copy), Err(stale));
    assert_eq!(core.regrant(A, 0), Err(Refusal::Busy));
    let mut requests = 1;
    let rest = repeat(|| {
        requests += 1;
        request(&mut core, &machine, |core| core.revoke(A, 0)).map(|(generation, done)| {
            assert_eq!(generation, 2);
            done
        })
    });
    assert_eq!(rest.map(|rest| first.bytes + rest), Ok(150 * PAGE));
    assert!(requests <= 2 * 150_u32.div_ceil(MAX_AREAS_PER_REQUEST), "{requests}");
    for id in spaces {
        let left = areas(&core, space(&core, A, id));
        assert_eq!((left.len(), left.iter().all(|area| area.slot == 1)), (75, true));
    }
    assert_eq!(core.region_info(A, 0).unwrap().live_areas, 0);
    assert!(core.is_attached(stream(A, 0)));
    let again = request(&mut core, &machine, |core| core.revoke(A, 0));
    assert_eq!(again, Ok((2, Progress { iova: 0, bytes: 0, more: false })));
    // Another client's grant of the same memory is another grant.
    let (bobs, _) = core.ioas_alloc(B).unwrap();
    core.map(B, &fixed(bobs, 0x1000, 0, PAGE)).unwrap();
    assert_eq!(core.revoke(A, 2), Err(Refusal::NoSuchRegion(2)));
}

#[test]
fn a_grant_that_is_given_back_has_a_new_generation() {
    let machine = Machine::default();
    let (mut core, spaces) = rig(&machine);
    assert_eq!(core.regrant(A, 0), Err(Refusal::NotRevoked));
    assert_eq!(core.regrant(A, 9), Err(Refusal::NoSuchRegion(9)));
    repeat(|| core.revoke(A, 0).map(|(_, done)| done)).unwrap();
    assert_eq!(core.region_info(A, 0).unwrap().rights, Rights::NONE);
    assert_eq!(core.regrant(A, 0), Ok(2));
    assert_eq!(core.region_info(A, 0).unwrap().rights, Rights::READ_WRITE);
    let map = fixed(spaces[0], 64 * MIB, 0, PAGE);
    assert_eq!(core.map(A, &map), Err(Refusal::StaleRegion { asked: 1, current: 2 }));
    request(&mut core, &machine, |core| core.map(A, &MapRequest { generation: 2, ..map })).unwrap();
}

#[test]
fn a_withdrawal_is_not_complete_before_the_hardware_confirms() {
    for n in 0..2 {
        let machine = Machine::default();
        let (mut core, spaces) = rig(&machine);
        machine.fail_at(n, TIMEOUT);
        let refused = request(&mut core, &machine, |core| core.revoke(A, 0));
        assert_eq!(refused, Err(TIMEOUT.into()));
        assert_eq!(core.region_info(A, 0).unwrap().generation, 2);
        assert_eq!(core.region_info(A, 0).unwrap().live_areas, 150);
        let removing = |core: &TestCore| {
            let areas = areas(core, space(core, A, spaces[0]));
            areas.iter().filter(|area| area.state == State::Removing).count()
        };
        assert_eq!(removing(&core), 32);
        let bytes = repeat(|| request(&mut core, &machine, |core| core.finish_revoking(A)));
        assert_eq!(bytes, Ok(150 * PAGE));
        assert_eq!((removing(&core), core.region_info(A, 0).unwrap().live_areas), (0, 0));
    }
}

#[test]
fn a_withdrawal_takes_out_areas_larger_than_a_request() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    map_all(&mut core, A, &fixed(id, 2 * MIB + PAGE, 0, 2 * MIB - 2 * PAGE)).unwrap();
    map_all(&mut core, A, &fixed(id, 4 * MIB + PAGE, 0, 2 * MIB - 2 * PAGE)).unwrap();
    let (_, first) = request(&mut core, &machine, |core| core.revoke(A, 0)).unwrap();
    assert!(first.more);
    let rest =
        repeat(|| request(&mut core, &machine, |core| core.revoke(A, 0)).map(|(_, done)| done)).unwrap();
    assert_eq!(first.bytes + rest, 4 * MIB - 4 * PAGE);
}

#[test]
fn a_sweep_takes_out_what_is_half_done_and_nothing_else() {
    let machine = Machine::default();
    let (mut core, spaces) = rig(&machine);
    // Half made in one space, half removed in the other.
    assert!(core.map(A, &fixed(spaces[0], 64 * MIB, PAGE, 8 * MIB)).unwrap().more);
    core.attach(A, spaces[1], 0).unwrap_err();
    core.replace(A, spaces[1], 0).unwrap();
    machine.fail_at(1, TIMEOUT);
    core.unmap(A, spaces[1], 4 * PAGE, 5 * PAGE - 1).unwrap_err();
    core.begin_sweep(A);
    let bytes = repeat(|| request(&mut core, &machine, |core| core.sweep(A)));
    assert_eq!(bytes, Ok(8 * MIB + PAGE));
    assert_eq!(areas(&core, space(&core, A, spaces[0])).len(), 150);
    assert_eq!(areas(&core, space(&core, A, spaces[1])).len(), 149);
    assert_eq!(repeat(|| request(&mut core, &machine, |core| core.sweep(A))), Ok(0));
    assert_eq!(repeat(|| request(&mut core, &machine, |core| core.sweep(B))), Ok(0), "has nothing");
}
