//! Several units.

use iommu_hal::IovaRange;

use super::machine::Call;
use super::watch::request;
use super::*;
use crate::{ConfigError, CopyRequest};

/// A core over `shapes`, with a device of B behind each unit but the first, all of the same stream.
fn rig(machine: &Machine, shapes: &[Geometry]) -> TestCore {
    let mut core = core_of::<AREAS>(machine, shapes, 64);
    for unit in 1..shapes.len() {
        core.add_device(B, stream(B, 0), unit).unwrap();
    }
    core
}

#[test]
fn one_space_serves_devices_behind_units_of_one_format() {
    let machine = Machine::default();
    let mut core = rig(&machine, &[STAGE2, STAGE2, STAGE2]);
    let (id, _) = core.ioas_alloc(B).unwrap();
    request(&mut core, &machine, |core| core.attach(B, id, 0)).unwrap();
    request(&mut core, &machine, |core| core.attach(B, id, 2)).unwrap();
    request(&mut core, &machine, |core| core.map(B, &fixed(id, 0x1000, 0, PAGE))).unwrap();
    machine.take_calls();
    // Every unit that may have cached it is told, then waited for; the third one is not.
    request(&mut core, &machine, |core| core.unmap(B, id, 0x1000, 0x1fff)).unwrap();
    let units = |calls: Vec<(usize, Call)>| {
        calls.into_iter().map(|(unit, call)| (unit, matches!(call, Call::Sync))).collect::<Vec<_>>()
    };
    assert_eq!(units(machine.take_calls()), [(0, false), (1, false), (0, true), (1, true)]);
    request(&mut core, &machine, |core| core.detach(B, 0)).unwrap();
    request(&mut core, &machine, |core| core.map(B, &fixed(id, 0x1000, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.unmap(B, id, 0x1000, 0x1fff)).unwrap();
    repeat(|| request(&mut core, &machine, |core| core.reset(B))).unwrap();
    assert!(machine.0.cached.borrow().is_empty());
}

#[test]
fn a_stream_is_another_device_behind_another_unit() {
    let machine = Machine::default();
    let mut core = rig(&machine, &[STAGE2, STAGE2]);
    assert_eq!(core.owner_of(0, stream(B, 0)), Some((B, 0)));
    assert_eq!(core.owner_of(1, stream(B, 0)), Some((B, 2)));
    assert_eq!(core.add_device(A, stream(B, 0), 1), Err(ConfigError::StreamTaken(B)));
    let (id, _) = core.ioas_alloc(B).unwrap();
    core.attach(B, id, 0).unwrap();
    assert!(!core.is_attached(stream(B, 0)), "only one of the two is");
    core.attach(B, id, 2).unwrap();
    assert!(core.is_attached(stream(B, 0)));
}

#[test]
fn a_device_behind_a_unit_of_another_format_is_refused_and_nothing_changes() {
    let machine = Machine::default();
    let mut core = rig(&machine, &[STAGE2, STAGE1]);
    let (id, _) = core.ioas_alloc(B).unwrap();
    request(&mut core, &machine, |core| core.attach(B, id, 0)).unwrap();
    machine.take_calls();
    let refused = request(&mut core, &machine, |core| core.attach(B, id, 2));
    assert_eq!((refused, machine.take_calls()), (Err(Refusal::Incompatible), Vec::new()));
}

#[test]
fn tables_are_cleaned_for_the_one_unit_that_does_not_snoop() {
    let machine = Machine::default();
    let mut core = rig(&machine, &[STAGE2, STAGE2]);
    core.hardware.units[1].clean = true;
    let (id, _) = core.ioas_alloc(B).unwrap();
    machine.0.cleaned.take();
    core.map(B, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    assert!(machine.0.cleaned.take() > 0);
}

const VTD: Geometry = Geometry { format: Format::VtdSecondStage, input_bits: 48, ..STAGE2 };
const INTERRUPTS: IovaRange = IovaRange::new(0xfee0_0000, 0xfeef_ffff).unwrap();

#[test]
fn what_a_format_never_translates_is_reserved_in_every_space_of_it() {
    let machine = Machine::default();
    let mut core = core_of::<AREAS>(&machine, &[VTD], 64);
    let (id, _) = core.ioas_alloc(B).unwrap();
    for attached in [false, true, false] {
        for iova in [0xfee0_0000, 0xfeef_f000] {
            let range = IovaRange::from_length(iova, PAGE).unwrap();
            let refused = core.map(B, &fixed(id, iova, 0, PAGE));
            assert_eq!(refused, Err(Refusal::ReservedByDevice { range, reserved: INTERRUPTS }));
        }
        for iova in [0xfedf_f000, 0xfef0_0000] {
            core.map(B, &fixed(id, iova, 0, PAGE)).unwrap();
        }
        repeat(|| core.unmap(B, id, 0, VTD.aperture().last())).unwrap();
        core.allow_begin(B, id).unwrap();
        core.allow_add(B, id, 0xfee0_0000, 0xfeff_ffff).unwrap();
        assert_eq!(core.allow_commit(B, id), Err(Refusal::RangeInUse(INTERRUPTS)));
        core.allow_begin(B, id).unwrap();
        core.allow_commit(B, id).unwrap();
        let usable = core.usable(B, id, 0).unwrap();
        assert_eq!((usable.range.last(), usable.count), (0xfedf_ffff, 2));
        if attached {
            core.detach(B, 0).unwrap();
        } else {
            core.attach(B, id, 0).unwrap();
        }
    }
    core.detach(B, 0).unwrap();
}

#[test]
fn a_unit_that_caches_absence_is_told_of_new_mappings_once_a_device_is_attached() {
    let machine = Machine::default();
    machine.0.caches_absence.set(true);
    let mut core = core_of::<AREAS>(&machine, &[VTD], 64);
    let (id, _) = core.ioas_alloc(B).unwrap();
    core.map(B, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    core.attach(B, id, 0).unwrap();
    machine.take_calls();
    core.map(B, &fixed(id, 0x4000, 0, 3 * PAGE)).unwrap();
    let told = |calls: Vec<(usize, Call)>| match calls[..] {
        [(0, Call::Invalidate { range, tables: true, .. }), (0, Call::Sync)] => range,
        _ => panic!("{calls:?}"),
    };
    assert_eq!(told(machine.take_calls()), IovaRange::new(0x4000, 0x6fff).unwrap());
    let rights = Rights::READ_WRITE;
    let (source, target, first, iova, length) = (id, id, 0x5000, 0x9000, PAGE);
    let copy = CopyRequest { target, source, rights, fixed: true, resume: false, iova, first, length };
    core.copy(B, &copy).unwrap();
    assert_eq!(told(machine.take_calls()), IovaRange::new(0x9000, 0x9fff).unwrap());
    // A unit that does not answer says so itself; the mapping stands.
    machine.fail_at(0, super::machine::TIMEOUT);
    core.map(B, &fixed(id, 0xb000, 0, PAGE)).unwrap();
    machine.take_calls();
    repeat(|| core.unmap(B, id, 0x1000, 0x1fff)).unwrap();
    assert!(machine.take_calls().iter().any(|(_, call)| matches!(call, Call::InvalidateAll(_))));
}
