//! What a request costs in accesses to table memory, and that a budget bounds it.

mod common;

use common::{GIB1, KIB4, MIB2, rig::Rig};
use iommu_hal::{Format, Geometry, PhysAddr, Rights};
use iommu_pgtable::{Extent, Table};

/// Levels of a 48-bit aperture.
const LEVELS: u64 = 4;

/// Loads of a plan: one entry of each table above the lowest.
const PLAN_READS: u64 = LEVELS - 1;
/// Loads of mapping one page where its table exists, and its stores: the leaf.
const MAP_READS: u64 = LEVELS - 1;
const MAP_WRITES: u64 = 1;
/// Loads of unmapping one page, and its stores: the leaf, or the entry above all that goes with it.
const UNMAP_READS: u64 = LEVELS;
const UNMAP_WRITES: u64 = 1;
/// Stores of mapping one page where no table but the root exists, in frames that were used before: for each
/// table one that makes it zeroes again and one that links it, and the leaf.
const FIRST_MAP_WRITES: u64 = 2 * (LEVELS - 1) + 1;

fn rig() -> Rig {
    let geometry = Geometry {
        format: Format::ArmStage2,
        input_bits: 48,
        output_bits: 48,
        page_sizes: KIB4 | MIB2 | GIB1,
    };
    Rig::new(geometry, 64, false)
}

fn page(iova: u64) -> Extent {
    Extent { iova, pa: PhysAddr(0x8000_0000), bytes: KIB4, rights: Rights::READ_WRITE }
}

/// Loads and stores of `request`.
fn cost(rig: &mut Rig, request: impl FnOnce(&mut Rig)) -> (u64, u64) {
    rig.ram.reads.set(0);
    rig.ram.log.clear();
    request(rig);
    (rig.ram.reads.get(), rig.ram.writes())
}

/// Maps without the suite's own look-ups.
fn map(rig: &mut Rig, extent: Extent) {
    let mut reservation = rig.pool.reserve(rig.table.plan(&rig.ram, &extent).frames).unwrap();
    let done = rig.fill(&mut reservation, &extent, &mut Table::MIN_BUDGET.max(600));
    assert_eq!(done, extent.bytes);
    rig.reference.areas.push(extent);
    rig.pool.release(reservation);
}

/// `fill` looks at each leaf before it stores it, in builds with debug assertions alone.
const fn checks(leaves: u64) -> u64 {
    if cfg!(debug_assertions) { leaves } else { 0 }
}

#[test]
fn one_page_beside_others() {
    let mut rig = rig();
    map(&mut rig, page(0));
    // The last change was made elsewhere.
    map(&mut rig, page(GIB1));
    let (reads, writes) = cost(&mut rig, |rig| map(rig, page(KIB4)));
    assert_eq!((reads, writes), (PLAN_READS + MAP_READS + checks(1), MAP_WRITES));
    // Where the last change was made, there is no way to be walked.
    let (reads, writes) = cost(&mut rig, |rig| map(rig, page(2 * KIB4)));
    assert_eq!((reads, writes), (checks(1), MAP_WRITES));
    let (reads, writes) = cost(&mut rig, |rig| rig.unmap(KIB4, 2 * KIB4 - 1, 1));
    assert_eq!((reads, writes), (UNMAP_READS, UNMAP_WRITES));
}

#[test]
fn one_page_alone() {
    let mut rig = rig();
    map(&mut rig, page(GIB1));
    for _ in 0..2 {
        let (reads, writes) = cost(&mut rig, |rig| rig.unmap(GIB1, GIB1 + KIB4 - 1, 1));
        assert_eq!((reads, writes), (UNMAP_READS, UNMAP_WRITES));
        assert_eq!(rig.stale.len(), 3);
        rig.recycle();
        let (_, writes) = cost(&mut rig, |rig| map(rig, page(GIB1)));
        assert_eq!(writes, FIRST_MAP_WRITES);
    }
}

/// Pages and blocks that come and go in a table of their own: its making and taking out is paid for once.
#[test]
fn a_mapping_that_comes_back_finds_its_table() {
    for bytes in [KIB4, 16 * KIB4, MIB2, 3 * MIB2] {
        let mut rig = rig();
        let extent = Extent { bytes, pa: PhysAddr(8 * GIB1), ..page(GIB1) };
        let leaves = if bytes < MIB2 { bytes / KIB4 } else { bytes / MIB2 };
        map(&mut rig, extent);
        for _ in 0..3 {
            let (reads, writes) = cost(&mut rig, |rig| assert!(rig.unmap_leaves(extent)));
            assert_eq!((reads, writes), (1 + checks(leaves), leaves));
            assert!(rig.stale.is_empty() && rig.table.spare().is_some());
            rig.check();
            let (reads, writes) = cost(&mut rig, |rig| map(rig, extent));
            assert_eq!((reads, writes), (checks(leaves), leaves));
        }
        // Elsewhere the next spare takes its place: one store more.
        let other = page(5 * GIB1);
        map(&mut rig, other);
        assert!(rig.unmap_leaves(extent));
        let (reads, writes) = cost(&mut rig, |rig| assert!(rig.unmap_leaves(other)));
        assert!(reads <= 2 * UNMAP_READS + checks(1) && writes == 2 * UNMAP_WRITES, "{reads}, {writes}");
        rig.check();
    }
}

#[test]
fn a_spare_that_was_filled_and_taken_out_is_no_spare() {
    let mut rig = rig();
    map(&mut rig, page(GIB1));
    assert!(rig.unmap_leaves(page(GIB1)));
    rig.map(page(GIB1), u32::MAX).unwrap();
    rig.unmap(GIB1, GIB1 + KIB4 - 1, 1);
    rig.recycle();
    // The same frames in the same place, with something in them: to be left alone.
    rig.map(page(GIB1 + KIB4), u32::MAX).unwrap();
    assert_eq!(rig.table.shed(&mut rig.pool, &mut rig.ram, false), None);
    rig.check();
}

#[test]
fn a_spare_that_gets_a_table_below_it_is_no_spare() {
    let mut rig = rig();
    let block = Extent { bytes: MIB2, ..page(GIB1) };
    map(&mut rig, block);
    assert!(rig.unmap_leaves(block));
    assert_eq!(rig.spare, Some((GIB1, GIB1)));
    rig.map(page(GIB1), u32::MAX).unwrap();
    rig.check();
    assert!(rig.unmap_leaves(page(GIB1)));
    assert_eq!(rig.spare, Some((MIB2, GIB1)));
    rig.check();
}

#[test]
fn a_block_costs_what_a_page_costs() {
    for bytes in [MIB2, GIB1] {
        let mut rig = rig();
        map(&mut rig, page(0));
        map(&mut rig, page(GIB1));
        map(&mut rig, page(2 * GIB1));
        rig.unmap(GIB1, GIB1 + KIB4 - 1, 1);
        rig.recycle();
        let block = Extent { bytes, ..page(GIB1) };
        let (reads, writes) = cost(&mut rig, |rig| map(rig, block));
        assert!(reads <= PLAN_READS + MAP_READS + 1 && writes <= FIRST_MAP_WRITES, "{reads}, {writes}");
        let (reads, writes) = cost(&mut rig, |rig| rig.unmap(GIB1, GIB1 + bytes - 1, 1));
        assert!(reads <= UNMAP_READS && writes == UNMAP_WRITES, "{reads}, {writes}");
    }
}

#[test]
fn a_table_full_of_pages_goes_with_one_store() {
    let mut rig = rig();
    map(&mut rig, Extent { iova: MIB2, bytes: MIB2, pa: PhysAddr(KIB4), rights: Rights::READ });
    let (reads, writes) = cost(&mut rig, |rig| rig.unmap(MIB2, 2 * MIB2 - 1, 1));
    assert!(reads <= UNMAP_READS && writes == UNMAP_WRITES);
    // So does one full of blocks.
    map(&mut rig, Extent { iova: GIB1, bytes: GIB1, pa: PhysAddr(MIB2), rights: Rights::READ });
    let (reads, writes) = cost(&mut rig, |rig| rig.unmap(GIB1, 2 * GIB1 - 1, 1));
    assert!(reads <= UNMAP_READS && writes == UNMAP_WRITES);
}

#[test]
fn a_table_of_blocks_goes_with_one_store_once_the_tables_below_it_are_gone() {
    let mut rig = rig();
    map(&mut rig, page(GIB1));
    map(&mut rig, Extent { bytes: 3 * MIB2, ..page(GIB1 + MIB2) });
    rig.unmap(GIB1, GIB1 + KIB4 - 1, 1);
    let (_, writes) = cost(&mut rig, |rig| rig.unmap(GIB1, 2 * GIB1 - 1, 1));
    assert_eq!(writes, UNMAP_WRITES);
}

#[test]
fn a_plan_does_not_depend_on_the_length() {
    let mut rig = rig();
    let all = Extent { iova: 0, pa: PhysAddr(0), bytes: (1 << 48) - KIB4, rights: Rights::READ };
    for extent in [all, Extent { iova: KIB4, pa: PhysAddr(KIB4), bytes: 1 << 47, ..all }] {
        let (reads, writes) = cost(&mut rig, |rig| assert!(rig.table.plan(&rig.ram, &extent).frames > 0));
        assert!(reads <= PLAN_READS && writes == 0);
    }
}

#[test]
fn a_budget_bounds_loads_and_stores() {
    /// Stores of one new table: its zeroing and its link.
    const NEW_TABLE: u64 = 512 + 1;
    let extent = Extent { iova: KIB4, pa: PhysAddr(0), bytes: 5 * MIB2, rights: Rights::READ };
    for limit in (1..Table::MIN_BUDGET + 40).chain([500, 520, 1000]) {
        let mut rig = rig();
        let mut reservation = rig.reserve(&extent).unwrap();
        let frames = reservation.frames();
        let mut budget = limit;
        let mut done = 0;
        let (reads, writes) = cost(&mut rig, |rig| done = rig.fill(&mut reservation, &extent, &mut budget));
        let tables = frames - reservation.frames();
        let leaves = done / KIB4;
        let spent = u64::from(limit - budget);
        assert_eq!(spent, leaves + u64::from(tables * Table::FRESH_TABLE_WRITES));
        assert!(writes <= leaves + u64::from(tables) * NEW_TABLE);
        assert!(reads <= checks(leaves) + LEVELS * (1 + u64::from(tables)));
        assert!(done > 0 || limit < Table::MIN_BUDGET);
    }
    let mut rig = rig();
    rig.map(extent, u32::MAX).unwrap();
    let mut from = Some(0);
    for limit in 1.. {
        let Some(first) = from else { break };
        let range = iommu_hal::IovaRange::new(first, 6 * MIB2 - 1).unwrap();
        let mut budget = limit;
        let (reads, writes) = cost(&mut rig, |rig| {
            let cleared = rig.table.clear(&mut rig.pool, &mut rig.ram, false, range, &mut budget);
            from = cleared.next;
            rig.stale.append(&mut rig.pool, cleared.frames);
        });
        assert!(reads <= u64::from(limit) * 2 + LEVELS && writes <= u64::from(limit));
    }
}
