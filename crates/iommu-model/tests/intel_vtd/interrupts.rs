//! Interrupt requests and their remapping (5.1, 7.1.2).

use iommu_hal::{Registers, StreamId};
use iommu_model::intel_vtd::{Config, Interrupt};

use crate::rig::{DEVICE, QIE, Rig, blocked_by};

const IRE: u32 = 1 << 25;
const SIRTP: u32 = 1 << 24;
const CFI: u32 = 1 << 23;
const ALL_INTERRUPTS: [u64; 2] = [4, 0];

/// Remaps with a table of 8 entries; the table.
fn remapping(config: Config) -> (Rig, u64) {
    let mut rig = Rig::off(config);
    rig.enable_queue();
    let table = rig.frame();
    rig.regs.write64(0xb8, table | 2);
    rig.regs.write32(0x18, QIE | SIRTP);
    rig.push(ALL_INTERRUPTS);
    rig.sync();
    rig.command(QIE | IRE);
    (rig, table)
}

/// The message address of a handle in remappable format.
fn remappable(handle: u64) -> u64 {
    0xfee0_0010 | (handle & 0x7fff) << 5 | handle >> 15 << 2
}

fn entry(rig: &mut Rig, table: u64, index: u64, words: [u64; 2]) {
    rig.store(table + 16 * index + 8, words[1]);
    rig.store(table + 16 * index, words[0]);
}

#[test]
fn without_remapping_messages_go_where_they_say() {
    let mut rig = Rig::off(Config::default());
    let interrupt = rig.bench.interrupt(DEVICE, 0xfee0_3000, 0x41).unwrap();
    assert_eq!(interrupt, Interrupt { vector: 0x41, destination: 3, remapped: false });
    rig.bench.dma_write(DEVICE, 0xfee0_0000, &[0x31, 0, 0, 0]).unwrap();
    assert_eq!(rig.bench.observed().interrupts_delivered, 2);
    assert_eq!(rig.peek(0xfee0_0000), [0; 4]);
    assert_eq!(rig.fault(), None);
}

#[test]
fn with_it_plain_messages_are_blocked_unless_they_are_let_through() {
    let (mut rig, _) = remapping(Config::default());
    assert_eq!(blocked_by(rig.bench.interrupt(DEVICE, 0xfee0_0000, 0x41)), Some(0x25));
    assert_eq!(rig.fault(), Some([0, 1 << 63 | 0x25 << 32 | 0x18]));
    rig.command(QIE | IRE | CFI);
    assert!(rig.bench.interrupt(DEVICE, 0xfee0_0000, 0x41).is_ok());
}

#[test]
fn an_entry_says_where_an_interrupt_goes_and_who_may_send_it() {
    let (mut rig, table) = remapping(Config::default());
    entry(&mut rig, table, 5, [1 | 0x51 << 16 | 7 << 40, 1 << 18 | 0x18]);
    let interrupt = rig.bench.interrupt(DEVICE, remappable(5), 0).unwrap();
    assert_eq!(interrupt, Interrupt { vector: 0x51, destination: 7, remapped: true });
    assert!(rig.bench.interrupt(DEVICE, remappable(3) | 1 << 3, 2).is_ok(), "with a subhandle");
    assert_eq!(blocked_by(rig.bench.interrupt(StreamId(0x19), remappable(5), 0)), Some(0x26));
    assert_eq!(rig.fault(), Some([5 << 48, 1 << 63 | 0x26 << 32 | 0x19]));
}

#[test]
fn each_reason_is_told() {
    let (mut rig, table) = remapping(Config::default());
    entry(&mut rig, table, 1, [1 << 1, 0]);
    entry(&mut rig, table, 2, [1 | 1 << 24, 0]);
    entry(&mut rig, table, 3, [1, 1 << 20]);
    entry(&mut rig, table, 4, [1, 3 << 18]);
    entry(&mut rig, table, 6, [1, 1 << 18 | 2 << 16 | 0x1e]);
    entry(&mut rig, table, 7, [1, 2 << 18 | 0x01_02]);
    for (handle, data, reason) in [
        (0, 1, 0x20),
        (8, 0, 0x21),
        (0x8000, 0, 0x21),
        (0, 0, 0x22),
        (1, 0, 0x22),
        (2, 0, 0x24),
        (3, 0, 0x24),
        (4, 0, 0x24),
        (7, 0, 0x26),
    ] {
        let blocked = rig.bench.interrupt(DEVICE, remappable(handle), data).unwrap_err();
        assert_eq!(blocked.reason, Some(reason), "handle {handle}");
        assert_eq!(blocked.recorded, handle != 1, "FPD");
        let _ = rig.fault();
    }
    assert!(rig.bench.interrupt(DEVICE, remappable(6), 0).is_ok(), "two bits of the function are ignored");
    assert!(rig.bench.interrupt(StreamId(0x0200), remappable(7), 0).is_ok(), "a range of buses");
    rig.bench.memory().abort_at(table, table + 15);
    assert_eq!(blocked_by(rig.bench.interrupt(DEVICE, remappable(0), 0)), Some(0x23));
}

#[test]
fn an_entry_is_remembered_until_it_is_invalidated() {
    for (descriptor, forgets) in [
        ([4, 0], true),
        ([0x14 | 5 << 32, 0], true),
        ([0x14 | 4 << 32, 0], false),
        ([0x14 | 1 << 27 | 4 << 32, 0], true),
        ([0x11, 0], false),
    ] {
        let (mut rig, table) = remapping(Config::default());
        entry(&mut rig, table, 5, [1, 0]);
        rig.bench.interrupt(DEVICE, remappable(5), 0).unwrap();
        rig.store(table + 16 * 5, 0);
        rig.push(descriptor);
        assert!(rig.bench.interrupt(DEVICE, remappable(5), 0).is_ok(), "not completed");
        rig.sync();
        assert_eq!(rig.bench.interrupt(DEVICE, remappable(5), 0).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
#[should_panic(expected = "before the interrupt entry cache was invalidated")]
fn a_new_table_needs_an_invalidation() {
    let mut rig = Rig::off(Config::default());
    rig.enable_queue();
    rig.regs.write64(0xb8, rig.contexts);
    rig.regs.write32(0x18, QIE | SIRTP);
    rig.regs.write32(0x18, QIE | IRE);
}

#[test]
#[should_panic(expected = "before the interrupt table pointer was set")]
fn remapping_needs_a_table() {
    Rig::off(Config::default()).regs.write32(0x18, IRE);
}
