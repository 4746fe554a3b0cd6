//! Stopping and enabling a device.

use super::machine::{Call, TIMEOUT};
use super::watch::request;
use super::*;
use iommu_hal::DomainTag;

fn rig(machine: &Machine) -> (TestCore, SpaceId) {
    let mut core = core(machine);
    let (id, _) = core.ioas_alloc(A).unwrap();
    core.attach(A, id, 0).unwrap();
    core.map(A, &fixed(id, 0x1000, 0, PAGE)).unwrap();
    machine.take_calls();
    (core, id)
}

#[test]
fn a_stopped_device_keeps_its_space_and_reaches_it_again_when_enabled() {
    let machine = Machine::default();
    let (mut core, id) = rig(&machine);
    request(&mut core, &machine, |core| core.stop(A, 0)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::Block(stream(A, 0)))]);
    let info = core.device_info(A, 0).unwrap();
    assert_eq!((info.space, info.stopped, core.is_attached(stream(A, 0))), (None, Some(id), false));
    request(&mut core, &machine, |core| core.stop(A, 0)).unwrap();
    assert_eq!(machine.take_calls(), [], "once");
    assert_eq!(core.attach(A, id, 0), Err(Refusal::AlreadyAttached(id)));
    assert_eq!(core.replace(A, id, 0), Err(Refusal::Stopped));
    assert_eq!(core.ioas_destroy(A, id), Err(Refusal::Busy));
    // Its space goes on.
    request(&mut core, &machine, |core| core.map(A, &fixed(id, 0x2000, 0, PAGE))).unwrap();
    request(&mut core, &machine, |core| core.unmap(A, id, 0x1000, 0x1fff)).unwrap();
    machine.take_calls();
    request(&mut core, &machine, |core| core.enable(A, 0)).unwrap();
    assert_eq!(machine.take_calls(), [(0, Call::Attach(stream(A, 0), DomainTag(1)))]);
    assert_eq!(core.device_info(A, 0).unwrap().space, Some(id));
    request(&mut core, &machine, |core| core.enable(A, 0)).unwrap();
    assert_eq!(machine.take_calls(), [], "once");
    request(&mut core, &machine, |core| core.stop(A, 0)).unwrap();
    request(&mut core, &machine, |core| core.detach(A, 0)).unwrap();
    request(&mut core, &machine, |core| core.ioas_destroy(A, id)).unwrap();
}

#[test]
fn what_is_not_attached_is_neither_stopped_nor_enabled() {
    let machine = Machine::default();
    let (mut core, _) = rig(&machine);
    assert_eq!(core.stop(A, 1), Ok(()));
    assert_eq!(core.enable(A, 1), Err(Refusal::NotAttached));
    assert_eq!(core.stop(A, 2), Err(Refusal::NoSuchDevice(2)));
    assert_eq!(core.enable(A, 2), Err(Refusal::NoSuchDevice(2)));
    assert_eq!(machine.take_calls(), []);
}

#[test]
fn a_device_that_the_hardware_does_not_confirm_must_be_detached() {
    for enable in [false, true] {
        let machine = Machine::default();
        let (mut core, id) = rig(&machine);
        if enable {
            core.stop(A, 0).unwrap();
        }
        machine.fail_at(0, TIMEOUT);
        let failed = request(&mut core, &machine, |core| match enable {
            true => core.enable(A, 0),
            false => core.stop(A, 0),
        });
        assert_eq!(failed, Err(TIMEOUT.into()));
        assert!(!core.is_attached(stream(A, 0)));
        assert_eq!(core.enable(A, 0), Err(Refusal::Busy));
        request(&mut core, &machine, |core| core.detach(A, 0)).unwrap();
        request(&mut core, &machine, |core| core.ioas_destroy(A, id)).unwrap();
    }
}
