//! Random requests, such that they meet.

use proptest::prelude::*;
use std::vec;

use super::{MIB, MapRequest, PAGE, Rights, STAGE2, SpaceId};
use crate::CopyRequest;

#[derive(Debug, Clone)]
pub enum Op {
    Alloc,
    Destroy(SpaceId),
    Map(MapRequest),
    /// Goes on with the half-filled area at this place among all, if there is one.
    Resume(SpaceId, usize),
    Unmap(SpaceId, u64, u64),
    Attach(SpaceId, u16),
    Replace(SpaceId, u16),
    Detach(u16),
    Reset,
    Copy(CopyRequest),
    Revoke(u16),
    Regrant(u16),
    Sweep,
    Stop(u16),
    Enable(u16),
    /// The call of the hardware after this many others fails.
    Fail(u32),
}

/// Addresses that meet: pages at the bottom, around block boundaries, and at the end of aperture and range.
fn address() -> impl Strategy<Value = u64> {
    let last = STAGE2.aperture().last();
    prop_oneof![
        8 => (0..16_u64).prop_map(|n| n * PAGE),
        4 => (0..6_u64).prop_map(|n| n * MIB),
        3 => (0..4_u64, 0..4_u64).prop_map(|(block, n)| (2 * block + 2) * MIB - 2 * PAGE + n * PAGE),
        1 => (0..3_u64).prop_map(move |n| last + 1 - n * PAGE),
        1 => (1..3_u64).prop_map(|n| 0_u64.wrapping_sub(n * PAGE)),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (1..9_u64).prop_map(|n| n * PAGE),
        4 => (1..7_u64).prop_map(|n| n * MIB),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

fn space_id() -> impl Strategy<Value = SpaceId> {
    prop_oneof![12 => 1..3_u16, 1 => 0..5_u16].prop_map(SpaceId)
}

fn map() -> impl Strategy<Value = MapRequest> {
    let slot = prop_oneof![10 => Just(0), 3 => Just(1), 1 => 2..20_u16];
    let offset =
        prop_oneof![(0..8_u64).prop_map(|n| n * PAGE), (0..16_u64).prop_map(|n| n * MIB), any::<u64>()];
    let generation = prop_oneof![15 => Just(1), 1 => any::<u16>()];
    let rights = (prop::bool::weighted(0.9), any::<bool>()).prop_map(|(read, write)| Rights { read, write });
    (space_id(), slot, generation, rights, prop::bool::weighted(0.6), address(), offset, length()).prop_map(
        |(space, slot, generation, rights, fixed, iova, offset, length)| MapRequest {
            space,
            slot,
            generation,
            rights,
            fixed,
            resume: false,
            iova,
            offset,
            length,
        },
    )
}

fn copy() -> impl Strategy<Value = CopyRequest> {
    let rights = (prop::bool::weighted(0.9), prop::bool::weighted(0.3));
    let rights = rights.prop_map(|(read, write)| Rights { read, write });
    (space_id(), space_id(), rights, prop::bool::weighted(0.6), address(), address(), length()).prop_map(
        |(target, source, rights, fixed, iova, first, length)| CopyRequest {
            target,
            source,
            rights,
            fixed,
            resume: false,
            iova,
            first,
            length,
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Alloc),
        1 => space_id().prop_map(Op::Destroy),
        20 => map().prop_map(Op::Map),
        6 => (space_id(), 0..4_usize).prop_map(|(space, nth)| Op::Resume(space, nth)),
        7 => (space_id(), address(), length())
            .prop_map(|(space, first, length)| Op::Unmap(space, first, first.wrapping_add(length).wrapping_sub(1))),
        2 => space_id().prop_map(|space| Op::Unmap(space, 0, u64::MAX)),
        4 => (space_id(), 0..3_u16).prop_map(|(space, device)| Op::Attach(space, device)),
        2 => (space_id(), 0..3_u16).prop_map(|(space, device)| Op::Replace(space, device)),
        2 => (0..3_u16).prop_map(Op::Detach),
        1 => Just(Op::Reset),
        12 => copy().prop_map(Op::Copy),
        1 => (0..3_u16).prop_map(Op::Revoke),
        2 => (0..3_u16).prop_map(Op::Regrant),
        1 => Just(Op::Sweep),
        1 => (0..3_u16).prop_map(Op::Stop),
        2 => (0..3_u16).prop_map(Op::Enable),
        2 => (0..6_u32).prop_map(Op::Fail),
    ]
}
