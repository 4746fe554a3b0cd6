//! What the IOTLB and the paging-structure caches remember, and what makes them forget (6.2, 6.5.2.3).

use iommu_hal::StreamId;
use iommu_model::intel_vtd::Config;

use crate::rig::{
    ALL_CONTEXTS, ALL_TRANSLATIONS, DEVICE, RAM, Rig, blocked_by, forget_context, forget_domain, forget_page,
};

/// A device with one page at 0x3000 of domain 5, used once.
fn warm() -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(Config::default());
    let tables = rig.tables();
    rig.store(tables.2 + 8 * 3, RAM | 0b11);
    rig.attach(DEVICE, tables.0, 5);
    rig.read(0x3000).unwrap();
    (rig, tables)
}

#[test]
fn a_page_taken_out_stays_in_use_until_it_is_invalidated_and_that_has_completed() {
    let (mut rig, (_, _, last)) = warm();
    rig.store(last + 8 * 3, 0);
    assert!(rig.read(0x3000).is_ok());
    rig.sync();
    assert!(rig.read(0x3000).is_ok(), "a wait alone invalidates nothing");
    rig.push(forget_page(5, 0x3000));
    assert!(rig.read(0x3000).is_ok(), "the invalidation is taken, not completed");
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x6));
}

#[test]
fn a_page_never_used_may_have_been_read_ahead() {
    let (mut rig, (_, _, last)) = warm();
    rig.store(last + 8 * 4, (RAM + 0x1000) | 0b11);
    rig.store(last + 8 * 4, 0);
    assert!(rig.read(0x4000).is_ok());
    rig.store(last + 8 * 5, (RAM + 0x2000) | 0b11);
    assert!(rig.read(0x5000).is_ok(), "an absent entry is never cached");

    let mut rig = Rig::on(Config { reads_ahead: false, ..Config::default() });
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, root, 5);
    rig.store(last, RAM | 0b11);
    rig.store(last, 0);
    assert_eq!(blocked_by(rig.read(0)), Some(0x6));
}

#[test]
fn a_page_is_forgotten_by_the_descriptors_that_name_it() {
    for (descriptor, forgets) in [
        (forget_page(5, 0x3000), true),
        (forget_page(5, 0x3000 | 1 << 6), true),
        (forget_page(5, 0x4000), false),
        (forget_page(6, 0x3000), false),
        (forget_page(5, 0x2000 | 1), true),
        (forget_page(5, 2), true),
        (forget_page(5, 1), false),
        (forget_page(5, 0x4000 | 2), false),
        (forget_page(5, 18), true),
        (forget_domain(5), true),
        (forget_domain(6), false),
        (ALL_TRANSLATIONS, true),
        (ALL_CONTEXTS, false),
        (forget_context(DEVICE, 5), false),
    ] {
        let (mut rig, (_, _, last)) = warm();
        rig.store(last + 8 * 3, 0);
        rig.push(descriptor);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
fn the_hint_leaves_cached_tables_in_use() {
    for (hint, reaches_new) in [(1 << 6, false), (0, true)] {
        let (mut rig, (_, middle, _)) = warm();
        let other = rig.frame();
        rig.store(other + 8 * 3, (RAM + 0x5000) | 0b11);
        rig.bench.memory().poke(RAM, &[1; 4]);
        rig.bench.memory().poke(RAM + 0x5000, &[2; 4]);
        rig.store(middle, other | 0b11);
        rig.push(forget_page(5, 0x3000 | hint));
        rig.sync();
        assert_eq!(rig.read(0x3000), Ok([if reaches_new { 2 } else { 1 }; 4]), "hint {hint}");
    }
}

#[test]
fn a_large_page_is_forgotten_only_as_far_as_it_is_named() {
    let mut rig = Rig::on(Config::default());
    let (root, middle, _) = rig.tables();
    rig.store(middle + 8, RAM | 0x83);
    rig.attach(DEVICE, root, 5);
    rig.read(0x20_0000).unwrap();
    rig.store(middle + 8, 0);
    rig.push(forget_page(5, 0x20_0000));
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x20_0000)), Some(0x6));
    assert!(rig.read(0x20_1000).is_ok(), "the unit may hold a large page in pieces");
    rig.push(forget_page(5, 0x20_0000 | 9));
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x20_1000)), Some(0x6));
}

#[test]
fn rights_that_grow_need_an_invalidation_too() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b01);
    rig.attach(DEVICE, root, 5);
    rig.read(0).unwrap();
    rig.store(last, RAM | 0b11);
    assert_eq!(blocked_by(rig.write(0, &[1])), Some(0x5));
    rig.push(forget_page(5, 0));
    rig.sync();
    assert!(rig.write(0, &[1]).is_ok());
}

#[test]
fn devices_of_one_domain_id_share_what_is_cached_whatever_their_tables() {
    let (mut rig, _) = warm();
    let (other, _, _) = rig.tables();
    rig.attach(StreamId(0x20), other, 5);
    assert!(rig.read_as(StreamId(0x20), 0x3000).is_ok());
    let (third, _, _) = rig.tables();
    rig.attach(StreamId(0x21), third, 6);
    assert!(rig.read_as(StreamId(0x21), 0x3000).is_err());
}

#[test]
fn an_invalidation_before_the_change_does_not_reach_what_is_read_afresh() {
    for reads_ahead in [true, false] {
        let mut rig = Rig::on(Config { reads_ahead, ..Config::default() });
        let (root, _, last) = rig.tables();
        rig.store(last, RAM | 0b11);
        rig.attach(DEVICE, root, 5);
        rig.read(0).unwrap();
        rig.push(forget_page(5, 0));
        rig.store(last, 0);
        rig.sync();
        assert_eq!(rig.read(0).is_ok(), reads_ahead);
        rig.push(forget_page(5, 0));
        rig.sync();
        assert_eq!(blocked_by(rig.read(0)), Some(0x6));
    }
}

#[test]
fn what_was_read_through_an_invalidated_table_goes_with_it() {
    let (mut rig, (_, middle, last)) = warm();
    let other = rig.frame();
    for page in [4, 5] {
        rig.store(other + 8 * page, (RAM + 0x5000) | 0b11);
        rig.store(last + 8 * page, RAM | 0b11);
    }
    rig.bench.memory().poke(RAM + 0x5000, &[2; 4]);
    rig.store(middle, other | 0b11);
    rig.push(forget_domain(5));
    assert_eq!(rig.read(0x4000), Ok([0; 4]), "the old table, until it has completed");
    rig.store(last + 8 * 5, 0);
    rig.sync();
    assert_eq!(rig.read(0x4000), Ok([2; 4]));
    assert_eq!(rig.read(0x5000), Ok([2; 4]), "read ahead through the old table");
}

#[test]
fn without_page_selection_a_domain_is_forgotten() {
    let mut rig = Rig::on(Config { page_selective: false, ..Config::default() });
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    rig.read(0).unwrap();
    rig.store(last, 0);
    rig.push(forget_page(5, 0x7000));
    rig.sync();
    assert!(rig.read(0).is_err());
}
