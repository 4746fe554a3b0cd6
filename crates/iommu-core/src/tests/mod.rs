//! The core over a unit and a memory that watch it.

mod bounds;
mod copy;
mod failures;
mod handover;
mod machine;
mod model;
mod ops;
mod random;
mod random_rare;
mod ranges;
mod refusals;
mod remove;
mod requests;
mod spare;
mod stop;
mod units;
mod watch;

use std::boxed::Box;
use std::vec::Vec;

use iommu_hal::{Clock, FRAME_BYTES, Format, Geometry, PhysAddr, Rights, StreamId};
use iommu_pgtable::{FrameMeta, FramePool};

use crate::{ClientId, Core, MapRequest, Progress, Quota, Refusal, SpaceId, Storage};
use machine::{Machine, Memory, Unit};

const PAGE: u64 = FRAME_BYTES;
const MIB: u64 = 1 << 20;

/// Areas in a test's storage.
const AREAS: usize = 64 + 1;
const TABLES: PhysAddr = PhysAddr(0x8000_0000);

/// A region that is granted to every client, at slot 0, read and write.
const REGION: PhysAddr = PhysAddr(0x4000_0000);
const REGION_BYTES: u64 = 16 * MIB;
/// One of a single page, at slot 1, read alone.
const SMALL: PhysAddr = PhysAddr(0x6000_0000);

const A: ClientId = ClientId::new(3).unwrap();
const B: ClientId = ClientId::new(40).unwrap();

const PLENTY: Quota = Quota { frames: 1 << 20, areas: 1 << 20, spaces: 1 << 20 };

const STAGE2: Geometry =
    Geometry { format: Format::ArmStage2, input_bits: 39, output_bits: 40, page_sizes: 1 << 12 | 1 << 21 };
const STAGE1: Geometry = Geometry { format: Format::ArmStage1, ..STAGE2 };
/// Of a VT-d unit with tables of three levels.
const VTD: Geometry = Geometry { format: Format::VtdSecondStage, output_bits: 48, ..STAGE2 };

struct Still;

impl Clock for Still {
    fn now_ns(&self) -> u64 {
        0
    }
}

type TestCore = Core<'static, Unit, Memory, Still>;

/// A core over units of shape `geometries`, with `frames` table frames and room for `AREAS - 1` areas, all clients of
/// which have two grants and two devices on unit 0: streams 100 times the client's number and the next.
fn core_of<const AREAS: usize>(machine: &Machine, geometries: &[Geometry], frames: usize) -> TestCore {
    let storage = Box::leak(Box::new(const { Storage::<AREAS>::NEW }));
    let meta: Vec<_> = (0..frames).map(|_| FrameMeta::NEW).collect();
    let pool = FramePool::new(TABLES, frames as u64 * FRAME_BYTES, meta.leak());
    let units = geometries.iter().enumerate().map(|(index, &shape)| machine.unit(index, shape)).collect();
    let mut core = Core::new(storage, units, machine.memory(TABLES, frames), Still, pool).unwrap();
    for client in [A, B] {
        core.set_quota(client, PLENTY);
        core.add_grant(client, 0, REGION, REGION_BYTES, Rights::READ_WRITE).unwrap();
        core.add_grant(client, 1, SMALL, PAGE, Rights::READ).unwrap();
        for index in 0..2 {
            assert_eq!(core.add_device(client, stream(client, index), 0), Ok(index));
        }
    }
    core
}

fn core(machine: &Machine) -> TestCore {
    core_of::<AREAS>(machine, &[STAGE2], 64)
}

fn stream(client: ClientId, index: u16) -> StreamId {
    StreamId(client.number() as u32 * 100 + u32::from(index))
}

/// MAP of slot 0 at a fixed place.
fn fixed(space: SpaceId, iova: u64, offset: u64, length: u64) -> MapRequest {
    MapRequest {
        space,
        slot: 0,
        generation: 1,
        rights: Rights::READ_WRITE,
        fixed: true,
        resume: false,
        iova,
        offset,
        length,
    }
}

/// MAP of slot 0 at any place.
fn any(space: SpaceId, offset: u64, length: u64) -> MapRequest {
    MapRequest { fixed: false, ..fixed(space, 0, offset, length) }
}

/// Repeats a MAP until it is done.
fn map_all(core: &mut TestCore, client: ClientId, request: &MapRequest) -> Result<Progress, Refusal> {
    let mut progress = core.map(client, request)?;
    while progress.more {
        progress = core.map(client, &MapRequest { iova: progress.iova, resume: true, ..*request })?;
    }
    Ok(progress)
}

/// Repeats a request until it is done; the bytes of all.
fn repeat(mut step: impl FnMut() -> Result<Progress, Refusal>) -> Result<u64, Refusal> {
    let mut bytes = 0;
    loop {
        let progress = step()?;
        bytes += progress.bytes;
        if !progress.more {
            return Ok(bytes);
        }
    }
}
