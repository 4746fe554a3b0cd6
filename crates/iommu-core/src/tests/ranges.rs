//! Reserved and allowed ranges.

use iommu_hal::IovaRange;

use super::watch::{areas, request, space};
use super::*;
use crate::{ConfigError, CopyRequest, MAX_ALLOWED, MAX_RESERVED, Usable};

fn range(first: u64, last: u64) -> IovaRange {
    IovaRange::new(first, last).unwrap()
}

const DOORBELL: u64 = 0x800_0000;

/// A core whose device 0 of A reserves a page and device 1 the first two MiB.
fn rig(machine: &Machine) -> TestCore {
    let mut core = core(machine);
    core.add_reserved(A, 0, range(DOORBELL, DOORBELL + 0xfff)).unwrap();
    core.add_reserved(A, 1, range(0, 2 * MIB - 1)).unwrap();
    core
}

fn allow(core: &mut TestCore, id: SpaceId, ranges: &[(u64, u64)]) -> Result<(), Refusal> {
    core.allow_begin(A, id)?;
    for &(first, last) in ranges {
        core.allow_add(A, id, first, last)?;
    }
    core.allow_commit(A, id)
}

#[test]
fn what_a_device_reserves_is_not_mapped_while_it_is_attached() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let at = |iova, length| fixed(id, iova, 0, length);
    request(&mut core, &machine, |core| core.map(A, &at(DOORBELL, PAGE))).expect("nothing is attached");
    request(&mut core, &machine, |core| core.unmap(A, id, DOORBELL, DOORBELL + 0xfff)).unwrap();
    request(&mut core, &machine, |core| core.attach(A, id, 0)).unwrap();
    let reserved = range(DOORBELL, DOORBELL + 0xfff);
    assert_eq!(
        space(&core, A, id).open,
        range(0, DOORBELL - 1),
        "short as far as the first that is reserved"
    );
    for (iova, length) in [(DOORBELL, PAGE), (DOORBELL - PAGE, 2 * PAGE), (DOORBELL - MIB, 2 * MIB)] {
        let refusal = Refusal::ReservedByDevice { range: range(iova, iova + length - 1), reserved };
        assert_eq!(request(&mut core, &machine, |core| core.map(A, &at(iova, length))), Err(refusal));
        core.map(A, &fixed(id, 0x1000, 0, length)).unwrap();
        let copy = CopyRequest {
            target: id,
            source: id,
            rights: Rights::READ,
            fixed: true,
            resume: false,
            iova,
            first: 0x1000,
            length,
        };
        assert_eq!(request(&mut core, &machine, |core| core.copy(A, &copy)), Err(refusal));
        core.unmap(A, id, 0, u64::MAX).unwrap();
    }
    for iova in [DOORBELL - PAGE, DOORBELL + PAGE] {
        request(&mut core, &machine, |core| core.map(A, &at(iova, PAGE))).expect("beside it");
    }
    // Another client's device reserves nothing.
    let (bobs, _) = core.ioas_alloc(B).unwrap();
    core.attach(B, bobs, 0).unwrap();
    core.map(B, &fixed(bobs, DOORBELL, 0, PAGE)).unwrap();
    request(&mut core, &machine, |core| core.detach(A, 0)).unwrap();
    request(&mut core, &machine, |core| core.map(A, &at(DOORBELL, PAGE))).expect("detached");
    assert_eq!(space(&core, A, id).open, STAGE2.aperture(), "and the short way again");
}

#[test]
fn the_rules_of_map_come_in_their_order_beside_what_is_reserved() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    let good = fixed(id, DOORBELL, 0, PAGE);
    for (map, expected) in [
        (MapRequest { slot: 9, ..good }, Refusal::NoSuchRegion(9)),
        (MapRequest { generation: 7, ..good }, Refusal::StaleRegion { asked: 7, current: 1 }),
        (MapRequest { length: 0x800, ..good }, Refusal::Misaligned(0x800)),
        (MapRequest { length: 0, ..good }, Refusal::ZeroLength),
        (MapRequest { iova: DOORBELL + 8, ..good }, Refusal::Misaligned(DOORBELL + 8)),
        (MapRequest { fixed: false, rights: Rights::NONE, ..good }, Refusal::NoRights),
        (
            MapRequest { iova: 0_u64.wrapping_sub(PAGE), length: 2 * PAGE, ..good },
            Refusal::Overflow { first: 0_u64.wrapping_sub(PAGE) },
        ),
    ] {
        assert_eq!(request(&mut core, &machine, |core| core.map(A, &map)), Err(expected));
    }
    // A long one is continued.
    let mut done = core.map(A, &fixed(id, 32 * MIB, PAGE, 8 * MIB)).unwrap();
    while done.more {
        let resume = MapRequest { resume: true, ..fixed(id, 32 * MIB, PAGE, 8 * MIB) };
        done = request(&mut core, &machine, |core| core.map(A, &resume)).unwrap();
    }
    assert_eq!(done.bytes, 8 * MIB);
}

#[test]
fn an_attachment_that_would_reserve_what_is_in_use_changes_nothing() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let (other, _) = core.ioas_alloc(A).unwrap();
    let in_use = Refusal::RangeInUse(range(DOORBELL, DOORBELL + 0xfff));
    core.map(A, &fixed(id, DOORBELL - PAGE, 0, 2 * PAGE)).unwrap();
    machine.take_calls();
    assert_eq!(request(&mut core, &machine, |core| core.attach(A, id, 0)), Err(in_use));
    core.attach(A, other, 0).unwrap();
    assert_eq!(request(&mut core, &machine, |core| core.replace(A, id, 0)), Err(in_use));
    assert_eq!(core.device_info(A, 0).unwrap().space, Some(other));
    core.unmap(A, id, 0, u64::MAX).unwrap();
    allow(&mut core, id, &[(DOORBELL, DOORBELL + 2 * PAGE - 1)]).unwrap();
    assert_eq!(request(&mut core, &machine, |core| core.replace(A, id, 0)), Err(in_use));
    allow(&mut core, id, &[]).unwrap();
    request(&mut core, &machine, |core| core.replace(A, id, 0)).unwrap();
    core.map(A, &fixed(other, DOORBELL, 0, PAGE)).expect("it reserves where it is");
    assert!(core.map(A, &fixed(id, DOORBELL, 0, PAGE)).is_err());
}

#[test]
fn places_are_found_beside_what_is_reserved_and_inside_what_is_allowed() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 1).unwrap();
    let place = |core: &mut TestCore, length| {
        request(core, &machine, |core| core.map(A, &any(id, 0, length))).map(|done| done.iova)
    };
    assert_eq!(place(&mut core, PAGE), Ok(2 * MIB), "past the device's two MiB");
    core.attach(A, id, 0).unwrap();
    allow(&mut core, id, &[(DOORBELL - 2 * PAGE, DOORBELL - 1), (0x4_0000_0000, 0x4_0000_1fff)]).unwrap();
    assert_eq!(place(&mut core, 2 * PAGE), Ok(DOORBELL - 2 * PAGE));
    assert_eq!(place(&mut core, PAGE), Ok(0x4_0000_0000));
    let none = |length, align| Err(Refusal::NoSpace { length, align });
    assert_eq!(place(&mut core, 2 * PAGE), none(2 * PAGE, 2 * PAGE));
    assert_eq!(place(&mut core, PAGE), Ok(0x4_0000_1000));
    assert_eq!(place(&mut core, PAGE), none(PAGE, PAGE));
    // What has its place does not ask what is allowed.
    core.map(A, &fixed(id, 0x1000_0000, 0, PAGE)).unwrap();
    allow(&mut core, id, &[]).unwrap();
    assert_eq!(place(&mut core, PAGE), Ok(2 * MIB + PAGE));
}

#[test]
fn an_allowed_range_from_zero_still_never_yields_zero() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    allow(&mut core, id, &[(0, 0x2fff)]).unwrap();
    let mut place = || core.map(A, &any(id, 0, PAGE)).map(|done| done.iova);
    assert_eq!([place(), place()], [Ok(0x1000), Ok(0x2000)]);
    assert!(place().is_err());
}

#[test]
fn a_list_is_replaced_as_a_whole_or_not_at_all() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    allow(&mut core, id, &[(0x10_0000, 0x10_0fff)]).unwrap();
    assert_eq!(core.allow_add(A, id, 0x2000, 0x1fff), Err(Refusal::ZeroLength));
    assert_eq!(core.allow_add(A, id, 0x2000, 0x1000), Err(Refusal::Overflow { first: 0x2000 }));
    let in_use = Err(Refusal::RangeInUse(range(DOORBELL, DOORBELL + 0xfff)));
    assert_eq!(allow(&mut core, id, &[(0x30_0000, 0x30_0fff), (DOORBELL, DOORBELL)]), in_use);
    let overlap = Err(Refusal::Overlap(range(0x30_0000, 0x30_0fff)));
    assert_eq!(allow(&mut core, id, &[(0x30_0000, 0x30_0fff), (0x30_0fff, 0x40_0000)]), overlap);
    let full: Vec<_> = (0..=MAX_ALLOWED as u64).map(|n| (n << 20, (n << 20) + 0xfff)).collect();
    assert_eq!(allow(&mut core, id, &full), Err(Refusal::TooMany(MAX_ALLOWED)));
    assert_eq!(core.map(A, &any(id, 0, PAGE)).unwrap().iova, 0x10_0000, "the old list stays");
    assert!(core.map(A, &any(id, 0, PAGE)).is_err());
    allow(&mut core, id, &full[1..]).unwrap();
    assert_eq!(core.map(A, &any(id, 0, PAGE)).unwrap().iova, 0x20_0000);
    for request in [
        core.allow_begin(B, id),
        core.allow_add(B, id, 0, 1),
        core.allow_commit(B, id),
        core.usable(B, id, 0).map(drop),
    ] {
        assert_eq!(request, Err(Refusal::NoSuchSpace(id)));
    }
}

#[test]
fn usable_ranges_are_the_aperture_without_what_is_reserved() {
    let machine = Machine::default();
    let mut core = rig(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let last = STAGE2.aperture().last();
    assert_eq!(core.usable(A, id, 0), Ok(Usable { range: range(0, last), count: 1 }));
    assert_eq!(core.usable(A, id, 1), Err(Refusal::NoSuchEntry(1)));
    core.attach(A, id, 0).unwrap();
    core.attach(A, id, 1).unwrap();
    let usable = [range(2 * MIB, DOORBELL - 1), range(DOORBELL + PAGE, last)];
    for (index, range) in usable.into_iter().enumerate() {
        assert_eq!(core.usable(A, id, index as u16), Ok(Usable { range, count: 2 }));
    }
    assert_eq!(core.usable(A, id, 2), Err(Refusal::NoSuchEntry(2)));
}

#[test]
fn reserved_ranges_may_meet_each_other_and_fill_everything() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    for (device, first, last) in
        [(0, 0x5000, 0x8fff), (0, 0x7000, 0x9fff), (1, 0x6000, 0x6fff), (1, 0x20_0000, u64::MAX)]
    {
        core.add_reserved(A, device, range(first, last)).unwrap();
    }
    core.attach(A, id, 0).unwrap();
    core.attach(A, id, 1).unwrap();
    assert_eq!(core.usable(A, id, 0), Ok(Usable { range: range(0, 0x4fff), count: 2 }));
    assert_eq!(core.usable(A, id, 1), Ok(Usable { range: range(0xa000, 0x1f_ffff), count: 2 }));
    core.detach(A, 1).unwrap();
    core.add_reserved(A, 1, range(0, 0x1f_ffff)).unwrap();
    core.attach(A, id, 1).unwrap();
    assert_eq!(core.usable(A, id, 0), Err(Refusal::NoSuchEntry(0)));
    let none = Refusal::NoSpace { length: PAGE, align: PAGE };
    assert_eq!(core.map(A, &any(id, 0, PAGE)), Err(none));
    core.add_reserved(A, 1, range(0, 1)).unwrap();
    assert_eq!(core.add_reserved(A, 1, range(0, 1)), Err(ConfigError::TooManyReserved));
    assert_eq!(core.add_reserved(A, 2, range(0, 1)), Err(ConfigError::NoSuchDevice(2)));
    assert_eq!(MAX_RESERVED, 4);
    assert_eq!(areas(&core, space(&core, A, id)).len(), 0);
}
