//! Scalable mode: PASIDs, the PASID cache, and the order of its invalidations (3.4.3, 6.2.3, 6.5.2).

use iommu_hal::{Registers, StreamId};
use iommu_model::intel_vtd::{Blocked, Config};

use crate::rig::{
    ALL_CONTEXTS, ALL_PASIDS, ALL_TRANSLATIONS, DEVICE, QIE, RAM, Rig, TE, blocked_by, forget_domain,
};

/// The PASID-cache invalidation of one PASID of a domain, and of a domain.
fn forget_pasid(domain: u64, pasid: u64) -> [u64; 2] {
    [0x17 | domain << 16 | pasid << 32, 0]
}

/// A device's PASID directory and the first PASID table, behind a present context entry.
pub fn directory(rig: &mut Rig, device: StreamId, low: u64, high: u64) -> (u64, u64) {
    let (directory, table) = (rig.frame(), rig.frame());
    rig.store(directory, table | 1);
    let at = rig.contexts + 32 * u64::from(device.0 & 0x7f);
    rig.store(at + 8, high);
    rig.store(at, directory | low);
    (directory, table)
}

/// A second-stage PASID entry: 39 bits; PWSNP where the unit snoops.
pub fn second_stage(rig: &mut Rig, at: u64, root: u64, domain: u64, snoops: bool) {
    rig.store(at + 8, domain | if snoops { 1 << 23 } else { 0 });
    rig.store(at, root | 0b010 << 6 | 0b001 << 2 | 1);
}

/// A device of domain 5 with a page at 0x3000, used once; the PASID table and the last page table.
fn warm(config: Config) -> (Rig, u64, u64) {
    let snoops = config.coherent;
    let mut rig = Rig::scalable(config);
    let (root, _, last) = rig.tables();
    rig.store(last + 8 * 3, RAM | 0b11);
    let (_, table) = directory(&mut rig, DEVICE, 1, 0);
    second_stage(&mut rig, table, root, 5, snoops);
    rig.read(0x3000).unwrap();
    (rig, table, last)
}

#[test]
fn requests_without_a_pasid_use_pasid_0() {
    for config in [Config::scalable(), Config::server()] {
        let (rig, _, _) = warm(config);
        rig.write(0x3004, &[1; 4]).unwrap();
        assert_eq!(rig.peek(RAM + 4), [1; 4]);
        assert_eq!(blocked_by(rig.read(0x4000)), Some(0x79));
    }
}

#[test]
fn the_upper_half_of_a_bus_has_a_table_of_its_own() {
    let mut rig = Rig::scalable(Config::scalable());
    let upper = rig.frame();
    assert_eq!(blocked_by(rig.read_as(StreamId(0x98), 0)), Some(0x39));
    rig.store(rig.root + 8, upper | 1);
    rig.contexts = upper;
    let (_, table) = directory(&mut rig, StreamId(0x98), 1, 0);
    rig.store(table + 8, 5);
    rig.store(table, 0b100 << 6 | 1);
    assert!(rig.read_as(StreamId(0x98), RAM).is_ok());
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x41));
}

#[test]
fn requests_with_a_pasid_use_its_entry() {
    let mut rig = Rig::scalable(Config::server());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    let (_, table) = directory(&mut rig, DEVICE, 0b1001, 2);
    second_stage(&mut rig, table + 64 * 3, root, 5, true);
    let with =
        |rig: &Rig, pasid| -> Result<(), Blocked> { rig.bench.dma_write_with_pasid(DEVICE, pasid, 0, &[1]) };
    assert!(with(&rig, 3).is_ok());
    assert_eq!(blocked_by(with(&rig, 4)), Some(0x59));
    assert_eq!(blocked_by(rig.read(0)), Some(0x59), "RID_PASID is 2");
    second_stage(&mut rig, table + 64 * 2, root, 5, true);
    assert!(rig.read(0).is_ok());
}

#[test]
fn pasid_entries_are_forgotten_by_the_descriptors_that_name_them() {
    for (descriptor, forgets) in [
        (ALL_PASIDS, true),
        ([0x5_0007, 0], true),
        ([0x6_0007, 0], false),
        (forget_pasid(5, 0), true),
        (forget_pasid(5, 1), false),
        (forget_pasid(6, 0), false),
        (ALL_CONTEXTS, false),
        (ALL_TRANSLATIONS, false),
        ([0x5_0026, 0], false),
    ] {
        let (mut rig, table, _) = warm(Config::scalable());
        rig.store(table, 0);
        assert!(rig.read(0x3000).is_ok());
        rig.push(descriptor);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
fn context_entries_hold_no_domain_and_are_named_by_device() {
    for (descriptor, forgets) in [
        (ALL_CONTEXTS, true),
        ([0x31 | 0x18 << 32, 0], true),
        ([0x31 | 9 << 16 | 0x18 << 32, 0], true),
        ([0x31 | 0x19 << 32, 0], false),
        (ALL_PASIDS, false),
    ] {
        let (mut rig, _, _) = warm(Config::scalable());
        rig.store(rig.contexts + 32 * 0x18, 0);
        rig.push(descriptor);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
fn contexts_before_pasids_before_translations() {
    let context = [0x31 | 0x18 << 32, 0];
    for (order, stale) in [
        ([context, forget_pasid(5, 0), forget_domain(5)], false),
        ([forget_pasid(5, 0), context, forget_domain(5)], true),
        ([context, forget_domain(5), forget_pasid(5, 0)], true),
    ] {
        let (mut rig, _, _) = warm(Config::scalable());
        rig.store(rig.contexts + 32 * 0x18, 0);
        order.into_iter().for_each(|descriptor| rig.push(descriptor));
        rig.sync();
        assert_eq!(blocked_by(rig.read(0x3000)), Some(0x41));
        // The device, its PASID and its domain id are used again, for empty tables.
        let (empty, _, _) = rig.tables();
        let (_, table) = directory(&mut rig, DEVICE, 1, 0);
        second_stage(&mut rig, table, empty, 5, false);
        assert_eq!(rig.read(0x3000).is_ok(), stale, "{order:#x?}");
    }
}

#[test]
fn translations_are_forgotten_by_domain() {
    for (descriptor, forgets) in [(forget_domain(5), true), (forget_domain(6), false), ([0x5_0026, 0], false)]
    {
        let (mut rig, _, last) = warm(Config::scalable());
        rig.store(last + 8 * 3, 0);
        rig.push(descriptor);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{descriptor:#x?}");
    }
}

#[test]
#[should_panic(expected = "PASID entry without PWSNP")]
fn walks_of_a_unit_that_snoops_must_snoop() {
    let mut rig = Rig::scalable(Config::server());
    let (root, _, _) = rig.tables();
    let (_, table) = directory(&mut rig, DEVICE, 1, 0);
    second_stage(&mut rig, table, root, 5, false);
    let _ = rig.read(0);
}

#[test]
#[should_panic(expected = "by domain in scalable mode")]
fn contexts_are_not_invalidated_by_domain() {
    let mut rig = Rig::scalable(Config::scalable());
    rig.push([0x5_0021, 0]);
}

#[test]
#[should_panic(expected = "changed by two stores")]
fn a_present_pasid_entry_changes_by_one_store() {
    let (mut rig, table, _) = warm(Config::scalable());
    rig.store(table + 8, 6);
    rig.store(table, RAM | 0b010 << 6 | 0b001 << 2 | 1);
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn the_pasid_cache_is_owed_an_invalidation_too() {
    let mut rig = Rig::off(Config::scalable());
    rig.step = 32;
    rig.enable_queue();
    rig.point_at_root(rig.root | 1 << 10);
    rig.invalidate_all();
    rig.command(QIE | TE);
}

#[test]
fn an_absent_pasid_entry_is_cached_in_caching_mode() {
    let mut rig = Rig::scalable(Config { caching_mode: true, reads_ahead: false, ..Config::scalable() });
    let (_, table) = directory(&mut rig, DEVICE, 1, 0);
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x59));
    rig.store(table + 8, 5);
    rig.store(table, 0b100 << 6 | 1);
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x59));
    rig.push(forget_pasid(5, 0));
    rig.sync();
    assert!(rig.read(RAM).is_ok());
    assert_eq!(rig.regs.read32(0x34) & 2, 2);
}

#[test]
fn pasid_entries_read_through_an_entry_that_an_invalidation_names_go_with_it() {
    let (mut rig, table, _) = warm(Config { reads_ahead: false, ..Config::scalable() });
    rig.store(table, 0);
    rig.store(rig.contexts + 32 * 0x18, 0);
    rig.push([0x31 | 0x18 << 32, 0]);
    assert!(rig.read(0x3000).is_ok());
    rig.push(forget_pasid(5, 0));
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x41), "the PASID cache's comes after the context cache's");
}

#[test]
fn an_invalidation_before_the_change_does_not_reach_what_is_read_afresh() {
    for reads_ahead in [true, false] {
        let (mut rig, table, _) = warm(Config { reads_ahead, ..Config::scalable() });
        rig.push(forget_pasid(5, 0));
        rig.store(table, 0);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_ok(), reads_ahead);
    }
}

#[test]
#[should_panic(expected = "TE before the global invalidations")]
fn pasids_before_contexts_do_not_count() {
    let mut rig = Rig::off(Config::scalable());
    rig.step = 32;
    rig.enable_queue();
    rig.point_at_root(rig.root | 1 << 10);
    rig.push(ALL_PASIDS);
    rig.invalidate_all();
    rig.command(QIE | TE);
}
