//! What a device reaches, and what its driver hears, through the server's messages and the model's DMA.

mod bench;

use bench::{
    ALICE, ALICES_CONSTANTS, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY, PCI_HOST, READ,
    STRANGER, World, map, map_with, unmap,
};
use iommu_model::smmu_v3::Config;
use iommu_protocol::{
    DeviceIndex, RegionSlot, Request, Status,
    ring::{self, access, reason},
};
use iommu_server::server::{Channels, MAX_FAULTS_PER_STEP};

fn one(channel: u8) -> Channels {
    let mut channels = Channels::NONE;
    channels.insert(channel);
    channels
}

/// Every kind of unit that the backend has a way for.
fn units() -> [(&'static str, Config); 5] {
    [
        ("both stages", Config::default()),
        ("stage 1 alone", Config { stage2: false, ..Config::default() }),
        ("stage 2 alone", Config { stage1: false, ..Config::default() }),
        ("not coherent", Config { coherent: false, ..Config::default() }),
        ("no range invalidation", Config { range_invalidation: false, ..Config::default() }),
    ]
}

#[test]
fn a_device_reaches_what_is_mapped_while_it_is_mapped() {
    for (unit, config) in units() {
        let mut world = World::with(config);
        let space = world.attached_space(ALICE);
        world.ok(ALICE, map(space, 0x10_0000, 0x3000, 0x2000));
        world.poke(ALICES_MEMORY + 0x3000, b"from memory");
        let mut read = [0; 11];
        world.bench.dma_read(ALICES_DEVICE, 0x10_0000, &mut read).expect(unit);
        assert_eq!(&read, b"from memory", "{unit}");
        world.bench.dma_write(ALICES_DEVICE, 0x10_1000, b"to memory").expect(unit);
        assert_eq!(world.peek(ALICES_MEMORY + 0x4000, 9), b"to memory", "{unit}");

        assert_eq!(world.ok(ALICE, unmap(space, 0x10_0000, 0x2000)).as_slice(), [0, 0x2000], "{unit}");
        for iova in [0x10_0000, 0x10_1000] {
            world.bench.dma_write(ALICES_DEVICE, iova, b"too late").expect_err(unit);
        }
        assert_eq!(world.peek(ALICES_MEMORY + 0x4000, 9), b"to memory", "{unit}");
    }
}

#[test]
fn blocks_are_used_and_taken_out_again() {
    for (unit, config) in units() {
        let mut world = World::with(config);
        let space = world.attached_space(ALICE);
        world.ok(ALICE, map(space, 0x4000_0000, 0, 0x40_0000));
        world.bench.dma_write(ALICES_DEVICE, 0x4020_1234, b"block").expect(unit);
        assert_eq!(world.peek(ALICES_MEMORY + 0x20_1234, 5), b"block", "{unit}");
        world.ok(ALICE, unmap(space, 0x4000_0000, 0x40_0000));
        world.bench.dma_write(ALICES_DEVICE, 0x4020_1234, b"stale").expect_err(unit);
    }
}

#[test]
fn the_owner_alone_hears_of_a_fault_with_reason_address_and_access() {
    let mut world = World::new();
    let space = world.attached_space(ALICE);
    world.attached_space(BOB);
    world.ok(ALICE, map_with(space, RegionSlot(1), READ, [0x5000, 0, 0x1000]));
    world.poke(ALICES_CONSTANTS, &[0x55; 64]);

    world.bench.dma_write(ALICES_DEVICE, 0x5010, &[0xaa; 4]).expect_err("read-only");
    world.bench.dma_read(ALICES_DEVICE, 0x9_9000, &mut [0; 4]).expect_err("not mapped");
    let step = world.work();
    assert_eq!((step.notify, step.more), (one(ALICE), false));
    let records = world.alices_ring.records();
    let seen: Vec<_> =
        records.iter().map(|r| (r.reason(), r.iova(), r.access(), r.count, r.device())).collect();
    assert_eq!(
        seen,
        [
            (reason::PERMISSION, Some(0x5010), access::WRITE, 1, 0),
            (reason::NOT_MAPPED, Some(0x9_9000), access::READ, 1, 0),
        ]
    );
    assert!(records.iter().all(|record| record.stream == ALICES_DEVICE.0.into()));
    assert_eq!(world.bobs_ring.header().written, 0);
    assert_eq!(world.peek(ALICES_CONSTANTS, 64), [0x55; 64]);
}

#[test]
fn faults_alike_become_one_record_with_a_count() {
    let mut world = World::new();
    world.attached_space(ALICE);
    for word in 0..100 {
        world.bench.dma_write(ALICES_DEVICE, 0x7000 + 4 * word, &[0; 4]).expect_err("not mapped");
    }
    world.work();
    let records = world.alices_ring.records();
    assert_eq!(
        records.iter().map(|record| (record.iova(), record.count)).collect::<Vec<_>>(),
        [(Some(0x7000), 100)]
    );
}

#[test]
fn a_step_is_bounded_and_says_that_there_is_more() {
    let mut world = World::new();
    world.attached_space(ALICE);
    for page in 0..MAX_FAULTS_PER_STEP as u64 + 1 {
        world.bench.dma_write(ALICES_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    }
    assert!(world.work().more);
    assert_eq!(world.alices_ring.header().written, MAX_FAULTS_PER_STEP as u64);
    let step = world.work();
    assert_eq!((step.notify, step.more), (one(ALICE), false));
    assert_eq!(world.alices_ring.header().written, MAX_FAULTS_PER_STEP as u64 + 1);
    assert_eq!(world.work().notify, Channels::NONE);
}

#[test]
fn lost_faults_are_told_to_every_client_and_translation_goes_on() {
    let mut world = World::new();
    let space = world.attached_space(ALICE);
    world.attached_space(BOB);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    for page in 0..4096_u64 {
        world.bench.dma_write(BOBS_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    }
    assert!(world.bench.observed().events_lost > 0, "the storm fills the queue");
    let mut told = Channels::NONE;
    loop {
        let step = world.work();
        step.notify.for_each(|channel| told.insert(channel));
        if !step.more {
            break;
        }
    }
    assert_eq!(told.collect::<Vec<_>>(), [ALICE, BOB]);
    assert!(world.alices_ring.header().lost_by_hardware > 0);
    assert!(world.bobs_ring.header().lost_by_hardware > 0);
    assert_eq!(world.alices_ring.header().written, 0);
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"still").expect("other devices translate");
}

#[test]
fn a_device_that_is_not_attached_reaches_nothing() {
    let mut world = World::new();
    for stream in [ALICES_DEVICE, BOBS_DEVICE, STRANGER] {
        for iova in [0, 0x10_0000, ALICES_MEMORY] {
            world.bench.dma_write(stream, iova, b"x").expect_err("aborted");
        }
    }
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"now").expect("attached");
    let answer = world.call(ALICE, Request::Detach { device: DeviceIndex(0) });
    assert_eq!((answer.status, answer.notify), (Status::Ok, one(PCI_HOST)));
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"no").expect_err("detached");
}

#[test]
fn one_client_reaches_nothing_of_the_other() {
    let mut world = World::new();
    let alices = world.attached_space(ALICE);
    let bobs = world.attached_space(BOB);
    world.ok(ALICE, map(alices, 0x10_0000, 0, 0x1000));
    world.poke(BOBS_MEMORY, b"secret");
    // The same IOVA, and the very physical address.
    for iova in [0x10_0000, BOBS_MEMORY, ALICES_MEMORY] {
        world.bench.dma_write(BOBS_DEVICE, iova, b"attack").expect_err("not mapped for Bob");
    }
    assert_eq!(world.peek(BOBS_MEMORY, 6), b"secret");
    // Ids are the channel's own: Bob's space 1 is not Alice's, and what he did not make is unknown.
    assert_eq!(alices, bobs);
    world.ok(BOB, map(bobs, 0x20_0000, 0, 0x1000));
    world.bench.dma_write(ALICES_DEVICE, 0x20_0000, b"x").expect_err("Bob's mapping");
    assert_eq!(world.status(BOB, unmap(bobs, 0x10_0000, 0x1000)), Status::NotMapped);
    let second = world.space(ALICE);
    assert_eq!(world.status(BOB, map(second, 0x10_0000, 0, 0x1000)), Status::NoSuchSpace);
    assert_eq!(world.status(BOB, Request::Detach { device: DeviceIndex(1) }), Status::NoSuchDevice);
    assert_eq!(world.status(BOB, Request::RegionInfo { slot: RegionSlot(1) }), Status::NoSuchRegion);
}

#[test]
fn replace_moves_a_device_at_once() {
    for (unit, config) in units() {
        let mut world = World::with(config);
        let first = world.attached_space(ALICE);
        let second = world.space(ALICE);
        world.ok(ALICE, map(first, 0x10_0000, 0, 0x1000));
        world.ok(ALICE, map(second, 0x10_0000, 0x1000, 0x1000));
        world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"one").expect(unit);
        world.ok(ALICE, Request::Replace { space: second, device: DeviceIndex(0) });
        world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"two").expect(unit);
        assert_eq!(world.peek(ALICES_MEMORY, 3), b"one", "{unit}");
        assert_eq!(world.peek(ALICES_MEMORY + 0x1000, 3), b"two", "{unit}");
        assert_eq!(world.status(ALICE, Request::IoasDestroy { space: second }), Status::Busy);
        world.ok(ALICE, Request::IoasDestroy { space: first });
    }
}

#[test]
fn reset_gives_everything_back() {
    let mut world = World::new();
    let before = world.ok(ALICE, Request::DeviceInfo { device: DeviceIndex(0) });
    let space = world.attached_space(ALICE);
    for page in 0..200 {
        world.ok(ALICE, map(space, 0x10_0000 + (page << 13), 0, 0x1000));
    }
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("mapped");
    let mut bytes = 0;
    loop {
        let answer = world.call(ALICE, Request::Reset);
        bytes += answer.words.get(1);
        assert_eq!(answer.notify, one(PCI_HOST));
        match answer.status {
            Status::Again => {
                world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect_err("aborted first")
            }
            Status::Ok => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(bytes, 200 << 12);
    assert_eq!(world.status(ALICE, map(space, 0x10_0000, 0, 0x1000)), Status::NoSuchSpace);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DeviceIndex(0) }), before);
}

#[test]
fn an_unmap_that_the_hardware_does_not_confirm_is_not_reported_as_done() {
    let mut world = World::new();
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("mapped");
    world.bench.faults().sync_never_completes = true;
    assert_eq!(world.status(ALICE, unmap(space, 0x10_0000, 0x1000)), Status::HardwareTimeout);
    assert_eq!(world.status(ALICE, map(space, 0x10_0000, 0, 0x1000)), Status::Overlap, "still in use");
    assert_eq!(world.status(BOB, Request::RegionInfo { slot: RegionSlot(0) }), Status::Ok, "others go on");
    // No interrupt says so, so the answer had the server look at its units.
    for _ in 0..2 {
        world.work();
    }
    assert_eq!(world.log.matches("unit 0 is out of order").count(), 1, "{}", world.log);
    assert!(!world.log.contains("they are repaired"), "{}", world.log);
}

#[test]
fn bus_mastering_goes_even_when_the_hardware_does_not_confirm_a_detach() {
    for request in [Request::Detach { device: DeviceIndex(0) }, Request::Reset] {
        let mut world = World::new();
        world.attached_space(ALICE);
        world.bench.faults().sync_never_completes = true;
        let answer = world.call(ALICE, request);
        let mut told = one(PCI_HOST);
        told.wake();
        assert_eq!((answer.status, answer.notify), (Status::HardwareTimeout, told), "{request:?}");
        assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [0]);
        assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [1, ALICES_DEVICE.0.into()]);
        assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [0, 0]);
    }
    let mut world = World::new();
    let refused = world.call(ALICE, Request::Detach { device: DeviceIndex(0) });
    assert_eq!((refused.status, refused.notify), (Status::NotAttached, Channels::NONE));
}

#[test]
fn the_ring_of_a_client_that_never_reads_stays_one_page() {
    let mut world = World::new();
    world.attached_space(ALICE);
    for page in 0..ring::CAPACITY + 10 {
        world.bench.dma_write(ALICES_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    }
    world.work();
    assert_eq!(world.alices_ring.header().written, ring::CAPACITY + 10);
}
