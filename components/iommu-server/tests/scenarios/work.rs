//! S9 and S16: long work, and work without memory.

use iommu_core::MAX_TABLE_WRITES;
use iommu_protocol::{RegionSlot, Request, SpaceId, Status};

use crate::{
    ALICES, DEVICE, MIB, PAGE, PAGES_AT, REVOKE, TEARDOWN, alone, as_alone,
    bench::{
        ALICE, ALICES_DEVICE, BOB, LARGE_BYTES, LARGE_MEMORY, READ_WRITE, SUPERVISOR, Unit, World, map,
        map_with, over_every_unit, unmap,
    },
    bobs_life, working,
};

const SLOT2: RegionSlot = RegionSlot(2);
/// As [`PAGES_AT`], above all that a unit reserves.
const LARGE_AT: u64 = PAGES_AT + (1 << 32);

/// All ways to take everything out, and who asks.
fn ends(space: SpaceId) -> [(u8, Request); 6] {
    [
        (ALICE, Request::Unmap { space, first: 0, last: u64::MAX }),
        (ALICE, unmap(space, LARGE_AT, LARGE_BYTES)),
        (ALICE, Request::IoasDestroy { space }),
        (ALICE, Request::Reset),
        (SUPERVISOR, TEARDOWN),
        (SUPERVISOR, Request::Revoke { client: ALICES, slot: SLOT2 }),
    ]
}

fn s09_long_work_is_done_in_bounded_calls(unit: &Unit) {
    // Four gibibytes, a million pages, in blocks of 2 MiB; and ten thousand pages that have an entry each.
    let blocks = (LARGE_AT - PAGE + 2 * MIB, LARGE_BYTES - 4 * MIB, 2 * MIB);
    let pages = (LARGE_AT, 10_000 * PAGE, PAGE);
    let alone = alone(unit);
    for (iova, length, entry) in [blocks, pages] {
        for index in 0..6 {
            let mut world = World::changed(unit, |p| p.grant_large(0));
            let space = world.attached_space(ALICE);
            let offset = if entry == PAGE { 0 } else { 4 * MIB };
            world.map_large(ALICE, space, 2, [iova, offset, length]);
            let at = iova + length - 1;
            assert_eq!(
                world.bench.translate(ALICES_DEVICE, at, true),
                Ok(LARGE_MEMORY + offset + length - 1)
            );
            let (channel, request) = ends(space)[index];
            if matches!(request, Request::IoasDestroy { .. }) {
                world.ok(ALICE, Request::Detach { device: DEVICE });
            }
            let most = 2 * (length / entry).div_ceil(MAX_TABLE_WRITES.into());
            let (mut calls, mut bytes) = (0, 0);
            loop {
                calls += 1;
                let before = world.bench.observed().commands_consumed;
                let answer = world.call(channel, request);
                let commands = world.bench.observed().commands_consumed - before;
                assert!(
                    commands <= world.facts.commands_in_a_call,
                    "{request:?}: {commands} commands in a call"
                );
                bytes += answer.words.get(1);
                assert!(as_alone(&mut world, &alone), "{request:?}: call {calls}");
                match answer.status {
                    Status::Ok => break,
                    status => assert_eq!(status, Status::Again, "{request:?}"),
                }
                assert!(calls <= most, "{request:?}: no end");
            }
            assert!(calls > 1, "{request:?}: {length:#x} bytes are more than one call's");
            assert_eq!(bytes, length, "{request:?}");
            assert!(world.bench.translate(ALICES_DEVICE, iova, true).is_err());
            assert!(world.bench.translate(ALICES_DEVICE, at, true).is_err());
        }
    }
}

/// A world without a free table frame: Alice's tables and Bob's roots are all that there is.
fn exhausted(unit: &Unit) -> (World, SpaceId) {
    let mut world = World::changed(&unit.clone().table_bytes(0x8_0000), |p| {
        p.grant_large(0);
        for client in &mut p.clients {
            (client.frames, client.areas) = (100_000, 1000);
        }
    });
    let space = working(&mut world);
    // Mappings of which each needs tables, down to the last frame; one of many pages among them, half done.
    world.ok(ALICE, map(space, 0x80_0000_0000, 0, PAGE));
    let half = map_with(space, SLOT2, READ_WRITE, [PAGES_AT, 0, 8 * MIB]);
    assert_eq!(world.status(ALICE, half), Status::Again);
    let mut gigabyte = 2;
    let refusal = loop {
        match world.status(ALICE, map(space, gigabyte << 30, 0, PAGE)) {
            Status::Ok => gigabyte += 1,
            refusal => break refusal,
        }
    };
    assert_eq!(refusal, Status::NoMemory);
    while world.status(BOB, Request::IoasAlloc) == Status::Ok {}
    assert_eq!(world.status(BOB, Request::IoasAlloc), Status::NoMemory);
    (world, space)
}

fn s16_taking_out_succeeds_without_a_free_frame(unit: &Unit) {
    type Do = fn(&mut World, SpaceId);
    let ways: [(&str, Do); 9] = [
        ("unmap one", |world, space| _ = world.ok(ALICE, unmap(space, 0x10_0000, PAGE))),
        ("unmap half done", |world, space| {
            assert_eq!(world.finish(ALICE, unmap(space, PAGES_AT, 8 * MIB)), 8 * MIB)
        }),
        ("unmap all", |world, space| {
            world.finish(ALICE, Request::Unmap { space, first: 0, last: u64::MAX });
            assert_eq!(world.charged(ALICE).0, 0);
        }),
        ("detach", |world, _| _ = world.ok(ALICE, Request::Detach { device: DEVICE })),
        ("detach, destroy", |world, space| {
            world.ok(ALICE, Request::Detach { device: DEVICE });
            world.finish(ALICE, Request::IoasDestroy { space });
            assert_eq!(world.charged(ALICE), (0, 0));
        }),
        ("reset", |world, _| _ = world.finish(ALICE, Request::Reset)),
        ("teardown", |world, _| _ = world.finish(SUPERVISOR, TEARDOWN)),
        ("revoke", |world, _| _ = world.finish(SUPERVISOR, REVOKE)),
        ("hold, claim", |world, _| {
            world.ok(SUPERVISOR, crate::HOLD);
            world.settle();
            world.ok(ALICE, Request::Claim);
        }),
    ];
    for (way, takes_out) in ways {
        let (mut world, space) = exhausted(unit);
        let before = world.charged(ALICE);
        takes_out(&mut world, space);
        let after = world.charged(ALICE);
        assert!(after.0 <= before.0 && after.1 <= before.1, "{way}");
        // All of it can be used anew, by anybody.
        world.finish(ALICE, Request::Reset);
        world.finish(BOB, Request::Reset);
        assert_eq!((world.charged(ALICE), world.charged(BOB)), ((0, 0), (0, 0)), "{way}");
        bobs_life(&mut world);
    }
}

fn s16_the_last_area_is_refused_like_the_last_frame(unit: &Unit) {
    let mut world = World::changed(unit, |p| {
        for client in &mut p.clients {
            client.areas = 100_000;
        }
    });
    let space = working(&mut world);
    let bobs = world.space(BOB);
    let mut count = 1;
    for page in 0.. {
        match world.status(BOB, map(bobs, (1 + page) * PAGE, 0, PAGE)) {
            Status::Ok => count += 1,
            status => {
                assert_eq!(status, Status::NoMemory);
                break;
            }
        }
    }
    assert_eq!(count, 1024, "as many as the storage has");
    let copy = |length| Request::Copy {
        target: space,
        source: space,
        flags: crate::bench::READ,
        iova: 0x90_0000,
        first: 0x10_0000,
        length,
    };
    assert_eq!(world.status(ALICE, map(space, 0x20_0000, 0, PAGE)), Status::NoMemory);
    assert_eq!(world.status(ALICE, copy(PAGE)), Status::NoMemory);
    world.ok(BOB, unmap(bobs, PAGE, PAGE));
    world.ok(ALICE, copy(PAGE));
    world.finish(BOB, Request::Reset);
    world.finish(ALICE, Request::Reset);
    assert_eq!((world.charged(ALICE), world.charged(BOB)), ((0, 0), (0, 0)));
}

over_every_unit!(
    s09_long_work_is_done_in_bounded_calls,
    s16_taking_out_succeeds_without_a_free_frame,
    s16_the_last_area_is_refused_like_the_last_frame,
);
