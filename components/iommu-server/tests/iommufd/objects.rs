//! Messages, and the life of objects.

use iommu_protocol::{AllowStep, ClientIndex, DeviceIndex, Opcode, Request, SpaceId, Status, Words};

use crate::{
    ALL, DEVICE, PAGE, SLOT0,
    bench::{ALICE, BOB, PolicyParts, READ, Unit, World, map, over_every_unit, unmap},
    variants,
};

/// One request of each kind that a client may send, all well-formed and refused or harmless.
fn one_of_each() -> Vec<Request> {
    let space = SpaceId(9);
    vec![
        Request::Version,
        Request::IoasAlloc,
        Request::IoasDestroy { space },
        map(space, 0, 0, PAGE),
        unmap(space, 0, PAGE),
        Request::Attach { space, device: DEVICE },
        Request::Detach { device: DEVICE },
        Request::Replace { space, device: DEVICE },
        Request::RegionInfo { slot: SLOT0 },
        Request::DeviceInfo { device: DEVICE },
        Request::Reset,
        Request::IsAttached { stream: 1 },
        Request::Copy { target: space, source: space, flags: READ, iova: 0, first: 0, length: PAGE },
        Request::IovaRanges { space, index: 0 },
        Request::AllowIovas { space, step: AllowStep::Begin, first: 0, last: 0 },
        Request::NextMapping { space, from: 0 },
        Request::Enable { device: DEVICE },
        Request::HwInfo { device: DEVICE, index: 0 },
        Request::Stats { group: 0, client: None },
        Request::Claim,
        Request::Teardown { client: ClientIndex(0) },
        Request::Hold { client: ClientIndex(0), deadline_ms: 1 },
        Request::Revoke { client: ClientIndex(0), slot: SLOT0 },
        Request::Regrant { client: ClientIndex(0), slot: SLOT0 },
        Request::SpaceInfo { space },
        Request::NextWithdrawn,
    ]
}

fn cmd_fail(unit: &Unit) {
    let mut world = World::new(unit);
    let kinds = one_of_each().len() as u64;
    // Labels that are no opcode, then ids that name nothing.
    for label in [0, kinds + 1, 0xffff, 1 << 16 | 4, u64::MAX] {
        let answer = world.server.call(ALICE, label, &Words::new([]));
        assert_eq!(answer.status, Status::UnknownRequest, "{label:#x}");
    }
    for id in [0, 1, 16, 17, u16::MAX] {
        let space = SpaceId(id);
        for request in one_of_each() {
            let request = match request {
                Request::IoasDestroy { .. } => Request::IoasDestroy { space },
                Request::Map { .. } => map(space, 0, 0, PAGE),
                Request::Unmap { .. } => unmap(space, 0, PAGE),
                Request::Attach { device, .. } => Request::Attach { space, device },
                Request::Replace { device, .. } => Request::Replace { space, device },
                Request::IovaRanges { index, .. } => Request::IovaRanges { space, index },
                Request::NextMapping { from, .. } => Request::NextMapping { space, from },
                Request::SpaceInfo { .. } => Request::SpaceInfo { space },
                _ => continue,
            };
            assert_eq!(world.status(ALICE, request), Status::NoSuchSpace, "{request:?}");
        }
    }
}

fn cmd_length(unit: &Unit) {
    for request in one_of_each() {
        let (opcode, words) = request.encode();
        let whole = words.as_slice();
        let mut world = World::new(unit);
        let mut status =
            |words: &[u64]| world.server.call(ALICE, opcode.label(), &Words::from_slice(words)).status;
        let as_it_is = status(whole);
        assert_ne!(as_it_is, Status::BadMessage, "{request:?}");
        if let Some((_, short)) = whole.split_last() {
            assert_eq!(status(short), Status::BadMessage, "{request:?}, one word less");
        }
        // A version that does not know a word cannot know whether zero means nothing.
        for more in [0, 1] {
            assert_eq!(status(&[whole, &[more]].concat()), Status::BadMessage, "{request:?}, one word more");
        }
        // Bits of word 0 that no field takes.
        let Some((first, rest)) = whole.split_first() else { continue };
        for bit in 0..64 {
            let words = [&[first | 1 << bit], rest].concat();
            match Request::decode(opcode.label(), &Words::from_slice(&words)) {
                Ok(other) => assert_eq!(other.encode().1.as_slice(), words, "every bit means something"),
                Err(_) => assert_eq!(status(&words), Status::BadMessage, "{request:?}, bit {bit}"),
            }
        }
    }
}

fn cmd_ex_fail(unit: &Unit) {
    // What another's channel or a higher role may do is no client's.
    let mut world = World::new(unit);
    for request in one_of_each() {
        let (opcode, _) = request.encode();
        let others = matches!(
            opcode,
            Opcode::IsAttached
                | Opcode::NextWithdrawn
                | Opcode::Teardown
                | Opcode::Hold
                | Opcode::Revoke
                | Opcode::Regrant
        );
        assert_eq!(world.status(ALICE, request) == Status::NotAllowed, others, "{request:?}");
    }
}

fn simple_close(unit: &Unit) {
    let mut world = World::new(unit);
    assert_eq!(world.finish(ALICE, Request::Reset), 0, "nothing to give back");
    world.space(ALICE);
    world.finish(ALICE, Request::Reset);
    assert_eq!(world.charged(ALICE), (0, 0));
}

fn ioas_auto_destroy(unit: &Unit) {
    for (variant, mut world, _) in variants(unit) {
        world.finish(ALICE, Request::Reset);
        assert_eq!(world.charged(ALICE), (0, 0), "{variant}");
    }
}

fn ioas_destroy(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        let attached = [DEVICE, DeviceIndex(1)]
            .into_iter()
            .filter(|&device| world.ok(ALICE, Request::DeviceInfo { device }).get(1) == 1);
        for device in attached.collect::<Vec<_>>() {
            assert_eq!(world.status(ALICE, Request::IoasDestroy { space }), Status::Busy, "{variant}");
            world.ok(ALICE, Request::Detach { device });
        }
        world.ok(ALICE, Request::IoasDestroy { space });
        assert_eq!(world.status(ALICE, Request::IoasDestroy { space }), Status::NoSuchSpace, "{variant}");
        assert_eq!(world.charged(ALICE), (0, 0), "{variant}");
    }
}

fn ioas_area_destroy(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x100_0000, 0, PAGE));
    assert_eq!(world.status(ALICE, Request::IoasDestroy { space }), Status::Busy);
    world.ok(ALICE, Request::Detach { device: DEVICE });
    assert_eq!(world.finish(ALICE, Request::IoasDestroy { space }), PAGE);
    assert_eq!(world.charged(ALICE), (0, 0));
}

fn ioas_area_auto_destroy(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        for area in 0..10 {
            world.ok(ALICE, map(space, 0x100_0000 + area * 2 * PAGE, area * PAGE, PAGE));
        }
        assert_eq!(world.finish(ALICE, Request::Reset), 10 * PAGE, "{variant}");
        assert_eq!(world.charged(ALICE), (0, 0), "{variant}");
    }
}

/// Ids of what is gone name nothing, also when others of the kind are there, until they are given anew.
fn stale_ids(unit: &Unit) {
    let mut world = World::new(unit);
    let (gone, stays) = (world.space(ALICE), world.space(ALICE));
    world.ok(ALICE, map(stays, 0x1000, 0, PAGE));
    world.ok(ALICE, Request::IoasDestroy { space: gone });
    for request in [
        map(gone, 0x1000, 0, PAGE),
        ALL(gone),
        Request::Attach { space: gone, device: DEVICE },
        Request::Copy { target: gone, source: stays, flags: READ, iova: 0, first: 0x1000, length: PAGE },
        Request::Copy { target: stays, source: gone, flags: READ, iova: 0, first: 0x1000, length: PAGE },
        Request::NextMapping { space: gone, from: 0 },
        Request::AllowIovas { space: gone, step: AllowStep::Commit, first: 0, last: 0 },
    ] {
        assert_eq!(world.status(ALICE, request), Status::NoSuchSpace, "{request:?}");
    }
    let anew = world.space(ALICE);
    assert_eq!(world.mappings(ALICE, anew), [], "what has its id anew has nothing of it");
    assert_eq!(world.mappings(ALICE, stays).len(), 1);
}

/// Spaces, areas and frames: each has its end, of which one client's cannot be another's.
fn alloc_limits(unit: &Unit) {
    type Use = fn(&mut World, SpaceId, u64) -> Status;
    let areas: Use = |world, space, n| world.status(ALICE, map(space, n * 2 * PAGE, 0, PAGE));
    let frames: Use = |world, space, n| world.status(ALICE, map(space, n << 30, 0, PAGE));
    let spaces: Use = |world, _, _| world.status(ALICE, Request::IoasAlloc);
    let limit: fn(&mut PolicyParts) = |p| (p.clients[0].areas, p.clients[0].frames) = (20, 30);
    // Of 30 frames two are roots and one is the table of all gigabytes, of which each takes two.
    for (what, uses, most) in [("areas", areas, 20), ("frames", frames, 13), ("spaces", spaces, 14)] {
        let mut world = World::changed(unit, limit);
        let (space, _) = (world.space(ALICE), world.space(ALICE));
        let mut count = 0;
        let status = loop {
            match uses(&mut world, space, count) {
                Status::Ok => count += 1,
                status => break status,
            }
            assert!(count <= most, "{what}");
        };
        assert_eq!((status, count), (Status::QuotaExceeded, most), "{what}");
        let before = world.charged(ALICE);
        assert_eq!(uses(&mut world, space, count), Status::QuotaExceeded, "{what}");
        assert_eq!(world.charged(ALICE), before, "{what}");
        let bobs = world.attached_space(BOB);
        world.ok(BOB, map(bobs, 0x1000, 0, PAGE));
        world.finish(ALICE, Request::Reset);
        assert_eq!(world.charged(ALICE), (0, 0), "{what}");
    }
}

fn get_hw_info(unit: &Unit) {
    let mut world = World::new(unit);
    let info = |device, index| Request::HwInfo { device: DeviceIndex(device), index };
    let count = world.ok(ALICE, info(0, 0)).get(2);
    assert!(count >= 2);
    for index in 0..count as u16 {
        assert_eq!(world.ok(ALICE, info(0, index)).as_slice().len(), 4);
    }
    for (request, status) in [
        (info(0, count as u16), Status::NoSuchEntry),
        (info(0, u16::MAX), Status::NoSuchEntry),
        (info(1, 0), Status::NoSuchDevice),
        (info(u16::MAX, 0), Status::NoSuchDevice),
    ] {
        assert_eq!(world.status(ALICE, request), status, "{request:?}");
    }
}

over_every_unit!(
    cmd_fail,
    cmd_length,
    cmd_ex_fail,
    simple_close,
    ioas_auto_destroy,
    ioas_destroy,
    ioas_area_destroy,
    ioas_area_auto_destroy,
    stale_ids,
    alloc_limits,
    get_hw_info,
);
