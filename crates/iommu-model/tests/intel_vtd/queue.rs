//! The invalidation queue (6.5.2, 11.4.9).

use iommu_hal::{PhysAddr, Registers, TableMemory};
use iommu_model::intel_vtd::Config;

use crate::rig::{ALL_CONTEXTS, ALL_PASIDS, QIE, Rig};

const IQE: u32 = 1 << 4;

fn queued() -> Rig {
    let mut rig = Rig::off(Config::default());
    rig.enable_queue();
    rig
}

#[test]
fn the_head_follows_the_tail_and_wraps() {
    let mut rig = queued();
    for turn in 1..=600u64 {
        rig.sync();
        assert_eq!(rig.regs.read64(0x80), turn * 16 % 0x1000);
    }
    assert_eq!(rig.bench.observed().waits_completed, 600);
}

#[test]
fn a_larger_queue_holds_more() {
    let mut rig = Rig::off(Config::default());
    rig.regs.write64(0x88, 0);
    rig.queue += 0x10_0000;
    rig.regs.write64(0x90, rig.queue | 1);
    rig.command(QIE);
    for place in 0..257 {
        let at = rig.queue + 16 * place;
        rig.mem.write(PhysAddr(at), 0x11);
    }
    rig.regs.write64(0x88, 257 * 16);
    assert_eq!(rig.regs.read64(0x80), 257 * 16);
    rig.regs.write64(0x88, 0x2000);
    assert_eq!(rig.regs.read32(0x34), IQE, "a tail past the queue");
}

#[test]
fn a_wait_writes_its_status_and_raises_its_interrupt() {
    let mut rig = queued();
    rig.regs.write32(0xa4, 0x31);
    rig.regs.write32(0xa8, 0xfee0_0000);
    rig.regs.write32(0xa0, 0);
    rig.push([0x35 | 7 << 32, rig.status + 4]);
    assert_eq!(rig.mem.read(PhysAddr(rig.status)), 7 << 32);
    assert_eq!((rig.regs.read32(0x9c), rig.bench.observed().completion_interrupts), (1, 1));
    rig.push([0x15, 0]);
    assert_eq!(rig.bench.observed().completion_interrupts, 1, "until ICS is cleared");
    rig.regs.write32(0x9c, 1);
    rig.push([0x55, 0]);
    assert_eq!((rig.regs.read32(0x9c), rig.bench.observed().completion_interrupts), (1, 2));
}

#[test]
fn a_masked_event_stays_pending() {
    let mut rig = queued();
    rig.push([0x15, 0]);
    assert_eq!(rig.regs.read32(0xa0), 0b11 << 30);
    rig.regs.write32(0xa8, 0xfee0_0000);
    rig.regs.write32(0xa0, 0);
    assert_eq!((rig.regs.read32(0xa0), rig.bench.observed().completion_interrupts), (0, 1));
}

#[test]
fn a_wrong_descriptor_stops_the_queue_until_it_is_repaired_and_the_error_cleared() {
    let mut rig = queued();
    rig.push([0xf, 0]);
    let at = rig.tail - 16;
    assert_eq!((rig.regs.read32(0x34), rig.regs.read64(0x80)), (IQE, at));
    assert!(!rig.try_sync());
    rig.regs.write32(0x34, IQE);
    assert_eq!((rig.regs.read32(0x34), rig.regs.read64(0x80)), (IQE, at), "it is wrong still");
    rig.mem.write(PhysAddr(rig.queue + at), 0x11);
    rig.regs.write32(0x34, IQE);
    assert_eq!((rig.regs.read32(0x34), rig.regs.read64(0x80)), (0, rig.tail));
    rig.sync();
}

#[test]
fn reserved_bits_kinds_and_masks_are_errors() {
    for descriptor in [
        [0, 0],
        [1, 0],
        [0x51, 0],
        [0x11, 1],
        [0xc2, 0],
        [0x5_00f2, 19],
        [0x5_00f2, 1 << 7],
        [3, 0],
        ALL_PASIDS,
        [6, 0],
        [8, 0],
        [0x85, 0],
        [0x25, 1],
        [0x200 | 0x11, 0],
    ] {
        let mut rig = queued();
        rig.push(descriptor);
        assert_eq!(rig.regs.read32(0x34), IQE, "{descriptor:#x?}");
    }
    let mut rig = Rig::off(Config { domain_bits: 8, interrupt_remapping: false, ..Config::default() });
    rig.enable_queue();
    rig.push([0x100_0021, 0]);
    assert_eq!(rig.regs.read32(0x34), IQE, "a domain id that the unit cannot have");
    rig.mem.write(PhysAddr(rig.queue), 4);
    rig.regs.write32(0x34, IQE);
    assert_eq!(rig.regs.read32(0x34), IQE, "no interrupt entry cache");
}

#[test]
fn an_aborted_fetch_is_an_error() {
    let mut rig = queued();
    let at = rig.queue;
    rig.bench.memory().abort_at(at, at + 15);
    rig.push(ALL_CONTEXTS);
    assert_eq!(rig.regs.read32(0x34), IQE);
}

#[test]
fn a_status_that_cannot_be_written_is_told() {
    let mut rig = queued();
    let at = rig.status;
    rig.bench.memory().abort_at(at, at + 7);
    rig.push([0x25, at]);
    assert_eq!(rig.regs.read32(0x34), 1 << 5);
}

#[test]
fn descriptors_of_256_bits_are_aligned_and_reserved_above() {
    let mut rig = Rig::off(Config::scalable());
    rig.step = 32;
    rig.enable_queue();
    rig.sync();
    rig.mem.write(PhysAddr(rig.queue + rig.tail + 16), 1);
    rig.push(ALL_CONTEXTS);
    assert_eq!(rig.regs.read32(0x34), IQE);
    let mut rig = Rig::off(Config::scalable());
    rig.step = 32;
    rig.enable_queue();
    rig.regs.write64(0x88, 16);
    assert_eq!(rig.regs.read32(0x34), IQE, "a tail in the middle");
}

#[test]
fn turned_off_and_on_it_starts_afresh() {
    let mut rig = queued();
    rig.sync();
    rig.command(0);
    assert_eq!(rig.regs.read64(0x80), 0);
    rig.enable_queue();
    rig.sync();
}

#[test]
#[should_panic(expected = "QIE before IQT was set to 0")]
fn a_queue_starts_at_0() {
    let mut rig = queued();
    rig.sync();
    rig.command(0);
    rig.command(QIE);
}

#[test]
#[should_panic(expected = "turned off with descriptors in the queue")]
fn a_queue_is_empty_when_it_is_turned_off() {
    let mut rig = queued();
    rig.bench.faults().wait_never_completes = true;
    rig.push([0x25, rig.status]);
    rig.regs.write32(0x18, 0);
}

#[test]
#[should_panic(expected = "QIE before IQA was set")]
fn a_queue_has_an_address() {
    Rig::off(Config::default()).regs.write32(0x18, QIE);
}

#[test]
#[should_panic(expected = "IQA written while queued invalidation is on")]
fn a_queue_does_not_move() {
    let mut rig = queued();
    rig.regs.write64(0x90, rig.contexts);
}

#[test]
#[should_panic(expected = "passes the head")]
fn a_queue_is_not_overrun() {
    let mut rig = queued();
    rig.bench.faults().wait_never_completes = true;
    rig.push([0x25, rig.status]);
    rig.push(ALL_CONTEXTS);
    rig.regs.write64(0x88, 16);
}

#[test]
#[should_panic(expected = "belongs to the unit")]
fn a_descriptor_in_the_queue_is_not_changed() {
    let mut rig = queued();
    rig.bench.faults().wait_never_completes = true;
    rig.push([0x25, rig.status]);
    rig.mem.write(PhysAddr(rig.queue), 0x11);
}

#[test]
#[should_panic(expected = "without DR and DW")]
fn what_is_under_way_is_drained() {
    let mut rig = Rig::on(Config::default());
    rig.push([0x5_0022, 0]);
}

#[test]
#[should_panic(expected = "128-bit descriptors in scalable mode")]
fn scalable_mode_takes_wide_descriptors() {
    let mut rig = Rig::off(Config::scalable());
    rig.enable_queue();
    rig.point_at_root(rig.root | 1 << 10);
    rig.push(ALL_CONTEXTS);
}
