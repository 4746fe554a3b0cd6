//! Where a space may map.

use iommu_protocol::{AllowStep, DeviceIndex, MAX_ALLOWED, Request, SpaceId, Status};
use iommu_server::policy::ReservedEntry;

use crate::{
    ANYWHERE, DEVICE, PAGE, SECOND_DEVICE, SLOT0,
    bench::{ALICE, Unit, World, map, map_with, over_every_unit, unmap},
};

fn allow(world: &mut World, space: SpaceId, ranges: &[(u64, u64)]) -> Status {
    let step = |step, first, last| Request::AllowIovas { space, step, first, last };
    world.ok(ALICE, step(AllowStep::Begin, 0, 0));
    for &(first, last) in ranges {
        match world.status(ALICE, step(AllowStep::Add, first, last)) {
            Status::Ok => {}
            status => return status,
        }
    }
    world.status(ALICE, step(AllowStep::Commit, 0, 0))
}

/// A world in which Alice's first device reserves `first..=last`, and her second nothing.
fn reserving(unit: &Unit, first: u64, last: u64) -> World {
    World::changed(unit, |p| {
        p.device(0, SECOND_DEVICE.0);
        p.reserved.push(ReservedEntry { first, last, device: 0, reserved: [0; 7] });
    })
}

fn place(world: &mut World, space: SpaceId, pages: u64) -> Result<u64, Status> {
    let answer = world.call(ALICE, map_with(space, SLOT0, ANYWHERE, [0, 0, pages * PAGE]));
    if answer.status == Status::Ok { Ok(answer.words.get(0)) } else { Err(answer.status) }
}

/// The second half of the selftest's case: reserved and allowed ranges.
fn area_auto_iova(unit: &Unit) {
    let mut world = reserving(unit, 4 * PAGE, 104 * PAGE - 1);
    let space = world.attached_space(ALICE);
    for pages in 1..=10 {
        let at = place(&mut world, space, pages).unwrap();
        assert!(at + pages * PAGE <= 4 * PAGE || at >= 104 * PAGE, "{pages} at {at:#x}");
    }
    world.finish(ALICE, Request::Unmap { space, first: 0, last: u64::MAX });
    assert_eq!(allow(&mut world, space, &[(PAGE, 600 * PAGE)]), Status::RangeInUse);
    assert_eq!(allow(&mut world, space, &[(200 * PAGE, 600 * PAGE - 1)]), Status::Ok);
    for pages in 1..=10 {
        let at = place(&mut world, space, pages).unwrap();
        assert!(at >= 200 * PAGE && at + pages * PAGE <= 600 * PAGE, "{pages} at {at:#x}");
    }
    assert_eq!(place(&mut world, space, 300), Err(Status::NoSpace));
    // A fixed place does not ask.
    world.ok(ALICE, map(space, 700 * PAGE, 0, PAGE));
    assert_eq!(allow(&mut world, space, &[]), Status::Ok);
    assert!(place(&mut world, space, 300).is_ok(), "an empty list allows everything");
}

/// Whichever comes first, the other is refused.
fn area_allowed(unit: &Unit) {
    let (first, last) = (0x100_0000, 0x100_0000 + 10 * PAGE - 1);
    let attach = |space, device| Request::Attach { space, device: DeviceIndex(device) };
    // Reserved, then allowed.
    let mut world = reserving(unit, first, last);
    let space = world.attached_space(ALICE);
    for (from, to) in [(first, last), (first - 1, first), (last, last + 1), (0, u64::MAX), (last, last)] {
        assert_eq!(allow(&mut world, space, &[(from, to)]), Status::RangeInUse, "{from:#x} {to:#x}");
    }
    let mut around = world.facts.usable(&[(first, last)]);
    around.last_mut().expect("something is left").1 = u64::MAX;
    assert_eq!(allow(&mut world, space, &around), Status::Ok);
    // Allowed, then reserved: by the device that comes.
    let space = world.space(ALICE);
    for &(first, last) in world.facts.reserved {
        for range in [(first, first), (last, last), (first - 1, first), (last, u64::MAX)] {
            assert_eq!(allow(&mut world, space, &[range]), Status::RangeInUse, "{range:x?}: every space's");
        }
    }
    world.ok(ALICE, Request::Detach { device: DEVICE });
    assert_eq!(allow(&mut world, space, &[(first + PAGE, first + PAGE)]), Status::Ok);
    assert_eq!(world.status(ALICE, attach(space, 0)), Status::RangeInUse);
    world.ok(ALICE, attach(space, 1));
    assert_eq!(world.status(ALICE, Request::Replace { space, device: DEVICE }), Status::NotAttached);
    assert_eq!(allow(&mut world, space, &[]), Status::Ok);
    world.ok(ALICE, attach(space, 0));
    // The same of what is mapped.
    let space = world.space(ALICE);
    world.ok(ALICE, map(space, last + 1 - PAGE, 0, PAGE));
    assert_eq!(world.status(ALICE, Request::Replace { space, device: DEVICE }), Status::RangeInUse);
    assert_eq!(world.ok(ALICE, Request::DeviceInfo { device: DEVICE }).get(1), 1, "it stays where it was");
    world.ok(ALICE, unmap(space, last + 1 - PAGE, PAGE));
    world.ok(ALICE, Request::Replace { space, device: DEVICE });
    assert_eq!(world.status(ALICE, map(space, last + 1 - PAGE, 0, PAGE)), Status::Reserved);
}

fn ioas_allow_iovas_replaces_the_list_as_a_whole(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    assert_eq!(allow(&mut world, space, &[(10 * PAGE, 20 * PAGE - 1)]), Status::Ok);
    for (ranges, status) in [
        (&[(PAGE, PAGE - 1)][..], Status::ZeroLength),
        (&[(PAGE, 0)], Status::Overflow),
        (&[(PAGE, 2 * PAGE), (2 * PAGE, 3 * PAGE)], Status::Overlap),
        (&[(0, u64::MAX), (5, 5)], Status::Overlap),
    ] {
        assert_eq!(allow(&mut world, space, ranges), status, "{ranges:x?}");
        let at = place(&mut world, space, 1).unwrap();
        assert!((10 * PAGE..20 * PAGE).contains(&at), "the list in force is the old one: {at:#x}");
    }
    let many: Vec<_> =
        (0..=MAX_ALLOWED as u64).map(|n| ((100 + 2 * n) * PAGE, (101 + 2 * n) * PAGE - 1)).collect();
    assert_eq!(allow(&mut world, space, &many), Status::TooMany);
    assert_eq!(allow(&mut world, space, &many[1..]), Status::Ok);
    assert_eq!(place(&mut world, space, 1), Ok(102 * PAGE));
}

fn iova_ranges(unit: &Unit) {
    let range = |space, index| Request::IovaRanges { space, index };
    let told = |world: &mut World, space, more: &[(u64, u64)]| {
        let usable = world.facts.usable(more);
        for (index, &(first, last)) in usable.iter().enumerate() {
            let words = world.ok(ALICE, range(space, index as u16));
            assert_eq!(words.as_slice(), [first, last, usable.len() as u64, PAGE]);
        }
        for index in [usable.len() as u16, usable.len() as u16 + 1, u16::MAX] {
            assert_eq!(world.status(ALICE, range(space, index)), Status::NoSuchEntry);
        }
    };
    let reserved = [(PAGE, 2 * PAGE - 1)];
    let mut world = reserving(unit, PAGE, 2 * PAGE - 1);
    let space = world.space(ALICE);
    told(&mut world, space, &[]);
    world.ok(ALICE, Request::Attach { space, device: DEVICE });
    assert_eq!(world.facts.usable(&reserved)[0], (0, PAGE - 1));
    told(&mut world, space, &reserved);
    // A device that leaves takes its ranges along.
    world.ok(ALICE, Request::Detach { device: DEVICE });
    told(&mut world, space, &[]);
    // Nothing is left where all is reserved.
    let mut world = reserving(unit, 0, u64::MAX);
    let space = world.attached_space(ALICE);
    assert_eq!(world.facts.usable(&[(0, u64::MAX)]), []);
    told(&mut world, space, &[(0, u64::MAX)]);
    assert_eq!(world.status(ALICE, map(space, 0x1000, 0, PAGE)), Status::Reserved);
    assert_eq!(place(&mut world, space, 1), Err(Status::NoSpace));
}

over_every_unit!(area_auto_iova, area_allowed, ioas_allow_iovas_replaces_the_list_as_a_whole, iova_ranges,);
