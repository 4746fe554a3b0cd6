//! What is one hardware's alone, each beside its counterpart: errors of the queues, and how faults are recorded and lost.
//! Everything else runs over every unit.

#[path = "../bench/mod.rs"]
mod bench;
mod smmu_v3;
mod vtd;

use std::rc::Rc;

use bench::{ALICE, ALICES_DEVICE, BOB, Unit, World, map, policy_with, unmap};
use iommu_model::board::Board;
use iommu_protocol::{Request, SpaceId, stats};

const PAGE: u64 = 0x1000;
const IOVA: u64 = 0x10_0000;

/// A world over `board`, which is as `unit` says, in which Alice's device works with one page.
fn working(unit: &Unit, board: &(impl Board + Clone + 'static)) -> (World, SpaceId) {
    let mut world = World::over(Rc::new(board.clone()), unit.facts(), &policy_with(unit, |_| {}));
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, IOVA, 0, PAGE));
    world.bench.dma_write(ALICES_DEVICE, IOVA, b"x").expect("mapped");
    (world, space)
}

/// What STATS tells anybody of errors: refused commands, aborted writes of records, late answers, others.
fn errors(world: &mut World) -> Vec<u64> {
    world.ok(BOB, Request::Stats { group: stats::ERRORS, client: None }).as_slice().to_vec()
}

/// An UNMAP that is granted, after which the device gets at nothing, and a MAP after which it does again.
fn goes_on(world: &mut World, space: SpaceId) {
    world.ok(ALICE, unmap(space, IOVA, PAGE));
    world.bench.dma_write(ALICES_DEVICE, IOVA, b"x").expect_err("taken out");
    world.ok(ALICE, map(space, IOVA, 0, PAGE));
    world.bench.dma_write(ALICES_DEVICE, IOVA, b"x").expect("mapped again");
}
