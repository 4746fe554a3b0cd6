//! COPY, ranges, capabilities and counters by message.

mod bench;

use bench::{
    ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, MEMORY_BYTES, PolicyParts, READ, READ_WRITE, SUPERVISOR, World,
    map, map_with, unmap,
};
use iommu_model::smmu_v3::Config;
use iommu_protocol::{
    AllowStep, ClientIndex, DeviceIndex, MAX_ALLOWED, MAX_COPIED, MapFlags, RegionSlot, Request, SpaceId,
    Status, stats,
};
use iommu_server::policy::{FLAG_STATISTICS, ReservedEntry};

const DEVICE: DeviceIndex = DeviceIndex(0);

fn copy(spaces: (SpaceId, SpaceId), flags: MapFlags, iova: u64, first: u64, length: u64) -> Request {
    Request::Copy { target: spaces.1, source: spaces.0, flags, iova, first, length }
}

#[test]
fn a_copy_leads_to_the_same_memory_with_fewer_rights() {
    let mut world = World::new();
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

#[test]
fn a_long_copy_is_continued() {
    let mut world = World::new();
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

#[test]
fn what_a_device_reserves_is_refused_by_message() {
    let mut parts = PolicyParts::default();
    let (first, last) = (0x800_0000, 0x80f_ffff);
    parts.reserved.push(ReservedEntry { first, last, device: 0, reserved: [0; 7] });
    let mut world = World::with_policy(&parts.bytes());
    let space = world.space(ALICE);
    world.ok(ALICE, map(space, first, 0, 0x1000));
    let attach = Request::Attach { space, device: DEVICE };
    assert_eq!(world.status(ALICE, attach), Status::RangeInUse);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1), 0, "nothing changed");
    world.ok(ALICE, unmap(space, first, 0x1000));
    world.ok(ALICE, attach);
    assert_eq!(world.status(ALICE, map(space, first, 0, 0x1000)), Status::Reserved);
    let range = |index| Request::IovaRanges { space, index };
    assert_eq!(world.ok(ALICE, range(0)).as_slice(), [0, first - 1, 2, 0x1000]);
    let aperture = world.ok(ALICE, Request::SpaceInfo { space }).get(1);
    assert_eq!(world.ok(ALICE, range(1)).as_slice(), [last + 1, aperture, 2, 0x1000]);
    assert_eq!(world.status(ALICE, range(2)), Status::NoSuchEntry);
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

#[test]
fn capabilities_come_raw_and_decoded() {
    for (config, format, snoops) in [
        (Config::default(), 2, true),
        (Config { stage2: false, ..Config::default() }, 1, true),
        (Config { coherent: false, ..Config::default() }, 2, false),
    ] {
        let stage1 = config.stage1;
        let mut world = World::with(config);
        let info = |index| Request::HwInfo { device: DEVICE, index };
        let decoded = world.ok(ALICE, info(0));
        let shape = decoded.get(0);
        assert_eq!((shape & 0xff, shape >> 24 & 1 == 0, shape >> 32), (format, snoops, 1));
        let space = world.ok(ALICE, Request::IoasAlloc);
        assert_eq!(decoded.as_slice()[1..], [space.get(2), 2, 0]);
        assert_eq!((1_u64 << (shape >> 8 & 0xff)) - 1, space.get(1));
        let raw = world.ok(ALICE, info(1));
        assert_eq!((raw.get(0) & 1 != 0, raw.get(0) >> 1 & 1 != 0), (format == 2, stage1), "IDR0.S2P, S1P");
        assert_eq!(raw.as_slice().len(), 4);
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

#[test]
fn memory_is_counted_of_each_channel() {
    let mut world = World::new();
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

#[test]
fn requests_are_counted_and_timed_where_the_policy_says_so() {
    let mut parts = PolicyParts::default();
    parts.clients[0].flags = FLAG_STATISTICS;
    let mut world = World::with_policy(&parts.bytes());
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
    assert_eq!(mapped[3], before[3], "a MAP needs no command");
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

#[test]
fn global_errors_are_counted_and_translation_goes_on() {
    let mut world = World::new();
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, 0x1000));
    assert_eq!(world.ok(BOB, group(stats::ERRORS)).as_slice(), [0; 4]);
    // GERROR: event queue write aborted, MSI write of the event queue aborted (IHI 0070, 6.3.19).
    world.bench.raise_errors(1 << 2 | 1 << 5);
    world.work();
    assert_eq!(world.bench.active_errors(), 0, "acknowledged");
    let errors = world.ok(BOB, group(stats::ERRORS)).as_slice().to_vec();
    assert_eq!((errors[0], errors[1], errors[2]), (0, 1, 0));
    assert!(errors[3] >= 1);
    assert_eq!(world.ok(BOB, group(stats::FAULTS)).get(3), 1, "a fault record was lost");
    assert!(world.log.contains("units reported 2 errors"), "{}", world.log);
    world.bench.dma_write(ALICES_DEVICE, 0x10_0000, b"x").expect("goes on");
}
