//! What the unit remembers, and what makes it forget.

use iommu_hal::{PhysAddr, TableMemory};
use iommu_model::smmu_v3::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_one, page_two};

/// A stage 2 stream with one page at 0x3000, used once.
fn warm() -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(Config::default());
    let tables = rig.tables();
    rig.store(tables.2 + 8 * 3, page_two(RAM));
    rig.attach(DEVICE, Rig::stage_two(tables.0));
    rig.read(0x3000).unwrap();
    (rig, tables)
}

/// The same at stage 1.
fn warm_one() -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(Config::default());
    let tables = rig.tables();
    rig.store(tables.2 + 8 * 3, page_one(RAM));
    let entry = rig.stage_one(tables.0);
    rig.attach(DEVICE, entry);
    rig.read(0x3000).unwrap();
    (rig, tables)
}

#[test]
fn a_page_taken_out_stays_in_use_until_it_is_invalidated_and_that_has_completed() {
    let (mut rig, (_, _, last)) = warm();
    rig.store(last + 8 * 3, 0);
    assert!(rig.read(0x3000).is_ok());
    rig.sync();
    assert!(rig.read(0x3000).is_ok(), "a CMD_SYNC alone invalidates nothing");
    rig.push([0x2a | 5 << 32, 0x3000]);
    assert!(rig.read(0x3000).is_ok(), "the invalidation is consumed, not completed");
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x10));
}

#[test]
fn a_page_never_used_may_have_been_read_ahead() {
    let (mut rig, (_, _, last)) = warm();
    rig.store(last + 8 * 4, page_two(RAM + 0x1000));
    rig.store(last + 8 * 4, 0);
    assert!(rig.read(0x4000).is_ok());
    rig.store(last + 8 * 5, page_two(RAM + 0x2000));
    assert!(rig.read(0x5000).is_ok(), "an invalid entry is never cached");

    let mut rig = Rig::on(Config { reads_ahead: false, ..Config::default() });
    let (root, _, last) = rig.tables();
    rig.attach(DEVICE, Rig::stage_two(root));
    rig.store(last, page_two(RAM));
    rig.store(last, 0);
    assert_eq!(blocked_by(rig.read(0)), Some(0x10));
}

#[test]
fn stage_two_is_forgotten_by_the_commands_for_it() {
    for (command, forgets) in [
        ([0x2a | 5 << 32, 0x3000], true),
        ([0x2a | 5 << 32, 0x3001], true),
        ([0x2a | 5 << 32, 0x4000], false),
        ([0x2a | 6 << 32, 0x3000], false),
        ([0x28 | 5 << 32, 0], true),
        ([0x28 | 6 << 32, 0], false),
        ([0x30, 0], true),
        ([0x10 | 5 << 32, 0], false),
        ([0x11 | 5 << 32, 0], false),
        ([0x12 | 5 << 32, 0x3000], false),
        ([0x04, 31], false),
        // 4 KiB: two pages from 0x2000; level 3; from 0x1000; level 2 from 0; 16 KiB.
        ([0x2a | 5 << 32 | 1 << 12, 0x2000 | 1 << 10], true),
        ([0x2a | 5 << 32 | 1 << 12, 0x2000 | 1 << 10 | 3 << 8], true),
        ([0x2a | 5 << 32 | 1 << 12, 0x1000 | 1 << 10], false),
        ([0x2a | 5 << 32, 1 << 10 | 2 << 8], false),
        ([0x2a | 5 << 32, 2 << 10 | 3 << 8], false),
    ] {
        let (mut rig, (_, _, last)) = warm();
        rig.store(last + 8 * 3, 0);
        rig.push(command);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{command:#x?}");
    }
}

#[test]
fn stage_one_is_forgotten_by_the_commands_for_it() {
    for (command, forgets) in [
        ([0x12 | 5 << 32 | 7 << 48, 0x3000], true),
        ([0x12 | 5 << 32 | 7 << 48, 0x3001], true),
        ([0x12 | 5 << 32 | 8 << 48, 0x3000], false),
        ([0x12 | 6 << 32 | 7 << 48, 0x3000], false),
        ([0x13 | 5 << 32, 0x3000], true),
        ([0x13 | 5 << 32, 0x2000], false),
        ([0x11 | 5 << 32 | 7 << 48, 0], true),
        ([0x11 | 5 << 32 | 8 << 48, 0], false),
        ([0x10 | 5 << 32, 0], true),
        ([0x10 | 6 << 32, 0], false),
        ([0x28 | 5 << 32, 0], true),
        ([0x30, 0], true),
        ([0x2a | 5 << 32, 0x3000], false),
        ([0x05 | 8 << 32, 0], false),
    ] {
        let (mut rig, (_, _, last)) = warm_one();
        rig.store(last + 8 * 3, 0);
        rig.push(command);
        rig.sync();
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{command:#x?}");
    }
}

#[test]
fn a_leaf_invalidation_leaves_cached_tables_in_use() {
    for (leaf, reaches_new) in [(1, false), (0, true)] {
        let (mut rig, (_, middle, _)) = warm();
        let other = rig.frame();
        rig.store(other + 8 * 3, page_two(RAM + 0x5000));
        rig.bench.memory().poke(RAM, &[1; 4]);
        rig.bench.memory().poke(RAM + 0x5000, &[2; 4]);
        rig.store(middle, other | 0b11);
        rig.push([0x2a | 5 << 32, 0x3000 | leaf]);
        rig.sync();
        assert_eq!(rig.read(0x3000), Ok([if reaches_new { 2 } else { 1 }; 4]), "leaf {leaf}");
    }
}

#[test]
fn entries_are_remembered_until_they_are_invalidated_and_that_has_completed() {
    let (mut rig, _) = warm();
    rig.store(rig.streams + 512, 1);
    assert!(rig.read(0x3000).is_ok());
    rig.push([0x03 | 9 << 32, 1]);
    rig.sync();
    assert!(rig.read(0x3000).is_ok(), "another stream's");
    rig.push([0x03 | 8 << 32, 1]);
    assert!(rig.read(0x3000).is_ok(), "not completed");
    rig.sync();
    assert_eq!(blocked_by(rig.read(0x3000)), None);
}

#[test]
fn an_entry_never_used_may_have_been_read_ahead() {
    let mut rig = Rig::on(Config::default());
    rig.store(rig.streams + 512, 0b1001);
    assert_eq!(blocked_by(rig.read(RAM)), None);
    rig.forget_entry(DEVICE);
    assert!(rig.read(RAM).is_ok());
}

#[test]
fn contexts_are_remembered_by_stream() {
    for (command, forgets) in [
        ([0x05 | 8 << 32, 1], true),
        ([0x05 | 9 << 32, 0], false),
        ([0x06 | 8 << 32, 0], true),
        ([0x03 | 8 << 32, 1], true),
        ([0x04 | 9 << 32, 0], true),
        ([0x04 | 16 << 32, 0], false),
        ([0x30, 0], false),
    ] {
        let mut rig = Rig::on(Config::default());
        let (root, _, last) = rig.tables();
        rig.store(last, page_one(RAM));
        let entry = rig.stage_one(root);
        rig.attach(DEVICE, entry);
        rig.read(0).unwrap();
        rig.store(entry[0] & !0xf, 0);
        rig.push(command);
        rig.sync();
        assert_eq!(rig.read(0).is_err(), forgets, "{command:#x?}");
    }
}

#[test]
fn a_block_in_place_of_its_pages_conflicts_on_a_unit_that_cannot_bear_it() {
    for (level, event) in [(0, Some(0x20)), (2, None)] {
        let mut rig = Rig::on(Config { block_change_level: level, reads_ahead: false, ..Config::default() });
        let (root, middle, last) = rig.tables();
        rig.store(last, page_two(RAM));
        rig.attach(DEVICE, Rig::stage_two(root));
        rig.read(0).unwrap();
        rig.store(middle, RAM | 0x7fd);
        rig.push([0x2a | 5 << 32, 0x1000]);
        rig.sync();
        rig.read(0x1000).unwrap();
        assert_eq!(rig.read(0).err().and_then(|blocked| blocked.event), event);
    }
}

#[test]
fn a_reused_tag_finds_what_was_cached_under_it() {
    let (mut rig, _) = warm();
    let (root, _, _) = rig.tables();
    rig.store(rig.streams + 512, 1);
    rig.forget_entry(DEVICE);
    rig.attach(DEVICE, Rig::stage_two(root));
    assert!(rig.read(0x3000).is_ok());
}

#[test]
fn the_history_of_an_entry_has_every_store() {
    let (rig, (root, _, _)) = warm();
    let history = rig.bench.entry_history(DEVICE);
    let entry = Rig::stage_two(root);
    assert_eq!(history.len(), 5);
    assert_eq!(history[0], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(history[4][..4], entry);
    assert!(history[..4].iter().all(|state| state[0] == 1));
}

#[test]
#[should_panic(expected = "neither the entry before")]
fn an_entry_filled_and_switched_on_at_once_is_refused() {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    let entry = Rig::stage_two(root);
    for word in [3, 2, 1, 0] {
        rig.store(rig.streams + 512 + 8 * word, entry[word as usize]);
    }
    rig.forget_entry(DEVICE);
}

#[test]
#[should_panic(expected = "reserved bits set in word 5")]
fn reserved_bits_are_refused_at_the_store() {
    let (mut rig, _) = warm();
    rig.mem.write(PhysAddr(rig.streams + 512 + 40), 1);
}

#[test]
#[should_panic(expected = "neither the entry before")]
fn a_context_in_use_changes_one_word_at_a_time() {
    let mut rig = Rig::on(Config::default());
    let (root, _, _) = rig.tables();
    let other = rig.frame();
    let entry = rig.stage_one(root);
    rig.attach(DEVICE, entry);
    let context = entry[0] & !0xf;
    let word = rig.mem.read(PhysAddr(context));
    rig.store(context, word & !(0xffff << 48) | 9 << 48);
    rig.store(context + 8, other);
    rig.push([0x05 | 8 << 32, 1]);
    rig.sync();
}

#[test]
fn an_invalidation_before_the_change_does_not_reach_what_is_read_afresh() {
    for reads_ahead in [true, false] {
        let mut rig = Rig::on(Config { reads_ahead, ..Config::default() });
        let (root, _, last) = rig.tables();
        rig.store(last, page_two(RAM));
        rig.attach(DEVICE, Rig::stage_two(root));
        rig.read(0).unwrap();
        rig.push([0x2a | 5 << 32, 0]);
        rig.store(last, 0);
        rig.sync();
        assert_eq!(rig.read(0).is_ok(), reads_ahead);
        rig.push([0x2a | 5 << 32, 0]);
        rig.sync();
        assert_eq!(blocked_by(rig.read(0)), Some(0x10));
    }
}

#[test]
fn the_same_goes_for_entries() {
    let (mut rig, _) = warm();
    rig.push([0x03 | 8 << 32, 1]);
    rig.store(rig.streams + 512, 1);
    rig.sync();
    assert!(rig.read(0x3000).is_ok());
    rig.forget_entry(DEVICE);
    assert_eq!(blocked_by(rig.read(0x3000)), None);
}

#[test]
fn what_was_read_through_an_invalidated_table_goes_with_it() {
    for (reads_ahead, page) in [(true, 3), (false, 4)] {
        let mut rig = Rig::on(Config { reads_ahead, ..Config::default() });
        let (root, middle, last) = rig.tables();
        let other = rig.frame();
        for page in [3, 4] {
            rig.store(last + 8 * page, page_two(RAM));
            rig.store(other + 8 * page, page_two(RAM + 0x5000));
        }
        rig.bench.memory().poke(RAM + 0x5000, &[2; 4]);
        rig.attach(DEVICE, Rig::stage_two(root));
        rig.read(0x3000).unwrap();
        rig.store(middle, other | 0b11);
        rig.push([0x28 | 5 << 32, 0]);
        assert_eq!(rig.read(page * 0x1000), Ok([0; 4]), "the old table, until the CMD_SYNC");
        rig.store(last + 8 * page, 0);
        rig.sync();
        assert_eq!(rig.read(page * 0x1000), Ok([2; 4]));
    }
}
