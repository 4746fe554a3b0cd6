//! Fault recording registers and the fault event (7.2, 11.4.7).

use iommu_hal::{Registers, StreamId};
use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, Rig};

const PFO: u32 = 1;
const PPF: u32 = 2;

#[test]
fn one_record_holds_the_first_fault_and_the_rest_overflows() {
    let mut rig = Rig::on(Config { collapses_faults: false, ..Config::default() });
    assert_eq!(rig.regs.read32(0x34), 0);
    assert!(rig.read(0x1000).unwrap_err().recorded);
    assert_eq!(rig.regs.read32(0x34), PPF);
    assert!(!rig.read(0x2000).unwrap_err().recorded);
    assert_eq!(rig.regs.read32(0x34), PPF | PFO);
    assert_eq!(rig.fault().unwrap()[0], 0x1000);
    assert_eq!(rig.regs.read32(0x34), PFO);
    assert!(!rig.read(0x3000).unwrap_err().recorded, "an overflow stands");
    rig.regs.write32(0x34, PFO);
    assert!(rig.read(0x4000).unwrap_err().recorded);
    let seen = rig.bench.observed();
    assert_eq!((seen.faults_recorded, seen.faults_lost), (2, 2));
}

#[test]
fn a_device_with_a_record_pending_makes_no_other() {
    let mut rig = Rig::on(Config::default());
    let _ = rig.read(0x1000);
    let _ = rig.read(0x2000);
    assert_eq!((rig.regs.read32(0x34), rig.bench.observed().faults_collapsed), (PPF, 1));
    let _ = rig.read_as(StreamId(9), 0x1000);
    assert_eq!(rig.regs.read32(0x34), PPF | PFO);
}

#[test]
fn several_records_are_filled_in_turn_from_the_first_pending_one() {
    let mut rig = Rig::on(Config { fault_records: 3, ..Config::default() });
    for device in 0..4 {
        let _ = rig.read_as(StreamId(device), 0x1000);
    }
    assert_eq!(rig.regs.read32(0x34), PPF | PFO);
    rig.regs.write32(0x34, PFO);
    for index in [0, 1, 2] {
        assert_eq!(rig.record(index).unwrap()[1] & 0xffff, u64::from(index));
    }
    let _ = rig.read_as(StreamId(7), 0);
    let _ = rig.read_as(StreamId(8), 0);
    rig.record(0).unwrap();
    rig.record(1).unwrap();
    let _ = rig.read_as(StreamId(9), 0);
    assert_eq!(rig.regs.read32(0x34), PPF | 2 << 8);
}

#[test]
fn a_record_clears_by_a_one_and_by_nothing_else() {
    let mut rig = Rig::on(Config::default());
    let _ = rig.read(0x1000);
    rig.regs.write64(0x228, 0);
    rig.regs.write64(0x220, u64::MAX);
    rig.regs.write32(0x228, u32::MAX);
    assert_eq!((rig.regs.read32(0x34), rig.regs.read32(0x22c) >> 31), (PPF, 1));
    assert_eq!(rig.regs.read32(0x220), 0x1000);
    rig.regs.write64(0x228, 1 << 63);
    assert_eq!(rig.regs.read32(0x34), 0);
}

#[test]
fn faults_raise_one_interrupt_for_what_stands() {
    let mut rig = Rig::on(Config { fault_records: 2, ..Config::default() });
    assert_eq!(rig.regs.read32(0x38), 1 << 31, "masked after reset");
    rig.regs.write32(0x3c, 0x30);
    rig.regs.write32(0x40, 0xfee0_1000);
    rig.regs.write32(0x38, 0);
    let _ = rig.read(0x1000);
    let _ = rig.read_as(StreamId(9), 0x1000);
    assert_eq!(rig.bench.observed().fault_interrupts, 1);
    rig.record(0).unwrap();
    rig.record(1).unwrap();
    rig.regs.write32(0x38, 1 << 31);
    let _ = rig.read(0x1000);
    assert_eq!((rig.regs.read32(0x38), rig.bench.observed().fault_interrupts), (0b11 << 30, 1));
    rig.regs.write32(0x38, 0);
    assert_eq!((rig.regs.read32(0x38), rig.bench.observed().fault_interrupts), (0, 2));
}

#[test]
fn a_pending_interrupt_goes_with_its_cause() {
    let mut rig = Rig::on(Config::default());
    let _ = rig.read(0x1000);
    assert_eq!(rig.regs.read32(0x38), 0b11 << 30);
    rig.fault().unwrap();
    assert_eq!(rig.regs.read32(0x38), 1 << 31);
}

#[test]
fn any_record_can_be_injected() {
    let mut rig = Rig::on(Config::default());
    rig.bench.inject_fault(DEVICE, Some(0xf_ffff), u64::MAX, true, 0xff);
    let record = rig.fault().unwrap();
    assert_eq!(record, [!0xfff, 1 << 63 | 0xf_ffff << 40 | 0xff << 32 | 1 << 31 | 0x18]);
}

#[test]
#[should_panic(expected = "unmasked before its message address")]
fn an_event_has_a_message_before_it_is_unmasked() {
    Rig::off(Config::default()).regs.write32(0x38, 0);
}
