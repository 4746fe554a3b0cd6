//! A unit that a boot loader left on.

use iommu_hal::Registers;
use iommu_model::smmu_v3::{Bench, Config, LeftOn};

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_two};

#[test]
fn everything_passes_until_it_is_taken_over_in_order() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    assert!(rig.read(RAM).is_ok());
    assert_eq!((rig.regs.read32(0x20), rig.regs.read32(0x60)), (0b1101, 0b101));
    rig.regs.write32(0x44, 0x8010_1000);
    rig.set_cr0(0);
    assert_eq!(blocked_by(rig.read(RAM)), None);
    rig.regs.write32(0x64, 0b101);
    rig.queues();
    rig.push([0x04, 31]);
    rig.push([0x30, 0]);
    rig.sync();
    rig.enable_streams();
    assert_eq!(blocked_by(rig.read(RAM)), None);
    assert_eq!(rig.bench.observed().global_bypasses, 0);
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM));
    rig.attach(DEVICE, Rig::stage_two(root));
    assert!(rig.read(0).is_ok());
    assert_eq!(blocked_by(rig.read(0x1000)), Some(0x10));
}

#[test]
fn switching_it_off_first_opens_everything() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    rig.set_cr0(0);
    assert_eq!(rig.bench.observed().global_bypasses, 1);
}

#[test]
fn what_it_cached_survives_being_switched_off() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    rig.set_cr0(0);
    assert!(rig.bench.cached_translations() > 0);
    rig.regs.write32(0x64, 0b101);
    rig.queues();
    rig.push([0x30, 0]);
    rig.sync();
    assert_eq!(rig.bench.cached_translations(), 0);
}

#[test]
fn the_command_queue_stands_still_while_the_old_error_is_active() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    rig.set_cr0(0);
    rig.queues();
    assert!(!rig.try_sync());
    rig.regs.write32(0x64, 0b101);
    assert!(rig.drained());
}

#[test]
#[should_panic(expected = "SMMUEN before CMD_CFGI_ALL")]
fn what_it_cached_must_go_before_the_unit_is_on_again() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    rig.set_cr0(0);
    rig.regs.write32(0x64, 0b101);
    rig.queues();
    rig.push([0x30, 0]);
    rig.sync();
    rig.enable_streams();
}

#[test]
#[should_panic(expected = "CMDQ_BASE written while CMDQEN")]
fn its_queues_must_be_off_before_they_are_moved() {
    let mut rig = Rig::over(Bench::left_on(Config::default(), &LeftOn::default()));
    rig.regs.write64(0x90, rig.commands | 3);
}

#[test]
fn parts_of_it_can_be_off() {
    let left = LeftOn {
        translating: false,
        command_queue: false,
        event_queue: None,
        errors: 0,
        aborts: true,
        ..LeftOn::default()
    };
    let mut rig = Rig::over(Bench::left_on(Config::default(), &left));
    assert_eq!((rig.regs.read32(0x24), rig.regs.read32(0x60)), (0, 0));
    assert_eq!(blocked_by(rig.read(RAM)), None);
}
