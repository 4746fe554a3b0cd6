//! S14: hardware that does not answer.

use iommu_hal::{COMPLETION_LIMIT_NS, REGISTER_LIMIT_NS};
use iommu_model::smmu_v3::{Ack, Config, Faults};
use iommu_protocol::{Request, SpaceId, Status};
use iommu_server::server::Channels;

use crate::{
    DEVICE, HOLD, MS, PAGE, PAGES_AT, REVOKE, TEARDOWN,
    bench::{
        ALICE, ALICES_DEVICE, BOB, BOBS_DEVICE, MEMORY_BYTES, PCI_HOST, SUPERVISOR, World, map, policy_with,
        unmap,
    },
    changes, working,
};

/// What a request that waits may take in all: one wait for the hardware, one until it is off, and what the looking takes.
const LIMIT_NS: u64 = COMPLETION_LIMIT_NS + REGISTER_LIMIT_NS + MS;

fn timed(world: &mut World, channel: u8, request: Request) -> (Status, u64) {
    let clock = world.bench.ports().2;
    let before = clock.elapsed_ns();
    (world.status(channel, request), clock.elapsed_ns() - before)
}

#[test]
fn s14_a_wait_that_never_completes_ends_at_its_deadline() {
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
        for off in [Ack::AtOnce, Ack::Never] {
            let policy = policy_with(|p| p.devices[0].max_faults_per_second = 10);
            let mut world = World::of(Config { clock_step_ns: 20_000, ..Config::default() }, &policy);
            assert_eq!(working(&mut world), space);
            world.space(ALICE);
            let bobs = world.attached_space(BOB);
            world.ok(BOB, map(bobs, 0x10_0000, 0, PAGE));
            prepare(&mut world);
            let charged = world.charged(ALICE);
            *world.bench.faults() = Faults { sync_never_completes: true, cr0_ack: off, ..Default::default() };
            let before = world.bench.ports().2.elapsed_ns();
            let answer = world.call(channel, request);
            let took = world.bench.ports().2.elapsed_ns() - before;
            assert_eq!(answer.status, Status::HardwareTimeout, "{request:?}");
            assert!(
                answer.notify.clone().any(|channel| channel == Channels::WAKE),
                "to say so, no interrupt comes"
            );
            assert!((COMPLETION_LIMIT_NS..=LIMIT_NS).contains(&took), "{request:?}: {took} ns");
            assert_eq!(world.charged(ALICE).0, charged.0, "{request:?}: nothing is released");
            // The unit is given up: all that it did for anybody is aborted, as far as it still obeys.
            if off == Ack::AtOnce {
                for stream in [ALICES_DEVICE, BOBS_DEVICE] {
                    assert!(world.bench.translate(stream, 0x10_0000, true).is_err(), "{request:?}");
                }
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
#[test]
fn s14_a_slow_unit_is_no_broken_one() {
    let mut world = World::new();
    world.bench.faults().reads_per_command = 1000;
    for _ in 0..3 {
        let space = working(&mut world);
        assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_ok());
        let (status, took) = timed(&mut world, ALICE, unmap(space, 0x10_0000, PAGE));
        assert!(status == Status::Ok && (MS / 2..COMPLETION_LIMIT_NS).contains(&took), "{status:?} {took}");
        assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_err());
        world.finish(ALICE, Request::Reset);
    }
    assert!(world.log.lines().all(|line| !line.contains("out of order")));
}

/// The storm that the hardware does not stop, found by the server itself: as bounded as a request.
#[test]
fn s14_the_servers_own_work_waits_no_longer() {
    let mut world = World::changed(|p| p.devices[0].max_faults_per_second = 10);
    working(&mut world);
    for fault in 0..11 {
        world.bench.dma_write(ALICES_DEVICE, (0x1000 + fault) * PAGE, b"x").unwrap_err();
    }
    world.bench.faults().sync_never_completes = true;
    let clock = world.bench.ports().2;
    let before = clock.elapsed_ns();
    world.work();
    let took = clock.elapsed_ns() - before;
    assert!((COMPLETION_LIMIT_NS..=LIMIT_NS).contains(&took), "{took}");
    assert!(world.bench.translate(ALICES_DEVICE, 0x10_0000, true).is_err());
}
