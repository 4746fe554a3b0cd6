//! Stores to entries that the unit may read at any moment (6.5.3).

use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, Rig, forget_context};

fn attached() -> (Rig, u64) {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    rig.attach(DEVICE, root, 5);
    (rig, root)
}

#[test]
fn one_store_may_change_a_present_entry_and_any_number_an_absent_one() {
    let (mut rig, root) = attached();
    let at = rig.entry_at(DEVICE);
    rig.store(at, root | 0b11);
    rig.push(forget_context(DEVICE, 5));
    rig.sync();
    rig.store(at, root | 1);
    rig.store(at, 0);
    rig.store(at + 8, 0x601);
    rig.store(at + 8, 0x701);
    rig.store(at, root | 1);
    rig.store(at, root | 0b11);
}

#[test]
#[should_panic(expected = "changed by two stores")]
fn two_stores_to_a_present_entry_can_be_read_mixed() {
    let (mut rig, root) = attached();
    let at = rig.entry_at(DEVICE);
    rig.store(at + 8, 0x601);
    rig.store(at, (root + 0x4000) | 1);
}

#[test]
#[should_panic(expected = "changed by two stores")]
fn an_invalidation_of_another_device_settles_nothing() {
    let (mut rig, root) = attached();
    let at = rig.entry_at(DEVICE);
    rig.store(at + 8, 0x601);
    rig.push([0x31 | 5 << 16 | 0x19 << 32, 0]);
    rig.sync();
    rig.store(at, (root + 0x4000) | 1);
}
