//! COPY.

use super::machine::TIMEOUT;
use super::watch::{areas, request, space};
use super::*;
use crate::area::State;
use crate::{CopyRequest, MAX_COPIED, MAX_COPIED_AT_ONCE, Resource};

fn copy(source: SpaceId, target: SpaceId, first: u64, iova: u64, length: u64) -> CopyRequest {
    let rights = Rights::READ_WRITE;
    CopyRequest { target, source, rights, fixed: true, resume: false, iova, first, length }
}

/// Repeats a COPY until it is done.
fn copy_all(core: &mut TestCore, machine: &Machine, copy: &CopyRequest) -> Result<Progress, Refusal> {
    let mut progress = request(core, machine, |core| core.copy(A, copy))?;
    while progress.more {
        let resume = CopyRequest { resume: true, fixed: true, iova: progress.iova, ..*copy };
        let next = request(core, machine, |core| core.copy(A, &resume))?;
        assert!(next.bytes > progress.bytes && next.iova == progress.iova);
        progress = next;
    }
    Ok(progress)
}

/// Two spaces: three areas side by side in the first, from 0x10000 on, of 4, 1 (read-only) and 3 pages.
fn rig() -> (Machine, TestCore, SpaceId, SpaceId) {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (source, _) = core.ioas_alloc(A).unwrap();
    let (target, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, target, 0).unwrap();
    core.map(A, &fixed(source, 0x1_0000, 0x8000, 4 * PAGE)).unwrap();
    core.map(A, &MapRequest { rights: Rights::READ, ..fixed(source, 0x1_4000, 0x3000, PAGE) }).unwrap();
    core.map(A, &fixed(source, 0x1_5000, 0, 3 * PAGE)).unwrap();
    (machine, core, source, target)
}

#[test]
fn what_a_range_maps_is_mapped_once_more_in_as_many_areas() {
    let (machine, mut core, source, target) = rig();
    // From the second page of the first area to the second of the last.
    let all = CopyRequest { rights: Rights::READ, ..copy(source, target, 0x1_1000, 0x40_0000, 6 * PAGE) };
    let done = request(&mut core, &machine, |core| core.copy(A, &all));
    assert_eq!(done, Ok(Progress { iova: 0x40_0000, bytes: 6 * PAGE, more: false }));
    let seen: Vec<_> = areas(&core, space(&core, A, target))
        .into_iter()
        .map(|area| (area.range.first(), area.range.last(), area.offset, area.rights, area.state))
        .collect();
    assert_eq!(
        seen,
        [
            (0x40_0000, 0x40_2fff, 0x9000, Rights::READ, State::Live),
            (0x40_3000, 0x40_3fff, 0x3000, Rights::READ, State::Live),
            (0x40_4000, 0x40_5fff, 0, Rights::READ, State::Live),
        ]
    );
    // The copy lives on its own.
    request(&mut core, &machine, |core| core.unmap(A, source, 0, u64::MAX)).unwrap();
    assert_eq!(areas(&core, space(&core, A, target)).len(), 3);
    let unmap = request(&mut core, &machine, |core| core.unmap(A, target, 0, u64::MAX));
    assert_eq!(unmap.map(|done| done.bytes), Ok(6 * PAGE));
    assert_eq!(core.usage(A), Quota { frames: 2, areas: 0, spaces: 2 });
}

#[test]
fn every_range_inside_an_area_can_be_copied_and_none_outside() {
    let (machine, mut core, source, target) = rig();
    for first in (0xe000..0x1_a000).step_by(PAGE as usize) {
        for pages in 1..5 {
            let length = pages * PAGE;
            let inside = first >= 0x1_0000 && first + length <= 0x1_8000;
            let readable =
                CopyRequest { rights: Rights::READ, ..copy(source, target, first, 0x9000, length) };
            let done = request(&mut core, &machine, |core| core.copy(A, &readable));
            assert_eq!(done.is_ok(), inside, "{first:#x} {pages}");
            if inside {
                request(&mut core, &machine, |core| core.unmap(A, target, 0, u64::MAX)).unwrap();
            } else {
                assert!(matches!(done, Err(Refusal::NotMapped(_))));
                assert_eq!(areas(&core, space(&core, A, target)).len(), 0, "nothing is done");
            }
        }
    }
}

#[test]
fn a_copy_into_the_same_space_finds_a_place_of_its_own() {
    let (machine, mut core, source, _) = rig();
    let any = CopyRequest { fixed: false, ..copy(source, source, 0x1_0000, 0, 4 * PAGE) };
    let done = request(&mut core, &machine, |core| core.copy(A, &any)).unwrap();
    assert_eq!((done.iova, done.bytes), (0x4000, 4 * PAGE));
    let over = copy(source, source, 0x1_0000, 0x1_3000, 4 * PAGE);
    assert!(matches!(core.copy(A, &over), Err(Refusal::Overlap(_))));
}

#[test]
fn rights_only_shrink() {
    let (machine, mut core, source, target) = rig();
    let third = core.ioas_alloc(A).unwrap().0;
    let denied = Refusal::NotPermitted { asked: Rights::READ_WRITE, granted: Rights::READ };
    // One read-only area among others.
    let across = copy(source, target, 0x1_3000, 0x40_0000, 2 * PAGE);
    assert_eq!(request(&mut core, &machine, |core| core.copy(A, &across)), Err(denied));
    // A read-only copy of what may be written does not become writable again.
    let shrunk = CopyRequest { rights: Rights::READ, ..copy(source, target, 0x1_0000, 0x40_0000, PAGE) };
    request(&mut core, &machine, |core| core.copy(A, &shrunk)).unwrap();
    let again = copy(target, third, 0x40_0000, 0x40_0000, PAGE);
    assert_eq!(request(&mut core, &machine, |core| core.copy(A, &again)), Err(denied));
}

#[test]
fn each_broken_rule_is_told_and_nothing_is_done() {
    let (machine, mut core, source, target) = rig();
    let good = copy(source, target, 0x1_0000, 0x40_0000, 2 * PAGE);
    let aperture = STAGE2.aperture();
    let nowhere = SpaceId(9);
    core.map(A, &fixed(target, 0x7000, 0, PAGE)).unwrap();
    let before = core.usage(A);
    type Rule = fn(&Refusal) -> bool;
    let cases: [(CopyRequest, Rule); 13] = [
        (CopyRequest { target: nowhere, ..good }, |r| *r == Refusal::NoSuchSpace(SpaceId(9))),
        (CopyRequest { source: nowhere, ..good }, |r| *r == Refusal::NoSuchSpace(SpaceId(9))),
        (CopyRequest { iova: 0x40_0001, ..good }, |r| *r == Refusal::Misaligned(0x40_0001)),
        (CopyRequest { first: 0x1_0800, ..good }, |r| *r == Refusal::Misaligned(0x1_0800)),
        (CopyRequest { length: 0x1800, ..good }, |r| *r == Refusal::Misaligned(0x1800)),
        (CopyRequest { length: 0, ..good }, |r| *r == Refusal::ZeroLength),
        (CopyRequest { first: !0xfff, ..good }, |r| *r == Refusal::Overflow { first: !0xfff }),
        (CopyRequest { first: 0x1_7000, ..good }, |r| matches!(r, Refusal::NotMapped(_))),
        (CopyRequest { iova: !0xfff, ..good }, |r| *r == Refusal::Overflow { first: !0xfff }),
        (CopyRequest { iova: aperture.last() - 0xfff, ..good }, |r| matches!(r, Refusal::Reserved { .. })),
        (CopyRequest { iova: 0x6000, ..good }, |r| matches!(r, Refusal::Overlap(_))),
        (CopyRequest { rights: Rights::NONE, ..good }, |r| *r == Refusal::NoRights),
        (CopyRequest { resume: true, ..good }, |r| matches!(r, Refusal::NotMapped(_))),
    ];
    for (wrong, rule) in cases {
        let refusal = request(&mut core, &machine, |core| core.copy(A, &wrong)).unwrap_err();
        assert!(rule(&refusal), "{wrong:?}: {refusal:?}");
        assert_eq!(core.usage(A), before);
    }
    // Another client's spaces have other names.
    assert_eq!(core.copy(B, &good), Err(Refusal::NoSuchSpace(target)));
}

#[test]
fn a_copy_is_all_or_nothing_in_areas_frames_and_quota() {
    for (quota, resource) in [
        (Quota { areas: 5, ..PLENTY }, Resource::Areas),
        (Quota { frames: 2 + 2 + 1, ..PLENTY }, Resource::Frames),
    ] {
        let (machine, mut core, source, target) = rig();
        core.set_quota(A, quota);
        let before = core.usage(A);
        let all = CopyRequest { rights: Rights::READ, ..copy(source, target, 0x1_0000, 0x40_0000, 8 * PAGE) };
        let refused = request(&mut core, &machine, |core| core.copy(A, &all));
        assert_eq!(refused, Err(Refusal::QuotaExceeded(resource)));
        assert_eq!((core.usage(A), areas(&core, space(&core, A, target)).len()), (before, 0));
        core.set_quota(A, Quota { areas: 6, frames: 6, spaces: 2 });
        request(&mut core, &machine, |core| core.copy(A, &all)).expect("exactly enough");
    }
}

#[test]
fn more_areas_than_one_request_takes_are_too_many() {
    let machine = Machine::default();
    let mut core = core_of::<200>(&machine, &[STAGE2], 64);
    let (source, _) = core.ioas_alloc(A).unwrap();
    let (target, _) = core.ioas_alloc(A).unwrap();
    for page in 0..u64::from(MAX_COPIED) + 1 {
        core.map(A, &fixed(source, (page + 1) * PAGE, page * PAGE, PAGE)).unwrap();
    }
    let pages = |pages| copy(source, target, PAGE, 0x40_0000, pages * PAGE);
    let refused = request(&mut core, &machine, |core| core.copy(A, &pages(65)));
    assert_eq!(refused, Err(Refusal::TooMany(MAX_COPIED as usize)));
    let done = request(&mut core, &machine, |core| core.copy(A, &pages(64))).unwrap();
    assert_eq!((done.bytes, done.more), (64 * PAGE, false));
}

/// A source of `count` areas, 1 MiB and a page each, side by side and off every block.
fn large(count: u64) -> (Machine, TestCore, SpaceId, SpaceId, u64) {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2], 400);
    let (source, _) = core.ioas_alloc(A).unwrap();
    let (target, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, target, 0).unwrap();
    let length = MIB + PAGE;
    for n in 0..count {
        map_all(&mut core, A, &fixed(source, 4 * MIB + n * length, n * length, length)).unwrap();
    }
    (machine, core, source, target, length)
}

#[test]
fn a_long_copy_is_continued_whatever_its_neighbours_do() {
    let (machine, mut core, source, target, length) = large(8);
    // Tables that the copy finds there, and that are gone before it is filled.
    core.map(A, &fixed(target, 64 * MIB + 9 * MIB, 0, PAGE)).unwrap();
    let all = CopyRequest { iova: 64 * MIB, ..copy(source, target, 4 * MIB, 64 * MIB, 8 * length) };
    let mut done = request(&mut core, &machine, |core| core.copy(A, &all)).unwrap();
    assert!(done.more && done.bytes >= MAX_COPIED_AT_ONCE);
    assert_eq!(core.usage(A).areas, 8 + 8 + 1, "all are there from the start");
    request(&mut core, &machine, |core| core.unmap(A, target, 73 * MIB, 73 * MIB + PAGE - 1)).unwrap();
    // Not even the source is needed any more.
    repeat(|| request(&mut core, &machine, |core| core.unmap(A, source, 0, u64::MAX))).unwrap();
    core.set_quota(A, Quota::ZERO);
    while done.more {
        let resume = CopyRequest { resume: true, ..all };
        let next = request(&mut core, &machine, |core| core.copy(A, &resume)).expect("all was reserved");
        assert!(next.bytes > done.bytes);
        done = next;
    }
    assert_eq!(done.bytes, 8 * length);
    assert!(areas(&core, space(&core, A, target)).iter().all(|area| area.state == State::Live));
    repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
    assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 400));
}

#[test]
fn a_half_done_copy_is_taken_over_by_whoever_meets_it() {
    for takeover in [
        |core: &mut TestCore, id| core.unmap(A, id, 0, u64::MAX),
        |core: &mut TestCore, _| core.sweep(A),
        |core: &mut TestCore, _| core.revoke(A, 0).map(|(_, done)| done),
        |core: &mut TestCore, _| core.reset(A),
    ] {
        let (machine, mut core, source, target, length) = large(4);
        let all = copy(source, target, 4 * MIB, 64 * MIB, 4 * length);
        let done = request(&mut core, &machine, |core| core.copy(A, &all)).unwrap();
        assert!(done.more);
        core.begin_sweep(A);
        repeat(|| request(&mut core, &machine, |core| takeover(core, target))).unwrap();
        let resume = CopyRequest { resume: true, ..all };
        assert!(core.copy(A, &resume).is_err());
        repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
        assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 400));
    }
}

#[test]
fn a_single_area_of_any_length_is_copied_like_a_map() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2], 64);
    let (source, _) = core.ioas_alloc(A).unwrap();
    let (target, _) = core.ioas_alloc(A).unwrap();
    map_all(&mut core, A, &fixed(source, 32 * MIB, 0, 16 * MIB)).unwrap();
    let blocks = copy(source, target, 32 * MIB, 64 * MIB, 16 * MIB);
    let done = request(&mut core, &machine, |core| core.copy(A, &blocks)).unwrap();
    assert_eq!((done.bytes, done.more), (16 * MIB, false));
    let pages = CopyRequest { fixed: false, ..copy(source, target, 32 * MIB + PAGE, 0, 8 * MIB) };
    assert_eq!(copy_all(&mut core, &machine, &pages).map(|done| done.bytes), Ok(8 * MIB));
}

#[test]
fn what_is_half_made_or_half_removed_is_no_source() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    assert!(core.map(A, &fixed(id, 2 * MIB, PAGE, 8 * MIB)).unwrap().more);
    core.map(A, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    machine.fail_at(1, TIMEOUT);
    core.unmap(A, id, 0x1000, 0x1fff).unwrap_err();
    for first in [2 * MIB, 0x1000] {
        let refused = request(&mut core, &machine, |core| core.copy(A, &copy(id, id, first, 64 * MIB, PAGE)));
        assert!(matches!(refused, Err(Refusal::NotMapped(_))), "{refused:?}");
    }
}
