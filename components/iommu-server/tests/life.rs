//! Life and death of clients: a supervisor's requests, a successor's, and what the server does by itself. Over every unit.

mod bench;

use bench::{
    ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, NOBODY, PCI_HOST, PolicyParts, READ_WRITE, SUPERVISOR, Unit,
    World, map, map_with, over_every_unit, unmap,
};
use iommu_protocol::{ClientIndex, DeviceIndex, RegionSlot, Request, SpaceId, Status, VERSION, stats};
use iommu_server::{policy::NO_CLIENT, server::Channels};

/// Alice, as the supervisor calls her, and Bob.
const ALICES: ClientIndex = ClientIndex(1);
const BOBS: ClientIndex = ClientIndex(0);
const SLOT0: RegionSlot = RegionSlot(0);
const DEVICE: DeviceIndex = DeviceIndex(0);
const MS: u64 = 1_000_000;

fn hold(deadline_ms: u32) -> Request {
    Request::Hold { client: ALICES, deadline_ms }
}

const TEARDOWN: Request = Request::Teardown { client: ALICES };

/// The requests that would change something of Alice's.
fn changes(space: SpaceId) -> [Request; 8] {
    [
        map(space, 0x90_0000, 0, 0x1000),
        unmap(space, 0x10_0000, 0x1000),
        Request::IoasAlloc,
        Request::IoasDestroy { space },
        Request::Attach { space, device: DEVICE },
        Request::Detach { device: DEVICE },
        Request::Enable { device: DEVICE },
        Request::Reset,
    ]
}

/// A world in which Alice's device works with one page, and a MAP of hers was left half done.
fn working(unit: &Unit) -> (World, SpaceId) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    assert_eq!(world.status(ALICE, map(space, 0x4000_0000, 0x1000, 0x3f_f000)), Status::Again);
    (world, space)
}

/// Maps many pages of slot 0 in `space`; returns another one.
fn many(world: &mut World, space: SpaceId) -> SpaceId {
    for page in 0..100 {
        world.ok(ALICE, map(space, 0x1000_0000 + (page << 13), 0, 0x1000));
    }
    world.space(ALICE)
}

/// Claims, for as long as it takes.
fn claim(world: &mut World, channel: u8) -> Vec<u64> {
    for _ in 0..100 {
        let answer = world.call(channel, Request::Claim);
        match answer.status {
            Status::Again => {}
            Status::Ok => return answer.words.as_slice().to_vec(),
            status => panic!("{status:?}"),
        }
    }
    panic!("it comes to no end");
}

fn works(world: &World) -> bool {
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"works").is_ok()
}

fn a_supervisor_asks_for_its_clients_and_for_nothing_else(unit: &Unit) {
    let mut world = World::new(unit);
    assert_eq!(world.ok(SUPERVISOR, Request::Version).as_slice(), [VERSION]);
    let space = SpaceId(1);
    let own =
        [Request::IsAttached { stream: 0x10 }, Request::Claim, Request::Stats { group: 0, client: None }];
    for request in changes(space).into_iter().chain(own) {
        assert_eq!(world.status(SUPERVISOR, request), Status::NotAllowed, "{request:?}");
    }
    let revoke = Request::Revoke { client: ALICES, slot: SLOT0 };
    let regrant = Request::Regrant { client: ALICES, slot: SLOT0 };
    let stats = Request::Stats { group: 0, client: Some(ALICES) };
    for request in [TEARDOWN, hold(1), revoke, regrant, stats] {
        for channel in [ALICE, BOB, PCI_HOST, NOBODY] {
            assert_eq!(world.status(channel, request), Status::NotAllowed, "{request:?}");
        }
    }
    for client in [ClientIndex(2), ClientIndex(u16::MAX)] {
        for request in [
            Request::Teardown { client },
            Request::Hold { client, deadline_ms: 1 },
            Request::Revoke { client, slot: SLOT0 },
            Request::Regrant { client, slot: SLOT0 },
            Request::Stats { group: 0, client: Some(ClientIndex(client.0 - 1)) },
        ] {
            let expected = match request {
                Request::Stats { client: Some(ClientIndex(1)), .. } => Status::Ok,
                _ => Status::NoSuchClient,
            };
            assert_eq!(world.status(SUPERVISOR, request), expected, "{request:?}");
        }
    }
}

fn a_held_clients_device_goes_on_and_nothing_changes_until_it_claims(unit: &Unit) {
    let (mut world, space) = working(unit);
    let answer = world.call(SUPERVISOR, hold(500));
    assert_eq!((answer.status, answer.notify.collect::<Vec<_>>()), (Status::Ok, vec![Channels::WAKE]));
    let (_, deadline) = world.settle();
    assert!((400 * MS..=500 * MS).contains(&deadline.expect("a deadline")), "{deadline:?}");
    for request in changes(space) {
        assert_eq!(world.status(ALICE, request), Status::Busy, "{request:?}");
    }
    // Asking is no change, and others are not concerned.
    world.ok(ALICE, Request::SpaceInfo { space });
    world.ok(ALICE, Request::DeviceInfo { device: DEVICE });
    world.attached_space(BOB);
    assert!(works(&world));
    assert_eq!(world.work().notify, Channels::NONE, "no fault");
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [1]);

    assert_eq!(world.ok(ALICE, Request::Claim).as_slice(), [1 << space.0, 1]);
    assert_eq!(world.work().deadline_ns, None);
    assert!(works(&world));
    // What was half done is gone, what was done is there.
    let first = Request::NextMapping { space, from: 0 };
    assert_eq!(world.ok(ALICE, first).as_slice(), [0x10_0000, 0x10_0fff, 0, 0x3_0000]);
    assert_eq!(world.status(ALICE, Request::NextMapping { space, from: 0x10_1000 }), Status::NotMapped);
    world.ok(ALICE, map(space, 0x4000_0000, 0, 0x1000));
    assert_eq!(world.status(ALICE, Request::Claim), Status::NothingHeld);
}

fn a_claim_that_comes_at_once_settles_what_was_half_done_itself(unit: &Unit) {
    let (mut world, space) = working(unit);
    many(&mut world, space);
    world.ok(SUPERVISOR, hold(500));
    let mut calls = 0;
    while world.status(ALICE, Request::Claim) == Status::Again {
        calls += 1;
        assert!(calls < 10);
    }
    assert!(calls > 0, "it is more than one request");
    let half = Request::NextMapping { space, from: 0x4000_0000 };
    assert_eq!(world.status(ALICE, half), Status::NotMapped);
    world.ok(ALICE, unmap(space, 0x10_0000, 0x1000));
}

fn what_nobody_claims_ends_at_the_deadline(unit: &Unit) {
    let (mut world, _) = working(unit);
    world.ok(SUPERVISOR, hold(500));
    world.settle();
    world.clock().advance(499 * MS);
    world.settle();
    assert!(works(&world));
    world.clock().advance(2 * MS);
    let step = world.work();
    assert!(!works(&world), "the device is the first to go");
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [0]);
    let mut told: Vec<_> = step.notify.collect();
    assert!(told.contains(&PCI_HOST));
    while world.status(ALICE, Request::IoasAlloc) == Status::Busy {
        told.extend(world.work().notify);
    }
    assert!(told.contains(&SUPERVISOR), "{told:?}");
    assert!(world.log.contains("client 0 was not claimed in time"), "{}", world.log);
    assert_eq!(world.status(ALICE, Request::Claim), Status::NothingHeld);
    let memory = Request::Stats { group: stats::MEMORY, client: Some(ALICES) };
    let used = world.ok(SUPERVISOR, memory);
    assert_eq!((used.get(0), used.get(2)), (0, 1), "but for the space that was just made");
    assert_eq!(world.settle(), (1, None), "nothing is left to wait for");
}

fn the_deadline_of_a_held_client_can_be_put_off(unit: &Unit) {
    let (mut world, _) = working(unit);
    world.ok(SUPERVISOR, hold(500));
    world.clock().advance(400 * MS);
    world.ok(SUPERVISOR, hold(500));
    world.clock().advance(400 * MS);
    world.settle();
    assert!(works(&world));
}

fn a_teardown_aborts_first_and_goes_on_without_being_asked_again(unit: &Unit) {
    for asks_again in [true, false] {
        let (mut world, space) = working(unit);
        for page in 0..300 {
            world.ok(ALICE, map(space, 0x1000_0000 + (page << 13), 0, 0x1000));
        }
        let answer = world.call(SUPERVISOR, TEARDOWN);
        assert_eq!(answer.status, Status::Again);
        assert!(answer.notify.clone().any(|channel| channel == Channels::WAKE));
        assert!(answer.notify.clone().any(|channel| channel == PCI_HOST));
        assert!(!works(&world));
        for request in changes(space).into_iter().chain([Request::Claim]) {
            assert_eq!(world.status(ALICE, request), Status::Busy, "{request:?}");
        }
        assert_eq!(world.status(SUPERVISOR, hold(5)), Status::Busy);
        if asks_again {
            let mut calls = 0;
            while world.status(SUPERVISOR, TEARDOWN) == Status::Again {
                calls += 1;
                assert!(calls < 20);
            }
        } else {
            let (steps, deadline) = world.settle();
            assert!((2..20).contains(&steps) && deadline.is_none(), "{steps} {deadline:?}");
        }
        assert_eq!(world.status(ALICE, Request::NextMapping { space, from: 0 }), Status::NoSuchSpace);
        // A driver that starts anew finds nothing, and may begin.
        assert_eq!(world.attached_space(ALICE), SpaceId(1));
        world.ok(ALICE, map(SpaceId(1), 0x10_0000, 0, 0x1000));
        assert!(works(&world));
    }
}

fn the_steps_of_one_client_come_between_the_requests_of_another(unit: &Unit) {
    let (mut world, space) = working(unit);
    for page in 0..500 {
        world.ok(ALICE, map(space, 0x1000_0000 + (page << 13), 0, 0x1000));
    }
    let bobs = world.attached_space(BOB);
    world.call(SUPERVISOR, TEARDOWN);
    let mut turns = 0;
    while world.work().more {
        turns += 1;
        world.ok(BOB, map(bobs, 0x10_0000, 0, 0x1000));
        world.ok(BOB, unmap(bobs, 0x10_0000, 0x1000));
    }
    assert!(turns > 3, "{turns}");
}

fn several_clients_are_ended_in_turns(unit: &Unit) {
    let mut world = World::new(unit);
    for channel in [ALICE, BOB] {
        let space = world.attached_space(channel);
        for page in 0..300 {
            world.ok(channel, map(space, 0x1000_0000 + (page << 13), 0, 0x1000));
        }
    }
    assert_eq!(world.status(SUPERVISOR, TEARDOWN), Status::Again);
    assert_eq!(world.status(SUPERVISOR, Request::Teardown { client: BOBS }), Status::Again);
    let (steps, _) = world.settle();
    assert!(steps >= 6, "{steps}");
    for channel in [ALICE, BOB] {
        world.attached_space(channel);
    }
}

fn what_the_hardware_does_not_confirm_is_tried_again_and_then_given_up(unit: &Unit) {
    let (mut world, _) = working(unit);
    assert!(works(&world));
    world.bench.stand_still(0);
    let answer = world.call(SUPERVISOR, TEARDOWN);
    assert_eq!(answer.status, Status::HardwareTimeout);
    assert!(answer.notify.clone().any(|channel| channel == PCI_HOST));
    let mut tries = 0;
    while let Some(wait) = world.work().deadline_ns {
        tries += 1;
        assert!(tries < 20 && wait <= 100 * MS);
        world.clock().advance(wait);
    }
    assert!(tries >= 7, "{tries}");
    assert!(world.log.contains("client 0: the hardware does not confirm"), "{}", world.log);
    assert_eq!(world.status(ALICE, Request::IoasAlloc), Status::Busy, "its memory stays out of use");
    world.ok(BOB, Request::IoasAlloc);
}

fn a_revoked_region_is_out_of_reach_when_the_call_returns(unit: &Unit) {
    let (mut world, space) = working(unit);
    let second = many(&mut world, space);
    world.ok(ALICE, map_with(second, RegionSlot(1), bench::READ, [0x10_0000, 0, 0x1000]));
    world.poke(ALICES_MEMORY, b"before");
    let revoke = Request::Revoke { client: ALICES, slot: SLOT0 };
    let first = world.call(SUPERVISOR, revoke);
    assert_eq!((first.status, first.words.get(0)), (Status::Again, 2));
    let stale = map(space, 0x60_0000, 0, 0x1000);
    assert_eq!(world.status(ALICE, stale), Status::StaleRegion);
    while world.status(SUPERVISOR, revoke) == Status::Again {}
    assert!(!works(&world));
    assert_eq!(world.peek(ALICES_MEMORY, 6), b"before");
    assert_eq!(world.ok(ALICE, Request::RegionInfo { slot: SLOT0 }).get(0), 0x2_0000, "no rights");
    // The other slot, and the device, are as they were.
    let kept = Request::NextMapping { space: second, from: 0 };
    assert_eq!(world.ok(ALICE, kept).get(0), 0x10_0000);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1), 1);
    assert_eq!(
        world.status(SUPERVISOR, Request::Revoke { client: ALICES, slot: RegionSlot(9) }),
        Status::NoSuchRegion
    );

    assert_eq!(world.ok(SUPERVISOR, Request::Regrant { client: ALICES, slot: SLOT0 }).as_slice(), [2]);
    let regrant = Request::Regrant { client: ALICES, slot: SLOT0 };
    assert_eq!(world.status(SUPERVISOR, regrant), Status::NotRevoked);
    assert_eq!(world.status(ALICE, stale), Status::StaleRegion, "its old name stays stale");
    let Request::Map { flags, .. } = stale else { unreachable!() };
    let fresh =
        Request::Map { space, slot: SLOT0, generation: 2, flags, iova: 0x10_0000, offset: 0, length: 0x1000 };
    world.ok(ALICE, fresh);
    assert!(works(&world));
}

fn a_revocation_goes_on_without_being_asked_again(unit: &Unit) {
    let (mut world, space) = working(unit);
    many(&mut world, space);
    let revoke = world.call(SUPERVISOR, Request::Revoke { client: ALICES, slot: SLOT0 });
    assert_eq!(revoke.status, Status::Again);
    assert!(revoke.notify.clone().any(|channel| channel == Channels::WAKE));
    assert_eq!(world.status(SUPERVISOR, Request::Regrant { client: ALICES, slot: SLOT0 }), Status::Busy);
    world.settle();
    assert!(!works(&world));
    world.ok(SUPERVISOR, Request::Regrant { client: ALICES, slot: SLOT0 });
}

fn a_successor_claims_while_the_device_goes_on(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.succession(1000, 64));
    world.ok(ALICE, Request::IoasAlloc);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    assert_eq!(world.status(BOB, Request::Claim), Status::NothingHeld);
    world.ok(SUPERVISOR, hold(500));
    assert_eq!(claim(&mut world, BOB), [0b110, 1]);
    assert!(works(&world));
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [1]);
    assert_eq!(world.status(ALICE, unmap(space, 0x10_0000, 0x1000)), Status::NoSuchSpace);
    assert_eq!(world.status(ALICE, Request::Claim), Status::NothingHeld);
    // Its faults are the successor's now.
    world.bench.dma_write(ALICES_DEVICE, 0x90_0000, b"x").expect_err("not mapped");
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [BOB]);
    world.ok(BOB, unmap(space, 0x10_0000, 0x1000));
    assert!(!works(&world));
    world.ok(BOB, map(space, 0x10_0000, 0, 0x1000));
    // The next time it is the other way round.
    world.ok(SUPERVISOR, Request::Hold { client: BOBS, deadline_ms: 500 });
    assert_eq!(claim(&mut world, ALICE), [0b110, 1]);
    assert!(works(&world));
}

fn a_successor_that_cannot_take_over_changes_nothing(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.succession(1, 64));
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    world.ok(ALICE, map(space, 0x20_0000, 0, 0x1000));
    world.ok(SUPERVISOR, hold(500));
    world.settle();
    assert_eq!(world.status(BOB, Request::Claim), Status::QuotaExceeded);
    let own = world.space(BOB);
    assert_eq!(world.status(BOB, Request::Claim), Status::Busy);
    world.ok(BOB, Request::IoasDestroy { space: own });
    assert!(works(&world));
    // The predecessor may still claim.
    assert_eq!(world.ok(ALICE, Request::Claim).as_slice(), [0b10, 1]);
    world.ok(ALICE, unmap(space, 0, 1 << 30));
}

fn a_half_done_map_of_a_dead_client_is_no_ones_when_claimed(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.succession(1000, 64));
    let space = world.attached_space(ALICE);
    assert_eq!(world.status(ALICE, map(space, 0x4000_0000, 0x1000, 0x3f_f000)), Status::Again);
    world.ok(SUPERVISOR, hold(500));
    while world.status(BOB, Request::Claim) == Status::Again {}
    assert_eq!(world.status(BOB, Request::NextMapping { space, from: 0 }), Status::NotMapped);
    let used = world.ok(BOB, Request::Stats { group: stats::MEMORY, client: None });
    assert_eq!((used.get(0), used.get(2)), (0, 1));
    let used = world.ok(ALICE, Request::Stats { group: stats::MEMORY, client: None });
    assert_eq!((used.get(0), used.get(2)), (0, 0));
    let resume = iommu_protocol::MapFlags { resume: true, ..READ_WRITE };
    let resumed = map_with(space, SLOT0, resume, [0x4000_0000, 0x1000, 0x3f_f000]);
    assert_eq!(world.status(BOB, resumed), Status::NotMapped);
}

fn nobody_succeeds_without_the_policy(unit: &Unit) {
    let (mut world, _) = working(unit);
    assert_eq!(PolicyParts::of(world.facts.kind).clients[1].predecessor, NO_CLIENT);
    world.ok(SUPERVISOR, hold(500));
    assert_eq!(world.status(BOB, Request::Claim), Status::NothingHeld);
}

over_every_unit!(
    a_supervisor_asks_for_its_clients_and_for_nothing_else,
    a_held_clients_device_goes_on_and_nothing_changes_until_it_claims,
    a_claim_that_comes_at_once_settles_what_was_half_done_itself,
    what_nobody_claims_ends_at_the_deadline,
    the_deadline_of_a_held_client_can_be_put_off,
    a_teardown_aborts_first_and_goes_on_without_being_asked_again,
    the_steps_of_one_client_come_between_the_requests_of_another,
    several_clients_are_ended_in_turns,
    what_the_hardware_does_not_confirm_is_tried_again_and_then_given_up,
    a_revoked_region_is_out_of_reach_when_the_call_returns,
    a_revocation_goes_on_without_being_asked_again,
    a_successor_claims_while_the_device_goes_on,
    a_successor_that_cannot_take_over_changes_nothing,
    a_half_done_map_of_a_dead_client_is_no_ones_when_claimed,
    nobody_succeeds_without_the_policy,
);
