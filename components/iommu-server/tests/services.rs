//! COPY, ranges, capabilities and counters by message. Over every unit.

mod bench;

use bench::{
    ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, Facts, MEMORY_BYTES, READ, READ_WRITE, SUPERVISOR, Unit, World,
    map, map_with, over_every_unit, unmap,
};
use iommu_protocol::{
    AllowStep, ClientIndex, DeviceIndex, MAX_ALLOWED, MAX_COPIED, MapFlags, RegionSlot, Request, SpaceId,
    Status, stats,
};
use iommu_server::policy::{FLAG_STATISTICS, ReservedEntry};

const DEVICE: DeviceIndex = DeviceIndex(0);

fn copy(spaces: (SpaceId, SpaceId), flags: MapFlags, iova: u64, first: u64, length: u64) -> Request {
    Request::Copy { target: spaces.1, source: spaces.0, flags, iova, first, length }
}

fn a_copy_leads_to_the_same_memory_with_fewer_rights(unit: &Unit) {
    let mut world = World::new(unit);
    let source = world.space(ALICE);
    let target = world.attached_space(ALICE);
    world.ok(ALICE, map(source, 0x10_0000, 0x2000, 0x1000));
    world.ok(ALICE, map(source, 0x10_1000, 0x8000, 0x1000));
    let spaces = (source, target);
    let copied = world.ok(ALICE, copy(spaces, READ, 0x70_0000, 0x10_0000, 0x2000));
    assert_eq!(copied.as_slice(), [0x70_0000, 0x2000]);
    world.poke(ALICES_MEMORY + 0x8000, b"second");
    let mut read = [0; 6];
    world.bench.dma_read(ALICES_DEVICE, 0x70_1000, &mut read).expect("copied");
    assert_eq!(&read, b"second");
    world.bench.dma_write(ALICES_DEVICE, 0x70_1000, b"x").expect_err("read-only");
    let back = copy((target, source), READ_WRITE, 0x90_0000, 0x70_0000, 0x1000);
    assert_eq!(world.status(ALICE, back), Status::NotPermitted);
    assert_eq!(world.ok(ALICE, unmap(target, 0x70_0000, 0x2000)).get(1), 0x2000);
    world.bench.dma_read(ALICES_DEVICE, 0x70_1000, &mut read).expect_err("taken out");
    for (wrong, status) in [
        (copy((source, SpaceId(9)), READ, 0x70_0000, 0x10_0000, 0x1000), Status::NoSuchSpace),
        (copy(spaces, READ, 0x70_0000, 0x10_0000, 0x3000), Status::NotMapped),
        (copy(spaces, READ, 0x70_0000, 0x10_0000, 0), Status::ZeroLength),
        (copy(spaces, READ, 0x70_0000, 0x10_0001, 0x1000), Status::Misaligned),
    ] {
        assert_eq!(world.status(ALICE, wrong), status, "{wrong:?}");
    }
    assert_eq!(MAX_COPIED, iommu_core::MAX_COPIED);
}

fn a_long_copy_is_continued(unit: &Unit) {
    let mut world = World::new(unit);
    let source = world.space(ALICE);
    let target = world.attached_space(ALICE);
    let (iova, length) = (0x4000_1000, MEMORY_BYTES - 0x1000);
    let mut request = map(source, iova, 0, length);
    while world.status(ALICE, request) == Status::Again {
        request = map_with(source, RegionSlot(0), MapFlags { resume: true, ..READ_WRITE }, [iova, 0, length]);
    }
    let at = 0x6000_1000;
    let first = world.call(ALICE, copy((source, target), READ_WRITE, at, iova, length));
    assert_eq!((first.status, first.words.get(0)), (Status::Again, at));
    let resume = MapFlags { resume: true, ..READ_WRITE };
    while world.status(ALICE, copy((source, target), resume, at, iova, length)) == Status::Again {}
    world.bench.dma_write(ALICES_DEVICE, at + length - 4, b"last").expect("to its end");
}

fn what_a_device_reserves_is_refused_by_message(unit: &Unit) {
    let (first, last) = (0x800_0000, 0x80f_ffff);
    let mut world = World::changed(unit, |p| {
        p.reserved.push(ReservedEntry { first, last, device: 0, reserved: [0; 7] });
    });
    let space = world.space(ALICE);
    world.ok(ALICE, map(space, first, 0, 0x1000));
    let attach = Request::Attach { space, device: DEVICE };
    assert_eq!(world.status(ALICE, attach), Status::RangeInUse);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1), 0, "nothing changed");
    world.ok(ALICE, unmap(space, first, 0x1000));
    world.ok(ALICE, attach);
    assert_eq!(world.status(ALICE, map(space, first, 0, 0x1000)), Status::Reserved);
    let range = |index| Request::IovaRanges { space, index };
    let usable = world.facts.usable(&[(first, last)]);
    assert_eq!(usable[0], (0, first - 1));
    for (index, &(first, last)) in usable.iter().enumerate() {
        let told = world.ok(ALICE, range(index as u16));
        assert_eq!(told.as_slice(), [first, last, usable.len() as u64, 0x1000]);
    }
    assert_eq!(world.status(ALICE, range(usable.len() as u16)), Status::NoSuchEntry);
    // Bob's device is another.
    let bobs = world.attached_space(BOB);
    world.ok(BOB, map(bobs, first, 0, 0x1000));
    let allow = |step, first, last| Request::AllowIovas { space, step, first, last };
    world.ok(ALICE, allow(AllowStep::Add, last, last + 1));
    assert_eq!(world.status(ALICE, allow(AllowStep::Commit, 0, 0)), Status::RangeInUse);
    world.ok(ALICE, allow(AllowStep::Begin, 0, 0));
    for n in 0..MAX_ALLOWED as u64 {
        world.ok(ALICE, allow(AllowStep::Add, (n + 1) << 32, (n + 1) << 32 | 0xfff));
    }
    assert_eq!(world.status(ALICE, allow(AllowStep::Add, 0, 0)), Status::TooMany);
    assert_eq!(world.status(ALICE, allow(AllowStep::Add, 1 << 32, 1 << 32)), Status::Overlap);
    world.ok(ALICE, allow(AllowStep::Commit, 0, 0));
    let anywhere = MapFlags { fixed: false, ..READ_WRITE };
    let mut place = || world.ok(ALICE, map_with(space, RegionSlot(0), anywhere, [0, 0, 0x1000])).get(0);
    assert_eq!([place(), place()], [1 << 32, 2 << 32]);
    assert_eq!(MAX_ALLOWED, iommu_core::MAX_ALLOWED);
}

fn capabilities_come_raw_and_decoded(unit: &Unit) {
    for kind in unit.kinds() {
        let mut world = World::new(&kind);
        let Facts {
            kind: number, format, input_bits, output_bits, page_sizes, needs_clean, registers, ..
        } = world.facts.clone();
        let info = |index| Request::HwInfo { device: DEVICE, index };
        let shape = format
            | u64::from(input_bits) << 8
            | u64::from(output_bits) << 16
            | u64::from(needs_clean) << 24
            | u64::from(number) << 32;
        assert_eq!(world.ok(ALICE, info(0)).as_slice(), [shape, page_sizes, 2, 0], "{}", kind.name);
        assert_eq!(world.ok(ALICE, info(1)).as_slice(), registers, "{}", kind.name);
        let space = world.ok(ALICE, Request::IoasAlloc);
        assert_eq!(space.as_slice(), [1, world.facts.aperture(), page_sizes], "{}", kind.name);
        let anew = Request::SpaceInfo { space: SpaceId(1) };
        assert_eq!(world.ok(ALICE, anew).as_slice(), space.as_slice(), "{}", kind.name);
        assert_eq!(world.status(ALICE, info(2)), Status::NoSuchEntry);
        assert_eq!(world.status(ALICE, info(u16::MAX)), Status::NoSuchEntry);
        assert_eq!(
            world.status(ALICE, Request::HwInfo { device: DeviceIndex(1), index: 0 }),
            Status::NoSuchDevice
        );
    }
}

fn group(group: u16) -> Request {
    Request::Stats { group, client: None }
}

fn memory_is_counted_of_each_channel(unit: &Unit) {
    let mut world = World::new(unit);
    assert_eq!(world.ok(ALICE, group(stats::MEMORY)).as_slice(), [0, 1000, 0, 64]);
    let space = world.space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    let used = world.ok(ALICE, group(stats::MEMORY));
    assert_eq!((used.get(0), used.get(1), used.get(3)), (1, 1000, 64));
    assert!(used.get(2) >= 3);
    assert_eq!(world.ok(BOB, group(stats::MEMORY)).as_slice(), [0, 1000, 0, 64]);
    let alices = Request::Stats { group: stats::MEMORY, client: Some(ClientIndex(1)) };
    assert_eq!(world.ok(SUPERVISOR, alices), used);
    assert_eq!(world.status(ALICE, alices), Status::NotAllowed);
    assert_eq!(world.status(ALICE, group(stats::GROUPS)), Status::NoSuchEntry);
    for known in 0..stats::GROUPS {
        assert_eq!(world.ok(ALICE, group(known)).as_slice().len(), 4);
    }
}

fn requests_are_counted_and_timed_where_the_policy_says_so(unit: &Unit) {
    let mut world = World::changed(unit, |p| p.clients[0].flags = FLAG_STATISTICS);
    let space = world.attached_space(ALICE);
    let before = world.ok(ALICE, group(stats::REQUESTS)).as_slice().to_vec();
    assert_eq!(before[..3], [2, 0, 0]);
    let times = world.ok(ALICE, group(stats::TIMES)).as_slice().to_vec();
    assert_eq!(times[..2], [0, 0], "no MAP and no UNMAP");
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    assert_eq!(world.status(ALICE, map(space, 0x10_0000, 0, 0x1000)), Status::Overlap);
    assert_eq!(world.status(ALICE, map(space, 0x4000_0000, 0x1000, 0x3f_f000)), Status::Again);
    let mapped = world.ok(ALICE, group(stats::REQUESTS)).as_slice().to_vec();
    // Asking twice counts too.
    assert_eq!((mapped[0], mapped[1], mapped[2]), (2 + 2 + 3, 1, 1));
    if world.facts.caches_absence {
        assert!(mapped[3] >= before[3] + 4, "an invalidation and a wait for each MAP that came so far");
    } else {
        assert_eq!(mapped[3], before[3], "a MAP needs no command");
    }
    world.ok(ALICE, unmap(space, 0x10_0000, 0x1000));
    let unmapped = world.ok(ALICE, group(stats::REQUESTS));
    assert!(unmapped.get(3) >= mapped[3] + 2, "an invalidation and a wait");
    let times = world.ok(ALICE, group(stats::TIMES));
    assert!(times.as_slice()[..3].iter().all(|worst| *worst != 0));
    assert!(times.get(3) >= times.as_slice()[..3].iter().sum::<u64>());
    // Bob's policy says nothing of it.
    world.space(BOB);
    assert_eq!(world.ok(BOB, group(stats::REQUESTS)).as_slice(), [0; 4]);
    assert_eq!(world.ok(BOB, group(stats::TIMES)).as_slice(), [0; 4]);
}

over_every_unit!(
    a_copy_leads_to_the_same_memory_with_fewer_rights,
    a_long_copy_is_continued,
    what_a_device_reserves_is_refused_by_message,
    capabilities_come_raw_and_decoded,
    memory_is_counted_of_each_channel,
    requests_are_counted_and_timed_where_the_policy_says_so,
);
