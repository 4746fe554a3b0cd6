//! Where accesses end up, and why they do not.

use iommu_hal::{Registers, StreamId};
use iommu_model::smmu_v3::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_one, page_two};

fn stage_two() -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(Config::default());
    let tables = rig.tables();
    rig.attach(DEVICE, Rig::stage_two(tables.0));
    (rig, tables)
}

fn stage_one() -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(Config::default());
    let tables = rig.tables();
    let entry = rig.stage_one(tables.0);
    rig.attach(DEVICE, entry);
    (rig, tables)
}

#[test]
fn stage_two_reaches_the_page_that_the_tables_name() {
    let (mut rig, (_, _, last)) = stage_two();
    rig.store(last + 8 * 3, page_two(RAM));
    rig.store(last + 8 * 4, page_two(RAM + 0x7000));
    rig.write(0x3ffe, &[1, 2, 3, 4]).unwrap();
    assert_eq!(rig.peek(RAM + 0xffe), [1, 2, 0, 0]);
    assert_eq!(rig.peek(RAM + 0x7000), [3, 4, 0, 0]);
    assert_eq!(rig.read(0x3ffe), Ok([1, 2, 3, 4]));
}

#[test]
fn stage_one_reaches_the_page_that_the_tables_name() {
    let (mut rig, (_, _, last)) = stage_one();
    rig.store(last, page_one(RAM));
    rig.write(0x10, &[5; 4]).unwrap();
    assert_eq!(rig.peek(RAM + 0x10), [5; 4]);
}

#[test]
fn blocks_of_both_sizes_translate() {
    let (mut rig, (root, middle, _)) = stage_two();
    rig.store(middle + 8, 0xa000_0000 | 0x7fd);
    rig.store(root + 8, 0xc000_0000 | 0x7fd);
    rig.write(0x20_0000 + 0x12_3454, &[1; 4]).unwrap();
    assert_eq!(rig.peek(0xa012_3454), [1; 4]);
    rig.write(0x4000_0000 + 0x3123_4560, &[2; 4]).unwrap();
    assert_eq!(rig.peek(0xf123_4560), [2; 4]);
}

#[test]
fn every_granule_translates() {
    // 16 KiB: 36 bits from level 2, 11 bits a level; 64 KiB: 42 bits from level 2, 13 bits a level.
    for (granule, field, size, entry_bits) in [(14, 0b10, 28, 11), (16, 0b01, 22, 13)] {
        let config = Config { table_bytes: 0x80_0000, table_base: 0x5000_0000, ..Config::default() };
        let mut rig = Rig::on(config);
        let (root, last) = (0x5010_0000, 0x5020_0000);
        rig.store(root + 8, last | 0b11);
        rig.store(last + 8 * 2, page_two(RAM));
        let mut entry = Rig::stage_two(root);
        entry[2] =
            5 | size << 32 | 1 << 38 | 0b11_01_01 << 40 | field << 46 | 0b100 << 48 | 1 << 51 | 1 << 58;
        rig.attach(DEVICE, entry);
        rig.write((1 << (granule + entry_bits)) + (2 << granule) + 0x88, &[9; 4]).unwrap();
        assert_eq!(rig.peek(RAM + 0x88), [9; 4]);
    }
}

#[test]
fn tables_side_by_side_make_a_wider_start() {
    let mut rig = Rig::on(Config::default());
    // 40 bits from level 1: two tables side by side.
    let (root, middle, last) = (0x5010_0000, 0x5010_2000, 0x5010_3000);
    rig.store(root + 8 * 513, middle | 0b11);
    rig.store(middle, last | 0b11);
    rig.store(last, page_two(RAM));
    let mut entry = Rig::stage_two(root);
    entry[2] = entry[2] & !(0x3f << 32) | 24 << 32;
    rig.attach(DEVICE, entry);
    rig.write(513 << 30, &[9; 4]).unwrap();
    assert_eq!(rig.peek(RAM), [9; 4]);
}

#[test]
fn an_absent_page_is_a_translation_fault_with_a_record() {
    let (mut rig, _) = stage_two();
    assert_eq!(blocked_by(rig.write(0x5abc, &[1])), Some(0x10));
    let record = rig.event().unwrap();
    assert_eq!(record[0] & 0xffff_ffff_0000_08ff, 0x8_0000_0010);
    assert_eq!(record[1..], [0x280_0000_0000, 0x5abc, 0x5000]);
    assert_eq!(blocked_by(rig.read(0x5abc)), Some(0x10));
    assert_eq!(rig.event().unwrap()[1], 0x288_0000_0000);
    assert_eq!(rig.event(), None);
}

#[test]
fn faults_are_told_apart() {
    let (mut rig, (root, _, last)) = stage_two();
    rig.store(last, page_two(RAM) & !0x80);
    rig.store(last + 8, page_two(RAM) & !0x40);
    rig.store(last + 16, page_two(RAM) & !0x400);
    rig.store(last + 24, page_two(1 << 44));
    rig.store(root + 16, 0x9000_0003);
    assert_eq!((blocked_by(rig.write(0, &[1])), rig.read(0).is_ok()), (Some(0x13), true));
    assert_eq!((blocked_by(rig.read(0x1000)), rig.write(0x1000, &[1]).is_ok()), (Some(0x13), true));
    assert_eq!(blocked_by(rig.read(0x2000)), Some(0x12));
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x11));
    assert_eq!(blocked_by(rig.read(1 << 39)), Some(0x10));
    assert_eq!(blocked_by(rig.read(1 << 44)), Some(0x11), "wider than the unit");
    assert_eq!(blocked_by(rig.read(0x8000_0000)), Some(0x0b), "a table where there is no memory for tables");
    let recorded: Vec<_> = std::iter::from_fn(|| rig.event()).map(|record| record[0] & 0xff).collect();
    assert_eq!(recorded, [0x13, 0x13, 0x12, 0x11], "the fifth and later records found no room");
}

#[test]
fn a_walk_that_aborts_tells_where() {
    let (mut rig, (_, _, last)) = stage_two();
    rig.bench.memory().abort_at(last, last + 0xfff);
    assert_eq!(blocked_by(rig.read(0x2345)), Some(0x0b));
    let record = rig.event().unwrap();
    assert_eq!(record[1..], [0x288_0000_0000, 0x2345, last + 0x10]);
}

#[test]
fn stage_one_faults_name_the_first_stage() {
    let (mut rig, (_, _, last)) = stage_one();
    rig.store(last, page_one(RAM) | 0x80);
    rig.store(last + 8, page_one(RAM) & !0x40);
    assert_eq!(blocked_by(rig.write(0, &[1])), Some(0x13));
    assert_eq!(rig.event().unwrap()[1], 0x200_0000_0000);
    assert_eq!(blocked_by(rig.read(0x1000)), Some(0x13), "devices are unprivileged");
    assert_eq!(blocked_by(rig.read(0xffff_ff80_0000_0000)), Some(0x10), "the upper half is off");
}

#[test]
fn faults_are_not_recorded_where_the_configuration_says_so() {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    let mut entry = Rig::stage_two(root);
    entry[2] &= !(1 << 58);
    rig.attach(DEVICE, entry);
    assert_eq!(blocked_by(rig.read(0)), Some(0x10));
    assert_eq!(rig.event(), None);
}

#[test]
fn a_context_may_answer_with_zeros_instead() {
    let mut rig = Rig::on(Config { always_aborts: false, ..Config::default() });
    let (root, _, _) = rig.tables();
    let entry = rig.stage_one(root);
    let context = entry[0] & !0xf;
    let word = 25 | 0b11_01_01 << 8 | 1 << 30 | 1 << 31 | 0b100 << 32 | 1 << 41 | 1 << 45 | 7 << 48;
    rig.store(context, word);
    rig.attach(DEVICE, entry);
    let blocked = rig.read(0).unwrap_err();
    assert!(!blocked.aborted && blocked.event == Some(0x10));
}

#[test]
fn bypass_and_abort_do_what_they_say() {
    let mut rig = Rig::on(Config::default());
    assert_eq!(blocked_by(rig.read(RAM)), None, "abort, and nothing recorded");
    assert_eq!(rig.event(), None);
    rig.attach(DEVICE, [0b1001, 0, 0, 0]);
    rig.write(RAM, &[7; 4]).unwrap();
    assert_eq!(rig.peek(RAM), [7; 4]);
    assert_eq!(blocked_by(rig.write(1 << 44, &[7])), Some(0x11));
}

#[test]
fn configuration_errors_are_told_apart() {
    let mut rig = Rig::on(Config::default());
    assert_eq!(blocked_by(rig.bench.dma_write(StreamId(64), 0, &[1])), Some(0x02));
    assert_eq!(rig.event().unwrap()[0] & 0xffff_ffff_0000_00ff, 0x40_0000_0002);
    rig.attach(DEVICE, [0, 0, 0, 0]);
    assert_eq!(blocked_by(rig.read(0)), Some(0x04));
    rig.attach(DEVICE, [0b1011 | 0x5030_0000, 0xd4, 0, 0]);
    assert_eq!(blocked_by(rig.read(0)), Some(0x0a), "a context of zeros");
    rig.bench.memory().abort_at(0x5030_0000, 0x5030_003f);
    rig.push([0x05 | 8 << 32, 1]);
    rig.sync();
    assert_eq!(blocked_by(rig.read(0)), Some(0x09));
    rig.bench.memory().abort_at(rig.streams + 512, rig.streams + 575);
    rig.forget_entry(DEVICE);
    assert_eq!(blocked_by(rig.read(0)), Some(0x03));
}

#[test]
fn streams_with_substreams_are_disabled_without_one() {
    let mut rig = Rig::on(Config { substream_bits: 5, ..Config::default() });
    let (root, _, last) = rig.tables();
    rig.store(last, page_one(RAM));
    let mut entry = rig.stage_one(root);
    entry[0] |= 1 << 59;
    rig.attach(DEVICE, entry);
    assert_eq!(blocked_by(rig.read(0)), Some(0x06));
    assert_eq!(rig.event().unwrap()[0], 0x8_0000_0006);
}

#[test]
fn a_unit_that_is_off_passes_or_aborts_everything() {
    let mut rig = Rig::off(Config::default());
    assert!(rig.read(RAM).is_ok());
    rig.regs.write32(0x44, 0x8010_1000);
    assert_eq!(rig.regs.read32(0x44), 0x10_1000);
    assert_eq!(blocked_by(rig.read(RAM)), None);
    assert_eq!(rig.bench.observed().global_bypasses, 0, "it was open from the start");
    rig.regs.write32(0x44, 0x8000_1000);
    assert_eq!(rig.bench.observed().global_bypasses, 1);
}

#[test]
#[should_panic(expected = "reserved bits set")]
fn a_table_with_reserved_bits_set_is_refused() {
    let (mut rig, (root, _, _)) = stage_two();
    rig.store(root + 8, 1 << 63 | 0x5000_0003);
    let _ = rig.read(0x4000_0000);
}
