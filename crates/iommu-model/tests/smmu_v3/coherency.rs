//! A unit that does not snoop, and stores that were never published.

use iommu_hal::{PhysAddr, Registers, TableMemory};
use iommu_model::smmu_v3::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_two};

fn apart() -> Config {
    Config { coherent: false, ..Config::default() }
}

#[test]
fn tables_are_seen_as_of_the_last_clean() {
    let mut rig = Rig::on(apart());
    assert_eq!(rig.regs.read32(0) & 0x10, 0);
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, Rig::stage_two(root));
    rig.mem.write(PhysAddr(last), page_two(RAM));
    rig.mem.publish();
    assert_eq!(blocked_by(rig.read(0)), Some(0x10));
    rig.mem.clean(PhysAddr(last + 0x38), 8);
    assert!(rig.read(0).is_ok(), "cleaning works on whole lines");
}

#[test]
fn records_are_seen_once_the_line_is_invalidated() {
    let mut rig = Rig::on(apart());
    assert_eq!(blocked_by(rig.bench.dma_write(iommu_hal::StreamId(64), 0, &[1])), Some(0x02));
    assert_eq!(rig.mem.read(PhysAddr(rig.events)), 0);
    assert_eq!(rig.event().unwrap()[0] & 0xff, 0x02);
}

#[test]
fn commands_that_were_not_cleaned_are_not_there() {
    let mut rig = Rig::on(apart());
    let at = rig.commands + 16 * u64::from(rig.produced & 7);
    rig.mem.write(PhysAddr(at), 0x30);
    rig.mem.publish();
    rig.regs.write32(0x98, rig.produced + 1);
    assert_eq!(rig.regs.read32(0x9c) >> 24, 1, "opcode 0 is illegal");
}

#[test]
fn stores_that_were_not_published_are_not_there() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, Rig::stage_two(root));
    rig.mem.write(PhysAddr(last), page_two(RAM));
    assert_eq!(blocked_by(rig.read(0)), Some(0x10));
    rig.mem.publish();
    assert!(rig.read(0).is_ok());
}

#[test]
#[should_panic(expected = "would destroy the record")]
fn an_event_queue_that_was_zeroed_and_not_cleaned_is_refused() {
    let mut rig = Rig::on(apart());
    rig.mem.write(PhysAddr(rig.events), 0);
    let _ = rig.bench.dma_write(iommu_hal::StreamId(64), 0, &[1]);
}

#[test]
#[should_panic(expected = "do not look into the CPU's caches")]
fn a_unit_that_snoops_must_be_told_to() {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    let mut entry = Rig::stage_two(root);
    entry[2] &= !(0b11 << 40);
    rig.attach(DEVICE, entry);
}

#[test]
fn a_unit_that_cannot_snoop_may_be_told_anything() {
    let mut rig = Rig::on(apart());
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM));
    let mut entry = Rig::stage_two(root);
    entry[2] &= !(0b11_1111 << 40);
    rig.attach(DEVICE, entry);
    assert!(rig.read(0).is_ok());
}

#[test]
#[should_panic(expected = "neither the entry before")]
fn an_entry_that_was_not_cleaned_is_not_settled_by_its_invalidation() {
    let mut rig = Rig::on(apart());
    let (root, _, _) = rig.tables();
    let entry = Rig::stage_two(root);
    let at = rig.streams + 512;
    rig.mem.write(PhysAddr(at + 16), entry[2]);
    rig.mem.write(PhysAddr(at + 24), entry[3]);
    rig.forget_entry(DEVICE);
    rig.store(at, entry[0]);
    rig.forget_entry(DEVICE);
}
