//! Two-level Stream tables.

use iommu_hal::{Registers, StreamId};
use iommu_model::smmu_v3::Config;

use crate::rig::{RAM, Rig, blocked_by};

/// 10 stream bits, 8 of them in the lower level; every upper descriptor is invalid.
fn two_level() -> (Rig, u64) {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.push([0x04, 31]);
    rig.push([0x30, 0]);
    rig.sync();
    rig.regs.write32(0x2c, 0b10);
    rig.regs.write64(0x80, rig.streams);
    rig.regs.write32(0x88, 1 << 16 | 8 << 6 | 10);
    rig.set_cr0(0b1101);
    let lower = 0x5010_0000;
    rig.store(lower, 0b1001);
    rig.store(lower + 64, 1);
    (rig, lower)
}

fn access(rig: &Rig, stream: u32) -> Result<(), iommu_model::smmu_v3::Blocked> {
    rig.bench.dma_write(StreamId(stream), RAM, &[1])
}

#[test]
fn streams_are_found_through_both_levels() {
    let (mut rig, lower) = two_level();
    assert_eq!(blocked_by(access(&rig, 0x100)), Some(0x02));
    rig.store(rig.streams + 8, lower | 2);
    assert_eq!(blocked_by(access(&rig, 0x100)), Some(0x02), "the descriptor is cached");
    rig.push([0x03 | 0x100 << 32, 1]);
    rig.sync();
    assert_eq!(blocked_by(access(&rig, 0x100)), Some(0x02), "leaf: the descriptor stays");
    rig.push([0x03 | 0x100 << 32, 0]);
    rig.sync();
    assert!(access(&rig, 0x100).is_ok());
    assert_eq!(blocked_by(access(&rig, 0x101)), None);
    assert_eq!(blocked_by(access(&rig, 0x102)), Some(0x02), "past the span");
    assert_eq!(blocked_by(access(&rig, 0x400)), Some(0x02));
}

#[test]
fn an_entry_in_the_lower_level_is_watched_once_it_is_reachable() {
    let (mut rig, lower) = two_level();
    rig.store(lower + 128, 1);
    assert!(rig.bench.entry_history(StreamId(0x102)).is_empty());
    rig.store(rig.streams + 8, lower | 3);
    rig.push([0x03 | 0x100 << 32, 0]);
    rig.sync();
    rig.store(lower + 128, 0b1001);
    assert_eq!(rig.bench.entry_history(StreamId(0x102)).len(), 2);
    assert_eq!(blocked_by(access(&rig, 0x102)), None, "the old entry was read ahead");
    rig.forget_entry(StreamId(0x102));
    assert!(access(&rig, 0x102).is_ok());
}

#[test]
#[should_panic(expected = "not aligned to its table")]
fn a_lower_table_is_aligned_to_its_size() {
    let (mut rig, lower) = two_level();
    rig.store(rig.streams, (lower + 64) | 9);
}

#[test]
#[should_panic(expected = "Span 10 above")]
fn a_span_fits_the_split() {
    let (mut rig, lower) = two_level();
    rig.store(rig.streams, lower | 10);
}

#[test]
#[should_panic(expected = "FMT 1 is not implemented")]
fn two_levels_need_a_unit_that_has_them() {
    let mut rig = Rig::off(Config { two_level: false, ..Config::default() });
    rig.regs.write32(0x88, 1 << 16 | 8 << 6 | 10);
}
