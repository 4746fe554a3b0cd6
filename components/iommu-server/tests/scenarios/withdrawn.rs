//! S11: a region that is withdrawn, and one whose owner is dead.

use iommu_protocol::{Request, Status};
use iommu_server::policy::{GrantEntry, RIGHT_READ, RIGHT_WRITE};

use crate::{
    DEVICE, HOLD, PAGE, PAGES_AT, REGRANT, REVOKE, SLOT0, TEARDOWN,
    bench::{
        ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, MEMORY_BYTES, READ_WRITE, SUPERVISOR, Unit,
        World, map, map_with, over_every_unit, resumed, unmap,
    },
    working, writes_meanwhile,
};

fn s11_a_withdrawn_region_is_out_of_reach_and_cannot_be_mapped(unit: &Unit) {
    // Bob is granted Alice's memory too, behind his own: his grant stays.
    let mut world = World::changed(unit, |p| {
        let rights = RIGHT_READ | RIGHT_WRITE;
        p.grants.push(GrantEntry { bytes: MEMORY_BYTES, client: 1, region: 0, rights, reserved: [0; 5] });
    });
    let space = working(&mut world);
    let bobs = world.attached_space(BOB);
    world.ok(BOB, map_with(bobs, iommu_protocol::RegionSlot(1), READ_WRITE, [0x10_0000, 0, PAGE]));
    let other = world.space(ALICE);
    for page in 0..100 {
        world.ok(ALICE, map(other, 0x1000_0000 + 2 * page * PAGE, 0, PAGE));
    }
    let half = map(space, PAGES_AT, 0, MEMORY_BYTES);
    assert_eq!(world.status(ALICE, half), Status::Again);
    let constants = map_with(space, iommu_protocol::RegionSlot(1), crate::bench::READ, [0x50_0000, 0, PAGE]);
    world.ok(ALICE, constants);

    let writes = writes_meanwhile(&world, ALICES_DEVICE, 0x10_0000);
    let mut steps = 0;
    loop {
        steps += 1;
        let answer = world.call(SUPERVISOR, REVOKE);
        assert_eq!(answer.words.get(0), 2, "the new generation");
        // From the first answer on: nothing new, under the old generation, the new one, or by going on.
        let Request::Map { offset, length, flags, .. } = map(space, 0x70_0000, 0, PAGE) else {
            unreachable!()
        };
        let fresh =
            Request::Map { space, slot: SLOT0, generation: 2, flags, iova: 0x70_0000, offset, length };
        assert_eq!(world.status(ALICE, map(space, 0x70_0000, 0, PAGE)), Status::StaleRegion);
        assert_eq!(world.status(ALICE, fresh), Status::NotPermitted);
        let going_on = world.status(ALICE, resumed(half, PAGES_AT));
        assert!(matches!(going_on, Status::StaleRegion | Status::NotMapped), "{going_on:?}");
        let first = world.mappings(ALICE, other).first().map(|mapping| mapping.first);
        if let Some(first) = first {
            let copy = Request::Copy {
                target: space,
                source: other,
                flags: crate::bench::READ,
                iova: 0x70_0000,
                first,
                length: PAGE,
            };
            assert_eq!(world.status(ALICE, copy), Status::StaleRegion);
        }
        match answer.status {
            Status::Again => assert_eq!(world.status(SUPERVISOR, REGRANT), Status::Busy),
            status => {
                assert_eq!(status, Status::Ok);
                break;
            }
        }
        assert!(steps < 20);
    }
    assert!(steps > 2 && writes.passed.get() > 0 && !writes.revived.get());
    world.bench.meanwhile_nothing();
    // No device of hers reaches it; the rest of her world is as it was, and so is Bob's.
    world.poke(ALICES_MEMORY, b"kept");
    for iova in [0x10_0000, PAGES_AT, ALICES_MEMORY] {
        world.bench.dma_write(ALICES_DEVICE, iova, b"lost").expect_err("withdrawn");
    }
    assert_eq!(world.peek(ALICES_MEMORY, 4), b"kept");
    assert_eq!(world.mappings(ALICE, space).len(), 1);
    assert!(world.bench.translate(ALICES_DEVICE, 0x50_0000, false).is_ok());
    assert_eq!(world.bench.translate(BOBS_DEVICE, 0x10_0000, true), Ok(ALICES_MEMORY));
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1), 1);
    world.ok(SUPERVISOR, REGRANT);
    let Request::Map { offset, length, flags, .. } = map(space, 0x10_0000, 0, PAGE) else { unreachable!() };
    world.ok(
        ALICE,
        Request::Map { space, slot: SLOT0, generation: 2, flags, iova: 0x10_0000, offset, length },
    );
    assert_eq!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true), Ok(ALICES_MEMORY));
}

/// The selftest's fork_gone: what a dead client had mapped still fills new spaces for the one that claims it, as the
/// region is there whether or not its client lives.
fn s11_the_mappings_of_a_dead_client_fill_new_spaces(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.succession(1000, 64));
    let space = working(&mut world);
    world.ok(SUPERVISOR, HOLD);
    world.settle();
    world.ok(BOB, Request::Claim);
    let new = world.space(BOB);
    let copy = Request::Copy {
        target: new,
        source: space,
        flags: READ_WRITE,
        iova: 0x60_0000,
        first: 0x10_0000,
        length: PAGE,
    };
    world.ok(BOB, copy);
    world.ok(BOB, Request::Replace { space: new, device: DEVICE });
    assert_eq!(world.bench.translate(ALICES_DEVICE, 0x60_0000, true), Ok(ALICES_MEMORY));
    // What is not mapped is refused at once.
    let Request::Copy { target, source, flags, .. } = copy else { unreachable!() };
    let none = Request::Copy { target, source, flags, iova: 0x80_0000, first: 0x80_0000, length: PAGE };
    assert_eq!(world.status(BOB, none), Status::NotMapped);
    world.ok(BOB, unmap(new, 0x60_0000, PAGE));
    // Withdrawn from the dead, it is withdrawn from the heir.
    world.ok(SUPERVISOR, Request::Hold { client: iommu_protocol::ClientIndex(0), deadline_ms: 500 });
    world.finish(SUPERVISOR, Request::Revoke { client: iommu_protocol::ClientIndex(0), slot: SLOT0 });
    world.complete(ALICE, Request::Claim);
    assert_eq!(world.status(ALICE, map(space, 0x70_0000, 0, PAGE)), Status::StaleRegion);
    assert_eq!(world.mappings(ALICE, space), []);
}

/// A withdrawal in the midst of an end, an end in the midst of a withdrawal: both come to their end.
fn s11_withdrawal_and_end_meet(unit: &Unit) {
    for first in [REVOKE, TEARDOWN] {
        let mut world = World::new(unit);
        let space = working(&mut world);
        for page in 0..300 {
            world.ok(ALICE, map(space, 0x1000_0000 + 2 * page * PAGE, 0, PAGE));
        }
        assert_eq!(world.status(SUPERVISOR, first), Status::Again);
        for round in 0.. {
            assert!(round < 50, "no end");
            let ended = [REVOKE, TEARDOWN].map(|request| world.status(SUPERVISOR, request));
            if ended == [Status::Ok; 2] {
                break;
            }
        }
        world.settle();
        assert_eq!(world.charged(ALICE), (0, 0));
        assert_eq!(world.status(SUPERVISOR, REGRANT), Status::Ok);
        let space = world.attached_space(ALICE);
        assert_eq!(world.status(ALICE, map(space, 0x10_0000, 0, PAGE)), Status::StaleRegion, "its old name");
    }
}

over_every_unit!(
    s11_a_withdrawn_region_is_out_of_reach_and_cannot_be_mapped,
    s11_the_mappings_of_a_dead_client_fill_new_spaces,
    s11_withdrawal_and_end_meet,
);
