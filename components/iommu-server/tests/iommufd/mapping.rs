//! MAP: where, how long, how aligned.

use iommu_protocol::{MapFlags, Request, Status};

use crate::{
    ALL, ANYWHERE, MIB, PAGE, SLOT0,
    bench::{
        ALICE, ALICES_MEMORY, LARGE_MEMORY, MEMORY_BYTES, READ_WRITE, Unit, World, map, map_with,
        over_every_unit, unmap,
    },
    reaches, variants,
};

const AT: u64 = 0x100_0000;

fn area(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        let mut status = |request| (world.status(ALICE, request), variant.clone());
        let pages = |first, pages| (AT + first * PAGE, pages * PAGE);
        // Unmap what is not there.
        for first in 0..10 {
            let (iova, length) = pages(first, 1);
            assert_eq!(status(unmap(space, iova, length)), (Status::NotMapped, variant.clone()));
        }
        for first in 0..10 {
            let (iova, length) = pages(first, 1);
            assert_eq!(status(map(space, iova, first * PAGE, length)).0, Status::Ok);
        }
        for first in 0..10 {
            let (iova, length) = pages(first, 1);
            assert_eq!(status(unmap(space, iova, length)).0, Status::Ok);
        }
        // Two pages: no half of them goes, and nothing goes over them.
        let (iova, length) = pages(16, 2);
        assert_eq!(status(map(space, iova, 0, length)).0, Status::Ok);
        for (first, count) in [(16, 1), (17, 1)] {
            let (iova, length) = pages(first, count);
            assert_eq!(status(unmap(space, iova, length)).0, Status::WouldSplit, "{variant}");
        }
        for (first, count) in [(16, 2), (16, 1), (17, 1), (15, 2), (15, 3)] {
            let (iova, length) = pages(first, count);
            assert_eq!(status(map(space, iova, 0, length)).0, Status::Overlap, "{variant}: {first} {count}");
        }
        for (first, count) in [(15, 1), (18, 1)] {
            let (iova, length) = pages(first, count);
            assert_eq!(status(map(space, iova, 0, length)).0, Status::Ok, "{variant}: beside it");
        }
        for bytes in [4 * PAGE, 0] {
            assert_eq!(world.finish(ALICE, ALL(space)), bytes, "{variant}: twice is as well");
        }
    }
}

/// Every start and end in eight pages, and in six half blocks: the device gets at exactly these, and after the UNMAP at
/// nothing.
fn all_aligns(unit: &Unit) {
    for kind in unit.kinds() {
        let mut world = World::changed(&kind, |p| p.grant_large(0));
        let space = world.attached_space(ALICE);
        for (piece, pieces, step) in [(PAGE, 8, PAGE), (MIB, 6, MIB / 2)] {
            for (start, end) in
                (0..pieces).flat_map(|start| (start + 1..=pieces).map(move |end| (start, end)))
            {
                let length = (end - start) * piece;
                world.map_large(ALICE, space, 2, [AT + start * piece, start * piece, length]);
                for offset in (0..pieces * piece).step_by(step as usize) {
                    let inside = (start * piece..end * piece).contains(&offset);
                    let expected = inside.then_some(LARGE_MEMORY + offset);
                    for more in [0, step - 1] {
                        let expected = expected.map(|at| at + more);
                        let seen = reaches(&world, AT + offset + more);
                        assert_eq!(seen, (expected, expected), "{start} {end} {offset:#x}");
                    }
                }
                let unmapped = world.finish(ALICE, unmap(space, AT + start * piece, length));
                assert_eq!(unmapped, length);
                for offset in (0..pieces * piece).step_by(step as usize) {
                    assert_eq!(reaches(&world, AT + offset), (None, None), "{start} {end} {offset:#x}");
                }
            }
        }
        // The root, and the empty table that is kept for what comes next.
        let (areas, frames) = world.charged(ALICE);
        assert!(areas == 0 && (1..=4).contains(&frames), "{frames}");
    }
}

fn area_auto_iova(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        let largest = world.facts.page_sizes.ilog2();
        let mut place = |pages: u64| {
            let request = map_with(space, SLOT0, ANYWHERE, [0, 0, pages * PAGE]);
            let at = world.ok(ALICE, request).get(0);
            // Its own alignment, which is the largest power of two in its length, as its source is aligned better; no more than
            // a block's.
            let align = 1 << (pages * PAGE).ilog2().min(largest);
            assert!(at != 0 && at.is_multiple_of(align), "{variant}: {pages} pages at {at:#x}");
            (at, at + pages * PAGE)
        };
        let mut places: Vec<_> = (1..=10).map(&mut place).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{variant}: {places:x?}");
        for (first, end) in places {
            assert_eq!(world.finish(ALICE, unmap(space, first, end - first)), end - first);
        }
        // An IOVA that says nothing is refused, not ignored.
        let given = map_with(space, SLOT0, ANYWHERE, [0x5000, 0, PAGE]);
        assert_eq!(world.status(ALICE, given), Status::BadMessage, "{variant}");
    }
}

/// A source that is aligned badly is placed as it is aligned, and one that is aligned well so that blocks can be used.
fn all_aligns_of_the_source(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.space(ALICE);
    for (offset, length, align) in [
        (0, 2 * MIB, 2 * MIB),
        (MIB, 2 * MIB, MIB),
        (PAGE, 2 * MIB, PAGE),
        (0, 4 * MIB, 4 * MIB),
        (2 * PAGE, MIB, 2 * PAGE),
    ] {
        let anywhere = map_with(space, SLOT0, ANYWHERE, [0, offset, length]);
        let at = world.complete(ALICE, anywhere);
        assert!(at.is_multiple_of(align), "{offset:#x} {length:#x}: {at:#x}");
        world.finish(ALICE, ALL(space));
    }
}

fn ioas_iova_alloc(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        for length in 1..2 * PAGE {
            if length % PAGE.isqrt() != 0 && length > 8 {
                continue;
            }
            let request = map_with(space, SLOT0, ANYWHERE, [0, 0, length]);
            // The granule is the space's from the start, device or not.
            let whole = length.is_multiple_of(PAGE);
            let expected = if whole { Status::Ok } else { Status::Misaligned };
            assert_eq!(world.status(ALICE, request), expected, "{variant}: {length:#x}");
        }
        assert_eq!(world.finish(ALICE, ALL(space)), PAGE, "{variant}");
    }
}

/// What passes the end of what can be named, of the region, or of the aperture, each by its own name.
fn map_bounds(unit: &Unit) {
    for (variant, mut world, space) in variants(unit) {
        let aperture = world.ok(ALICE, Request::SpaceInfo { space }).get(1);
        assert_eq!(aperture, world.facts.aperture(), "{variant}");
        let none = MapFlags { fixed: true, ..MapFlags::default() };
        let last_page = !0_u64 - (PAGE - 1);
        for (request, status) in [
            (map(space, AT, 0, 0), Status::ZeroLength),
            (map(space, AT, 0, u64::MAX), Status::OutOfRegion),
            (map(space, AT, last_page, PAGE), Status::OutOfRegion),
            (map(space, AT, last_page, 2 * PAGE), Status::OutOfRegion),
            (map(space, AT, MEMORY_BYTES, 0), Status::ZeroLength),
            (map(space, last_page, 0, 2 * PAGE), Status::Overflow),
            (map(space, last_page, 0, PAGE), Status::Reserved),
            (map(space, aperture + 1, 0, PAGE), Status::Reserved),
            (map(space, aperture + 1 - PAGE, 0, 2 * PAGE), Status::Reserved),
            (map(space, AT + 1, 0, PAGE), Status::Misaligned),
            (map(space, AT, 1, PAGE), Status::Misaligned),
            (map(space, AT, 0, PAGE - 1), Status::Misaligned),
            (map_with(space, SLOT0, none, [AT, 0, PAGE]), Status::NoRights),
            (map_with(space, SLOT0, ANYWHERE, [0, 0, 0]), Status::ZeroLength),
            (map_with(space, SLOT0, ANYWHERE, [0, 0, u64::MAX / 2]), Status::OutOfRegion),
        ] {
            assert_eq!(world.status(ALICE, request), status, "{variant}: {request:?}");
        }
        assert_eq!(world.mappings(ALICE, space), [], "{variant}");
        // The aperture's own last address is as good as any.
        let iova = aperture + 1 - PAGE;
        world.ok(ALICE, map(space, iova, 0, PAGE));
        assert_eq!(world.mappings(ALICE, space)[0].last, aperture);
        if world.ok(ALICE, Request::DeviceInfo { device: crate::DEVICE }).get(1) == 1 {
            assert_eq!(reaches(&world, aperture).1, Some(ALICES_MEMORY + PAGE - 1), "{variant}");
            assert_eq!(reaches(&world, iova - 1), (None, None), "{variant}");
        }
        // Ranges may end where nothing can be named behind.
        let unmap_up = |last| Request::Unmap { space, first: iova, last };
        assert_eq!(world.status(ALICE, unmap_up(aperture - 1)), Status::WouldSplit, "{variant}");
        assert_eq!(world.ok(ALICE, unmap_up(u64::MAX)).get(1), PAGE, "{variant}");
        assert_eq!(reaches(&world, aperture), (None, None), "{variant}");
        assert_eq!(world.status(ALICE, unmap_up(u64::MAX)), Status::NotMapped, "{variant}");
        assert_eq!(world.status(ALICE, Request::NextMapping { space, from: u64::MAX }), Status::NotMapped);
    }
}

/// What a device reserves leaves no hole large enough.
fn reserved_overflow(unit: &Unit) {
    for (length, status) in [(0x5000, Status::NoSpace), (PAGE, Status::Ok)] {
        // From the sixth page to the end, as the case has it; MAP to any place has pages 1 to 5.
        let mut world = World::changed(unit, |p| {
            p.reserved.push(iommu_server::policy::ReservedEntry {
                first: 5 * PAGE,
                last: u64::MAX,
                device: 0,
                reserved: [0; 7],
            });
        });
        let space = world.attached_space(ALICE);
        let request = map_with(space, SLOT0, ANYWHERE, [0, 0, length]);
        assert_eq!(world.status(ALICE, request), status, "{length:#x}");
        let range = world.ok(ALICE, Request::IovaRanges { space, index: 0 });
        assert_eq!(range.as_slice(), [0, 5 * PAGE - 1, 1, PAGE]);
    }
}

/// A block where a table was, and pages where a block was.
fn ioas_option_huge_pages(unit: &Unit) {
    let mut world = World::new(unit);
    let space = world.attached_space(ALICE);
    for _ in 0..2 {
        world.ok(ALICE, map(space, 2 * MIB + 5 * PAGE, 0, PAGE));
        world.ok(ALICE, unmap(space, 2 * MIB + 5 * PAGE, PAGE));
        world.ok(ALICE, map(space, 2 * MIB, 0, 2 * MIB));
        let (_, with_block) = world.charged(ALICE);
        assert_eq!(reaches(&world, 4 * MIB - 1).1, Some(ALICES_MEMORY + 2 * MIB - 1));
        assert_eq!(world.status(ALICE, unmap(space, 2 * MIB, MIB)), Status::WouldSplit);
        world.ok(ALICE, unmap(space, 2 * MIB, 2 * MIB));
        world.complete(ALICE, map_with(space, SLOT0, READ_WRITE, [2 * MIB, PAGE, 2 * MIB]));
        assert!(world.charged(ALICE).1 > with_block, "pages take a table that a block does not");
        assert_eq!(reaches(&world, 4 * MIB - 1).1, Some(ALICES_MEMORY + 2 * MIB + PAGE - 1));
        world.finish(ALICE, unmap(space, 2 * MIB, 2 * MIB));
        assert_eq!(reaches(&world, 2 * MIB), (None, None));
    }
}

over_every_unit!(
    area,
    all_aligns,
    area_auto_iova,
    all_aligns_of_the_source,
    ioas_iova_alloc,
    map_bounds,
    reserved_overflow,
    ioas_option_huge_pages,
);
