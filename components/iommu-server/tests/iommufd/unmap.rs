//! UNMAP: whole mappings, all of a range or nothing.

use iommu_protocol::{Request, Status};

use crate::{
    ALL, PAGE,
    bench::{ALICE, Unit, World, map, over_every_unit, unmap},
    reaches, variants,
};

const AT: u64 = 0x100_0000;

/// Four mappings of eight pages, at every sixteenth.
fn four(world: &mut World, space: iommu_protocol::SpaceId) {
    for n in 0..4 {
        world.ok(ALICE, map(space, AT + n * 16 * PAGE, n * 8 * PAGE, 8 * PAGE));
    }
}

fn unmap_fully_contained_areas(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        four(&mut world, space);
        let range =
            |first: u64, pages: u64| unmap(space, AT.wrapping_add(first.wrapping_mul(PAGE)), pages * PAGE);
        let back = 0_u64.wrapping_sub(4);
        for request in [
            range(4, 4),
            range(back, 8),
            range(52, 4),
            range(48, 4),
            // Through the first of them, through the last, and through neither.
            range(1, 55),
            range(back, 4 + 55),
        ] {
            assert_eq!(world.status(ALICE, request), Status::WouldSplit, "{variant}: {request:?}");
        }
        assert_eq!(world.mappings(ALICE, space).len(), 4, "{variant}");
        assert_eq!(world.finish(ALICE, range(back, 4 + 56)), 32 * PAGE, "{variant}");
        assert_eq!(world.mappings(ALICE, space), [], "{variant}");
    }
}

/// Not so in Linux: a range that cuts through its last mapping takes out none of those before.
fn unmap_of_many_with_a_partial_tail_is_atomic(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        four(&mut world, space);
        let before = (world.mappings(ALICE, space), world.charged(ALICE));
        let commands = world.bench.observed().commands_consumed;
        for pages in [16 * 3 + 1, 16 * 3 + 7, 16 + 1, 7] {
            let request = unmap(space, AT, pages * PAGE);
            assert_eq!(world.status(ALICE, request), Status::WouldSplit, "{variant}: {pages}");
        }
        assert_eq!((world.mappings(ALICE, space), world.charged(ALICE)), before, "{variant}");
        assert_eq!(world.bench.observed().commands_consumed, commands, "{variant}: nothing was invalidated");
        if world.ok(ALICE, Request::DeviceInfo { device: crate::DEVICE }).get(1) == 1 {
            for n in 0..4 {
                assert!(reaches(&world, AT + n * 16 * PAGE).1.is_some(), "{variant}");
            }
        }
    }
}

fn unmap_bounds(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        let status =
            |world: &mut World, first, last| world.status(ALICE, Request::Unmap { space, first, last });
        assert_eq!(status(&mut world, 0, u64::MAX), Status::Ok, "{variant}: all of nothing");
        for (first, last, expected) in [
            (0, u64::MAX - 1, Status::NotMapped),
            (1, u64::MAX, Status::NotMapped),
            (u64::MAX, u64::MAX, Status::NotMapped),
            (AT, AT - 1, Status::ZeroLength),
            (AT, AT - 2, Status::Overflow),
            (u64::MAX, 0, Status::Overflow),
        ] {
            assert_eq!(status(&mut world, first, last), expected, "{variant}: {first:#x} {last:#x}");
        }
        four(&mut world, space);
        // Ranges need no alignment of their own as long as they hold whole mappings.
        assert_eq!(status(&mut world, AT - 1, AT + 8 * PAGE), Status::Ok, "{variant}");
        assert_eq!(world.finish(ALICE, ALL(space)), 24 * PAGE, "{variant}");
    }
}

over_every_unit!(unmap_fully_contained_areas, unmap_of_many_with_a_partial_tail_is_atomic, unmap_bounds,);
