//! Devices that cause too many faults, and who hears of faults. Over every unit.

mod bench;

use bench::{
    ALICE, ALICES_DEVICE, BOB, BOBS_DEVICE, PCI_HOST, PolicyParts, Unit, World, map, over_every_unit,
};
use iommu_protocol::{
    DeviceIndex, Request, Status,
    ring::{access, reason},
    stats,
};
use iommu_server::server::Channels;

const DEVICE: DeviceIndex = DeviceIndex(0);
const LIMIT: u64 = 100;

/// A world in which Alice's device may cause [`LIMIT`] faults a second; both devices work with a page.
fn world(unit: &Unit) -> World {
    with(unit, |_| {})
}

fn with(unit: &Unit, change: impl FnOnce(&mut PolicyParts)) -> World {
    let mut world = World::changed(unit, |p| {
        p.devices[0].max_faults_per_second = LIMIT as u32;
        change(p);
    });
    for channel in [ALICE, BOB] {
        let space = world.attached_space(channel);
        world.ok(channel, map(space, 0x10_0000, 0, 0x1000));
    }
    world
}

fn fault(world: &World, times: u64) {
    for time in 0..times {
        _ = world.bench.dma_write(ALICES_DEVICE, (0x200 + time) << 12, b"x");
    }
}

fn works(world: &World) -> bool {
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"works").is_ok()
}

/// Everybody who is told by as many steps as it takes.
fn told(world: &mut World) -> Vec<u8> {
    let mut told = Channels::NONE;
    loop {
        let step = world.work();
        step.notify.for_each(|channel| told.insert(channel));
        if !step.more {
            return told.collect();
        }
    }
}

fn storms(world: &mut World) -> u64 {
    world.ok(ALICE, Request::Stats { group: stats::FAULTS, client: None }).get(2)
}

fn a_storm_stops_the_device_and_says_so(unit: &Unit) {
    let mut world = world(unit);
    fault(&world, LIMIT);
    assert_eq!(told(&mut world), [ALICE]);
    assert!(works(&world), "as many as are allowed");
    fault(&world, 1);
    assert_eq!(told(&mut world), [PCI_HOST, ALICE]);
    assert!(!works(&world));
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [0]);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).as_slice(), [0x10, 2, 1]);
    assert_eq!(world.alices_ring.header().stopped, 1);
    let written = world.alices_ring.header().written;
    assert_eq!(written, LIMIT + 2, "the faults, and the storm");
    let last = world.alices_ring.last();
    assert_eq!((last.reason(), last.device(), last.count), (reason::STORM, 0, LIMIT + 1));
    assert_eq!((last.iova(), last.access()), (Some(0x20_0000), access::WRITE));
    assert!(world.log.contains("stream 0x10: 101 faults in a second, more than 100"), "{}", world.log);
    assert_eq!(storms(&mut world), 1);
    // Nothing more is recorded, and nobody else is concerned.
    fault(&world, 1000);
    assert_eq!(told(&mut world), []);
    world.bench.dma_write(BOBS_DEVICE, 0x10_0000, b"x").expect("Bob's goes on");
    assert_eq!(world.bobs_ring.header().stopped, 0);
}

fn its_owner_enables_it_again(unit: &Unit) {
    let mut world = world(unit);
    assert_eq!(world.status(BOB, Request::Enable { device: DEVICE }), Status::Ok, "as it is");
    fault(&world, LIMIT + 1);
    told(&mut world);
    let space = iommu_protocol::SpaceId(1);
    assert_eq!(world.status(ALICE, Request::Replace { space, device: DEVICE }), Status::Stopped);
    assert_eq!(world.status(ALICE, Request::Attach { space, device: DEVICE }), Status::AlreadyAttached);
    world.ok(ALICE, Request::Enable { device: DEVICE });
    assert!(works(&world));
    assert_eq!(world.alices_ring.header().stopped, 0);
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [1]);
    world.clock().advance(1_000_000_000);
    fault(&world, 1);
    assert_eq!(told(&mut world), [ALICE]);
    assert!(works(&world));
    fault(&world, LIMIT);
    told(&mut world);
    assert!(!works(&world), "and the next storm stops it again");
    assert_eq!(storms(&mut world), 2);
}

fn a_stopped_device_can_be_given_up(unit: &Unit) {
    for request in [Request::Detach { device: DEVICE }, Request::Reset] {
        let mut world = world(unit);
        fault(&world, LIMIT + 1);
        told(&mut world);
        while world.status(ALICE, request) == Status::Again {}
        assert_eq!(world.alices_ring.header().stopped, 0);
        assert_eq!(world.status(ALICE, Request::Enable { device: DEVICE }), Status::NotAttached);
        world.attached_space(ALICE);
    }
}

fn faults_over_more_than_a_second_are_no_storm(unit: &Unit) {
    let mut world = world(unit);
    for _ in 0..5 {
        fault(&world, LIMIT);
        told(&mut world);
        assert!(works(&world));
        world.clock().advance(1_000_000_000);
    }
    assert_eq!(storms(&mut world), 0);
}

fn a_thousand_faults_of_one_stopped_transfer_are_no_storm_by_default(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    // What ten such cost under QEMU, in rounds that the hardware holds.
    let round = world.facts.fault_room.min(512);
    let faults = 10_240;
    for first in (0..faults).step_by(round as usize) {
        for word in first..faults.min(first + round) {
            _ = world.bench.dma_write(ALICES_DEVICE, 0x20_0000 + 8 * (word % 512), b"x");
        }
        told(&mut world);
    }
    assert!(works(&world));
    assert_eq!(
        world.ok(ALICE, Request::Stats { group: stats::FAULTS, client: None }).as_slice()[..1],
        [10_240]
    );
}

fn a_storm_that_the_hardware_does_not_stop_still_takes_bus_mastering_away(unit: &Unit) {
    let mut world = world(unit);
    assert!(works(&world));
    fault(&world, LIMIT + 1);
    world.bench.stand_still(0);
    assert_eq!(told(&mut world), [PCI_HOST, ALICE]);
    assert!(world.log.contains("the hardware does not confirm that it stops stream 0x10"), "{}", world.log);
    assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [0]);
    assert_eq!(world.status(ALICE, Request::Enable { device: DEVICE }), Status::Busy);
}

/// Bob receives the faults of Alice's device, after his own.
fn bob_receives(parts: &mut PolicyParts) {
    (parts.devices[0].fault_client, parts.devices[0].fault_index) = (1, 1);
}

fn faults_go_to_whom_the_policy_says(unit: &Unit) {
    let mut world = with(unit, bob_receives);
    fault(&world, 1);
    world.bench.dma_write(BOBS_DEVICE, 0x90_0000, b"x").expect_err("not mapped");
    assert_eq!(told(&mut world), [BOB]);
    let seen: Vec<_> = world.bobs_ring.records().iter().map(|r| (r.device(), r.stream)).collect();
    assert_eq!(seen, [(1, 0x10), (0, 0x18)]);
    assert_eq!(world.alices_ring.header().written, 0);
    let faults = |world: &mut World, channel| {
        world.ok(channel, Request::Stats { group: stats::FAULTS, client: None }).as_slice().to_vec()
    };
    assert_eq!(faults(&mut world, BOB), [2, 2, 0, 0]);
    assert_eq!(faults(&mut world, ALICE), [0, 0, 0, 0]);
    // He hears of it and may do nothing with it.
    assert_eq!(world.status(BOB, Request::Detach { device: DeviceIndex(1) }), Status::NoSuchDevice);
}

fn of_a_storm_both_are_told(unit: &Unit) {
    let mut world = with(unit, bob_receives);
    fault(&world, LIMIT + 1);
    assert_eq!(told(&mut world), [PCI_HOST, ALICE, BOB]);
    assert_eq!((world.alices_ring.header().stopped, world.bobs_ring.header().stopped), (1, 2));
    let (alices, bobs) = (world.alices_ring.last(), world.bobs_ring.last());
    assert_eq!((alices.reason(), alices.device()), (reason::STORM, 0));
    assert_eq!((bobs.reason(), bobs.device()), (reason::STORM, 1));
    world.ok(ALICE, Request::Enable { device: DEVICE });
    assert_eq!((world.alices_ring.header().stopped, world.bobs_ring.header().stopped), (0, 0));
}

over_every_unit!(
    a_storm_stops_the_device_and_says_so,
    its_owner_enables_it_again,
    a_stopped_device_can_be_given_up,
    faults_over_more_than_a_second_are_no_storm,
    a_thousand_faults_of_one_stopped_transfer_are_no_storm_by_default,
    a_storm_that_the_hardware_does_not_stop_still_takes_bus_mastering_away,
    faults_go_to_whom_the_policy_says,
    of_a_storm_both_are_told,
);
