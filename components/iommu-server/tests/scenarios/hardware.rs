//! S14: hardware that does not answer.

use std::ops::RangeInclusive;

use iommu_protocol::{Request, SpaceId, Status};
use iommu_server::server::Channels;

use crate::{
    DEVICE, HOLD, MS, PAGE, PAGES_AT, REVOKE, TEARDOWN, assert_given_up,
    bench::{
        ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY, Facts, MEMORY_BYTES, PCI_HOST,
        SUPERVISOR, Unit, World, map, over_every_unit, unmap,
    },
    changes, working,
};

/// What a request that waits may take in all: one wait for the hardware, one until it is off, and what the looking takes.
fn limits(unit: &Unit) -> RangeInclusive<u64> {
    let Facts { wait_limit_ns, register_limit_ns, .. } = unit.facts();
    wait_limit_ns..=wait_limit_ns + register_limit_ns + MS
}

fn timed(world: &mut World, channel: u8, request: Request) -> (Status, u64) {
    let clock = world.clock();
    let before = clock.elapsed_ns();
    (world.status(channel, request), clock.elapsed_ns() - before)
}

fn s14_a_wait_that_never_completes_ends_at_its_deadline(unit: &Unit) {
    let space = SpaceId(1);
    let filled: fn(&mut World) = |world| {
        assert_eq!(world.status(ALICE, map(SpaceId(1), PAGES_AT, 0, MEMORY_BYTES)), Status::Again);
    };
    let nothing: fn(&mut World) = |_| {};
    let stopped: fn(&mut World) = |world| {
        for fault in 0..11 {
            world.bench.dma_write(ALICES_DEVICE, (0x1000 + fault) * PAGE, b"x").unwrap_err();
        }
        world.settle();
    };
    let detached: fn(&mut World) = |world| _ = world.ok(ALICE, Request::Detach { device: DEVICE });
    for (channel, request, prepare) in [
        (ALICE, unmap(space, 0x10_0000, PAGE), nothing),
        (ALICE, Request::Unmap { space, first: 0, last: u64::MAX }, filled),
        (ALICE, Request::Detach { device: DEVICE }, nothing),
        (ALICE, Request::Attach { space: SpaceId(2), device: DEVICE }, detached),
        (ALICE, Request::Replace { space: SpaceId(2), device: DEVICE }, nothing),
        (ALICE, Request::Enable { device: DEVICE }, stopped),
        (ALICE, Request::IoasDestroy { space }, detached),
        (ALICE, Request::Reset, nothing),
        (SUPERVISOR, TEARDOWN, filled),
        (SUPERVISOR, REVOKE, nothing),
    ] {
        for obeys in [true, false] {
            let unit = unit.clone().clock_step_ns(20_000);
            let mut world = World::changed(&unit, |p| p.devices[0].max_faults_per_second = 10);
            assert_eq!(working(&mut world), space);
            world.space(ALICE);
            let bobs = world.attached_space(BOB);
            world.ok(BOB, map(bobs, 0x10_0000, 0, PAGE));
            prepare(&mut world);
            let charged = world.charged(ALICE);
            // The unit has something cached.
            for stream in [ALICES_DEVICE, BOBS_DEVICE] {
                _ = world.bench.translate(stream, 0x10_0000, true);
            }
            world.bench.stand_still(0);
            if !obeys {
                world.bench.ignore_the_last_resort();
            }
            let before = world.clock().elapsed_ns();
            let answer = world.call(channel, request);
            let took = world.clock().elapsed_ns() - before;
            if !world.facts.attach_waits && matches!(request, Request::Attach { .. } | Request::Enable { .. })
            {
                assert!((answer.status, took <= MS) == (Status::Ok, true), "{request:?}: {took} ns");
                continue;
            }
            assert_eq!(answer.status, Status::HardwareTimeout, "{request:?}");
            assert!(
                answer.notify.clone().any(|channel| channel == Channels::WAKE),
                "to say so, no interrupt comes"
            );
            assert!(limits(&unit).contains(&took), "{request:?}: {took} ns");
            assert_eq!(world.charged(ALICE).0, charged.0, "{request:?}: nothing is released");
            // The unit is given up: all that it did for anybody is aborted, as far as it still obeys.
            let owners = [(ALICES_DEVICE, ALICES_MEMORY), (BOBS_DEVICE, BOBS_MEMORY)];
            for (stream, memory) in owners.into_iter().filter(|_| obeys) {
                assert_given_up(&world, stream, 0x10_0000, memory, &format!("{request:?}"));
            }
            // Nobody waits for it again.
            let bobs_changes = [
                unmap(bobs, 0x10_0000, PAGE),
                map(bobs, 0x20_0000, 0, PAGE),
                Request::Detach { device: DEVICE },
                Request::IoasAlloc,
                Request::Reset,
            ];
            let alices = changes(space).into_iter().chain([Request::Claim]).map(|request| (ALICE, request));
            let supervisors = [REVOKE, HOLD, TEARDOWN].map(|request| (SUPERVISOR, request));
            for (channel, request) in
                bobs_changes.map(|request| (BOB, request)).into_iter().chain(alices).chain(supervisors)
            {
                let (_, took) = timed(&mut world, channel, request);
                assert!(took <= MS, "{request:?}: {took} ns");
            }
            for (channel, asks) in
                [(BOB, Request::RegionInfo { slot: crate::SLOT0 }), (PCI_HOST, Request::Version)]
            {
                assert_eq!(timed(&mut world, channel, asks).0, Status::Ok);
            }
            world.settle();
            assert!(world.log.contains("unit 0 is out of order"), "{request:?}: {}", world.log);
            assert_eq!(world.log.matches("out of order").count(), 1, "once is enough: {}", world.log);
            assert!(!world.log.contains("they are repaired"), "they are not: {}", world.log);
        }
    }
}

/// Hardware that is slow, and no more than that, is waited for.
fn s14_a_slow_unit_is_no_broken_one(unit: &Unit) {
    let mut world = World::new(unit);
    world.bench.slow(1000);
    for _ in 0..3 {
        let space = working(&mut world);
        assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_ok());
        let (status, took) = timed(&mut world, ALICE, unmap(space, 0x10_0000, PAGE));
        assert!(
            status == Status::Ok && (MS / 2..world.facts.wait_limit_ns).contains(&took),
            "{status:?} {took}"
        );
        assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_err());
        world.finish(ALICE, Request::Reset);
    }
    assert!(world.log.lines().all(|line| !line.contains("out of order")));
}

/// The storm that the hardware does not stop, found by the server itself: as bounded as a request.
fn s14_the_servers_own_work_waits_no_longer(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.devices[0].max_faults_per_second = 10);
    working(&mut world);
    for fault in 0..11 {
        world.bench.dma_write(ALICES_DEVICE, (0x1000 + fault) * PAGE, b"x").unwrap_err();
    }
    world.bench.stand_still(0);
    let clock = world.clock();
    let before = clock.elapsed_ns();
    world.work();
    let took = clock.elapsed_ns() - before;
    assert!(limits(unit).contains(&took), "{took}");
    assert_given_up(&world, ALICES_DEVICE, 0x10_0000, ALICES_MEMORY, "a storm");
}

over_every_unit!(
    s14_a_wait_that_never_completes_ends_at_its_deadline,
    s14_a_slow_unit_is_no_broken_one,
    s14_the_servers_own_work_waits_no_longer,
);
