//! S12 and S13: faults that nobody acknowledges, and events that nobody reads.

use iommu_protocol::{Request, Status, ring};
use iommu_server::server::Channels;

use crate::{
    DEVICE, PAGE, TEARDOWN, alone, as_alone,
    bench::{ALICE, ALICES_DEVICE, BOB, BOBS_DEVICE, SUPERVISOR, Unit, World, map, over_every_unit},
    working,
};

fn s12_no_access_and_nobody_else_waits_for_a_fault_to_be_acknowledged(unit: &Unit) {
    // Of a unit that keeps fewer records than there are faults nobody can say as much.
    for kind in unit.kinds().into_iter().filter(|kind| kind.facts().fault_room >= 51) {
        let mut world = World::new(&kind);
        let space = working(&mut world);
        let bobs = world.attached_space(BOB);
        world.ok(BOB, map(bobs, 0x10_0000, 0, PAGE));
        // The device is told at once, the access does not stall; its next one goes through.
        for page in 0..50 {
            let blocked = world.bench.dma_write(ALICES_DEVICE, 0x90_0000 + page * PAGE, b"x").unwrap_err();
            assert!(blocked.aborted, "terminated, not stalled: {blocked:?}");
            world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("mapped");
        }
        // Nobody reads of it, and Bob's faults and requests are as ever.
        assert!(world.bench.dma_write(BOBS_DEVICE, 0x90_0000, b"x").unwrap_err().aborted);
        let step = world.work();
        assert_eq!(step.notify.collect::<Vec<_>>(), [ALICE, BOB]);
        assert_eq!((world.alices_ring.header().written, world.bobs_ring.header().written), (50, 1));
        // Faults that wait while their device goes are told to whom it was, once, and stop nothing.
        world.bench.dma_write(ALICES_DEVICE, 0x95_0000, b"x").unwrap_err();
        world.ok(ALICE, Request::Detach { device: DEVICE });
        assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE]);
        let last = world.alices_ring.last();
        assert_eq!((last.iova(), last.sequence), (Some(0x95_0000), 51));
        // What would acknowledge comes too late.
        assert_eq!(world.status(ALICE, Request::Enable { device: DEVICE }), Status::NotAttached);
        world.ok(ALICE, Request::Attach { space, device: DEVICE });
        world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("attached anew");
        // The same of a client that is ended with faults on the way.
        world.bench.dma_write(ALICES_DEVICE, 0x96_0000, b"x").unwrap_err();
        world.finish(SUPERVISOR, TEARDOWN);
        world.settle();
        assert_eq!(world.alices_ring.header().written, 52);
        world.bench.dma_write(BOBS_DEVICE, 0x10_0000, b"x").expect("Bob goes on");
    }
}

fn s13_who_never_reads_loses_the_oldest_and_sees_the_gap(unit: &Unit) {
    let mut world = World::new(unit);
    working(&mut world);
    let faults = 5 * ring::CAPACITY + 7;
    for fault in 0..faults {
        world.bench.dma_write(ALICES_DEVICE, (0x1000 + fault) * PAGE, b"x").unwrap_err();
        if (fault + 1) % world.facts.fault_room == 0 {
            // The hardware holds no more.
            world.settle();
        }
    }
    world.settle();
    let header = world.alices_ring.header();
    assert_eq!((header.magic, header.written), (ring::MAGIC, faults));
    // The ring holds the last ones, each where its number says; a reader that stands at the first sees a gap.
    let newest = world.alices_ring.records();
    assert_eq!(newest.len() as u64, ring::CAPACITY);
    for (record, number) in newest.iter().zip(faults - ring::CAPACITY..) {
        assert_eq!((record.sequence, record.iova()), (number + 1, Some((0x1000 + number) * PAGE)));
    }
    assert_eq!(world.bobs_ring.header().written, 0);
    let stats = Request::Stats { group: iommu_protocol::stats::FAULTS, client: None };
    assert_eq!(world.ok(ALICE, stats).as_slice(), [faults, faults, 0, 0]);
}

/// More than the hardware's own queue holds: everybody is told that some are lost, and Bob is not concerned otherwise.
fn s13_what_the_hardware_drops_is_counted_in_every_ring(unit: &Unit) {
    let mut world = World::new(unit);
    working(&mut world);
    let alone = alone(unit);
    let charged = world.charged(ALICE);
    for fault in 0..10_000 {
        world.bench.dma_write(ALICES_DEVICE, (0x1000 + fault) * PAGE, b"x").unwrap_err();
    }
    assert!(world.bench.observed().faults_lost > 0);
    let mut told = Channels::NONE;
    for _ in 0..10_000 {
        let step = world.work();
        step.notify.for_each(|channel| told.insert(channel));
        assert!(as_alone(&mut world, &alone), "between any two steps");
        if !step.more {
            break;
        }
    }
    assert!(told.clone().any(|channel| channel == BOB) && told.clone().any(|channel| channel == ALICE));
    assert!(world.alices_ring.header().lost_by_hardware > 0 && world.bobs_ring.header().lost_by_hardware > 0);
    assert_eq!(world.charged(ALICE), charged, "the server's memory is what it was");
    if world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1) == 2 {
        world.ok(ALICE, Request::Enable { device: DEVICE });
    }
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("and it translates");
    let before = world.alices_ring.header().written;
    world.bench.dma_write(ALICES_DEVICE, 0x90_0000, b"x").unwrap_err();
    world.settle();
    assert_eq!(world.alices_ring.header().written, before + 1, "and records");
}

over_every_unit!(
    s12_no_access_and_nobody_else_waits_for_a_fault_to_be_acknowledged,
    s13_who_never_reads_loses_the_oldest_and_sees_the_gap,
    s13_what_the_hardware_drops_is_counted_in_every_ring,
);
