//! The cases of Linux's iommufd selftest that make sense here, over every unit that the
//! server knows. Each test is named as its case is there; `docs/iommufd.md` lists all of them.

#[path = "../bench/mod.rs"]
mod bench;
mod copy;
mod devices;
mod mapping;
mod objects;
mod ranges;
mod unmap;

use bench::{ALICE, ALICES_DEVICE, Unit, World};
use iommu_hal::StreamId;
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId};

const PAGE: u64 = 0x1000;
const MIB: u64 = 1 << 20;
const SLOT0: RegionSlot = RegionSlot(0);
const DEVICE: DeviceIndex = DeviceIndex(0);
const ALL: fn(SpaceId) -> Request = |space| Request::Unmap { space, first: 0, last: u64::MAX };

/// Alice's second device.
const SECOND_DEVICE: StreamId = StreamId(0x11);

const ANYWHERE: MapFlags = MapFlags { read: true, write: true, fixed: false, resume: false };

/// The variants of the selftest's fixtures, no device, one and two, over units of each kind: what it is, the world, and
/// a space of Alice's with that many devices.
fn variants(unit: &Unit) -> impl Iterator<Item = (String, World, SpaceId)> {
    unit.kinds().into_iter().flat_map(|unit| {
        (0..3).map(move |devices| {
            let mut world = World::changed(&unit, |p| p.device(0, SECOND_DEVICE.0));
            let space = world.space(ALICE);
            for device in 0..devices {
                world.ok(ALICE, Request::Attach { space, device: DeviceIndex(device) });
            }
            (format!("{}, {devices} devices", unit.name), world, space)
        })
    })
}

/// Where Alice's device gets at `iova`, for reading and for writing.
fn reaches(world: &World, iova: u64) -> (Option<u64>, Option<u64>) {
    let look = |write| world.bench.translate(ALICES_DEVICE, iova, write).ok();
    (look(false), look(true))
}
