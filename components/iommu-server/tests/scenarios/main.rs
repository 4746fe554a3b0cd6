//! The scenarios S1 to S17 of `docs/iommufd.md`: what goes wrong between drivers, a supervisor, the server and the
//! hardware. Over every unit. The names begin with their numbers.

#[path = "../bench/mod.rs"]
mod bench;
mod expected;
mod faults;
mod hardware;
mod life;
mod lives;
mod locks;
mod random;
mod sweep;
mod withdrawn;
mod work;

use std::{cell::Cell, rc::Rc};

use bench::{ALICE, BOB, BOBS_DEVICE, BOBS_MEMORY, MEMORY_BYTES, READ, Unit, World, map, unmap};
use iommu_hal::StreamId;
use iommu_protocol::{ClientIndex, DeviceIndex, RegionSlot, Request, SpaceId, Status};

const PAGE: u64 = 0x1000;
const MIB: u64 = 1 << 20;
const MS: u64 = 1_000_000;
const SLOT0: RegionSlot = RegionSlot(0);
const DEVICE: DeviceIndex = DeviceIndex(0);
/// Alice, as the supervisor calls her.
const ALICES: ClientIndex = ClientIndex(1);
const TEARDOWN: Request = Request::Teardown { client: ALICES };
const HOLD: Request = Request::Hold { client: ALICES, deadline_ms: 500 };
const REVOKE: Request = Request::Revoke { client: ALICES, slot: SLOT0 };
const REGRANT: Request = Request::Regrant { client: ALICES, slot: SLOT0 };

/// Pages that take as many table entries, as the offset and the IOVA disagree below 2 MiB.
const PAGES_AT: u64 = 0x4000_1000;

/// What a life of Bob's costs: of each of his calls the hardware's commands, and nanoseconds.
type Cost = Vec<(u64, u64)>;

/// Bob makes a space, uses all that there is to it, and destroys it. Each call is answered once, with OK.
fn bobs_life(world: &mut World) -> Cost {
    let mut cost = vec![];
    let mut ok = |world: &mut World, request| {
        let clock = world.clock();
        let before = (world.bench.observed().commands_consumed, clock.elapsed_ns());
        let answer = world.call(BOB, request);
        assert_eq!(answer.status, Status::Ok, "{request:?}");
        let after = (world.bench.observed().commands_consumed, clock.elapsed_ns());
        cost.push((after.0 - before.0, after.1 - before.1));
        answer.words.get(0)
    };
    let space = SpaceId(ok(world, Request::IoasAlloc) as u16);
    ok(world, map(space, 0x10_0000, 0, PAGE));
    ok(world, Request::Attach { space, device: DEVICE });
    assert_eq!(world.bench.translate(BOBS_DEVICE, 0x10_0000, true), Ok(BOBS_MEMORY));
    let again =
        Request::Copy { target: space, source: space, flags: READ, iova: 0, first: 0x10_0000, length: PAGE };
    ok(world, again);
    ok(world, map(space, 0x20_0000, 0, 2 * MIB));
    ok(world, unmap(space, 0x20_0000, 2 * MIB));
    ok(world, unmap(space, 0, 1 << 40));
    assert!(world.bench.translate(BOBS_DEVICE, 0x10_0000, true).is_err());
    ok(world, Request::Detach { device: DEVICE });
    ok(world, Request::IoasDestroy { space });
    cost
}

/// What Bob's life costs where nobody else does anything.
fn alone(unit: &Unit) -> Cost {
    bobs_life(&mut World::new(unit))
}

/// Bob's life costs him no more than `alone`, whatever goes on.
fn as_alone(world: &mut World, alone: &Cost) -> bool {
    let cost = bobs_life(world);
    cost.len() == alone.len()
        && cost.iter().zip(alone).all(|(cost, alone)| cost.0 <= alone.0 && cost.1 <= alone.1)
}

/// A device's writes to one address, one before each step of the server towards the hardware.
struct Writes {
    passed: Cell<u64>,
    blocked: Cell<u64>,
    /// One passed after another had been blocked.
    revived: Cell<bool>,
}

/// Has `stream` write to `iova` from now on, whenever the server does something.
fn writes_meanwhile(world: &World, stream: StreamId, iova: u64) -> Rc<Writes> {
    let writes = Rc::new(Writes { passed: Cell::new(0), blocked: Cell::new(0), revived: Cell::new(false) });
    let (bench, count) = (Rc::clone(&world.bench), Rc::clone(&writes));
    world.bench.meanwhile(move || {
        if bench.dma_write(stream, iova, &[0xdd]).is_ok() {
            count.passed.set(count.passed.get() + 1);
            count.revived.set(count.revived.get() || count.blocked.get() != 0);
        } else {
            count.blocked.set(count.blocked.get() + 1);
        }
    });
    writes
}

/// Once the unit is given up, `stream` gets at nothing; where the unit goes on using what it has cached, at most at the
/// memory of its owner, which begins at `memory`.
fn assert_given_up(world: &World, stream: StreamId, iova: u64, memory: u64, what: &str) {
    let seen = world.bench.translate(stream, iova, true).ok();
    let stale = (memory..memory + MEMORY_BYTES).contains(&seen.unwrap_or(0));
    assert!(
        seen.is_none() || !world.facts.forgets_when_given_up && stale,
        "{what}: {stream:?} gets at {seen:x?} through {iova:#x}"
    );
}

/// Alice's requests that would change something.
fn changes(space: SpaceId) -> [Request; 13] {
    let flags = READ;
    [
        map(space, 0x9000_0000, 0, PAGE),
        unmap(space, 0x10_0000, PAGE),
        Request::Copy {
            target: space,
            source: space,
            flags,
            iova: 0x9100_0000,
            first: 0x10_0000,
            length: PAGE,
        },
        Request::AllowIovas { space, step: iommu_protocol::AllowStep::Begin, first: 0, last: 0 },
        Request::AllowIovas { space, step: iommu_protocol::AllowStep::Add, first: 0, last: 1 },
        Request::AllowIovas { space, step: iommu_protocol::AllowStep::Commit, first: 0, last: 0 },
        Request::IoasAlloc,
        Request::IoasDestroy { space },
        Request::Attach { space, device: DEVICE },
        Request::Replace { space, device: DEVICE },
        Request::Detach { device: DEVICE },
        Request::Enable { device: DEVICE },
        Request::Reset,
    ]
}

/// Alice's device works with the page at 0x10_0000, which is the first of her memory.
fn working(world: &mut World) -> SpaceId {
    let space = world.attached_space(ALICE);
    world.ok(ALICE, map(space, 0x10_0000, 0, PAGE));
    space
}
