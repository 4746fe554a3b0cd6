//! COPY: contiguous parts of what is mapped, with rights that only shrink.

use iommu_protocol::{DeviceIndex, MAX_COPIED, MapFlags, RegionSlot, Request, SpaceId, Status};

use crate::{
    ALL, ANYWHERE, DEVICE, PAGE, SLOT0,
    bench::{
        ALICE, ALICES_CONSTANTS, ALICES_MEMORY, READ, READ_WRITE, Unit, World, map, map_with,
        over_every_unit, unmap,
    },
    reaches, variants,
};

const AT: u64 = 0x100_0000;
const TO: u64 = 0x300_0000;

fn copy(source: SpaceId, target: SpaceId, flags: MapFlags, [iova, first, length]: [u64; 3]) -> Request {
    Request::Copy { target, source, flags, iova, first, length }
}

fn copy_area(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        world.ok(ALICE, map(space, AT, 2 * PAGE, PAGE));
        // In the same space, to any place and to a fixed one; then to 0 of another.
        let anywhere = world.ok(ALICE, copy(space, space, ANYWHERE, [0, AT, PAGE])).get(0);
        assert!(anywhere != 0 && anywhere != AT, "{variant}");
        world.ok(ALICE, copy(space, space, READ_WRITE, [TO, AT, PAGE]));
        let other = world.space(ALICE);
        world.ok(ALICE, copy(space, other, READ_WRITE, [0, AT, PAGE]));
        let found = world.mappings(ALICE, other);
        assert_eq!((found.len(), found[0].first, found[0].offset), (1, 0, 2 * PAGE), "{variant}");
        // The source may go; the copies stay.
        world.ok(ALICE, unmap(space, AT, PAGE));
        for device in [DEVICE, DeviceIndex(1)] {
            if world.ok(ALICE, Request::DeviceInfo { device }).get(1) == 1 {
                world.ok(ALICE, Request::Detach { device });
            }
        }
        for (space, iova) in [(space, anywhere), (space, TO), (other, 0)] {
            world.ok(ALICE, Request::Attach { space, device: DEVICE });
            assert_eq!(reaches(&world, iova).1, Some(ALICES_MEMORY + 2 * PAGE), "{variant}");
            world.ok(ALICE, Request::Detach { device: DEVICE });
        }
        assert_eq!(world.finish(ALICE, ALL(space)), 2 * PAGE, "{variant}");
        assert_eq!(world.finish(ALICE, ALL(other)), PAGE, "{variant}");
    }
}

/// Copies of one page and of several, from before the source to behind it: each is what the source is there, or refused.
fn copy_sweep(unit: &Unit) {
    let mut world = World::new(unit);
    let source = world.space(ALICE);
    let target = world.attached_space(ALICE);
    // Three mappings side by side, of 1, 4 and 3 pages, from different places.
    for (page, pages, offset) in [(0, 1, 50), (1, 4, 7), (5, 3, 0)] {
        world.ok(ALICE, map(source, AT + page * PAGE, offset * PAGE, pages * PAGE));
    }
    let leads_to = |page: u64| match page {
        0 => 50,
        1..5 => 7 + page - 1,
        _ => page - 5,
    };
    for pages in 1..=9 {
        for first in -2..10_i64 {
            let iova = AT.wrapping_add_signed(first * PAGE as i64);
            let request = copy(source, target, READ_WRITE, [TO, iova, pages * PAGE]);
            let covered = first >= 0 && first as u64 + pages <= 8;
            let expected = if covered { Status::Ok } else { Status::NotMapped };
            assert_eq!(world.status(ALICE, request), expected, "{pages} from {first}");
            for page in 0..pages {
                let at = covered.then(|| ALICES_MEMORY + leads_to(first as u64 + page) * PAGE);
                assert_eq!(reaches(&world, TO + page * PAGE), (at, at), "{pages} from {first}");
            }
            if covered {
                assert_eq!(world.finish(ALICE, unmap(target, TO, pages * PAGE)), pages * PAGE);
            }
            assert_eq!(world.mappings(ALICE, target), []);
            for odd in [1, 511, 2048] {
                let misaligned = copy(source, target, READ_WRITE, [TO, iova + odd, pages * PAGE]);
                assert_eq!(world.status(ALICE, misaligned), Status::Misaligned);
            }
        }
    }
    assert_eq!(world.mappings(ALICE, source).len(), 3);
}

/// Every part of eight pages, copied; then source and copy go in either order, and the other one stays.
fn all_aligns_copy(unit: &Unit) {
    let mut world = World::new(unit);
    let source = world.attached_space(ALICE);
    let target = world.space(ALICE);
    for (start, end) in (0..8).flat_map(|start| (start + 1..=8).map(move |end| (start, end))) {
        for source_first in [false, true] {
            world.ok(ALICE, map(source, AT, 0, 8 * PAGE));
            let (first, length) = (AT + start * PAGE, (end - start) * PAGE);
            world.ok(ALICE, copy(source, target, READ_WRITE, [TO, first, length]));
            world.ok(ALICE, Request::Replace { space: target, device: DEVICE });
            if source_first {
                world.ok(ALICE, unmap(source, AT, 8 * PAGE));
            }
            let at = ALICES_MEMORY + start * PAGE;
            assert_eq!(reaches(&world, TO), (Some(at), Some(at)), "{start} {end}");
            let last = ALICES_MEMORY + end * PAGE - 1;
            assert_eq!(reaches(&world, TO + length - 1).1, Some(last), "{start} {end}");
            assert_eq!(reaches(&world, TO + length), (None, None), "{start} {end}");
            world.ok(ALICE, unmap(target, TO, length));
            assert_eq!(reaches(&world, TO), (None, None), "{start} {end}");
            world.ok(ALICE, Request::Replace { space: source, device: DEVICE });
            let stays = (!source_first).then_some(ALICES_MEMORY);
            assert_eq!(reaches(&world, AT), (stays, stays), "{start} {end}");
            if !source_first {
                world.ok(ALICE, unmap(source, AT, 8 * PAGE));
            }
        }
    }
    assert_eq!(world.charged(ALICE).0, 0);
}

/// Not so in Linux: what is read-only by its mapping or its grant is not copied writable, however often it is copied.
fn copy_rights_only_shrink(unit: &Unit) {
    let mut world = World::new(unit);
    let (first, second) = (world.space(ALICE), world.attached_space(ALICE));
    world.ok(ALICE, map(first, AT, 0, PAGE));
    world.ok(ALICE, map_with(first, SLOT0, READ, [AT + PAGE, PAGE, PAGE]));
    world.ok(ALICE, map_with(first, RegionSlot(1), READ, [AT + 2 * PAGE, 0, PAGE]));
    let write_only = MapFlags { read: false, ..READ_WRITE };
    for (from, pages, flags, status) in [
        (0, 1, READ_WRITE, Status::Ok),
        (1, 1, READ_WRITE, Status::NotPermitted),
        (1, 1, write_only, Status::NotPermitted),
        (2, 1, READ_WRITE, Status::NotPermitted),
        // Of several, the first that may not be: nothing of them is there.
        (0, 2, READ_WRITE, Status::NotPermitted),
        (0, 3, write_only, Status::NotPermitted),
        (0, 3, READ, Status::Ok),
        (0, 1, MapFlags { fixed: true, ..MapFlags::default() }, Status::NoRights),
    ] {
        let request = copy(first, second, flags, [TO, AT + from * PAGE, pages * PAGE]);
        assert_eq!(world.status(ALICE, request), status, "{from} {flags:?}");
        let there = if status == Status::Ok { pages * PAGE } else { 0 };
        assert_eq!(world.finish(ALICE, ALL(second)), there, "{from} {flags:?}");
    }
    // A copy with fewer rights is the source of the next.
    world.ok(ALICE, copy(first, second, READ, [TO, AT, 3 * PAGE]));
    for page in 0..3 {
        let at = [ALICES_MEMORY, ALICES_MEMORY + PAGE, ALICES_CONSTANTS][page as usize];
        assert_eq!(reaches(&world, TO + page * PAGE), (Some(at), None));
        let back = copy(second, first, READ_WRITE, [TO, TO + page * PAGE, PAGE]);
        assert_eq!(world.status(ALICE, back), Status::NotPermitted, "page {page}");
    }
}

fn copy_bounds(unit: &Unit) {
    let mut world = World::new(unit);
    let (source, target) = (world.space(ALICE), world.space(ALICE));
    let pages = u64::from(MAX_COPIED) + 1;
    for page in 0..pages {
        world.ok(ALICE, map(source, AT + page * PAGE, page * PAGE, PAGE));
    }
    let aperture = world.ok(ALICE, Request::SpaceInfo { space: target }).get(1);
    world.ok(ALICE, map(target, 0x800_0000, 0, PAGE));
    let before = world.charged(ALICE);
    for (place, status) in [
        ([TO, AT, 0], Status::ZeroLength),
        ([TO, AT, pages * PAGE], Status::TooMany),
        ([TO, !0 - (PAGE - 1), 2 * PAGE], Status::Overflow),
        ([!0 - (PAGE - 1), AT, 2 * PAGE], Status::Overflow),
        ([!0 - (PAGE - 1), AT, PAGE], Status::Reserved),
        ([aperture + 1 - PAGE, AT, 2 * PAGE], Status::Reserved),
        ([0x800_0000, AT, PAGE], Status::Overlap),
        ([0x800_0000 - PAGE, AT, 3 * PAGE], Status::Overlap),
        ([TO, AT - PAGE, PAGE], Status::NotMapped),
        ([TO, AT + (pages - 1) * PAGE, 2 * PAGE], Status::NotMapped),
    ] {
        let request = copy(source, target, READ_WRITE, place);
        assert_eq!(world.status(ALICE, request), status, "{place:x?}");
    }
    assert_eq!(world.charged(ALICE), before);
    world.ok(ALICE, copy(source, target, READ_WRITE, [aperture + 1 - PAGE, AT, PAGE]));
    world.ok(ALICE, copy(source, target, READ_WRITE, [TO, AT, (pages - 1) * PAGE]));
    assert_eq!(world.mappings(ALICE, target).len() as u64, 1 + 1 + pages - 1);
}

over_every_unit!(copy_area, copy_sweep, all_aligns_copy, copy_rights_only_shrink, copy_bounds,);
