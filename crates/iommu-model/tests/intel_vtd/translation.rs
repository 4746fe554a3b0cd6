//! Where accesses end up.

use iommu_hal::StreamId;
use iommu_model::intel_vtd::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by};

#[test]
fn a_page_of_three_levels_is_read_and_written() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last + 8 * 3, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    rig.write(0x3ffe, &[1, 2]).unwrap();
    assert_eq!(rig.peek(RAM + 0xffe), [1, 2, 0, 0]);
    rig.bench.memory().poke(RAM + 8, &[7; 4]);
    assert_eq!(rig.read(0x3008), Ok([7; 4]));
}

#[test]
fn an_access_stops_at_the_first_page_that_is_refused() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    let blocked = rig.write(0xffe, &[1, 2, 3, 4]).unwrap_err();
    assert_eq!((blocked.iova, blocked.reason, blocked.recorded), (0x1000, Some(5), true));
    assert_eq!(rig.peek(RAM + 0xffe), [1, 2, 0, 0]);
}

#[test]
fn four_levels_reach_48_bits() {
    let mut rig = Rig::on(Config::default());
    let frames: Vec<u64> = (0..4).map(|_| rig.frame()).collect();
    for (level, index) in [(0, 511), (1, 510), (2, 509)] {
        rig.store(frames[level] + 8 * index, frames[level + 1] | 0b11);
    }
    rig.store(frames[3] + 8 * 508, RAM | 0b11);
    rig.attach_raw(DEVICE, [frames[0] | 1, 2 | 5 << 8]);
    let iova = 511 << 39 | 510 << 30 | 509 << 21 | 508 << 12;
    rig.write(iova, &[9; 4]).unwrap();
    assert_eq!(rig.peek(RAM), [9; 4]);
    assert_eq!(blocked_by(rig.read(1 << 48)), Some(4));
}

#[test]
fn large_pages_of_both_sizes() {
    let mut rig = Rig::on(Config::default());
    let (root, middle, _) = rig.tables();
    rig.store(middle + 8, RAM | 0x20_0083);
    rig.store(root + 8, 0x1_4000_0083);
    rig.attach(DEVICE, root, 5);
    rig.write(0x20_0000 + 0x1f_f000, &[1; 4]).unwrap();
    assert_eq!(rig.peek(RAM + 0x3f_f000), [1; 4]);
    rig.write(0x4000_0000 + 0x3fff_fffc, &[2; 4]).unwrap();
    assert_eq!(rig.peek(0x1_7fff_fffc), [2; 4]);
}

#[test]
fn rights_are_those_of_every_level() {
    for (top, middle_rights, last_rights, read, write) in [
        (3, 3, 1, true, false),
        (3, 3, 2, false, true),
        (3, 1, 3, true, false),
        (2, 3, 3, false, true),
        (1, 2, 3, false, false),
    ] {
        let mut rig = Rig::on(Config::default());
        let (root, middle, last) = rig.tables();
        rig.store(root, middle | top);
        rig.store(middle, last | middle_rights);
        rig.store(last, RAM | last_rights);
        rig.attach(DEVICE, root, 5);
        assert_eq!((rig.read(0).is_ok(), rig.write(0, &[1]).is_ok()), (read, write), "{top} {middle_rights}");
    }
}

#[test]
fn pass_through_lets_a_device_go_where_it_likes() {
    let mut rig = Rig::on(Config::default());
    rig.attach_raw(DEVICE, [0b1001, 2 | 5 << 8]);
    rig.write(RAM, &[3; 4]).unwrap();
    assert_eq!(rig.peek(RAM), [3; 4]);
    assert_eq!(blocked_by(rig.read(1 << 50)), Some(4));
}

#[test]
#[should_panic(expected = "largest address width")]
fn pass_through_has_the_largest_width() {
    let mut rig = Rig::on(Config::default());
    rig.attach_raw(DEVICE, [0b1001, 1 | 5 << 8]);
    let _ = rig.read(RAM);
}

#[test]
fn each_bus_has_its_context_table_and_each_function_its_entry() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, RAM | 0b11);
    let table = rig.frame();
    rig.store(rig.root + 16 * 0xfe, table | 1);
    rig.store(table + 16 * 0xff + 8, 1 | 5 << 8);
    rig.store(table + 16 * 0xff, root | 1);
    assert!(rig.read_as(StreamId(0xfeff), 0).is_ok());
    assert_eq!(blocked_by(rig.read_as(StreamId(0xfefe), 0)), Some(2));
    assert_eq!(blocked_by(rig.read_as(StreamId(0xfdff), 0)), Some(1));
}

#[test]
fn nothing_is_translated_before_it_is_on_and_after_it_is_off() {
    let rig = Rig::off(Config::default());
    rig.write(RAM, &[1; 4]).unwrap();
    assert_eq!(rig.peek(RAM), [1; 4]);
    let mut rig = Rig::on(Config::default());
    assert_eq!(blocked_by(rig.read(RAM)), Some(2));
    rig.command(1 << 26);
    assert!(rig.read(RAM).is_ok());
    assert_eq!(rig.bench.observed().translation_ended, 1);
}
