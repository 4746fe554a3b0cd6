//! S1 and S2: nobody waits for anybody, whatever was begun and not ended.

use iommu_protocol::{AllowStep, RegionSlot, Request, SpaceId, Status};

use crate::{
    ALICES, DEVICE, HOLD, PAGE, PAGES_AT, REVOKE, TEARDOWN, alone, as_alone,
    bench::{
        ALICE, ALICES_DEVICE, READ, READ_WRITE, SUPERVISOR, Unit, World, map_with, over_every_unit, resumed,
        unmap,
    },
    changes, working,
};

/// Ten thousand pages.
const LONG: u64 = 10_000 * PAGE;

fn long(space: SpaceId) -> Request {
    map_with(space, RegionSlot(2), READ_WRITE, [PAGES_AT, 0, LONG])
}

/// Calls that it takes.
fn calls_for_all(unit: &Unit) -> usize {
    let mut world = world(unit);
    let space = working(&mut world);
    let (mut request, mut calls) = (long(space), 1);
    while world.call(ALICE, request).status == Status::Again {
        request = resumed(request, PAGES_AT);
        calls += 1;
    }
    calls
}

fn world(unit: &Unit) -> World {
    World::changed(unit, |p| p.grant_large(0))
}

/// Long requests, of which each is answered Again, and those that begin something to be ended by another.
fn beginnings(unit: &Unit, space: SpaceId, other: SpaceId) -> Vec<(&'static str, Vec<(u8, Request)>)> {
    let long = long(space);
    let again = resumed(long, PAGES_AT);
    let filled = [vec![(ALICE, long)], vec![(ALICE, again); calls_for_all(unit) - 1]].concat();
    let then = |more: &[(u8, Request)]| [&filled[..], more].concat();
    let copy = Request::Copy {
        target: other,
        source: space,
        flags: READ,
        iova: PAGES_AT,
        first: PAGES_AT,
        length: LONG,
    };
    let allow = |step, first, last| (ALICE, Request::AllowIovas { space, step, first, last });
    vec![
        ("MAP", vec![(ALICE, long)]),
        ("MAP, resumed once", vec![(ALICE, long), (ALICE, again)]),
        ("UNMAP", then(&[(ALICE, unmap(space, PAGES_AT, LONG))])),
        ("COPY", then(&[(ALICE, copy)])),
        ("ALLOW_IOVAS", vec![allow(AllowStep::Begin, 0, 0), allow(AllowStep::Add, 0, PAGE)]),
        ("RESET", then(&[(ALICE, Request::Reset)])),
        ("HOLD", vec![(ALICE, long), (SUPERVISOR, HOLD)]),
        ("CLAIM", vec![(ALICE, long), (SUPERVISOR, HOLD), (ALICE, Request::Claim)]),
        ("REVOKE", then(&[(SUPERVISOR, REVOKE)])),
        ("TEARDOWN", then(&[(SUPERVISOR, TEARDOWN)])),
    ]
}

fn s01_no_lock_is_held_across_a_reply(unit: &Unit) {
    let alone = alone(unit);
    let count = beginnings(unit, SpaceId(1), SpaceId(2)).len();
    for index in 0..count {
        let mut world = world(unit);
        let space = working(&mut world);
        let other = world.space(ALICE);
        let (what, requests) = beginnings(unit, space, other).swap_remove(index);
        for (channel, request) in requests {
            let status = world.status(channel, request);
            assert!(matches!(status, Status::Ok | Status::Again), "{what}: {request:?} {status:?}");
            // To Bob it is all the same, to the last command.
            assert!(as_alone(&mut world, &alone), "{what}");
        }
        // And whatever Alice herself asks next; refused or not, it is answered within what one request may do.
        for request in changes(space) {
            world.call(ALICE, request);
            assert!(as_alone(&mut world, &alone), "{what}, then {request:?}");
        }
    }
}

/// What one request left half done, the next one takes over: nobody is told to wait for its end.
fn s01_what_is_half_done_has_no_owner(unit: &Unit) {
    for (what, ends) in [
        ("unmap", unmap(SpaceId(1), PAGES_AT, LONG)),
        ("unmap all", Request::Unmap { space: SpaceId(1), first: 0, last: u64::MAX }),
        ("destroy", Request::IoasDestroy { space: SpaceId(1) }),
        ("reset", Request::Reset),
    ] {
        for left in 0..2 {
            let mut world = world(unit);
            let space = world.space(ALICE);
            let long = long(space);
            assert_eq!(world.status(ALICE, long), Status::Again);
            if left == 1 {
                // Half taken out again.
                world.complete(ALICE, resumed(long, PAGES_AT));
                assert_eq!(world.status(ALICE, unmap(space, PAGES_AT, LONG)), Status::Again);
                assert_eq!(world.status(ALICE, resumed(long, PAGES_AT)), Status::NotMapped, "{what}");
            }
            assert_eq!(world.finish(ALICE, ends), LONG, "{what}");
            world.finish(ALICE, Request::Reset);
            assert_eq!(world.charged(ALICE), (0, 0), "{what}");
        }
    }
}

/// A mapping of ten thousand pages, of which the client makes `calls` before it dies; all of it if there are enough.
fn s02_a_client_that_dies_within_a_long_request_leaves_all_or_nothing(unit: &Unit) {
    let without = alone(unit);
    let needed = calls_for_all(unit);
    assert!(needed > 15, "{needed}");
    for calls in [0, 1, 2, needed / 2, needed - 1, needed] {
        for torn_down in [true, false] {
            let mut world = world(unit);
            let space = working(&mut world);
            let before = world.charged(ALICE);
            for call in 0..calls {
                let request = if call == 0 { long(space) } else { resumed(long(space), PAGES_AT) };
                let expected = if call + 1 == needed { Status::Ok } else { Status::Again };
                assert_eq!(world.status(ALICE, request), expected);
            }
            let full = world.charged(ALICE);
            let mut answered = if torn_down { Status::Again } else { world.status(SUPERVISOR, HOLD) };
            let (by, ends) = if torn_down { (SUPERVISOR, TEARDOWN) } else { (ALICE, Request::Claim) };
            for step in 0.. {
                assert!(step <= needed + 5, "{calls} calls: no end");
                assert!(as_alone(&mut world, &without), "{calls} calls, step {step}");
                if step > 0 && answered == Status::Ok {
                    break;
                }
                answered = world.status(by, ends);
                assert!(matches!(answered, Status::Ok | Status::Again), "{answered:?}");
            }
            let reaches = |iova| world.bench.translate(ALICES_DEVICE, iova, true).is_ok();
            let there = [0x10_0000, PAGES_AT, PAGES_AT + LONG / 2, PAGES_AT + LONG - 1].map(reaches);
            if torn_down {
                assert_eq!(there, [false; 4], "{calls} calls");
                assert_eq!(world.charged_of(SUPERVISOR, ALICES), (0, 0), "{calls} calls");
            } else {
                let done = calls == needed;
                assert_eq!(there, [true, done, done, done], "{calls} calls");
                let charged = world.charged(ALICE);
                // An empty table may stay for what comes next.
                let (areas, frames) = if done { full } else { before };
                assert!(charged.0 == areas && (frames..=frames + 1).contains(&charged.1), "{charged:?}");
                let from = Request::NextMapping { space, from: PAGES_AT };
                let expected = if done { Status::Ok } else { Status::NotMapped };
                assert_eq!(world.status(ALICE, from), expected, "{calls} calls");
                world.ok(ALICE, Request::Detach { device: DEVICE });
            }
        }
    }
}

over_every_unit!(
    s01_no_lock_is_held_across_a_reply,
    s01_what_is_half_done_has_no_owner,
    s02_a_client_that_dies_within_a_long_request_leaves_all_or_nothing,
);
