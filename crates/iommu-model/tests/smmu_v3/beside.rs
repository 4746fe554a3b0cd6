//! What tests do beside the driver: looking where an access leads, and devices that go on meanwhile.

use std::{cell::Cell, rc::Rc};

use iommu_model::smmu_v3::{Blocked, Config};

use crate::rig::{DEVICE, RAM, Rig, page_two};

#[test]
fn looking_where_an_access_leads_records_nothing_and_fills_the_tlb() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM));
    rig.attach(DEVICE, Rig::stage_two(root));
    assert_eq!(rig.bench.translate(DEVICE, 0x123, true), Ok(RAM + 0x123));
    // What is cached stays until it is invalidated, as for an access.
    rig.store(last, 0);
    assert_eq!(rig.bench.translate(DEVICE, 0x456, true), Ok(RAM + 0x456));
    let missing = Blocked { iova: 0x1000, event: Some(0x10), aborted: true };
    assert_eq!(rig.bench.translate(DEVICE, 0x1000, false), Err(missing));
    assert_eq!(rig.bench.observed().events_recorded, 0);
    assert_eq!(rig.bench.dma_read(DEVICE, 0x1000, &mut [0; 4]), Err(missing));
    assert_eq!(rig.bench.observed().events_recorded, 1);
}

#[test]
fn devices_go_on_before_each_access_of_the_driver() {
    let mut rig = Rig::on(Config::default());
    let times = Rc::new(Cell::new(0));
    let (count, bench) = (Rc::clone(&times), rig.bench.clone());
    rig.bench.meanwhile(move || {
        assert!(bench.translate(DEVICE, 0, true).is_err());
        count.set(count.get() + 1);
    });
    rig.sync();
    let seen = times.get();
    assert!(seen >= 2, "the write of the queue's end, and a look at how far it is: {seen}");
    rig.bench.meanwhile_nothing();
    rig.sync();
    assert_eq!(times.get(), seen);
}
