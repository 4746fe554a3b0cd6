//! Every fault reason of scalable mode that second-stage translation can have (7.1.3).

use iommu_model::intel_vtd::Config;

use crate::{
    rig::{DEVICE, RAM, Rig, blocked_by},
    scalable::{directory, second_stage},
};

struct Tables {
    directory: u64,
    pasids: u64,
    root: u64,
    middle: u64,
    last: u64,
}

fn config() -> Config {
    Config { reads_ahead: false, pasid_bits: 20, ..Config::scalable() }
}

/// Does what `spoil` does to a device with a page at 0x3000, accesses it, and gives the reason.
fn reason(write: bool, spoil: impl FnOnce(&mut Rig, &Tables)) -> Option<u8> {
    let mut rig = Rig::scalable(config());
    let (root, middle, last) = rig.tables();
    rig.store(last + 8 * 3, RAM | 0b11);
    let (directory, pasids) = directory(&mut rig, DEVICE, 1, 0);
    second_stage(&mut rig, pasids, root, 5, false);
    spoil(&mut rig, &Tables { directory, pasids, root, middle, last });
    let reason = blocked_by(if write { rig.write(0x3123, &[1]).map(|()| [1; 4]) } else { rig.read(0x3123) });
    let kind = u64::from(!write) << 62;
    let expected = [0x3000, 1 << 63 | kind | u64::from(reason.unwrap()) << 32 | 0x18];
    assert_eq!(rig.fault(), Some(expected));
    reason
}

fn store(at: impl Fn(&Rig, &Tables) -> u64, value: u64) -> impl FnOnce(&mut Rig, &Tables) {
    move |rig, tables| {
        let at = at(rig, tables);
        rig.store(at, value);
    }
}

fn abort(at: impl Fn(&Rig, &Tables) -> u64) -> impl FnOnce(&mut Rig, &Tables) {
    move |rig, tables| {
        let at = at(rig, tables);
        rig.bench.memory().abort_at(at, at + 63);
    }
}

#[test]
fn root_entries() {
    assert_eq!(reason(false, abort(|rig, _| rig.root)), Some(0x38));
    assert_eq!(reason(false, store(|rig, _| rig.root, 0)), Some(0x39));
    assert_eq!(reason(false, store(|rig, _| rig.root, RAM | 0b11)), Some(0x3a));
}

#[test]
fn context_entries() {
    let entry = |rig: &Rig, _: &Tables| rig.contexts + 32 * 0x18;
    assert_eq!(reason(false, abort(entry)), Some(0x40));
    assert_eq!(reason(false, store(entry, 0)), Some(0x41));
    assert_eq!(reason(false, store(entry, RAM | 1 | 1 << 5)), Some(0x42));
    assert_eq!(reason(false, store(move |rig, tables| entry(rig, tables) + 16, 1)), Some(0x42));
    assert_eq!(reason(false, store(move |rig, tables| entry(rig, tables) + 8, 1)), Some(0x42), "RID_PASID");
    let mut rig = Rig::scalable(Config { reads_ahead: false, ..Config::server() });
    directory(&mut rig, DEVICE, 1, 8192);
    assert_eq!(blocked_by(rig.read(0)), Some(0x43));
}

#[test]
fn pasids_that_requests_carry() {
    let mut rig = Rig::scalable(config());
    directory(&mut rig, DEVICE, 1, 0);
    let with = |rig: &Rig, pasid| blocked_by(rig.bench.dma_write_with_pasid(DEVICE, pasid, 0, &[1]));
    assert_eq!(with(&rig, 1), Some(0x45));
    let mut rig = Rig::scalable(config());
    directory(&mut rig, DEVICE, 0b1001, 0);
    assert_eq!(with(&rig, 8192), Some(0x46));
    assert_eq!(with(&rig, 8191), Some(0x51));
    let record = rig.fault().unwrap();
    assert_eq!((record[1] >> 40 & 0xf_ffff, record[1] >> 31 & 1), (8192, 1));
}

#[test]
fn directory_entries() {
    assert_eq!(reason(false, abort(|_, tables| tables.directory)), Some(0x50));
    assert_eq!(reason(false, store(|_, tables| tables.directory, 0)), Some(0x51));
    assert_eq!(reason(false, store(|_, tables| tables.directory, RAM | 1 | 1 << 2)), Some(0x52));
}

#[test]
fn pasid_entries() {
    assert_eq!(reason(false, abort(|_, tables| tables.pasids)), Some(0x58));
    assert_eq!(reason(false, store(|_, tables| tables.pasids, 0)), Some(0x59));
    assert_eq!(reason(false, store(|_, tables| tables.pasids + 56, 1)), Some(0x5a));
    assert_eq!(reason(false, store(|_, tables| tables.pasids, RAM | 0b001 << 6 | 0b101)), Some(0x5b), "PGTT");
    assert_eq!(reason(false, store(|_, tables| tables.pasids, RAM | 0b010 << 6 | 1)), Some(0x5b), "AW");
}

#[test]
fn second_stage_entries() {
    let last = |_: &Rig, tables: &Tables| tables.last + 8 * 3;
    assert_eq!(reason(false, abort(|_, tables| tables.root)), Some(0x7b));
    assert_eq!(reason(false, abort(|_, tables| tables.middle)), Some(0x78));
    assert_eq!(reason(false, store(last, 0)), Some(0x79));
    assert_eq!(reason(true, store(last, 0)), Some(0x79));
    assert_eq!(reason(true, store(last, RAM | 0b11 | 1 << 62)), Some(0x7a));
    assert_eq!(reason(true, store(last, RAM | 0b01)), Some(0x85));
    assert_eq!(reason(false, store(last, RAM | 0b10)), Some(0x86));
    assert_eq!(reason(true, store(last, 0xfee0_0003)), Some(0x87));
    let crossed = |rig: &mut Rig, tables: &Tables| {
        rig.store(tables.root, tables.middle | 0b01);
        rig.store(tables.last + 8 * 3, RAM | 0b10);
    };
    assert_eq!(reason(false, crossed), Some(0x79), "nothing is left of the rights");
}

#[test]
fn addresses_too_wide() {
    let mut rig = Rig::scalable(config());
    let (root, _, _) = rig.tables();
    let (_, pasids) = directory(&mut rig, DEVICE, 1, 0);
    second_stage(&mut rig, pasids, root, 5, false);
    assert_eq!(blocked_by(rig.read(1 << 39)), Some(0x84));
    let mut rig = Rig::scalable(config());
    let (_, pasids) = directory(&mut rig, DEVICE, 1, 0);
    rig.store(pasids, 0b100 << 6 | 1);
    assert_eq!(blocked_by(rig.read(1 << 48)), Some(0x83));
}

#[test]
fn fault_processing_is_disabled_by_any_entry_on_the_way() {
    for (context, directory_bit, pasid) in [(2, 0, 0), (0, 2, 0), (0, 0, 2)] {
        let mut rig = Rig::scalable(config());
        let (root, _, _) = rig.tables();
        let (at, pasids) = directory(&mut rig, DEVICE, 1 | context, 0);
        rig.store(at, pasids | 1 | directory_bit);
        second_stage(&mut rig, pasids, root | pasid, 5, false);
        let blocked = rig.read(0).unwrap_err();
        assert_eq!((blocked.reason, blocked.recorded), (Some(0x79), false));
    }
}
