//! The Event queue: order, overflow, aborts.

use iommu_hal::{Registers, StreamId};
use iommu_model::smmu_v3::Config;

use crate::rig::{DEVICE, Rig};

fn fault(rig: &Rig, address: u64) {
    rig.bench.dma_write(StreamId(64), address, &[1]).unwrap_err();
}

#[test]
fn a_full_queue_overflows_once_and_loses_the_rest() {
    let mut rig = Rig::on(Config::default());
    for _ in 0..4 {
        fault(&rig, 0);
    }
    assert_eq!(rig.regs.read32(0x1_00a8), 4, "full, and nothing lost");
    fault(&rig, 0);
    fault(&rig, 0);
    assert_eq!(rig.regs.read32(0x1_00a8), 0x8000_0004);
    assert_eq!((rig.bench.observed().events_recorded, rig.bench.observed().events_lost), (4, 2));
    // Taken without the acknowledgement: new records, but a second overflow is not told.
    rig.regs.write32(0x1_00ac, 4);
    fault(&rig, 0);
    assert_eq!(rig.regs.read32(0x1_00a8), 0x8000_0005);
    rig.regs.write32(0x1_00ac, 0x8000_0005);
    for _ in 0..5 {
        fault(&rig, 0);
    }
    assert_eq!(rig.regs.read32(0x1_00a8), 0x0000_0001, "toggled back: the second overflow");
}

#[test]
fn an_abort_stops_the_queue_until_it_is_acknowledged() {
    let mut rig = Rig::on(Config::default());
    rig.bench.memory().abort_at(rig.events, rig.events + 0x7f);
    fault(&rig, 0);
    assert_eq!((rig.regs.read32(0x60), rig.regs.read32(0x1_00a8)), (0b100, 0));
    rig.bench.memory().abort_nowhere();
    fault(&rig, 0);
    assert_eq!(rig.event(), None);
    rig.regs.write32(0x64, 0b100);
    fault(&rig, 0);
    assert!(rig.event().is_some());
}

#[test]
fn interrupts_come_when_enabled_and_when_the_queue_was_empty() {
    let mut rig = Rig::on(Config::default());
    fault(&rig, 0);
    assert_eq!(rig.bench.observed().event_interrupts, 0);
    rig.regs.write32(0x50, 0b101);
    assert_eq!(rig.regs.read32(0x54), 0b101);
    fault(&rig, 0);
    assert_eq!(rig.bench.observed().event_interrupts, 0);
    while rig.event().is_some() {}
    fault(&rig, 0);
    assert_eq!(rig.bench.observed().event_interrupts, 1);
    rig.bench.raise_errors(1 << 8 | 1 << 4);
    assert_eq!((rig.bench.observed().error_interrupts, rig.regs.read32(0x60)), (1, 0x110));
}

#[test]
fn streams_out_of_range_are_recorded_only_if_asked() {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.push([0x04, 31]);
    rig.push([0x30, 0]);
    rig.sync();
    rig.regs.write32(0x2c, 0);
    rig.regs.write64(0x80, rig.streams);
    rig.regs.write32(0x88, 6);
    rig.set_cr0(0b1101);
    fault(&rig, 0);
    assert_eq!(rig.event(), None);
    rig.bench.dma_unsupported(DEVICE, 0x1234);
    assert_eq!(rig.event().map(|record| (record[0] & 0xff, record[2])), Some((0x01, 0x1234)));
}

#[test]
fn a_test_can_put_records_of_its_own() {
    let mut rig = Rig::on(Config::default());
    rig.bench.inject_event([0xe0, 1, 2, 3]);
    assert_eq!(rig.event(), Some([0xe0, 1, 2, 3]));
}

#[test]
#[should_panic(expected = "passes records that are not there")]
fn the_consumer_cannot_pass_the_producer() {
    let mut rig = Rig::on(Config::default());
    rig.regs.write32(0x1_00ac, 1);
}

#[test]
#[should_panic(expected = "acknowledges an overflow that is not there")]
fn an_overflow_cannot_be_acknowledged_before_it_happens() {
    let mut rig = Rig::on(Config::default());
    rig.regs.write32(0x1_00ac, 1 << 31);
}
