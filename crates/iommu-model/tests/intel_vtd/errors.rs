//! What QEMU cannot do: hardware that does not answer, is slow, or reports errors.

use iommu_hal::{PhysAddr, Registers, TableMemory};
use iommu_model::{Ack, intel_vtd::Config};

use crate::rig::{ALL_CONTEXTS, DEVICE, QIE, RAM, Rig, SRTP, TE, blocked_by, forget_context};

const IQE: u32 = 1 << 4;
const ITE: u32 = 1 << 6;

#[test]
fn acknowledgements_can_be_late_or_lost() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().translation_enable = Ack::AfterReads(5);
    assert!(rig.try_command(QIE));
    rig.command(QIE | TE);
    rig.bench.faults().translation_enable = Ack::Never;
    assert!(!rig.try_command(QIE));
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x2), "translation is still on");
    assert!(rig.clock.elapsed_ns() > 1_000_000);
}

#[test]
fn a_queue_can_fail_to_start() {
    let mut rig = Rig::off(Config::default());
    rig.bench.faults().queue_enable = Ack::Never;
    rig.regs.write64(0x88, 0);
    rig.regs.write64(0x90, rig.queue);
    assert!(!rig.try_command(QIE));
}

#[test]
fn a_root_pointer_can_be_taken_without_being_acknowledged() {
    for early in [false, true] {
        let mut rig = Rig::on(Config { pointer_invalidates: true, ..Config::default() });
        rig.attach_raw(DEVICE, [0b1001, 0x502]);
        let empty = rig.frame();
        rig.bench.faults().root_pointer = Ack::Never;
        rig.bench.faults().in_force_before_acknowledged = early;
        rig.regs.write64(0x20, empty);
        rig.regs.write32(0x18, TE | QIE | SRTP);
        assert!(!rig.until(|rig| rig.regs.read32(0x1c) & SRTP != 0));
        assert_eq!(rig.read(RAM).is_err(), early);
    }
}

#[test]
#[should_panic(expected = "before GSTS acknowledged")]
fn a_command_waits_for_the_last_one() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().root_pointer = Ack::AfterReads(2);
    rig.regs.write32(0x18, TE | QIE | SRTP);
    rig.regs.write32(0x18, QIE);
}

#[test]
fn a_wait_that_never_completes_stops_the_queue_and_fills_it() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().wait_never_completes = true;
    rig.store(rig.entry_at(DEVICE) + 8, 0x502);
    rig.store(rig.entry_at(DEVICE), 0b1001);
    rig.read(RAM).unwrap();
    rig.store(rig.entry_at(DEVICE), 0);
    rig.push(forget_context(DEVICE, 5));
    assert!(!rig.try_sync());
    assert!(rig.read(RAM).is_ok(), "nothing is known to be gone");
    let head = rig.regs.read64(0x80);
    while (rig.tail + 16) & 0xfff != head {
        rig.push(ALL_CONTEXTS);
    }
    assert_eq!((rig.regs.read64(0x80), rig.regs.read32(0x34)), (head, 0), "full, and it says nothing");
    rig.bench.faults().wait_never_completes = false;
    assert!(rig.until(|rig| rig.regs.read64(0x80) == rig.tail));
    assert!(rig.read(RAM).is_err());
}

/// A unit that took the root table, and whose queue then stands still at a wait that was looked at, or not.
fn standing_still(looks: u32, root: bool) -> Rig {
    let mut rig = Rig::off(Config::default());
    if root {
        rig.point_at_root(rig.root);
    }
    rig.enable_queue();
    rig.bench.faults().wait_never_completes = true;
    rig.push([0x25, rig.status]);
    for _ in 0..looks {
        rig.regs.read64(0x80);
    }
    rig
}

#[test]
fn translation_may_be_turned_on_where_what_goes_before_it_never_comes() {
    let mut rig = standing_still(1, true);
    rig.regs.write32(0x18, QIE | TE);
    assert!(rig.bench.is_translating());
    // The same while the acknowledgement of the queue is missing.
    let mut rig = Rig::off(Config::default());
    rig.point_at_root(rig.root);
    rig.bench.faults().queue_enable = Ack::Never;
    rig.regs.write64(0x88, 0);
    rig.regs.write64(0x90, rig.queue);
    assert!(!rig.try_command(QIE));
    rig.regs.write32(0x18, QIE | TE);
    assert!(rig.bench.is_translating());
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn a_wait_that_nobody_waited_for_excuses_nothing() {
    standing_still(0, true).regs.write32(0x18, QIE | TE);
}

#[test]
#[should_panic(expected = "TE before the root table pointer was set")]
fn no_silence_excuses_translation_without_a_root_table() {
    standing_still(1, false).regs.write32(0x18, QIE | TE);
}

#[test]
#[should_panic(expected = "before GSTS acknowledged")]
fn a_root_table_that_was_not_acknowledged_is_none() {
    let mut rig = Rig::off(Config::default());
    rig.bench.faults().root_pointer = Ack::Never;
    assert!(!rig.try_command(SRTP));
    rig.regs.write32(0x18, TE);
}

#[test]
#[should_panic(expected = "before GSTS acknowledged")]
fn an_acknowledgement_that_is_late_is_waited_for() {
    let mut rig = Rig::off(Config::default());
    rig.point_at_root(rig.root);
    rig.bench.faults().queue_enable = Ack::AfterReads(9);
    rig.regs.write64(0x88, 0);
    rig.regs.write64(0x90, rig.queue);
    rig.regs.write32(0x18, QIE);
    rig.regs.read32(0x1c);
    rig.regs.write32(0x18, QIE | TE);
}

/// A unit that took the root table, told through CCMD to forget, which it never ends; looked at or not.
fn forgetting_for_ever(looked_at: bool) -> Rig {
    let mut rig = Rig::off(Config::default());
    rig.point_at_root(rig.root);
    rig.bench.faults().context_command = Ack::Never;
    rig.regs.write64(0x28, 1 << 63 | 1 << 61);
    if looked_at {
        rig.regs.read64(0x28);
    }
    rig
}

#[test]
fn an_invalidation_through_registers_that_never_ends_is_waited_for_in_vain_too() {
    let mut rig = forgetting_for_ever(true);
    rig.regs.write32(0x18, TE);
    assert!(rig.bench.is_translating());
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn an_invalidation_through_registers_that_nobody_looked_at_excuses_nothing() {
    forgetting_for_ever(false).regs.write32(0x18, TE);
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn a_standstill_that_is_over_excuses_nothing() {
    let mut rig = standing_still(1, true);
    {
        let mut faults = rig.bench.faults();
        (faults.wait_never_completes, faults.next_wait_times_out) = (false, true);
    }
    // The wait at which it stood is dropped.
    rig.regs.read64(0x80);
    rig.regs.write32(0x34, ITE);
    rig.regs.write32(0x18, QIE | TE);
}

#[test]
fn a_slow_unit_takes_one_descriptor_in_so_many_reads() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().reads_per_descriptor = 3;
    let start = rig.tail;
    rig.push(ALL_CONTEXTS);
    rig.push(ALL_CONTEXTS);
    let reads: Vec<u64> = (0..6).map(|_| rig.regs.read64(0x80) - start).collect();
    assert_eq!(reads, [0, 0, 16, 16, 16, 32]);
    rig.sync();
}

#[test]
fn a_descriptor_can_fail_for_no_reason() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().next_descriptor_fails = true;
    rig.bench.faults().descriptors_before_failure = 1;
    rig.push(ALL_CONTEXTS);
    assert_eq!(rig.regs.read32(0x34), 0);
    assert!(!rig.try_sync());
    assert_eq!(rig.regs.read32(0x34), IQE);
    let before = rig.mem.read(PhysAddr(rig.status));
    rig.regs.write32(0x34, IQE);
    assert_eq!(rig.mem.read(PhysAddr(rig.status)), before + 1, "it was the unit's fault alone");
}

#[test]
fn a_wait_can_be_dropped_by_a_time_out() {
    let mut rig = Rig::on(Config::default());
    rig.bench.faults().next_wait_times_out = true;
    assert!(!rig.try_sync());
    assert_eq!((rig.regs.read32(0x34), rig.regs.read64(0x80)), (ITE, rig.tail));
    rig.push(ALL_CONTEXTS);
    assert_ne!(rig.regs.read64(0x80), rig.tail, "nothing is taken until it is cleared");
    rig.regs.write32(0x34, ITE);
    rig.sync();
}

#[test]
fn other_errors_can_be_raised() {
    let mut rig = Rig::on(Config::default());
    rig.bench.raise_errors(1 << 5);
    assert_eq!(rig.regs.read32(0x34), 1 << 5);
    rig.sync();
    rig.regs.write32(0x34, 1 << 5);
    assert_eq!(rig.regs.read32(0x34), 0);
}
