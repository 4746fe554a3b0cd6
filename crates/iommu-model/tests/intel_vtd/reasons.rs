//! Every fault reason of legacy mode, and what is recorded of it (7.1.3, 11.4.7.6).

use iommu_hal::StreamId;
use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by};

/// Does what `spoil` does to a rig with a page at 0x3000 of domain 5, accesses it, and gives the reason.
fn reason(config: Config, write: bool, spoil: impl FnOnce(&mut Rig, (u64, u64, u64))) -> Option<u8> {
    let mut rig = Rig::on(config);
    let tables = rig.tables();
    rig.store(tables.2 + 8 * 3, RAM | 0b11);
    rig.attach(DEVICE, tables.0, 5);
    spoil(&mut rig, tables);
    // Nothing was accessed yet, and nothing is read ahead.
    let result = if write { rig.write(0x3123, &[1]).map(|()| [1; 4]) } else { rig.read(0x3123) };
    let reason = blocked_by(result);
    let record = rig.fault().expect("a record");
    let kind = u64::from(!write) << 62;
    assert_eq!(record, [0x3000, 1 << 63 | kind | u64::from(reason.unwrap()) << 32 | 0x18]);
    assert_eq!(rig.fault(), None);
    reason
}

fn fresh() -> Config {
    Config { reads_ahead: false, ..Config::default() }
}

#[test]
fn root_entries() {
    assert_eq!(reason(fresh(), false, |rig, _| rig.store(rig.root, 0)), Some(0x1));
    assert_eq!(reason(fresh(), false, |rig, _| rig.store(rig.root, rig.contexts | 3)), Some(0xa));
    assert_eq!(reason(fresh(), true, |rig, _| rig.store(rig.root, rig.contexts | 1 | 1 << 48)), Some(0xa));
    assert_eq!(reason(fresh(), false, |rig, _| rig.store(rig.root + 8, 1)), Some(0xa));
    let aborted = |rig: &mut Rig, _| {
        let at = rig.root;
        rig.bench.memory().abort_at(at, at + 15);
    };
    assert_eq!(reason(fresh(), false, aborted), Some(0x8));
}

#[test]
fn context_entries() {
    let entry = |low: u64, high: u64| {
        move |rig: &mut Rig, (root, _, _): (u64, u64, u64)| {
            rig.store(rig.entry_at(DEVICE), 0);
            rig.attach_raw(DEVICE, [root | low, high]);
        }
    };
    assert_eq!(reason(fresh(), false, entry(0, 0x501)), Some(0x2));
    assert_eq!(reason(fresh(), false, entry(1 | 1 << 4, 0x501)), Some(0xb));
    assert_eq!(reason(fresh(), true, entry(1, 0x501 | 1 << 24)), Some(0xb));
    assert_eq!(reason(fresh(), false, entry(1, 0x500)), Some(0x3));
    assert_eq!(reason(fresh(), false, entry(1, 0x503)), Some(0x3));
    assert_eq!(reason(fresh(), false, entry(0b101, 0x501)), Some(0x3));
    assert_eq!(reason(Config { reads_ahead: false, ..Config::narrow() }, false, entry(1, 0x502)), Some(0x3));
    let aborted = |rig: &mut Rig, _| {
        let at = rig.entry_at(DEVICE);
        rig.bench.memory().abort_at(at, at + 15);
    };
    assert_eq!(reason(fresh(), false, aborted), Some(0x9));
}

#[test]
fn second_stage_entries() {
    let last =
        |value: u64| move |rig: &mut Rig, (_, _, last): (u64, u64, u64)| rig.store(last + 8 * 3, value);
    assert_eq!(reason(fresh(), true, last(0)), Some(0x5));
    assert_eq!(reason(fresh(), false, last(0)), Some(0x6));
    assert_eq!(reason(fresh(), true, last(RAM | 1)), Some(0x5));
    assert_eq!(reason(fresh(), false, last(RAM | 2)), Some(0x6));
    assert_eq!(reason(fresh(), false, last(RAM | 3 | 1 << 11)), Some(0xc));
    assert_eq!(reason(fresh(), true, last(RAM | 3 | 1 << 62)), Some(0xc));
    assert_eq!(reason(fresh(), true, last(1 << 48 | 3)), Some(0xc));
    assert_eq!(reason(fresh(), true, last(0xfee0_0003)), Some(0xe));
    let middle = |value: u64| move |rig: &mut Rig, (_, middle, _): (u64, u64, u64)| rig.store(middle, value);
    assert_eq!(reason(fresh(), false, middle(0)), Some(0x6));
    assert_eq!(reason(fresh(), false, middle(RAM | 0x1083)), Some(0xc));
    let small = Config { large_pages: vec![30], reads_ahead: false, ..Config::default() };
    assert_eq!(reason(small, false, middle(RAM | 0x83)), Some(0xc));
    for table in [0usize, 1, 2] {
        let aborted = move |rig: &mut Rig, tables: (u64, u64, u64)| {
            let at = [tables.0, tables.1, tables.2][table];
            rig.bench.memory().abort_at(at, at + 0xfff);
        };
        assert_eq!(reason(fresh(), false, aborted), Some(0x7), "{table}");
    }
}

#[test]
fn addresses_too_wide_for_the_tables_or_the_unit() {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    rig.attach(DEVICE, root, 5);
    assert_eq!(blocked_by(rig.read(1 << 39)), Some(0x4));
    let record = rig.fault().unwrap();
    assert_eq!(record[0], 1 << 39);
    let mut rig = Rig::on(Config { guest_bits: 42, ..Config::default() });
    let root = rig.frame();
    rig.attach_raw(DEVICE, [root | 1, 0x502]);
    assert_eq!(blocked_by(rig.read((1 << 42) - 4)), Some(0x6));
    assert_eq!(blocked_by(rig.read(1 << 42)), Some(0x4));
}

#[test]
fn a_pasid_means_nothing_in_legacy_mode() {
    let mut rig = Rig::on(Config::default());
    let blocked = rig.bench.dma_write_with_pasid(DEVICE, 3, 0x1000, &[1]).unwrap_err();
    assert_eq!(blocked.reason, Some(0x31));
    assert_eq!(rig.fault(), Some([0x1000, 1 << 63 | 3 << 40 | 0x31 << 32 | 1 << 31 | 0x18]));
}

#[test]
fn fault_processing_can_be_disabled_for_what_comes_after_the_context_entry() {
    for (low, reason) in [(0b10, 0x2), (0b11, 0x6), (0b11 | 1 << 5, 0xb)] {
        let mut rig = Rig::on(Config::default());
        let (root, _, _) = rig.tables();
        rig.attach_raw(DEVICE, [root | low, 0x501]);
        let blocked = rig.read(0x1000).unwrap_err();
        assert_eq!((blocked.reason, blocked.recorded), (Some(reason), false));
        assert_eq!(rig.fault(), None);
    }
    let mut rig = Rig::on(fresh());
    let (root, _, _) = rig.tables();
    rig.attach_raw(DEVICE, [root | 0b11, 0x501]);
    rig.store(rig.root, 0);
    assert!(rig.read(0).unwrap_err().recorded, "the root entry comes before it");
}

#[test]
fn the_interrupt_range_is_no_memory() {
    let mut rig = Rig::on(Config::default());
    rig.attach_raw(DEVICE, [0b1001, 2 | 5 << 8]);
    assert_eq!(blocked_by(rig.read(0xfee0_0000)), None);
    assert_eq!(blocked_by(rig.write(0xfeef_fff8, &[0; 8])), None);
    assert!(rig.bench.dma_read(StreamId(0x18), 0xfef0_0000, &mut [0; 4]).is_ok());
}
