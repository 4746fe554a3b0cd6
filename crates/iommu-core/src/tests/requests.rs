//! What each request does when nothing is wrong.

use iommu_hal::{DomainTag, IovaRange};

use super::machine::Call;
use super::watch::{areas, request, space};
use super::*;
use crate::area::State;
use crate::{DeviceInfo, MAX_SPACES_PER_CLIENT, RegionInfo};

#[test]
fn a_mapping_is_made_where_asked_and_taken_out_again() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, geometry) = request(&mut core, &machine, |core| core.ioas_alloc(A)).unwrap();
    assert_eq!((id, geometry), (SpaceId(1), STAGE2));
    let progress = request(&mut core, &machine, |core| core.map(A, &fixed(id, 0x5000, 0x3000, 2 * PAGE)));
    assert_eq!(progress, Ok(Progress { iova: 0x5000, bytes: 2 * PAGE, more: false }));
    assert_eq!(core.usage(A), Quota { frames: 3, areas: 1, spaces: 1 });
    assert_eq!(core.usage(B), Quota::ZERO);
    let progress = request(&mut core, &machine, |core| core.unmap(A, id, 0x5000, 0x6fff));
    assert_eq!(progress, Ok(Progress { iova: 0, bytes: 2 * PAGE, more: false }));
    // Its table is kept for the next one there, and goes with the space.
    assert_eq!(core.usage(A), Quota { frames: 3, areas: 0, spaces: 1 });
    assert_eq!(
        request(&mut core, &machine, |core| core.ioas_destroy(A, id)).map(|done| done.more),
        Ok(false)
    );
    assert_eq!(core.usage(A), Quota::ZERO);
    assert_eq!(core.frame_counts(), (64, 64));
}

#[test]
fn the_first_and_the_last_page_of_the_aperture_can_be_mapped() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, geometry) = core.ioas_alloc(A).unwrap();
    let last = geometry.aperture().last();
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 0, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.map(A, &fixed(id, last - PAGE + 1, PAGE, PAGE))).unwrap();
    let all = |core: &mut TestCore| core.unmap(A, id, 0, u64::MAX);
    assert_eq!(request(&mut core, &machine, all).map(|done| done.bytes), Ok(2 * PAGE));
    assert_eq!(request(&mut core, &machine, all), Ok(Progress { iova: 0, bytes: 0, more: false }));
}

#[test]
fn chosen_places_are_the_lowest_aligned_and_never_zero() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let mut place = |offset, length| {
        let done = request(&mut core, &machine, |core| map_all(core, A, &any(id, offset, length))).unwrap();
        assert_eq!(done.bytes, length);
        done.iova
    };
    assert_eq!(place(0, PAGE), 0x1000);
    assert_eq!(place(0, PAGE), 0x2000);
    // Of an even source, to the power of two below three pages.
    assert_eq!(place(0, 3 * PAGE), 0x4000);
    assert_eq!(place(PAGE, 2 * PAGE), 0x7000);
    assert_eq!(place(0, PAGE), 0x3000);
    assert_eq!(place(2 * MIB, 4 * MIB), 2 * MIB);
    assert_eq!(place(0, PAGE), 0x9000);
    request(&mut core, &machine, |core| core.unmap(A, id, 0x2000, 0x2fff)).unwrap();
    let done = request(&mut core, &machine, |core| core.map(A, &any(id, 0, PAGE))).unwrap();
    assert_eq!(done.iova, 0x2000);
}

#[test]
fn long_work_is_continued() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    // A page off, so that no block fits: 2,048 pages.
    let map = fixed(id, 2 * MIB, PAGE, 8 * MIB);
    let mut done = request(&mut core, &machine, |core| core.map(A, &map)).unwrap();
    assert!(done.more && done.bytes >= 2 * MIB);
    let mut steps = 1;
    while done.more {
        let before = done.bytes;
        let resume = MapRequest { resume: true, ..map };
        done = request(&mut core, &machine, |core| core.map(A, &resume)).unwrap();
        assert!(done.bytes > before && done.iova == map.iova);
        steps += 1;
    }
    assert_eq!((done.bytes, steps), (8 * MIB, 4));
    assert_eq!(areas(&core, space(&core, A, id))[0].state, State::Live);
    let bytes = repeat(|| request(&mut core, &machine, |core| core.unmap(A, id, 0, u64::MAX)));
    assert_eq!(bytes, Ok(8 * MIB));
}

#[test]
fn a_half_done_mapping_is_taken_over_by_whoever_meets_it() {
    for takeover in [
        |core: &mut TestCore, id| core.unmap(A, id, 2 * MIB, 10 * MIB - 1),
        |core: &mut TestCore, id| core.ioas_destroy(A, id),
        |core: &mut TestCore, _| core.reset(A),
    ] {
        let machine = Machine::default();
        let mut core = core(&machine);
        let (id, _) = core.ioas_alloc(A).unwrap();
        let map = fixed(id, 2 * MIB, PAGE, 8 * MIB);
        assert!(request(&mut core, &machine, |core| core.map(A, &map)).unwrap().more);
        assert!(areas(&core, space(&core, A, id))[0].reserved != 0);
        let bytes = repeat(|| request(&mut core, &machine, |core| takeover(core, id)));
        assert_eq!(bytes, Ok(8 * MIB));
        assert_eq!((core.usage(A).areas, core.areas.in_use()), (0, 0));
    }
}

#[test]
fn a_half_done_removal_goes_on_in_another_request() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    // No table is wholly inside, so that each page costs a store.
    let length = 2 * MIB - 2 * PAGE;
    for iova in [2 * MIB + PAGE, 4 * MIB + PAGE] {
        map_all(&mut core, A, &fixed(id, iova, 0, length)).unwrap();
    }
    let first = request(&mut core, &machine, |core| core.unmap(A, id, 0, 8 * MIB - 1)).unwrap();
    assert_eq!(first, Progress { iova: 0, bytes: length, more: true });
    let half = areas(&core, space(&core, A, id))[0];
    assert_eq!((half.state, half.range.first()), (State::Removing, 4 * MIB + PAGE));
    assert!(half.cursor > 0 && half.cursor < length);
    // What went is invalidated, no more and no less.
    let range = IovaRange::new(2 * MIB + PAGE, half.range.first() + half.cursor - 1).unwrap();
    let invalidate = Call::Invalidate { tag: DomainTag(1), range, tables: true };
    assert_eq!(machine.take_calls(), [(0, invalidate), (0, Call::Sync)]);
    // Its addresses stay taken, and it is no mapping to resume.
    let map = fixed(id, 4 * MIB + PAGE, 0, length);
    assert_eq!(core.map(A, &map), Err(Refusal::Overlap(half.range)));
    let resume = MapRequest { resume: true, ..map };
    assert_eq!(core.map(A, &resume), Err(Refusal::NotMapped(half.range)));
    let bytes = repeat(|| request(&mut core, &machine, |core| core.unmap(A, id, 0, u64::MAX)));
    assert_eq!(bytes, Ok(length));
}

#[test]
fn what_a_filling_area_shares_may_go_before_it_is_resumed() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2], 8);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let map = fixed(id, 2 * MIB, PAGE, 4 * MIB + PAGE);
    // Its last page shares a table with this one.
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 7 * MIB, 0, PAGE))).unwrap();
    assert!(request(&mut core, &machine, |core| core.map(A, &map)).unwrap().more);
    request(&mut core, &machine, |core| core.unmap(A, id, 7 * MIB, 7 * MIB + PAGE - 1)).unwrap();
    let mut far = 1 << 30;
    while request(&mut core, &machine, |core| core.map(A, &fixed(id, far, 0, PAGE))).is_ok() {
        far += 1 << 30;
    }
    let resume = MapRequest { resume: true, ..map };
    let done = repeat(|| {
        let done = request(&mut core, &machine, |core| core.map(A, &resume))?;
        Ok(Progress { bytes: u64::from(!done.more) * done.bytes, ..done })
    });
    assert_eq!(done, Ok(4 * MIB + PAGE));
}

#[test]
fn what_was_reserved_and_not_needed_is_given_back() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 5 * MIB, 0, PAGE))).unwrap();
    // The table of its last page exists already.
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 4 * MIB - PAGE, 0, 2 * PAGE))).unwrap();
    assert_eq!((core.usage(A).frames, core.frames.reserved()), (4, 0));
    // And so for one that takes several requests.
    let map = fixed(id, 2 * MIB, PAGE, 2 * MIB - PAGE);
    request(&mut core, &machine, |core| map_all(core, A, &map)).unwrap();
    let map = fixed(id, 8 * MIB - PAGE, 0, 4 * MIB + 2 * PAGE);
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 13 * MIB, 0, PAGE))).unwrap();
    assert!(core.map(A, &map).unwrap().more);
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 11 * MIB, 0, PAGE))).unwrap_err();
    repeat(|| request(&mut core, &machine, |core| core.map(A, &MapRequest { resume: true, ..map }))).unwrap();
    assert_eq!(core.frames.reserved(), 0);
}

#[test]
fn clients_do_not_meet() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (a, _) = core.ioas_alloc(A).unwrap();
    let (other, _) = core.ioas_alloc(A).unwrap();
    let (b, _) = core.ioas_alloc(B).unwrap();
    assert_eq!((a, other, b), (SpaceId(1), SpaceId(2), SpaceId(1)));
    request(&mut core, &machine, |core| core.map(A, &fixed(a, 0x1000, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.map(B, &fixed(b, 0x1000, PAGE, PAGE))).unwrap();
    assert_eq!(
        request(&mut core, &machine, |core| core.ioas_destroy(B, other)),
        Err(Refusal::NoSuchSpace(other))
    );
    core.attach(A, a, 0).unwrap();
    core.attach(B, b, 0).unwrap();
    assert_eq!(core.owner_of(0, stream(B, 0)), Some((B, 0)));
    assert_eq!(core.owner_of(0, StreamId(7)), None);
    repeat(|| request(&mut core, &machine, |core| core.reset(A))).unwrap();
    assert_eq!(core.usage(A), Quota::ZERO);
    assert_eq!(core.usage(B), Quota { frames: 3, areas: 1, spaces: 1 });
    assert!(!core.is_attached(stream(A, 0)) && core.is_attached(stream(B, 0)));
}

#[test]
fn devices_are_attached_replaced_and_detached() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (first, _) = core.ioas_alloc(A).unwrap();
    let (second, _) = core.ioas_alloc(A).unwrap();
    let device = |core: &TestCore| core.device_info(A, 1).unwrap();
    assert_eq!(device(&core), DeviceInfo { stream: stream(A, 1), space: None, stopped: None });
    request(&mut core, &machine, |core| core.attach(A, first, 1)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::Attach(stream(A, 1), DomainTag(1)))]);
    assert_eq!(device(&core).space, Some(first));
    request(&mut core, &machine, |core| core.replace(A, second, 1)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::Attach(stream(A, 1), DomainTag(2)))]);
    assert_eq!(device(&core).space, Some(second));
    request(&mut core, &machine, |core| core.replace(A, second, 1)).unwrap();
    assert_eq!(machine.take_calls(), []);
    request(&mut core, &machine, |core| core.ioas_destroy(A, first)).unwrap();
    request(&mut core, &machine, |core| core.detach(A, 1)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::Block(stream(A, 1)))]);
    assert!(!core.is_attached(stream(A, 1)));
    request(&mut core, &machine, |core| core.attach(A, second, 1)).unwrap();
    assert!(core.is_attached(stream(A, 1)));
}

#[test]
fn only_what_may_be_cached_is_invalidated() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let pages = [0x5000, 0x6000, 0x9000];
    let map = |core: &mut TestCore| {
        for iova in pages {
            request(core, &machine, |core| core.map(A, &fixed(id, iova, 0, PAGE))).unwrap();
        }
        assert_eq!(machine.take_calls(), []);
    };
    let unmap = |core: &mut TestCore, first, last| {
        request(core, &machine, |core| core.unmap(A, id, first, last)).unwrap();
        machine.take_calls()
    };
    // Never attached: nothing can be cached.
    map(&mut core);
    assert_eq!(unmap(&mut core, 0, u64::MAX), []);
    // Attached: one range for all areas, and the tables above only when one goes.
    map(&mut core);
    core.attach(A, id, 0).unwrap();
    let tag = DomainTag(1);
    let invalidate = |first, last, tables| {
        let range = IovaRange::new(first, last).unwrap();
        [(0, Call::Invalidate { tag, range, tables }), (0, Call::Sync)]
    };
    assert_eq!(unmap(&mut core, 0, 0x8fff), invalidate(0x5000, 0x6fff, false));
    assert_eq!(unmap(&mut core, 0x9000, 0xffff), invalidate(0x9000, 0x9fff, true));
    // Detached: once everything, then nothing.
    map(&mut core);
    core.detach(A, 0).unwrap();
    assert_eq!(unmap(&mut core, 0x5000, 0x5fff), [(0, Call::InvalidateAll(tag)), (0, Call::Sync)]);
    assert_eq!(unmap(&mut core, 0x6000, 0x6fff), []);
    request(&mut core, &machine, |core| core.ioas_destroy(A, id)).unwrap();
    assert_eq!(machine.take_calls(), []);
    // A root that was walked is invalidated, even without a mapping.
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.detach(A, 0).unwrap();
    request(&mut core, &machine, |core| core.ioas_destroy(A, id)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::InvalidateAll(tag)), (0, Call::Sync)]);
}

#[test]
fn every_unit_that_a_space_was_attached_on_is_invalidated() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2, STAGE1, STAGE2], 64);
    let other = core.add_device(A, StreamId(9), 2).unwrap();
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.attach(A, id, other).unwrap();
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 0x1000, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.unmap(A, id, 0x1000, 0x1fff)).unwrap();
    let units: std::vec::Vec<_> = machine.take_calls().into_iter().map(|(unit, _)| unit).collect();
    assert_eq!(units, [0, 2, 0, 2]);
    // Not cleaned, as all of them snoop; cleaned, as soon as one of the format does not.
    assert_eq!(machine.0.cleaned.get(), 0);
    core.unit(2).unwrap().0.clean = true;
    let (cleaned, _) = core.ioas_alloc(A).unwrap();
    request(&mut core, &machine, |core| core.map(A, &fixed(cleaned, 0x1000, 0, PAGE))).unwrap();
    assert_ne!(machine.0.cleaned.get(), 0);
}

#[test]
fn what_a_slot_grants_is_told() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.map(A, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    let info = RegionInfo { bytes: REGION_BYTES, rights: Rights::READ_WRITE, generation: 1, live_areas: 1 };
    assert_eq!(core.region_info(A, 0), Ok(info));
    assert_eq!(core.region_info(B, 0), Ok(RegionInfo { live_areas: 0, ..info }));
}

#[test]
fn reset_gives_everything_back_in_bounded_calls() {
    let machine = Machine::default();
    let mut core = core(&machine);
    for _ in 0..MAX_SPACES_PER_CLIENT {
        let (id, _) = core.ioas_alloc(A).unwrap();
        request(&mut core, &machine, |core| core.map(A, &any(id, 0, PAGE))).unwrap();
    }
    core.attach(A, SpaceId(3), 0).unwrap();
    core.attach(A, SpaceId(7), 1).unwrap();
    let mut calls = 0;
    let bytes = repeat(|| {
        calls += 1;
        request(&mut core, &machine, |core| core.reset(A))
    });
    assert_eq!(bytes, Ok(MAX_SPACES_PER_CLIENT as u64 * PAGE));
    assert_eq!(calls, MAX_SPACES_PER_CLIENT);
    assert_eq!((core.usage(A), core.frames.free()), (Quota::ZERO, 64));
    assert_eq!(core.reset(A), Ok(Progress { iova: 0, bytes: 0, more: false }));
}
