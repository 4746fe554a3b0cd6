//! A unit that caches what is not present (CAP.CM, 6.1).

use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by, forget_context, forget_domain, forget_page};

fn forget_absent(rig: &mut Rig) {
    rig.push(forget_context(DEVICE, 0));
    rig.sync();
}

#[test]
fn an_absent_context_entry_is_cached_under_domain_0() {
    for (domain, forgets) in [(5, false), (0, true)] {
        let mut rig = Rig::on(Config::caching_mode());
        let (root, _, last) = rig.tables();
        rig.store(last, RAM | 0b11);
        assert_eq!(blocked_by(rig.read(0)), Some(0x2));
        rig.attach(DEVICE, root, 5);
        assert_eq!(blocked_by(rig.read(0)), Some(0x2), "still");
        rig.push(forget_context(DEVICE, domain));
        rig.sync();
        assert_eq!(rig.read(0).is_ok(), forgets, "domain {domain}");
    }
}

#[test]
fn absent_entries_are_read_ahead_too() {
    let mut rig = Rig::on(Config::caching_mode());
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, root, 5);
    assert_eq!(blocked_by(rig.read(0)), Some(0x2));
    forget_absent(&mut rig);
    assert_eq!(blocked_by(rig.read(0x1000)), Some(0x6));
    rig.store(last, RAM | 0b11);
    assert_eq!(blocked_by(rig.read(0)), Some(0x6));
    rig.push(forget_page(5, 0));
    rig.sync();
    assert!(rig.read(0).is_ok());
}

#[test]
fn an_absent_table_is_cached_for_all_that_it_would_cover() {
    let mut rig = Rig::on(Config::caching_mode());
    let (root, middle, _) = rig.tables();
    rig.attach(DEVICE, root, 5);
    forget_absent(&mut rig);
    assert_eq!(blocked_by(rig.read(0x20_0000)), Some(0x6));
    let table = rig.frame();
    rig.store(table, RAM | 0b11);
    rig.store(table + 8, RAM | 0b11);
    rig.store(middle + 8, table | 0b11);
    rig.push(forget_page(5, 0x20_0000));
    rig.sync();
    assert!(rig.read(0x20_0000).is_ok());
    assert_eq!(blocked_by(rig.read(0x20_1000)), Some(0x6), "the rest of it stays");
    rig.push(forget_page(5, 0x20_0000 | 9));
    rig.sync();
    assert!(rig.read(0x20_1000).is_ok());
}

#[test]
fn wrong_entries_are_cached_too() {
    let mut rig = Rig::on(Config::caching_mode());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11 | 1 << 62);
    rig.attach(DEVICE, root, 5);
    forget_absent(&mut rig);
    assert_eq!(blocked_by(rig.read(0)), Some(0xc));
    rig.store(last, RAM | 0b11);
    assert_eq!(blocked_by(rig.read(0)), Some(0xc));
    rig.push(forget_domain(5));
    rig.sync();
    assert!(rig.read(0).is_ok());
}

#[test]
fn without_caching_mode_none_of_it_is_cached() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    assert_eq!(blocked_by(rig.read(0)), Some(0x2));
    rig.attach(DEVICE, root, 5);
    assert_eq!(blocked_by(rig.read(0)), Some(0x6));
    rig.store(last, RAM | 0b11 | 1 << 62);
    assert_eq!(blocked_by(rig.read(0)), Some(0xc));
    rig.store(last, 0);
    rig.store(last, RAM | 0b11);
    assert!(rig.read(0).is_ok());
}

#[test]
#[should_panic(expected = "domain id 0 is the unit's own")]
fn domain_0_is_not_for_use() {
    let mut rig = Rig::on(Config::caching_mode());
    let (root, _, _) = rig.tables();
    rig.attach(DEVICE, root, 0);
}
