//! What a device reaches, and what its driver hears, through the server's messages and the model's DMA. Over every unit.

mod bench;

use std::rc::Rc;

use bench::{
    ALICE, ALICES_CONSTANTS, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY, PCI_HOST, READ,
    STRANGER, Unit, World, map, map_with, over_every_unit, resumed, unmap,
};
use iommu_protocol::{
    DeviceIndex, RegionSlot, Request, Status,
    ring::{self, access, reason},
};
use iommu_server::server::{Channels, MAX_FAULTS_PER_STEP};

/// No driver takes a fault record out with more looks at its unit.
const LOOKS_PER_FAULT: u64 = 4;

fn one(channel: u8) -> Channels {
    let mut channels = Channels::NONE;
    channels.insert(channel);
    channels
}

fn a_device_reaches_what_is_mapped_while_it_is_mapped(unit: &Unit) {
    for kind in unit.kinds() {
        let unit = kind.name;
        let mut world = World::new(&kind);
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

fn blocks_are_used_and_taken_out_again(unit: &Unit) {
    for kind in unit.kinds() {
        let unit = kind.name;
        let mut world = World::new(&kind);
        let space = world.attached_space(ALICE);
        // Pages alone, where there are no blocks, are more than one call's.
        let blocks = world.facts.page_sizes & 1 << 21 != 0;
        let whole = map(space, 0x4000_0000, 0, 0x40_0000);
        assert_eq!(world.status(ALICE, whole), if blocks { Status::Ok } else { Status::Again }, "{unit}");
        if !blocks {
            world.complete(ALICE, resumed(whole, 0x4000_0000));
        }
        world.bench.dma_write(ALICES_DEVICE, 0x4020_1234, b"block").expect(unit);
        assert_eq!(world.peek(ALICES_MEMORY + 0x20_1234, 5), b"block", "{unit}");
        assert_eq!(world.finish(ALICE, unmap(space, 0x4000_0000, 0x40_0000)), 0x40_0000, "{unit}");
        world.bench.dma_write(ALICES_DEVICE, 0x4020_1234, b"stale").expect_err(unit);
    }
}

fn what_a_device_found_absent_is_there_once_it_is_mapped(unit: &Unit) {
    for kind in unit.kinds() {
        let mut world = World::new(&kind);
        let space = world.attached_space(ALICE);
        let writes = |world: &World, iova| world.bench.dma_write(ALICES_DEVICE, iova, b"there").is_ok();
        assert!(!writes(&world, 0x10_0000), "{}", kind.name);
        // Where no table was, beside a page, and a block where a table was.
        for (iova, offset, length) in
            [(0x10_0000, 0, 0x1000), (0x10_1000, 0x1000, 0x1000), (0x20_0000, 0, 0x20_0000)]
        {
            let last = iova + length - 8;
            assert!(!writes(&world, iova) && !writes(&world, last), "{}: {iova:#x}", kind.name);
            world.ok(ALICE, map(space, iova, offset, length));
            assert!(writes(&world, iova) && writes(&world, last), "{}: {iova:#x}", kind.name);
            assert_eq!(world.peek(ALICES_MEMORY + offset, 5), b"there", "{}: {iova:#x}", kind.name);
        }
        // A device that found itself without a space.
        world.ok(ALICE, Request::Detach { device: DeviceIndex(0) });
        assert!(!writes(&world, 0x10_0000), "{}", kind.name);
        world.ok(ALICE, Request::Attach { space, device: DeviceIndex(0) });
        assert!(writes(&world, 0x10_0000), "{}", kind.name);
        assert_eq!(world.bench.observed().passed_everything, 0, "{}", kind.name);
    }
}

fn the_owner_alone_hears_of_a_fault_with_reason_address_and_access(unit: &Unit) {
    let mut world = World::new(unit);
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
            (reason::PERMISSION, Some(world.facts.told(0x5010)), access::WRITE, 1, 0),
            (reason::NOT_MAPPED, Some(0x9_9000), access::READ, 1, 0),
        ]
    );
    assert!(records.iter().all(|record| record.stream == ALICES_DEVICE.0.into()));
    assert_eq!(world.bobs_ring.header().written, 0);
    assert_eq!(world.peek(ALICES_CONSTANTS, 64), [0x55; 64]);
}

/// One at a time, for hardware that holds no more.
fn every_kind_tells_the_rule_that_was_broken(unit: &Unit) {
    for kind in unit.kinds() {
        let mut world = World::new(&kind);
        let space = world.attached_space(ALICE);
        world.ok(ALICE, map_with(space, RegionSlot(1), READ, [0x5000, 0, 0x1000]));
        world.bench.dma_read(ALICES_DEVICE, 0x5000, &mut [0; 4]).expect(kind.name);
        let beyond = world.facts.aperture() + 1;
        for (iova, write, rule) in [
            (0x5018, true, reason::PERMISSION),
            (0x9_9000, false, reason::NOT_MAPPED),
            (0x9_9000, true, reason::NOT_MAPPED),
            (beyond, true, world.facts.beyond),
        ] {
            let refused = match write {
                true => world.bench.dma_write(ALICES_DEVICE, iova, &[0xaa; 4]),
                false => world.bench.dma_read(ALICES_DEVICE, iova, &mut [0; 4]),
            };
            refused.expect_err(kind.name);
            assert_eq!(world.work().notify, one(ALICE), "{}", kind.name);
            let record = world.alices_ring.last();
            let wanted = if write { access::WRITE } else { access::READ };
            assert_eq!(
                (record.reason(), record.iova(), record.access(), record.count),
                (rule, Some(world.facts.told(iova)), wanted, 1),
                "{}: {iova:#x}",
                kind.name
            );
        }
        assert_eq!(world.peek(ALICES_CONSTANTS, 4), [0; 4], "{}", kind.name);
    }
}

fn faults_alike_become_one_record_with_a_count(unit: &Unit) {
    let mut world = World::new(unit);
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

fn a_step_is_bounded_and_says_that_there_is_more(unit: &Unit) {
    let mut world = World::new(unit);
    world.attached_space(ALICE);
    // As many as the hardware holds but one, and while the server takes them out one more for each.
    let faults = MAX_FAULTS_PER_STEP as u64 + 1;
    let first = faults.min(world.facts.fault_room - 1);
    let bench = Rc::clone(&world.bench);
    let cause = move |page: u64| {
        bench.dma_write(ALICES_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    };
    (0..first).for_each(&cause);
    let mut looks = 0;
    world.bench.meanwhile(move || {
        looks += 1;
        let page = first + looks / LOOKS_PER_FAULT;
        if looks % LOOKS_PER_FAULT == 0 && page <= faults {
            cause(page - 1);
        }
    });
    assert!(world.work().more);
    assert_eq!(world.alices_ring.header().written, MAX_FAULTS_PER_STEP as u64);
    world.bench.meanwhile_nothing();
    let step = world.work();
    assert_eq!((step.notify, step.more), (one(ALICE), false));
    assert_eq!(world.alices_ring.header().written, MAX_FAULTS_PER_STEP as u64 + 1);
    assert_eq!(world.work().notify, Channels::NONE);
    assert_eq!(world.bench.observed().faults_lost, 0);
}

fn lost_faults_are_told_to_every_client_and_translation_goes_on(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.attached_space(BOB);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    for page in 0..4096_u64 {
        world.bench.dma_write(BOBS_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    }
    assert!(world.bench.observed().faults_lost > 0, "the storm fills the queue");
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

fn a_device_that_is_not_attached_reaches_nothing(unit: &Unit) {
    let mut world = World::new(unit);
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

fn one_client_reaches_nothing_of_the_other(unit: &Unit) {
    let mut world = World::new(unit);
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

fn replace_moves_a_device_at_once(unit: &Unit) {
    for kind in unit.kinds() {
        let unit = kind.name;
        let mut world = World::new(&kind);
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

fn reset_gives_everything_back(unit: &Unit) {
    let mut world = World::new(unit);
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

fn an_unmap_that_the_hardware_does_not_confirm_is_not_reported_as_done(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("mapped");
    world.bench.stand_still(0);
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

/// The unit may still walk the tables that were taken out: they are nobody's, and stay charged.
fn tables_that_the_hardware_may_still_walk_are_not_released(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("mapped");
    let (before, memory) = (world.charged(ALICE), world.server.frame_counts());
    world.bench.stand_still(0);
    // More than the mapping, so that its tables go too.
    for _ in 0..3 {
        assert!(matches!(
            world.status(ALICE, unmap(space, 0, 1 << 30)),
            Status::HardwareTimeout | Status::HardwareFailed
        ));
        world.work();
        assert_eq!((world.charged(ALICE), world.server.frame_counts()), (before, memory));
    }
}

fn bus_mastering_goes_even_when_the_hardware_does_not_confirm_a_detach(unit: &Unit) {
    for request in [Request::Detach { device: DeviceIndex(0) }, Request::Reset] {
        let mut world = World::new(unit);
        world.attached_space(ALICE);
        world.bench.stand_still(0);
        let answer = world.call(ALICE, request);
        let mut told = one(PCI_HOST);
        told.wake();
        assert_eq!((answer.status, answer.notify), (Status::HardwareTimeout, told), "{request:?}");
        assert_eq!(world.ok(PCI_HOST, Request::IsAttached { stream: ALICES_DEVICE.0 }).as_slice(), [0]);
        assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [1, ALICES_DEVICE.0.into()]);
        assert_eq!(world.ok(PCI_HOST, Request::NextWithdrawn).as_slice(), [0, 0]);
    }
    let mut world = World::new(unit);
    let refused = world.call(ALICE, Request::Detach { device: DeviceIndex(0) });
    assert_eq!((refused.status, refused.notify), (Status::NotAttached, Channels::NONE));
}

fn the_ring_of_a_client_that_never_reads_stays_one_page(unit: &Unit) {
    let mut world = World::new(unit);
    world.attached_space(ALICE);
    for page in 0..ring::CAPACITY + 10 {
        world.bench.dma_write(ALICES_DEVICE, page << 12, &[0; 4]).expect_err("not mapped");
    }
    world.work();
    assert_eq!(world.alices_ring.header().written, ring::CAPACITY + 10);
}

over_every_unit!(
    a_device_reaches_what_is_mapped_while_it_is_mapped,
    blocks_are_used_and_taken_out_again,
    what_a_device_found_absent_is_there_once_it_is_mapped,
    the_owner_alone_hears_of_a_fault_with_reason_address_and_access,
    every_kind_tells_the_rule_that_was_broken,
    faults_alike_become_one_record_with_a_count,
    a_step_is_bounded_and_says_that_there_is_more,
    lost_faults_are_told_to_every_client_and_translation_goes_on,
    a_device_that_is_not_attached_reaches_nothing,
    one_client_reaches_nothing_of_the_other,
    replace_moves_a_device_at_once,
    reset_gives_everything_back,
    an_unmap_that_the_hardware_does_not_confirm_is_not_reported_as_done,
    tables_that_the_hardware_may_still_walk_are_not_released,
    bus_mastering_goes_even_when_the_hardware_does_not_confirm_a_detach,
    the_ring_of_a_client_that_never_reads_stays_one_page,
);
