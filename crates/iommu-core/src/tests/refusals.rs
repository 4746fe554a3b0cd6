//! Each rule broken alone, and that a refusal changes nothing.

use iommu_hal::{IovaRange, PhysAddr};

use super::watch::{areas, request};
use super::*;
use crate::{ConfigError, MAX_GRANTS, MAX_SPACES, MAX_SPACES_PER_CLIENT, Resource};

/// A space of A with a device and three pages at 0x5000.
fn prepared(machine: &Machine, shape: Geometry) -> (TestCore, SpaceId) {
    let mut core = core_of::<AREAS>(machine, &[shape], 64);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.map(A, &fixed(id, 0x5000, 0, 3 * PAGE)).unwrap();
    (core, id)
}

/// Asks for something that must be refused and leave everything as it was.
#[track_caller]
fn refused<T: core::fmt::Debug + PartialEq>(
    core: &mut TestCore,
    machine: &Machine,
    refusal: Refusal,
    step: impl FnOnce(&mut TestCore) -> Result<T, Refusal>,
) {
    let state = |core: &TestCore| {
        let all: Vec<_> = core.spaces.iter().map(|space| areas(core, space)).collect();
        (
            all,
            core.usage(A),
            core.usage(B),
            core.frame_counts(),
            core.device_info(A, 0),
            core.device_info(A, 1),
        )
    };
    let before = state(core);
    assert_eq!(request(core, machine, step), Err(refusal));
    assert_eq!(state(core), before);
    assert_eq!(machine.0.stores.get(), 0);
}

const IN_USE: IovaRange = match IovaRange::new(0x5000, 0x7fff) {
    Some(range) => range,
    None => panic!(),
};

#[test]
fn map_refuses_each_broken_rule() {
    let machine = Machine::default();
    let (mut core, id) = prepared(&machine, STAGE1);
    let good = fixed(id, 0x10000, 0, PAGE);
    let aperture = STAGE1.aperture();
    let range = |first, length| IovaRange::from_length(first, length).unwrap();
    let cases = [
        (MapRequest { space: SpaceId(0), ..good }, Refusal::NoSuchSpace(SpaceId(0))),
        (MapRequest { space: SpaceId(2), ..good }, Refusal::NoSuchSpace(SpaceId(2))),
        (MapRequest { space: SpaceId(u16::MAX), ..good }, Refusal::NoSuchSpace(SpaceId(u16::MAX))),
        (MapRequest { slot: 2, ..good }, Refusal::NoSuchRegion(2)),
        (MapRequest { slot: u16::MAX, ..good }, Refusal::NoSuchRegion(u16::MAX)),
        (MapRequest { slot: 256, ..good }, Refusal::NoSuchRegion(256)),
        (MapRequest { generation: 2, ..good }, Refusal::StaleRegion { asked: 2, current: 1 }),
        (
            MapRequest { slot: 1, rights: Rights::READ, length: 2 * PAGE, ..good },
            Refusal::OutOfRegion { offset: 0, length: 2 * PAGE, bytes: PAGE },
        ),
        (
            MapRequest { offset: u64::MAX - PAGE + 1, length: 2 * PAGE, ..good },
            Refusal::OutOfRegion { offset: u64::MAX - PAGE + 1, length: 2 * PAGE, bytes: REGION_BYTES },
        ),
        (
            MapRequest { slot: 1, ..good },
            Refusal::NotPermitted { asked: Rights::READ_WRITE, granted: Rights::READ },
        ),
        (MapRequest { iova: 0x10800, ..good }, Refusal::Misaligned(0x10800)),
        (MapRequest { offset: 0x10, ..good }, Refusal::Misaligned(0x10)),
        (MapRequest { length: PAGE + 1, ..good }, Refusal::Misaligned(PAGE + 1)),
        (MapRequest { length: 0, ..good }, Refusal::ZeroLength),
        (
            MapRequest { iova: u64::MAX - PAGE + 1, length: 2 * PAGE, ..good },
            Refusal::Overflow { first: u64::MAX - PAGE + 1 },
        ),
        (
            MapRequest { iova: u64::MAX - PAGE + 1, ..good },
            Refusal::Reserved { range: range(u64::MAX - PAGE + 1, PAGE), aperture },
        ),
        (
            MapRequest { iova: aperture.last() - PAGE + 1, length: 2 * PAGE, ..good },
            Refusal::Reserved { range: range(aperture.last() - PAGE + 1, 2 * PAGE), aperture },
        ),
        (MapRequest { iova: 0x7000, ..good }, Refusal::Overlap(IN_USE)),
        (MapRequest { iova: 0x4000, length: 2 * PAGE, ..good }, Refusal::Overlap(IN_USE)),
        (MapRequest { iova: 0, length: MIB, ..good }, Refusal::Overlap(IN_USE)),
        (MapRequest { rights: Rights::NONE, ..good }, Refusal::NoRights),
        (MapRequest { rights: Rights::NONE, fixed: false, ..good }, Refusal::NoRights),
        (MapRequest { rights: Rights::WRITE, ..good }, Refusal::NotExpressible(Rights::WRITE)),
        (MapRequest { rights: Rights::WRITE, fixed: false, ..good }, Refusal::NotExpressible(Rights::WRITE)),
        (MapRequest { resume: true, ..good }, Refusal::NotMapped(range(0x10000, PAGE))),
        // Nothing is left to do there.
        (fixed(id, 0x5000, 0, 3 * PAGE).resumed(), Refusal::NotMapped(IN_USE)),
    ];
    for (map, refusal) in cases {
        refused(&mut core, &machine, refusal, |core| core.map(A, &map));
    }
    assert!(core.map(A, &good).is_ok());
}

impl MapRequest {
    fn resumed(self) -> Self {
        Self { resume: true, ..self }
    }
}

#[test]
fn of_several_broken_rules_the_first_is_told() {
    let machine = Machine::default();
    let (mut core, id) = prepared(&machine, STAGE1);
    // Each step repairs one rule, in the order of the protocol's statuses.
    let mut map = MapRequest {
        space: SpaceId(9),
        slot: 9,
        generation: 0,
        rights: Rights::WRITE,
        fixed: true,
        resume: false,
        iova: u64::MAX,
        offset: 1,
        length: PAGE + 1,
    };
    let mut expect =
        |map: &MapRequest, refusal| refused(&mut core, &machine, refusal, |core| core.map(A, map));
    expect(&map, Refusal::NoSuchSpace(SpaceId(9)));
    map.space = id;
    expect(&map, Refusal::NoSuchRegion(9));
    map.slot = 1;
    expect(&map, Refusal::StaleRegion { asked: 0, current: 1 });
    map.generation = 1;
    expect(&map, Refusal::OutOfRegion { offset: 1, length: PAGE + 1, bytes: PAGE });
    map.length = 0;
    expect(&map, Refusal::NotPermitted { asked: Rights::WRITE, granted: Rights::READ });
    map.slot = 0;
    expect(&map, Refusal::Misaligned(u64::MAX));
    map.iova = u64::MAX - PAGE + 1;
    expect(&map, Refusal::Misaligned(1));
    map.offset = 0;
    expect(&map, Refusal::ZeroLength);
    map.length = 2 * PAGE;
    expect(&map, Refusal::Overflow { first: map.iova });
    map.length = PAGE;
    let range = IovaRange::new(map.iova, u64::MAX).unwrap();
    expect(&map, Refusal::Reserved { range, aperture: STAGE1.aperture() });
    map.iova = 0x6000;
    expect(&map, Refusal::Overlap(IN_USE));
    map.iova = 0x10000;
    expect(&map, Refusal::NotExpressible(Rights::WRITE));
    map.rights = Rights::READ;
    assert!(core.map(A, &map).is_ok());
}

#[test]
fn a_resumption_must_be_of_the_same_mapping() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let map = fixed(id, 2 * MIB, PAGE, 8 * MIB);
    assert!(core.map(A, &map).unwrap().more);
    for other in [
        MapRequest { iova: 2 * MIB + PAGE, length: 8 * MIB - PAGE, ..map },
        MapRequest { length: 4 * MIB, ..map },
        MapRequest { offset: 0, ..map },
        MapRequest { rights: Rights::READ, ..map },
    ] {
        let range = IovaRange::from_length(other.iova, other.length).unwrap();
        refused(&mut core, &machine, Refusal::NotMapped(range), |core| core.map(A, &other.resumed()));
    }
    let whole = IovaRange::from_length(map.iova, map.length).unwrap();
    refused(&mut core, &machine, Refusal::Overlap(whole), |core| core.map(A, &map));
    assert!(request(&mut core, &machine, |core| core.map(A, &map.resumed())).is_ok());
}

#[test]
fn write_only_is_refused_by_stage_1_and_expressed_by_second_stages() {
    for (shape, ok) in [(STAGE1, false), (STAGE2, true), (VTD, true)] {
        let machine = Machine::default();
        let (mut core, id) = prepared(&machine, shape);
        let map = MapRequest { rights: Rights::WRITE, ..any(id, 0, PAGE) };
        assert_eq!(request(&mut core, &machine, |core| core.map(A, &map)).is_ok(), ok);
    }
}

#[test]
fn unmap_refuses_each_broken_rule() {
    let machine = Machine::default();
    let (mut core, id) = prepared(&machine, STAGE2);
    core.map(A, &fixed(id, 0x9000, 0, 2 * PAGE)).unwrap();
    let second = IovaRange::new(0x9000, 0xafff).unwrap();
    let not_mapped = |first, last| Refusal::NotMapped(IovaRange::new(first, last).unwrap());
    for (space, first, last, refusal) in [
        (SpaceId(0), 0, u64::MAX, Refusal::NoSuchSpace(SpaceId(0))),
        (id, 1, 0, Refusal::ZeroLength),
        (id, 0x5000, 0x4fff, Refusal::ZeroLength),
        (id, 0x5000, 0x3fff, Refusal::Overflow { first: 0x5000 }),
        (id, u64::MAX, 0, Refusal::Overflow { first: u64::MAX }),
        (id, 0, 0x4fff, not_mapped(0, 0x4fff)),
        (id, 0x8000, 0x8fff, not_mapped(0x8000, 0x8fff)),
        (id, 0xb000, u64::MAX, not_mapped(0xb000, u64::MAX)),
        // Either edge, both edges, the inside; and not even the whole areas of such a range.
        (id, 0x5000, 0x5fff, Refusal::WouldSplit(IN_USE)),
        (id, 0x7000, 0x7fff, Refusal::WouldSplit(IN_USE)),
        (id, 0x6000, 0x6fff, Refusal::WouldSplit(IN_USE)),
        (id, 0x5001, 0x7fff, Refusal::WouldSplit(IN_USE)),
        (id, 0x5000, 0x7ffe, Refusal::WouldSplit(IN_USE)),
        (id, 0x5000, 0x9fff, Refusal::WouldSplit(second)),
        (id, 0x6000, 0xafff, Refusal::WouldSplit(IN_USE)),
    ] {
        refused(&mut core, &machine, refusal, |core| core.unmap(A, space, first, last));
        assert_eq!(machine.take_calls(), []);
    }
    let all = request(&mut core, &machine, |core| core.unmap(A, id, 0, u64::MAX - 1));
    assert_eq!(all.map(|done| done.bytes), Ok(5 * PAGE));
}

#[test]
fn attachments_are_refused_by_each_broken_rule() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2, STAGE1], 64);
    let stage1 = core.add_device(A, StreamId(9), 1).unwrap();
    let (id, _) = core.ioas_alloc(A).unwrap();
    let (other, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    let unknown = SpaceId(3);
    let mut expect = |refusal, step: &dyn Fn(&mut TestCore) -> Result<(), Refusal>| {
        refused(&mut core, &machine, refusal, step);
    };
    expect(Refusal::NoSuchSpace(unknown), &|core| core.attach(A, unknown, 7));
    expect(Refusal::NoSuchSpace(unknown), &|core| core.replace(A, unknown, 7));
    expect(Refusal::NoSuchDevice(3), &|core| core.attach(A, id, 3));
    expect(Refusal::NoSuchDevice(3), &|core| core.replace(A, id, 3));
    expect(Refusal::NoSuchDevice(u16::MAX), &|core| core.detach(A, u16::MAX));
    expect(Refusal::NoSuchDevice(8), &|core| core.device_info(A, 8).map(|_| ()));
    expect(Refusal::AlreadyAttached(id), &|core| core.attach(A, other, 0));
    expect(Refusal::AlreadyAttached(id), &|core| core.attach(A, id, 0));
    expect(Refusal::NotAttached, &|core| core.detach(A, 1));
    expect(Refusal::NotAttached, &|core| core.replace(A, id, 1));
    expect(Refusal::Incompatible, &|core| core.attach(A, id, stage1));
    expect(Refusal::Busy, &|core| core.ioas_destroy(A, id).map(|_| ()));
    expect(Refusal::NoSuchSpace(unknown), &|core| core.ioas_destroy(A, unknown).map(|_| ()));
    expect(Refusal::NoSuchRegion(5), &|core| core.region_info(A, 5).map(|_| ()));
    for device in 0..2 {
        expect(Refusal::NoSuchSpace(id), &|core| core.attach(B, id, device));
    }
}

#[test]
fn a_unit_that_refuses_leaves_the_old_attachment() {
    use iommu_hal::UnitError;
    for (error, refusal) in [
        (UnitError::Unsupported, Refusal::Incompatible),
        (UnitError::UnknownStream(stream(A, 0)), Refusal::NoSuchDevice(0)),
    ] {
        let machine = Machine::default();
        let (mut core, id) = prepared(&machine, STAGE2);
        let (other, _) = core.ioas_alloc(A).unwrap();
        machine.fail_at(0, error);
        refused(&mut core, &machine, refusal, |core| core.replace(A, other, 0));
        assert_eq!(core.device_info(A, 0).unwrap().space, Some(id));
        core.detach(A, 0).unwrap();
        machine.fail_at(0, error);
        refused(&mut core, &machine, refusal, |core| core.attach(A, id, 0));
    }
}

#[test]
fn a_full_aperture_is_told() {
    let machine = Machine::default();
    let small = Geometry { input_bits: 21, page_sizes: 1 << 12, ..STAGE2 };
    let mut core = core_of::<AREAS>(&machine, &[small], 64);
    let (id, _) = core.ioas_alloc(A).unwrap();
    let refusal = Refusal::NoSpace { length: 2 * MIB, align: PAGE };
    refused(&mut core, &machine, refusal, |core| core.map(A, &any(id, 0, 2 * MIB)));
    request(&mut core, &machine, |core| core.map(A, &any(id, 0, 2 * MIB - PAGE))).unwrap();
    let refusal = Refusal::NoSpace { length: PAGE, align: PAGE };
    refused(&mut core, &machine, refusal, |core| core.map(A, &any(id, 0, PAGE)));
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 0, 0, PAGE))).unwrap();
}

#[test]
fn the_servers_memory_runs_out_with_a_name() {
    let machine = Machine::default();
    let mut core = core_of::<5>(&machine, &[STAGE2], 8);
    let (id, _) = core.ioas_alloc(A).unwrap();
    for n in 0..3 {
        core.map(A, &fixed(id, n << 30, 0, PAGE)).unwrap();
    }
    let frames = Refusal::NoMemory(Resource::Frames);
    refused(&mut core, &machine, frames, |core| core.map(A, &fixed(id, 4 << 30, 0, PAGE)));
    core.map(A, &fixed(id, PAGE, 0, PAGE)).unwrap();
    let areas = Refusal::NoMemory(Resource::Areas);
    refused(&mut core, &machine, areas, |core| core.map(A, &fixed(id, 2 * PAGE, 0, PAGE)));
    core.ioas_alloc(B).unwrap();
    refused(&mut core, &machine, frames, |core| core.ioas_alloc(B));
    // Taking out needs no memory.
    let bytes = repeat(|| request(&mut core, &machine, |core| core.reset(A)));
    assert_eq!(bytes, Ok(4 * PAGE));
}

#[test]
fn spaces_run_out_by_client_and_for_all() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[STAGE2], 100);
    let clients = (0..5).map(|number| ClientId::new(number).unwrap());
    let mut made = 0;
    for client in clients {
        core.set_quota(client, PLENTY);
        while made < MAX_SPACES && core.usage(client).spaces < MAX_SPACES_PER_CLIENT as u32 {
            core.ioas_alloc(client).unwrap();
            made += 1;
        }
        let refusal = match made {
            MAX_SPACES => Refusal::NoMemory(Resource::Spaces),
            _ => Refusal::QuotaExceeded(Resource::Spaces),
        };
        refused(&mut core, &machine, refusal, |core| core.ioas_alloc(client));
    }
    assert_eq!(made, MAX_SPACES);
}

#[test]
fn quotas_run_out_with_a_name() {
    let machine = Machine::default();
    let mut core = core(&machine);
    core.set_quota(A, Quota { frames: 4, areas: 2, spaces: 1 });
    let (id, _) = core.ioas_alloc(A).unwrap();
    let spaces = Refusal::QuotaExceeded(Resource::Spaces);
    refused(&mut core, &machine, spaces, |core| core.ioas_alloc(A));
    core.map(A, &fixed(id, 0, 0, PAGE)).unwrap();
    let frames = Refusal::QuotaExceeded(Resource::Frames);
    refused(&mut core, &machine, frames, |core| core.map(A, &fixed(id, 1 << 30, 0, PAGE)));
    core.map(A, &fixed(id, 2 * MIB, 0, PAGE)).unwrap();
    let areas = Refusal::QuotaExceeded(Resource::Areas);
    refused(&mut core, &machine, areas, |core| core.map(A, &fixed(id, PAGE, 0, PAGE)));
    // A client that was never configured is allowed nothing.
    let nobody = ClientId::new(0).unwrap();
    refused(&mut core, &machine, Refusal::QuotaExceeded(Resource::Frames), |core| core.ioas_alloc(nobody));
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let machine = Machine::default();
    let mut core = core(&machine);
    let mut grant = |slot, base, bytes| core.add_grant(A, slot, PhysAddr(base), bytes, Rights::READ);
    assert_eq!(grant(0, 0x1000, PAGE), Err(ConfigError::BadSlot(0)));
    assert_eq!(grant(MAX_GRANTS as u16, 0x1000, PAGE), Err(ConfigError::BadSlot(MAX_GRANTS as u16)));
    assert_eq!(grant(2, 0x1800, PAGE), Err(ConfigError::BadRegion { base: PhysAddr(0x1800), bytes: PAGE }));
    let wide = (1 << 40) - PAGE;
    assert_eq!(
        grant(2, wide, 2 * PAGE),
        Err(ConfigError::AddressTooWide { base: PhysAddr(wide), bytes: 2 * PAGE })
    );
    assert_eq!(grant(2, wide, PAGE), Ok(()));
    assert_eq!(core.add_device(B, stream(A, 1), 0), Err(ConfigError::StreamTaken(A)));
    assert_eq!(core.add_device(B, StreamId(1), 1), Err(ConfigError::NoSuchUnit(1)));
    for n in 2..crate::MAX_DEVICES as u16 {
        assert_eq!(core.add_device(B, StreamId(n.into()), 0), Ok(n));
    }
    assert_eq!(core.add_device(B, StreamId(1), 0), Err(ConfigError::TooManyDevices));
    assert_eq!(core.owner_of(0, StreamId(1)), None);
    assert_eq!(core.owner_of(0, StreamId(5)), Some((B, 5)));
}
