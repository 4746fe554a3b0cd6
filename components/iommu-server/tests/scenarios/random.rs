//! Random lives: after each reply the server says what is expected, and each device gets exactly where it should.

use std::iter;

use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId};
use proptest::prelude::*;

use crate::{
    MIB, PAGE,
    bench::{Facts, Unit, over_every_unit},
    lives::{Op, begin},
};

fn address(facts: &Facts) -> BoxedStrategy<u64> {
    let end = facts.aperture() + 1;
    let reserved = facts.reserved.first().map_or(end, |range| range.0);
    prop_oneof![
        8 => (0..12_u64).prop_map(|page| page * PAGE),
        5 => (0..6_u64).prop_map(|n| n * MIB),
        4 => (1..3_u64, 0..4_u64).prop_map(|(block, page)| 2 * block * MIB - 2 * PAGE + page * PAGE),
        1 => (1..3_u64).prop_map(move |page| end - page * PAGE),
        1 => (0..3_u64).prop_map(move |page| reserved + page * PAGE - 2 * PAGE),
        1 => (0..3_u64).prop_map(move |n| reserved + n * MIB - MIB),
        1 => (1..3_u64).prop_map(|page| 0_u64.wrapping_sub(page * PAGE)),
        1 => any::<u64>(),
    ]
    .boxed()
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        10 => (1..5_u64).prop_map(|pages| pages * PAGE),
        4 => Just(MIB),
        3 => Just(2 * MIB),
        2 => Just(4 * MIB),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

fn space() -> impl Strategy<Value = SpaceId> {
    prop_oneof![14 => 1..3_u16, 1 => 0..5_u16].prop_map(SpaceId)
}

fn device() -> impl Strategy<Value = DeviceIndex> {
    prop_oneof![6 => Just(0), 2 => Just(1), 1 => 0..9_u16].prop_map(DeviceIndex)
}

fn flags(write: f64) -> impl Strategy<Value = MapFlags> {
    (prop::bool::weighted(0.95), prop::bool::weighted(write), prop::bool::weighted(0.75))
        .prop_map(|(read, write, fixed)| MapFlags { read, write, fixed, resume: false })
}

fn map(facts: &Facts) -> impl Strategy<Value = Request> + use<> {
    let slot = prop_oneof![10 => Just(0), 3 => Just(1), 1 => 2..20_u16].prop_map(RegionSlot);
    let offset = prop_oneof![5 => (0..4_u64).prop_map(|page| page * PAGE), 3 => (0..4_u64).prop_map(|n| n * MIB), 1 => any::<u64>()];
    let generation = prop_oneof![15 => Just(1), 1 => any::<u16>()];
    (space(), slot, generation, flags(0.7), address(facts), offset, length()).prop_map(
        |(space, slot, generation, flags, iova, offset, length)| Request::Map {
            space,
            slot,
            generation,
            flags,
            iova: if flags.fixed { iova } else { 0 },
            offset,
            length,
        },
    )
}

fn copy(facts: &Facts) -> impl Strategy<Value = Request> + use<> {
    (space(), space(), flags(0.3), address(facts), address(facts), length()).prop_map(
        |(target, source, flags, iova, first, length)| Request::Copy {
            target,
            source,
            flags,
            iova: if flags.fixed { iova } else { 0 },
            first,
            length,
        },
    )
}

fn unmap(facts: &Facts) -> impl Strategy<Value = Request> + use<> {
    prop_oneof![
        3 => (space(), address(facts), length()).prop_map(|(space, first, length)| {
            Request::Unmap { space, first, last: first.wrapping_add(length).wrapping_sub(1) }
        }),
        1 => space().prop_map(|space| Request::Unmap { space, first: 0, last: u64::MAX }),
    ]
}

fn op(facts: &Facts) -> impl Strategy<Value = Op> + use<> {
    let slot = || 0..3_u16;
    prop_oneof![
        4 => Just(Op::Ask(Request::IoasAlloc)),
        1 => space().prop_map(|space| Op::Ask(Request::IoasDestroy { space })),
        22 => map(facts).prop_map(Op::Ask),
        8 => copy(facts).prop_map(Op::Ask),
        9 => unmap(facts).prop_map(Op::Ask),
        6 => (space(), device()).prop_map(|(space, device)| Op::Ask(Request::Attach { space, device })),
        3 => (space(), device()).prop_map(|(space, device)| Op::Ask(Request::Replace { space, device })),
        2 => device().prop_map(|device| Op::Ask(Request::Detach { device })),
        1 => Just(Op::Ask(Request::Reset)),
        6 => (0..4_usize).prop_map(Op::Resume),
        4 => Just(Op::Claim),
        1 => Just(Op::Teardown),
        2 => Just(Op::Hold),
        1 => slot().prop_map(Op::Revoke),
        2 => slot().prop_map(Op::Regrant),
        6 => Just(Op::Work),
        1 => Just(Op::Expire),
    ]
}

fn s01_random_lives_are_as_expected_in_the_server_and_in_the_hardware(unit: &Unit) {
    // The usual one as often as all others.
    for (kind, cases) in unit.kinds().iter().zip(iter::once(32).chain(iter::repeat(8))) {
        let refused = prop::option::weighted(0.15, (0..6_u32, 0..6_u32));
        let who = prop_oneof![5 => Just(0_usize), 4 => Just(1), 2 => Just(2)];
        let ops = prop::collection::vec((who, op(&kind.facts()), refused), 1..60);
        let config = ProptestConfig { cases, max_shrink_iters: 2000, ..ProptestConfig::default() };
        proptest!(config, |(ops in ops)| {
            let mut lives = begin(kind, |_| {});
            for (index, op, refused) in ops {
                lives.apply(index, op, refused);
            }
            lives.end();
        });
    }
}

over_every_unit!(s01_random_lives_are_as_expected_in_the_server_and_in_the_hardware);
