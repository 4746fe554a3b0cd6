//! Where a space may map.

use iommu_protocol::{AllowStep, DeviceIndex, MAX_ALLOWED, Request, SpaceId, Status};
use iommu_server::policy::ReservedEntry;

use crate::{
    ANYWHERE, DEVICE, PAGE, SECOND_DEVICE, SLOT0,
    bench::{ALICE, World, map, map_with, unmap},
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
fn reserving(first: u64, last: u64) -> World {
    World::changed(|p| {
        p.device(0, SECOND_DEVICE.0);
        p.reserved.push(ReservedEntry { first, last, device: 0, reserved: [0; 7] });
    })
}

fn place(world: &mut World, space: SpaceId, pages: u64) -> Result<u64, Status> {
    let answer = world.call(ALICE, map_with(space, SLOT0, ANYWHERE, [0, 0, pages * PAGE]));
    if answer.status == Status::Ok { Ok(answer.words.get(0)) } else { Err(answer.status) }
}

/// The second half of the selftest's case: reserved and allowed ranges.
#[test]
fn area_auto_iova() {
    let mut world = reserving(4 * PAGE, 104 * PAGE - 1);
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
#[test]
fn area_allowed() {
    let (first, last) = (0x100_0000, 0x100_0000 + 10 * PAGE - 1);
    let attach = |space, device| Request::Attach { space, device: DeviceIndex(device) };
    // Reserved, then allowed.
    let mut world = reserving(first, last);
    let space = world.attached_space(ALICE);
    for (from, to) in [(first, last), (first - 1, first), (last, last + 1), (0, u64::MAX), (last, last)] {
        assert_eq!(allow(&mut world, space, &[(from, to)]), Status::RangeInUse, "{from:#x} {to:#x}");
    }
    assert_eq!(allow(&mut world, space, &[(0, first - 1), (last + 1, u64::MAX)]), Status::Ok);
    // Allowed, then reserved: by the device that comes.
    let space = world.space(ALICE);
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

#[test]
fn ioas_allow_iovas_replaces_the_list_as_a_whole() {
    let mut world = World::new();
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

#[test]
fn iova_ranges() {
    let range = |space, index| Request::IovaRanges { space, index };
    let mut world = reserving(PAGE, 2 * PAGE - 1);
    let space = world.space(ALICE);
    let aperture = world.ok(ALICE, Request::SpaceInfo { space }).get(1);
    assert_eq!(world.ok(ALICE, range(space, 0)).as_slice(), [0, aperture, 1, PAGE]);
    assert_eq!(world.status(ALICE, range(space, 1)), Status::NoSuchEntry);
    world.ok(ALICE, Request::Attach { space, device: DEVICE });
    assert_eq!(world.ok(ALICE, range(space, 0)).as_slice(), [0, PAGE - 1, 2, PAGE]);
    assert_eq!(world.ok(ALICE, range(space, 1)).as_slice(), [2 * PAGE, aperture, 2, PAGE]);
    for index in [2, 3, u16::MAX] {
        assert_eq!(world.status(ALICE, range(space, index)), Status::NoSuchEntry);
    }
    // A device that leaves takes its ranges along.
    world.ok(ALICE, Request::Detach { device: DEVICE });
    assert_eq!(world.ok(ALICE, range(space, 0)).as_slice(), [0, aperture, 1, PAGE]);
    // Nothing is left where all is reserved.
    let mut world = reserving(0, u64::MAX);
    let space = world.attached_space(ALICE);
    assert_eq!(world.status(ALICE, range(space, 0)), Status::NoSuchEntry);
    assert_eq!(world.status(ALICE, map(space, 0x1000, 0, PAGE)), Status::Reserved);
    assert_eq!(place(&mut world, space, 1), Err(Status::NoSpace));
}
