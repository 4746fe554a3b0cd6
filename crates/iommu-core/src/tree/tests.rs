use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use iommu_hal::{IovaRange, Rights};
use proptest::prelude::*;

use super::*;
use crate::area::{Area, AreaPool};

const PAGE: u64 = 0x1000;

fn range(first: u64, last: u64) -> IovaRange {
    IovaRange::new(first, last).unwrap()
}

fn storage(areas: usize) -> Vec<Area> {
    (0..=areas).map(|_| Area::NEW).collect()
}

fn insert(tree: &mut Tree, pool: &mut AreaPool<'_>, range: IovaRange) -> Result<(), IovaRange> {
    tree.locate(pool, range).map_err(|index| pool[index as usize].range())?;
    let index = pool.take(Area::new(range, 0, 0, Rights::READ)).unwrap();
    tree.insert(index);
    Ok(())
}

/// Takes out the lowest area that overlaps `range`, and says where it was.
fn remove(tree: &mut Tree, pool: &mut AreaPool<'_>, range: IovaRange) -> Option<IovaRange> {
    let found = tree.find(pool, range)?;
    let index = tree.remove(pool);
    assert_eq!(index, found);
    pool.give(index);
    Some(pool[index as usize].range())
}

/// Areas by their first address, without any cleverness.
#[derive(Default)]
struct Model(BTreeMap<u64, u64>);

impl Model {
    fn overlapping(&self, range: IovaRange) -> Option<IovaRange> {
        self.0
            .iter()
            .map(|(&first, &last)| super::tests::range(first, last))
            .find(|area| area.overlaps(range))
    }

    /// The lowest fit, by trying every hole.
    fn first_fit(&self, within: IovaRange, length: u64, align: u64) -> Option<u64> {
        let mut at = Some(0);
        let ends = self.0.iter().map(|(&first, &last)| (Some(first), last.checked_add(1)));
        for (end, next) in ends.chain([(None, None)]) {
            let from = u128::from(at?.max(within.first())).next_multiple_of(align.into());
            let to = end.map_or(u128::from(within.last()) + 1, |end| {
                u128::from(end).min(u128::from(within.last()) + 1)
            });
            if from + u128::from(length) <= to {
                return Some(from as u64);
            }
            at = next;
        }
        None
    }

    /// Whether some hole is so long that it fits at any alignment.
    fn surely_fits(&self, within: IovaRange, length: u64, align: u64) -> bool {
        self.first_fit(within, length + align - PAGE, PAGE).is_some()
    }
}

/// Everything that two places can tell about the same areas.
fn compare(tree: &Tree, pool: &AreaPool<'_>, model: &Model) {
    let (count, height) = tree.check(pool);
    assert_eq!(count, model.0.len());
    assert_eq!(tree.is_empty(), count == 0);
    assert!(f64::from(height) <= 1.4405 * ((count + 2) as f64).log2());
}

#[test]
fn the_whole_address_space_is_one_area() {
    let mut storage = storage(2);
    let mut pool = AreaPool::new(&mut storage);
    let mut tree = Tree::EMPTY;
    insert(&mut tree, &mut pool, IovaRange::ALL).unwrap();
    assert_eq!(insert(&mut tree, &mut pool, range(u64::MAX, u64::MAX)), Err(IovaRange::ALL));
    assert_eq!(tree.first_fit(&pool, IovaRange::ALL, PAGE, PAGE), None);
    remove(&mut tree, &mut pool, range(5, 5));
    assert!(tree.is_empty());
    assert_eq!(tree.first_fit(&pool, IovaRange::ALL, PAGE, PAGE), Some(0));
}

#[test]
fn the_last_page_is_found_free_and_taken() {
    let mut storage = storage(2);
    let mut pool = AreaPool::new(&mut storage);
    let mut tree = Tree::EMPTY;
    let top = u64::MAX - PAGE + 1;
    insert(&mut tree, &mut pool, range(0, top - 1)).unwrap();
    assert_eq!(tree.first_fit(&pool, IovaRange::ALL, PAGE, PAGE), Some(top));
    assert_eq!(tree.first_fit(&pool, IovaRange::ALL, 2 * PAGE, PAGE), None);
    insert(&mut tree, &mut pool, range(top, u64::MAX)).unwrap();
    assert_eq!(tree.first_fit(&pool, IovaRange::ALL, PAGE, PAGE), None);
    assert_eq!(tree.highest_at(&pool, u64::MAX), Some(2));
    tree.check(&pool);
}

#[test]
fn first_fit_gives_up_on_unaligned_holes_after_its_tries() {
    // Holes of two pages, none aligned to two; one of three pages behind the limit of tries.
    let align = 2 * PAGE;
    for unaligned in [u64::from(FIRST_FIT_TRIES), u64::from(FIRST_FIT_TRIES) + 5] {
        let mut storage = storage(100);
        let mut pool = AreaPool::new(&mut storage);
        let mut tree = Tree::EMPTY;
        insert(&mut tree, &mut pool, range(0, PAGE - 1)).unwrap();
        for n in 0..unaligned {
            let first = (4 * n + 3) * PAGE;
            insert(&mut tree, &mut pool, range(first, first + 2 * PAGE - 1)).unwrap();
        }
        let hole = (4 * unaligned + 1) * PAGE;
        insert(&mut tree, &mut pool, range(hole + 3 * PAGE, IovaRange::ALL.last())).unwrap();
        let fit = tree.first_fit(&pool, IovaRange::ALL, 2 * PAGE, align);
        assert_eq!(fit, Some(hole.next_multiple_of(align)));
    }
}

#[test]
fn ascending_descending_and_random_orders_stay_balanced_at_full_capacity() {
    const AREAS: u64 = 16_384;
    // The last stride is odd, so that it visits every place once.
    let orders: [fn(u64) -> u64; 3] = [|n| n, |n| AREAS - 1 - n, |n| n * 10_007 % AREAS];
    for order in orders {
        let mut storage = storage(AREAS as usize);
        let mut pool = AreaPool::new(&mut storage);
        let mut tree = Tree::EMPTY;
        for n in 0..AREAS {
            let first = order(n) * 2 * PAGE;
            insert(&mut tree, &mut pool, range(first, first + PAGE - 1)).unwrap();
        }
        let (count, height) = tree.check(&pool);
        assert_eq!(count as u64, AREAS);
        assert!(height <= 20, "{height}");
        for n in 0..AREAS {
            let first = order(AREAS - 1 - n) * 2 * PAGE;
            remove(&mut tree, &mut pool, range(first, first));
            if n % 1024 == 0 {
                tree.check(&pool);
            }
        }
        assert!(tree.is_empty() && pool.in_use() == 0);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(IovaRange),
    Remove(IovaRange),
    Fit { within: IovaRange, length: u64, align: u64 },
}

/// Places on a small grid, at the bottom and at the very top of the address space, so that things meet.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![0..96_u64, (1_u64 << 52) - 32..1 << 52]
}

fn pages() -> impl Strategy<Value = IovaRange> {
    (place(), 1..6_u64).prop_map(|(page, count)| {
        let last = (page + count - 1).min((1 << 52) - 1);
        range(page * PAGE, last * PAGE + (PAGE - 1))
    })
}

fn op() -> impl Strategy<Value = Op> {
    let within = prop_oneof![
        Just(IovaRange::ALL),
        Just(range(PAGE, u64::MAX)),
        (1..40_u64, 41..200_u64).prop_map(|(first, last)| range(first * PAGE, last * PAGE - 1)),
    ];
    prop_oneof![
        4 => pages().prop_map(Op::Insert),
        3 => pages().prop_map(Op::Remove),
        2 => (within, 1..12_u64, 0..5_u32)
            .prop_map(|(within, count, align)| Op::Fit { within, length: count * PAGE, align: PAGE << align }),
    ]
}

proptest! {
    #[test]
    fn does_what_a_sorted_map_does(ops in prop::collection::vec(op(), 1..250)) {
        let mut storage = storage(250);
        let mut pool = AreaPool::new(&mut storage);
        let mut tree = Tree::EMPTY;
        let mut model = Model::default();
        for op in ops {
            match op {
                Op::Insert(range) => {
                    let expected = model.overlapping(range);
                    match insert(&mut tree, &mut pool, range) {
                        Ok(()) => {
                            prop_assert_eq!(expected, None);
                            model.0.insert(range.first(), range.last());
                        }
                        Err(area) => prop_assert!(area.overlaps(range) && expected.is_some()),
                    }
                }
                Op::Remove(range) => {
                    let found = tree.lowest_in(&pool, range).map(|index| pool[index as usize].range());
                    prop_assert_eq!(found, model.overlapping(range));
                    prop_assert_eq!(remove(&mut tree, &mut pool, range), found);
                    if let Some(area) = found {
                        model.0.remove(&area.first());
                    }
                }
                Op::Fit { within, length, align } => {
                    let lowest = model.first_fit(within, length, align);
                    match tree.first_fit(&pool, within, length, align) {
                        Some(iova) => {
                            let fit = IovaRange::from_length(iova, length).unwrap();
                            prop_assert!(within.covers(fit) && iova % align == 0);
                            prop_assert_eq!(model.overlapping(fit), None);
                            if model.0.len() < FIRST_FIT_TRIES as usize || align == PAGE {
                                prop_assert_eq!(Some(iova), lowest);
                            }
                        }
                        None if model.0.len() < FIRST_FIT_TRIES as usize || align == PAGE => {
                            prop_assert_eq!(lowest, None)
                        }
                        None => prop_assert!(!model.surely_fits(within, length, align)),
                    }
                }
            }
            for at in [0, 7 * PAGE, u64::MAX] {
                let expected = model.0.range(..=at).next_back().map(|(&first, _)| first);
                prop_assert_eq!(tree.highest_at(&pool, at).map(|index| pool[index as usize].first), expected);
            }
            compare(&tree, &pool, &model);
        }
    }

    /// The augmentation with many areas and holes of many lengths, against every hole tried in turn.
    #[test]
    fn granule_alignment_finds_the_lowest_hole_among_many(
        gaps in prop::collection::vec((0..9_u64, 1..4_u64), 1..400),
        length in 1..10_u64,
    ) {
        let mut storage = storage(400);
        let mut pool = AreaPool::new(&mut storage);
        let mut tree = Tree::EMPTY;
        let mut model = Model::default();
        let mut at = 0;
        let mut areas = vec![];
        for (gap, count) in gaps {
            let first = at + gap;
            at = first + count;
            areas.push(range(first * PAGE, at * PAGE - 1));
        }
        let middle = areas.len() / 2;
        areas.rotate_left(middle);
        for area in areas {
            insert(&mut tree, &mut pool, area).unwrap();
            model.0.insert(area.first(), area.last());
        }
        compare(&tree, &pool, &model);
        let length = length * PAGE;
        let lowest = model.first_fit(IovaRange::ALL, length, PAGE);
        prop_assert_eq!(tree.first_fit(&pool, IovaRange::ALL, length, PAGE), lowest);
    }
}
