//! When the unit sees what the CPU stores (ECAP.C, CAP.RWBF).

use iommu_hal::{PhysAddr, Registers, TableMemory};
use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, QIE, RAM, Rig, TE, blocked_by, forget_page};

fn attached(config: Config) -> (Rig, u64) {
    let mut rig = Rig::on(config);
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, root, 5);
    (rig, last)
}

#[test]
fn a_unit_that_does_not_snoop_sees_tables_once_they_are_cleaned() {
    let (mut rig, last) = attached(Config::default());
    rig.mem.write(PhysAddr(last), RAM | 0b11);
    rig.mem.publish();
    assert_eq!(blocked_by(rig.read(0)), Some(0x6));
    rig.mem.clean(PhysAddr(last), 8);
    assert!(rig.read(0).is_ok());
}

#[test]
fn a_unit_that_snoops_sees_tables_once_they_are_published() {
    let (mut rig, last) = attached(Config::coherent());
    rig.mem.write(PhysAddr(last), RAM | 0b11);
    rig.mem.clean(PhysAddr(last), 8);
    assert_eq!(blocked_by(rig.read(0)), Some(0x6));
    rig.mem.publish();
    assert!(rig.read(0).is_ok());
}

#[test]
fn an_invalidation_does_not_help_a_store_that_was_not_cleaned() {
    let (mut rig, last) = attached(Config::default());
    rig.store(last, RAM | 0b11);
    rig.read(0).unwrap();
    rig.mem.write(PhysAddr(last), 0);
    rig.push(forget_page(5, 0));
    rig.sync();
    assert!(rig.read(0).is_ok());
}

#[test]
fn the_queue_and_its_status_are_always_snooped() {
    let mut rig = Rig::off(Config::default());
    rig.enable_queue();
    rig.mem.write(PhysAddr(rig.status), 0);
    rig.mem.write(PhysAddr(rig.queue), 0x25 | 9 << 32);
    rig.mem.write(PhysAddr(rig.queue + 8), rig.status);
    rig.regs.write64(0x88, 16);
    assert_eq!(rig.mem.read(PhysAddr(rig.status)), 9);
}

#[test]
fn a_descriptor_that_was_not_published_is_not_there() {
    let mut rig = Rig::off(Config::coherent());
    rig.enable_queue();
    rig.mem.write(PhysAddr(rig.queue), 0x11);
    rig.regs.write64(0x88, 16);
    assert_eq!(rig.regs.read32(0x34), 1 << 4);
}

fn old() -> Rig {
    let mut rig = Rig::off(Config { write_buffer: true, ..Config::default() });
    rig.enable_queue();
    rig.store(rig.root, rig.contexts | 1);
    rig.point_at_root(rig.root);
    rig.invalidate_all();
    rig.command(QIE | TE);
    rig
}

#[test]
fn a_write_buffer_holds_stores_until_it_is_flushed() {
    let mut rig = old();
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    assert_eq!(blocked_by(rig.read(0)), Some(0x2));
    rig.command(QIE | TE | 1 << 27);
    assert!(rig.read(0).is_ok());
    assert_eq!(rig.bench.observed().write_buffer_flushes, 1);
}

#[test]
fn an_invalidation_flushes_it() {
    let mut rig = old();
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    rig.push(forget_page(5, 0));
    assert!(rig.read(0).is_ok());
}

#[test]
fn a_flush_can_be_late() {
    let mut rig = old();
    rig.bench.faults().write_buffer_flush = iommu_model::Ack::Never;
    rig.attach_raw(DEVICE, [0b1001, 0x502]);
    rig.regs.write32(0x18, QIE | TE | 1 << 27);
    assert_eq!(rig.regs.read32(0x1c) >> 27 & 1, 1);
    assert!(rig.read(RAM).is_err());
}

#[test]
#[should_panic(expected = "needs no write-buffer flush")]
fn a_flush_is_only_for_units_that_need_it() {
    Rig::off(Config::default()).regs.write32(0x18, 1 << 27);
}
