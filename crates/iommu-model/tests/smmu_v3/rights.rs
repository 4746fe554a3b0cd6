//! Who may do what: access flags, hierarchy, privilege, instruction fetches.

use iommu_model::smmu_v3::Config;

use crate::rig::{DEVICE, RAM, Rig, blocked_by, page_one, page_two};

/// One page at 0 of stage 1, with more bits set in the context's words 0 and 1 and the entry's word 1.
fn stage_one(config: Config, page: u64, context: [u64; 2], overrides: u64) -> (Rig, (u64, u64, u64)) {
    let mut rig = Rig::on(config);
    let tables = rig.tables();
    rig.store(tables.2, page);
    let mut entry = rig.stage_one(tables.0);
    let at = entry[0] & !0xf;
    for (word, more) in context.into_iter().enumerate() {
        let mut plain = [0; 8];
        rig.bench.memory().peek(at + 8 * word as u64, &mut plain);
        rig.store(at + 8 * word as u64, u64::from_le_bytes(plain) | more);
    }
    entry[1] |= overrides;
    rig.attach(DEVICE, entry);
    (rig, tables)
}

fn overriding() -> Config {
    Config { overrides_permissions: true, ..Config::default() }
}

#[test]
fn a_page_without_access_flag_is_not_cached() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM) & !0x400);
    rig.attach(DEVICE, Rig::stage_two(root));
    assert_eq!(blocked_by(rig.read(0)), Some(0x12));
    rig.bench.memory().poke(RAM + 0x1000, &[1; 4]);
    rig.store(last, page_two(RAM + 0x1000));
    assert_eq!(rig.read(0), Ok([1; 4]));
}

#[test]
fn access_flags_can_be_ignored() {
    let mut rig = Rig::on(Config::default());
    let (root, _, last) = rig.tables();
    rig.store(last, page_two(RAM) & !0x400);
    let mut entry = Rig::stage_two(root);
    entry[2] |= 1 << 53;
    rig.attach(DEVICE, entry);
    assert!(rig.read(0).is_ok());
    let (rig, _) = stage_one(Config::default(), page_one(RAM) & !0x400, [1 << 35, 0], 0);
    assert!(rig.read(0).is_ok());
}

#[test]
fn tables_restrict_what_lies_below_unless_that_is_disabled() {
    for (table, disabled, reads, writes) in [
        (1 << 62, false, true, false),
        (1 << 61, false, false, false),
        (1 << 62, true, true, true),
        (1 << 61, true, true, true),
    ] {
        let had = u64::from(disabled) << 1;
        let (mut rig, (_, middle, last)) = stage_one(Config::default(), page_one(RAM), [0, had], 0);
        rig.store(middle, last | 0b11 | table);
        assert_eq!((rig.read(0).is_ok(), rig.write(0, &[1]).is_ok()), (reads, writes));
        // The same once the tables are cached.
        rig.store(last + 8, page_one(RAM));
        assert_eq!((rig.read(0x1000).is_ok(), rig.write(0x1000, &[1]).is_ok()), (reads, writes));
    }
    let config = Config { hierarchy_disable: false, ..Config::default() };
    let (mut rig, (_, middle, last)) = stage_one(config, page_one(RAM), [0, 2], 0);
    rig.store(middle, last | 0b11 | 1 << 62);
    assert!(rig.write(0, &[1]).is_err(), "HAD0 is ignored without IDR3.HAD");
}

#[test]
fn a_stream_can_be_made_privileged() {
    let (mut rig, _) = stage_one(overriding(), page_one(RAM) & !0x40, [0, 0], 0b11 << 48);
    assert!(rig.write(0, &[1]).is_ok());
    assert_eq!(blocked_by(rig.read(0x1000)), Some(0x10));
    assert_eq!(rig.event().unwrap()[1], 0x20a_0000_0000);
    let (rig, _) = stage_one(overriding(), page_one(RAM), [1 << 40, 0], 0b11 << 48);
    assert_eq!(blocked_by(rig.read(0)), Some(0x13), "PAN: unprivileged accesses may");
}

#[test]
fn a_stream_can_be_made_to_fetch_instructions() {
    let (mut rig, _) = stage_one(overriding(), page_one(RAM) | 1 << 54, [0, 0], 0b11 << 50);
    assert!(rig.write(0, &[1]).is_ok(), "a write is data");
    assert_eq!(blocked_by(rig.read(0)), Some(0x13));
    assert_eq!(rig.event().unwrap()[1], 0x20c_0000_0000);
}

#[test]
fn the_top_byte_can_be_ignored() {
    let (rig, _) = stage_one(Config::default(), page_one(RAM), [1 << 38, 0], 0);
    assert!(rig.read(0xaa00_0000_0000_0000).is_ok());
    let (rig, _) = stage_one(Config::default(), page_one(RAM), [0, 0], 0);
    assert_eq!(blocked_by(rig.read(0xaa00_0000_0000_0000)), Some(0x10));
}

#[test]
fn walks_can_be_disabled() {
    let (rig, _) = stage_one(Config::default(), page_one(RAM), [1 << 14, 0], 0);
    assert_eq!(blocked_by(rig.read(0)), Some(0x10));
}

#[test]
fn global_pages_serve_every_asid_of_their_vmid() {
    let (mut rig, _) = stage_one(Config::default(), page_one(RAM) & !0x800, [0, 0], 0);
    rig.read(0).unwrap();
    let (root, _, _) = rig.tables();
    let other = rig.stage_one(root);
    let at = other[0] & !0xf;
    let word = 25 | 0b11_01_01 << 8 | 1 << 30 | 1 << 31 | 0b100 << 32 | 1 << 41 | 0b11 << 45 | 9 << 48;
    rig.store(at, word);
    rig.attach(iommu_hal::StreamId(9), other);
    assert!(rig.bench.dma_read(iommu_hal::StreamId(9), 0, &mut [0]).is_ok());
}
