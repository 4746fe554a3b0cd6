//! Random changes and invalidations against a reference that keeps every value a page may still be seen with.

use std::collections::{BTreeMap, BTreeSet};

use iommu_model::intel_vtd::Config;
use proptest::prelude::*;

use crate::rig::{DEVICE, RAM, Rig, forget_page};

const PAGES: u64 = 8;

#[derive(Debug, Clone)]
enum Step {
    /// Points a page at a frame, or at none.
    Set(u64, Option<u64>),
    /// Invalidates 2^`order` pages around `page`, with or without tables.
    Invalidate {
        page: u64,
        order: u64,
        hint: bool,
    },
    Sync,
    Access(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..PAGES, proptest::option::of(0..4u64)).prop_map(|(page, frame)| Step::Set(page, frame)),
        2 => (0..PAGES, 0..4u64, any::<bool>()).
            prop_map(|(page, order, hint)| Step::Invalidate { page, order, hint }),
        2 => Just(Step::Sync),
        3 => (0..PAGES).prop_map(Step::Access),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn an_access_sees_the_page_as_it_is_or_as_it_was_since_its_last_invalidation(
        steps in proptest::collection::vec(step(), 1..60),
        reads_ahead: bool,
        coherent: bool,
        caching_mode: bool,
    ) {
        let mut rig = Rig::on(Config { reads_ahead, coherent, caching_mode, ..Config::default() });
        let (root, _, last) = rig.tables();
        rig.attach(DEVICE, root, 5);
        rig.invalidate_all();
        for frame in 0..4 {
            rig.bench.memory().poke(RAM + 0x1000 * frame, &[frame as u8; 4]);
        }
        let mut now = [None; PAGES as usize];
        let mut may: Vec<BTreeSet<Option<u64>>> = vec![BTreeSet::from([None]); PAGES as usize];
        // By page, what it was since its last invalidation that is not completed.
        let mut pending: BTreeMap<u64, BTreeSet<Option<u64>>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set(page, frame) => {
                    rig.store(last + 8 * page, frame.map_or(0, |frame| (RAM + 0x1000 * frame) | 0b11));
                    now[page as usize] = frame;
                    may[page as usize].insert(frame);
                    pending.entry(page).and_modify(|since| _ = since.insert(frame));
                }
                Step::Invalidate { page, order, hint } => {
                    let first = page >> order << order;
                    rig.push(forget_page(5, first << 12 | order | u64::from(hint) << 6));
                    for page in first..(first + (1 << order)).min(PAGES) {
                        pending.insert(page, BTreeSet::from([now[page as usize]]));
                    }
                }
                Step::Sync => {
                    rig.sync();
                    for (page, since) in std::mem::take(&mut pending) {
                        may[page as usize] = since;
                    }
                }
                Step::Access(page) => {
                    let seen = rig.read(0x1000 * page).ok().map(|bytes| u64::from(bytes[0]));
                    prop_assert!(may[page as usize].contains(&seen), "{page}: {seen:?}, not of {may:?}");
                    if let (Some(_), None) = (seen, now[page as usize]) {
                        prop_assert!(rig.bench.cached_translations() > 0);
                    }
                }
            }
        }
    }
}
