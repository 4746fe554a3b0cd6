//! S3, S4, S5 and S10: clients that die, are held, and are succeeded.

use iommu_protocol::{ClientIndex, DeviceIndex, Request, Status};
use iommu_server::server::Channels;

use crate::{
    ALICES, DEVICE, HOLD, MS, PAGE, PAGES_AT, TEARDOWN, alone, as_alone, assert_given_up,
    bench::{
        ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, MEMORY_BYTES, PCI_HOST, READ, SUPERVISOR, Unit, World, map,
        map_with, over_every_unit, unmap,
    },
    bobs_life, changes, working, writes_meanwhile,
};

/// Alice has work going on, many mappings, and one half done.
fn busy(unit: &Unit) -> (World, iommu_protocol::SpaceId) {
    let mut world = World::new(unit);
    let space = working(&mut world);
    for page in 0..200 {
        world.ok(ALICE, map(space, 0x1000_0000 + 2 * page * PAGE, 0, PAGE));
    }
    assert_eq!(world.status(ALICE, map(space, PAGES_AT, 0, MEMORY_BYTES)), Status::Again);
    (world, space)
}

fn s03_a_client_that_dies_with_dma_live_is_blocked_then_invalidated_then_released(unit: &Unit) {
    let (mut world, _) = busy(unit);
    let before = world.charged(ALICE);
    let writes = writes_meanwhile(&world, ALICES_DEVICE, 0x10_0000);
    let first = world.call(SUPERVISOR, TEARDOWN);
    assert!(writes.passed.get() > 0, "it wrote until it was stopped");
    assert_eq!(first.status, Status::Again);
    assert!(first.notify.clone().any(|channel| channel == PCI_HOST));
    // From the first answer on nothing passes, and only then areas and frames are given back.
    let passed = writes.passed.get();
    let mut charged = world.charged_of(SUPERVISOR, ALICES);
    assert!(charged.0 <= before.0 && charged.0 > 0, "{charged:?}");
    loop {
        // What has been released is anybody's: Bob fills tables and memory of his own with it.
        bobs_life(&mut world);
        let status = world.status(SUPERVISOR, TEARDOWN);
        let now = world.charged_of(SUPERVISOR, ALICES);
        assert!(now.0 <= charged.0 && now.1 <= charged.1, "never back up");
        charged = now;
        if status == Status::Ok {
            break;
        }
    }
    assert_eq!(charged, (0, 0));
    assert_eq!(writes.passed.get(), passed);
    assert!(writes.blocked.get() > 0 && !writes.revived.get());
    world.poke(ALICES_MEMORY, &[0]);
    bobs_life(&mut world);
    assert_eq!(world.peek(ALICES_MEMORY, 1), [0], "the page is its next owner's");
}

/// Without the hardware's word nothing is released, and nothing passes to where it must not.
fn s03_nothing_is_released_that_the_hardware_has_not_confirmed(unit: &Unit) {
    let (mut world, _) = busy(unit);
    let before = world.charged(ALICE);
    world.bench.stand_still(0);
    assert_eq!(world.status(SUPERVISOR, TEARDOWN), Status::HardwareTimeout);
    for _ in 0..20 {
        world.clock().advance(200 * MS);
        world.work();
        assert_eq!(world.charged_of(SUPERVISOR, ALICES), before);
        assert_given_up(&world, ALICES_DEVICE, 0x10_0000, ALICES_MEMORY, "not torn down");
    }
    assert_eq!(world.status(ALICE, Request::IoasAlloc), Status::Busy);
}

fn s04_a_restart_with_dma_running_causes_no_fault(unit: &Unit) {
    for successor in [false, true] {
        let mut world = World::changed(unit, |p| {
            if successor {
                p.succession(1000, 64)
            }
        });
        let space = working(&mut world);
        let other = world.space(ALICE);
        world.ok(ALICE, map(other, PAGE, PAGE, PAGE));
        assert_eq!(world.status(ALICE, map(space, PAGES_AT, 0, MEMORY_BYTES)), Status::Again);
        let mappings = [space, other].map(|space| world.mappings(ALICE, space));
        let writes = writes_meanwhile(&world, ALICES_DEVICE, 0x10_0000);
        let works =
            |world: &World| world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"works").expect("no fault");
        world.ok(SUPERVISOR, HOLD);
        works(&world);
        for request in changes(space) {
            assert_eq!(world.status(ALICE, request), Status::Busy, "{request:?}");
            works(&world);
        }
        for step in 0..4 {
            let step_left = world.work();
            assert_eq!(step_left.notify, Channels::NONE, "step {step}: no fault is told");
            works(&world);
        }
        let claimer = if successor { BOB } else { ALICE };
        let claimed = world.ok(claimer, Request::Claim);
        assert_eq!(claimed.as_slice(), [1 << space.0 | 1 << other.0, 1], "ids are what they were");
        works(&world);
        assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [1]);
        let stays = |mappings: &Vec<crate::bench::Mapping>| {
            mappings.iter().filter(|mapping| !mapping.half_done).copied().collect::<Vec<_>>()
        };
        let claimed = [space, other].map(|space| world.mappings(claimer, space));
        assert_eq!(claimed, [stays(&mappings[0]), stays(&mappings[1])], "successor: {successor}");
        world.ok(claimer, map(space, 0x30_0000, 0, PAGE));
        works(&world);
        world.ok(claimer, Request::Replace { space, device: DEVICE });
        works(&world);
        assert!(writes.passed.get() > 0 && writes.blocked.get() == 0);
        assert_eq!(world.bench.observed().faults_recorded, 0);
        // It is the claimer's: it alone ends it.
        world.ok(claimer, unmap(space, 0x10_0000, PAGE));
        assert!(world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").is_err());
    }
}

fn s05_a_successor_that_never_claims_ends_at_the_deadline(unit: &Unit) {
    let alone = alone(unit);
    for successor in [false, true] {
        let mut world = World::changed(unit, |p| {
            if successor {
                p.succession(1000, 64);
            }
        });
        let space = working(&mut world);
        world.ok(ALICE, map(space, 0x20_0000, 0, PAGE));
        // Bob's lives need a device of his own.
        let undisturbed = |world: &mut World| successor || as_alone(world, &alone);
        let writes = writes_meanwhile(&world, ALICES_DEVICE, 0x10_0000);
        world.ok(SUPERVISOR, HOLD);
        let (_, deadline) = world.settle();
        let deadline = deadline.expect("the server has itself called then");
        assert!(deadline <= 500 * MS);
        for _ in 0..4 {
            assert!(undisturbed(&mut world), "no request is blocked meanwhile");
            world.settle();
        }
        assert_eq!(writes.blocked.get(), 0, "up to the deadline it goes on");
        world.clock().advance(deadline);
        let mut told = Channels::NONE;
        for _ in 0..10 {
            world.work().notify.for_each(|channel| told.insert(channel));
            assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_err(), "blocked first");
            assert!(undisturbed(&mut world), "nor then");
        }
        let told: Vec<_> = told.collect();
        assert!(told.contains(&SUPERVISOR) && told.contains(&PCI_HOST), "{told:?}");
        assert!(!writes.revived.get());
        assert_eq!(world.charged_of(SUPERVISOR, ALICES), (0, 0));
        for channel in [ALICE, BOB] {
            assert_eq!(world.status(channel, Request::Claim), Status::NothingHeld, "too late");
        }
        // The channel is as at start.
        world.bench.meanwhile_nothing();
        let space = working(&mut world);
        assert_eq!((space.0, world.mappings(ALICE, space).len()), (1, 1));
    }
}

/// A successor with too small a quota, by one of anything or by all: nothing changes, and nothing is charged twice.
fn s10_a_handover_over_quota_changes_nothing(unit: &Unit) {
    let fill = |world: &mut World| {
        let space = working(world);
        world.ok(ALICE, map_with(space, crate::SLOT0, READ, [0x20_0000, PAGE, 4 * PAGE]));
        world.ok(ALICE, map(space, 0x7000_0000, 0, PAGE));
        let second = world.space(ALICE);
        world.ok(ALICE, map(second, PAGE, 0, PAGE));
        [space, second]
    };
    let (areas, frames) = {
        let mut world = World::changed(unit, |p| p.succession(1000, 64));
        fill(&mut world);
        world.charged(ALICE)
    };
    assert!(areas == 4 && frames >= 8, "{areas} {frames}");
    for (most_areas, most_frames) in [
        (0, 0),
        (areas - 1, frames),
        (areas, frames - 1),
        (areas - 1, 64),
        (1000, frames - 1),
        (1000, 1),
        (areas, frames),
    ] {
        let mut world = World::changed(unit, |p| p.succession(most_areas as u32, most_frames as u32));
        let spaces = fill(&mut world);
        let writes = writes_meanwhile(&world, ALICES_DEVICE, 0x10_0000);
        world.ok(SUPERVISOR, HOLD);
        world.settle();
        let seen = |world: &mut World, channel: u8| {
            (spaces.map(|space| world.mappings(channel, space)), world.charged(channel))
        };
        let before = seen(&mut world, ALICE);
        let fits = most_areas >= areas && most_frames >= frames;
        for _ in 0..2 {
            if fits {
                break;
            }
            assert_eq!(world.status(BOB, Request::Claim), Status::QuotaExceeded);
            assert_eq!(seen(&mut world, ALICE), before, "{most_areas} {most_frames}");
            assert_eq!(world.charged(BOB), (0, 0));
            assert_eq!(
                world.status(ALICE, unmap(spaces[0], 0x10_0000, PAGE)),
                Status::Busy,
                "held as before"
            );
        }
        let heir = if fits { BOB } else { ALICE };
        world.ok(heir, Request::Claim);
        assert_eq!(seen(&mut world, heir), before, "{most_areas} {most_frames}");
        assert_eq!(writes.blocked.get(), 0);
        if fits {
            // Charged to the one and no longer to the other, who has nothing that a later UNMAP could take out.
            assert_eq!(world.charged(ALICE), (0, 0));
            for space in spaces {
                assert_eq!(world.status(ALICE, unmap(space, 0x10_0000, PAGE)), Status::NoSuchSpace);
            }
            assert_eq!(world.status(BOB, Request::IoasAlloc), Status::QuotaExceeded, "all of it is used");
            assert_eq!(world.status(ALICE, Request::Detach { device: DEVICE }), Status::NoSuchDevice);
        }
        world.finish(heir, Request::Reset);
        assert_eq!((world.charged(ALICE), world.charged(BOB)), ((0, 0), (0, 0)));
    }
}

/// There and back many times, with something mapped and unmapped by each: no charge is lost or made twice.
fn s10_charges_follow_what_is_in_use_through_many_handovers(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.succession(1000, 64));
    let space = working(&mut world);
    let bobs = ClientIndex(0);
    let (mut owner, mut heir) = ((ALICE, ALICES), (BOB, bobs));
    for round in 0..20_u64 {
        let at = 0x1000_0000 + round * 2 * PAGE;
        world.ok(owner.0, map(space, at, 0, PAGE));
        let removed = (round + 1) / 3;
        assert_eq!(world.charged(owner.0).0, 2 + round - removed, "round {round}");
        let before = world.charged(owner.0);
        world.ok(SUPERVISOR, Request::Hold { client: owner.1, deadline_ms: 500 });
        // At once, or once the server has looked at what is half done.
        if round % 2 == 0 {
            world.settle();
        }
        world.complete(heir.0, Request::Claim);
        assert_eq!((world.charged(heir.0), world.charged(owner.0)), (before, (0, 0)), "round {round}");
        if round % 3 == 1 {
            world.ok(heir.0, unmap(space, at, PAGE));
        }
        (owner, heir) = (heir, owner);
        assert!(world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"works").is_ok());
        let info = world.ok(owner.0, Request::DeviceInfo { device: DeviceIndex(0) });
        assert_eq!(info.get(1), 1);
    }
    world.finish(owner.0, Request::Reset);
    assert_eq!((world.charged(ALICE), world.charged(BOB)), ((0, 0), (0, 0)));
}

over_every_unit!(
    s03_a_client_that_dies_with_dma_live_is_blocked_then_invalidated_then_released,
    s03_nothing_is_released_that_the_hardware_has_not_confirmed,
    s04_a_restart_with_dma_running_causes_no_fault,
    s05_a_successor_that_never_claims_ends_at_the_deadline,
    s10_a_handover_over_quota_changes_nothing,
    s10_charges_follow_what_is_in_use_through_many_handovers,
);
