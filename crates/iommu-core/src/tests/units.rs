//! Several units.

use super::machine::Call;
use super::watch::request;
use super::*;
use crate::ConfigError;

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
