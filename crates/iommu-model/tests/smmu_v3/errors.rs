//! What QEMU cannot do: hardware that does not answer, is slow, or reports errors.

use iommu_hal::Registers;
use iommu_model::smmu_v3::{Ack, Config};

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_two};

#[test]
fn acknowledgements_can_be_late_or_lost() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().cr0_ack = Ack::AfterReads(5);
    assert!(rig.try_cr0(0b1100));
    rig.bench.faults().cr0_ack = Ack::Never;
    assert!(!rig.try_cr0(0b1000));
    assert_eq!(rig.regs.read32(0x20), 0b1000);
    assert!(rig.clock.elapsed_ns() > 1_000_000);
}

#[test]
fn a_change_is_in_force_only_once_it_is_acknowledged() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().cr0_ack = Ack::Never;
    assert!(!rig.try_cr0(0b1100));
    assert_eq!(blocked_by(rig.read(RAM)), None, "the Stream table still rules");
}

#[test]
fn an_update_of_the_global_bypass_can_hang() {
    let mut rig = Rig::off(Config::default());
    rig.bench.faults().gbpa_update = Ack::Never;
    rig.regs.write32(0x44, 0x8010_1000);
    assert_eq!(rig.regs.read32(0x44), 0x8010_1000);
    assert!(rig.read(RAM).is_ok(), "not in force");
    rig.bench.faults().gbpa_update = Ack::AfterReads(2);
    assert_eq!((rig.regs.read32(0x44) >> 31, rig.regs.read32(0x44) >> 31), (1, 0));
    assert!(rig.read(RAM).is_err());
}

#[test]
fn interrupt_enables_can_hang() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().irq_ctrl_ack = Ack::Never;
    rig.regs.write32(0x50, 0b101);
    assert_eq!(rig.regs.read32(0x54), 0);
}

#[test]
fn a_sync_that_never_completes_stops_the_queue() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().sync_never_completes = true;
    assert!(!rig.try_sync());
    rig.push([0x30, 0]);
    assert!(!rig.drained());
    assert_eq!(rig.regs.read32(0x60), 0, "and says nothing");
    rig.bench.faults().sync_never_completes = false;
    assert!(rig.drained());
}

#[test]
fn a_slow_unit_takes_one_command_in_so_many_reads() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().reads_per_command = 3;
    rig.push([0x30, 0]);
    rig.push([0x30, 0]);
    let reads: Vec<u32> = (0..6).map(|_| rig.regs.read32(0x9c)).collect();
    assert_eq!(reads, [3, 3, 4, 4, 4, 5]);
}

#[test]
fn a_failed_command_stops_the_queue_until_it_is_acknowledged() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().next_command_fails = Some(1);
    rig.bench.faults().commands_before_failure = 1;
    rig.push([0x30, 0]);
    rig.push([0x30, 0]);
    rig.push([0x30, 0]);
    assert_eq!((rig.regs.read32(0x60), rig.regs.read32(0x9c)), (1, 0x0100_0004));
    assert!(!rig.drained());
    rig.regs.write32(0x64, 1);
    assert!(rig.drained(), "it was the unit's fault alone");
}

#[test]
fn a_bad_command_fails_again_until_it_is_replaced() {
    let mut rig = Rig::on(Config::default());
    rig.push([0x40, 0]);
    assert_eq!(rig.regs.read32(0x60), 1);
    rig.regs.write32(0x64, 1);
    assert_eq!(rig.regs.read32(0x60), 0);
    rig.store(rig.commands + 16 * 3, 0x46);
    rig.regs.write32(0x64, 0);
    assert!(rig.drained());
}

#[test]
fn an_aborted_fetch_is_a_command_error() {
    let mut rig = Rig::on(Config::default());
    rig.bench.memory().abort_at(rig.commands, rig.commands + 0x7f);
    rig.push([0x30, 0]);
    assert_eq!((rig.regs.read32(0x9c) >> 24, rig.regs.read32(0x60)), (2, 1));
}

#[test]
fn commands_can_be_taken_back_while_an_error_stops_the_queue() {
    let mut rig = Rig::on(Config::default());
    rig.push([0x40, 0]);
    rig.produced = 3;
    rig.regs.write32(0x98, 3);
    rig.regs.write32(0x64, 1);
    assert_eq!(rig.regs.read32(0x9c) & 0xf, 3);
    rig.sync();
    assert_eq!(rig.regs.read32(0x9c) >> 24, 1, "ERR means nothing now, and need not be 0");
}

#[test]
fn service_failure_stops_everything() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM));
    rig.attach(DEVICE, Rig::stage_two(root));
    rig.bench.raise_errors(1 << 8);
    assert_eq!(blocked_by(rig.read(0)), None);
    assert!(!rig.try_sync());
    rig.regs.write32(0x64, 1 << 8);
    assert!(!rig.drained(), "the acknowledgement does not end it");
}

#[test]
fn a_sync_can_send_a_message() {
    let mut rig = Rig::on(Config { msi: true, ..Config::default() });
    let at = rig.frame();
    rig.push([0x46 | 1 << 12 | 0x1234 << 32, at + 4]);
    assert!(rig.drained());
    assert_eq!(rig.peek(at + 4), [0x34, 0x12, 0, 0]);
    rig.bench.memory().abort_at(at, at + 7);
    rig.push([0x46 | 1 << 12 | 0x1234 << 32, at]);
    assert_eq!(rig.regs.read32(0x60), 1 << 4);
    assert_eq!(rig.bench.observed().sync_interrupts, 2);
}

#[test]
fn the_queue_wraps() {
    let mut rig = Rig::on(Config::default());
    for _ in 0..40 {
        rig.sync();
    }
    assert_eq!(rig.bench.observed().syncs_completed, 41);
}
