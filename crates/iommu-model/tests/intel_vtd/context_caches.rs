//! What the context cache remembers, what makes it forget, and in which order that must go (6.2, 6.5.2.11).

use iommu_hal::{Registers, StreamId};
use iommu_model::intel_vtd::Config;

use crate::rig::{
    ALL_CONTEXTS, ALL_TRANSLATIONS, DEVICE, QIE, RAM, Rig, SRTP, TE, blocked_by, forget_context,
    forget_domain,
};

/// A device with one page at 0x3000 of domain 5, used once.
fn warm(config: Config) -> (Rig, u64) {
    let mut rig = Rig::on(config);
    let (root, _, last) = rig.tables();
    rig.store(last + 8 * 3, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    rig.read(0x3000).unwrap();
    (rig, last)
}

#[test]
fn entries_are_remembered_until_they_are_invalidated_and_that_has_completed() {
    let (mut rig, _) = warm(Config::default());
    rig.store(rig.entry_at(DEVICE), 0);
    rig.sync();
    assert!(rig.read(0x3000).is_ok());
    rig.push(forget_context(DEVICE, 5));
    assert!(rig.read(0x3000).is_ok(), "not completed");
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x2));
}

#[test]
fn an_entry_is_forgotten_by_the_descriptors_that_name_it() {
    let masked = |mask: u64, source: u64, domain: u64| [0x31 | domain << 16 | source << 32 | mask << 48, 0];
    for (descriptor, forgets) in [
        (ALL_CONTEXTS, true),
        ([0x5_0021, 0], true),
        ([0x6_0021, 0], false),
        (forget_context(DEVICE, 5), true),
        (forget_context(DEVICE, 6), false),
        (forget_context(StreamId(0x19), 5), false),
        (masked(1, 0x1c, 5), true),
        (masked(1, 0x1a, 5), false),
        (masked(2, 0x1e, 5), true),
        (masked(2, 0x1f, 5), false),
        (masked(3, 0x1f, 5), true),
        (masked(3, 0x27, 5), false),
        (ALL_TRANSLATIONS, false),
        (forget_domain(5), false),
    ] {
        let (mut rig, _) = warm(Config::default());
        rig.store(rig.entry_at(DEVICE), 0);
        rig.push(descriptor);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
fn an_entry_never_used_may_have_been_read_ahead() {
    let mut rig = Rig::on(Config::default());
    rig.attach_raw(DEVICE, [0b1001, 0x502]);
    rig.store(rig.entry_at(DEVICE), 0);
    assert!(rig.read(RAM).is_ok());
    rig.push(forget_context(DEVICE, 5));
    rig.sync();
    assert!(rig.read(RAM).is_err());

    let mut rig = Rig::on(Config::default());
    rig.attach_raw(DEVICE, [0b1001, 0x502]);
    rig.store(rig.root, 0);
    assert!(rig.read(RAM).is_ok(), "through the root entry as it was");
    let mut rig = Rig::on(Config { reads_ahead: false, ..Config::default() });
    rig.attach_raw(DEVICE, [0b1001, 0x502]);
    rig.store(rig.entry_at(DEVICE), 0);
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x2));
}

#[test]
fn an_entry_filled_with_present_first_is_read_half_filled() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    let at = rig.entry_at(DEVICE);
    rig.store(at + 8, 0x701);
    rig.store(at, root | 1);
    rig.store(at + 8, 0x501);
    rig.read(0).unwrap();
    rig.store(last, 0);
    rig.push(forget_domain(5));
    rig.sync();
    assert!(rig.read(0).is_ok(), "it runs under domain 7");
}

#[test]
fn contexts_before_translations_leaves_nothing_and_the_other_order_leaves_what_was_read_again() {
    for (context_first, stale) in [(true, false), (false, true)] {
        let (mut rig, _) = warm(Config::default());
        rig.store(rig.entry_at(DEVICE), 0);
        if context_first {
            rig.push(forget_context(DEVICE, 5));
            rig.push(forget_domain(5));
        } else {
            rig.push(forget_domain(5));
            rig.push(forget_context(DEVICE, 5));
        }
        rig.sync();
        assert_eq!(blocked_by(rig.read(0x3000)), Some(0x2));
        // The domain id is used again for empty tables.
        let (empty, _, _) = rig.tables();
        rig.attach(StreamId(0x20), empty, 5);
        assert_eq!(rig.read_as(StreamId(0x20), 0x3000).is_ok(), stale);
    }
}

#[test]
fn a_new_root_table_needs_global_invalidations_in_order() {
    let (mut rig, _) = warm(Config::default());
    let empty = rig.frame();
    rig.point_at_root(empty);
    assert!(rig.read(0x3000).is_ok(), "what was cached stays");
    rig.invalidate_all();
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x1));
}

#[test]
fn a_unit_that_invalidates_with_the_root_pointer_needs_none() {
    let (mut rig, _) = warm(Config { pointer_invalidates: true, ..Config::default() });
    let empty = rig.frame();
    rig.point_at_root(empty);
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x1));
    let mut rig = Rig::off(Config { pointer_invalidates: true, ..Config::default() });
    rig.point_at_root(rig.root);
    rig.command(TE);
}

fn pointed() -> Rig {
    let mut rig = Rig::off(Config::default());
    rig.enable_queue();
    rig.point_at_root(rig.root);
    rig
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn translation_is_not_enabled_before_them() {
    let mut rig = pointed();
    rig.command(QIE | TE);
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn translations_before_contexts_do_not_count() {
    let mut rig = pointed();
    rig.push(ALL_TRANSLATIONS);
    rig.push(ALL_CONTEXTS);
    rig.sync();
    rig.command(QIE | TE);
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn invalidations_without_a_wait_do_not_count() {
    let mut rig = pointed();
    rig.push(ALL_CONTEXTS);
    rig.push(ALL_TRANSLATIONS);
    rig.command(QIE | TE);
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn invalidations_taken_before_the_root_pointer_do_not_count() {
    let mut rig = Rig::off(Config::default());
    rig.enable_queue();
    rig.push(ALL_CONTEXTS);
    rig.push(ALL_TRANSLATIONS);
    rig.point_at_root(rig.root);
    rig.sync();
    rig.command(QIE | TE);
}

#[test]
#[should_panic(expected = "without SRTP")]
fn a_root_address_that_was_not_taken_is_refused() {
    let mut rig = pointed();
    rig.invalidate_all();
    rig.regs.write64(0x20, rig.contexts);
    rig.command(QIE | TE);
}

#[test]
#[should_panic(expected = "before the root table pointer was set")]
fn translation_needs_a_root_table() {
    let mut rig = Rig::off(Config::default());
    rig.command(TE);
}

#[test]
fn the_root_pointer_status_clears_while_it_is_set_again() {
    let mut rig = pointed();
    rig.invalidate_all();
    rig.bench.faults().root_pointer = iommu_model::Ack::AfterReads(3);
    rig.regs.write32(0x18, QIE | SRTP);
    let reads: Vec<u32> = (0..3).map(|_| rig.regs.read32(0x1c)).collect();
    assert_eq!(reads, [QIE, QIE, QIE | SRTP]);
}

#[test]
fn translations_read_through_an_entry_that_an_invalidation_names_go_with_it() {
    let (mut rig, last) = warm(Config { reads_ahead: false, ..Config::default() });
    rig.store(last + 8 * 4, (RAM + 0x1000) | 0b11);
    rig.store(rig.entry_at(DEVICE), 0);
    rig.push(forget_context(DEVICE, 5));
    rig.read(0x4000).unwrap();
    rig.push(forget_domain(5));
    assert_eq!(blocked_by(rig.read(0x4000)), Some(0x2), "the IOTLB's comes after the context cache's");
    rig.sync();
    let (empty, _, _) = rig.tables();
    rig.attach(StreamId(0x20), empty, 5);
    assert!(rig.read_as(StreamId(0x20), 0x4000).is_err());
}

#[test]
fn an_invalidation_before_the_change_does_not_reach_what_is_read_afresh() {
    for reads_ahead in [true, false] {
        let (mut rig, _) = warm(Config { reads_ahead, ..Config::default() });
        rig.push(forget_context(DEVICE, 5));
        rig.store(rig.entry_at(DEVICE), 0);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_ok(), reads_ahead);
    }
}
