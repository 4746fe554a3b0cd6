//! What the registers hold, and how they may be accessed (11.2, 11.4).

use iommu_hal::Registers;
use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, QIE, Rig, SRTP, TE};

#[test]
fn identification_is_read_in_both_widths() {
    let mut rig = Rig::off(Config::default());
    assert_eq!(rig.regs.read32(0), 0x10);
    assert_eq!(rig.regs.read64(0x8), 0xd2_008c_222f_0606);
    assert_eq!((rig.regs.read32(0x8), rig.regs.read32(0xc)), (0x222f_0606, 0xd2_008c));
    assert_eq!(rig.regs.read64(0x10), 0xf0_0f4a);
    assert_eq!(rig.regs.read32(0x64), 0);
}

#[test]
fn addresses_are_written_in_both_widths() {
    let mut rig = Rig::off(Config::default());
    rig.regs.write32(0x20, 0x5000_1000);
    rig.regs.write32(0x24, 0x12);
    assert_eq!(rig.regs.read64(0x20), 0x12_5000_1000);
    rig.regs.write64(0x90, 0x5000_2003);
    assert_eq!((rig.regs.read32(0x90), rig.regs.read32(0x94)), (0x5000_2003, 0));
}

#[test]
fn the_status_follows_the_commands() {
    let mut rig = Rig::on(Config::default());
    assert_eq!(rig.regs.read32(0x1c), TE | SRTP | QIE);
    rig.regs.write32(0x18, TE | QIE);
    assert_eq!(rig.regs.read32(0x1c), TE | SRTP | QIE, "nothing changes");
}

#[test]
#[should_panic(expected = "a field left out is turned off")]
fn a_command_holds_the_whole_state() {
    let mut rig = Rig::on(Config::default());
    rig.regs.write32(0x18, SRTP);
}

#[test]
#[should_panic(expected = "one field at a time")]
fn fields_change_one_at_a_time() {
    let mut rig = Rig::off(Config::default());
    rig.regs.write64(0x90, rig.queue);
    rig.regs.write32(0x18, SRTP | QIE);
}

#[test]
#[should_panic(expected = "GCMD is write-only")]
fn the_command_is_not_read() {
    Rig::off(Config::default()).regs.read32(0x18);
}

#[test]
#[should_panic(expected = "what the unit does not have")]
fn what_the_unit_lacks_is_not_commanded() {
    Rig::off(Config::without_interrupt_remapping()).regs.write32(0x18, 1 << 25);
}

#[test]
#[should_panic(expected = "which has 32 bits")]
fn a_narrow_register_is_not_read_wide() {
    Rig::off(Config::default()).regs.read64(0x18);
}

#[test]
#[should_panic(expected = "misaligned")]
fn a_wide_access_is_aligned() {
    Rig::off(Config::default()).regs.read64(0xc);
}

#[test]
#[should_panic(expected = "no register")]
fn there_is_no_register_in_the_gaps() {
    Rig::off(Config::default()).regs.read32(0x230);
}

#[test]
#[should_panic(expected = "read-only")]
fn capabilities_are_not_written() {
    Rig::off(Config::default()).regs.write64(0x8, 0);
}

#[test]
#[should_panic(expected = "RTADDR")]
fn reserved_bits_of_the_root_address_are_not_for_use() {
    Rig::off(Config::default()).regs.write64(0x20, 0x5000_0001);
}

#[test]
#[should_panic(expected = "no scalable mode")]
fn scalable_mode_is_for_units_that_have_it() {
    Rig::off(Config::default()).regs.write64(0x20, 0x5000_0400);
}

#[test]
#[should_panic(expected = "the translation table mode changes")]
fn the_mode_does_not_change_while_translation_is_on() {
    let mut rig = Rig::on(Config { abort_mode: true, ..Config::default() });
    rig.point_at_root(rig.root | 3 << 10);
}

#[test]
#[should_panic(expected = "where this unit has no register")]
fn a_unit_without_a_queue_has_no_registers_for_it() {
    Rig::off(Config::old()).regs.read64(0x80);
}

#[test]
fn a_mode_that_aborts_everything_records_nothing() {
    let mut rig = Rig::off(Config { abort_mode: true, ..Config::default() });
    rig.enable_queue();
    rig.point_at_root(3 << 10);
    rig.invalidate_all();
    rig.command(QIE | TE);
    let blocked = rig.read(0x1000).unwrap_err();
    assert_eq!((blocked.reason, blocked.recorded), (None, false));
    assert_eq!(rig.regs.read32(0x34), 0);
}

#[test]
#[should_panic(expected = "no protected regions")]
fn protected_memory_is_for_units_that_have_it() {
    Rig::off(Config::default()).regs.write32(0x64, 1 << 31);
}

#[test]
fn registers_lie_where_the_capabilities_say() {
    let mut rig = Rig::off(Config::server());
    let (cap, ecap) = (rig.regs.read64(0x8), rig.regs.read64(0x10));
    let (faults, iotlb) = ((cap >> 24 & 0x3ff) as u32 * 16, (ecap >> 8 & 0x3ff) as u32 * 16);
    assert_eq!((faults, iotlb), (0x400, 0x500));
    rig.bench.inject_fault(DEVICE, None, 0x1000, true, 5);
    assert_eq!(rig.regs.read64(faults), 0x1000);
    assert_eq!(rig.regs.read64(faults + 8 + 16 * 7), 0);
    assert_eq!(rig.regs.read64(iotlb + 8), 0);
}
