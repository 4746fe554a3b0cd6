//! Random lives of two clients, against a map of what each should have.

use core::mem::discriminant;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use iommu_hal::IovaRange;
use iommu_pgtable::expressible;
use proptest::prelude::*;

use super::machine::TIMEOUT;
use super::watch::{Seen, areas, request, space};
use super::{
    A, B, ClientId, Geometry, MIB, Machine, MapRequest, PAGE, PLENTY, Progress, Quota, REGION, REGION_BYTES,
    Refusal, Rights, SMALL, STAGE1, STAGE2, SpaceId, TestCore, core_of, repeat, stream,
};
use crate::area::State;
use crate::tree::FIRST_FIT_TRIES;
use crate::{DeviceInfo, Resource};

#[derive(Debug, Clone)]
enum Op {
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

fn op() -> impl Strategy<Value = Op> {
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
        2 => (0..6_u32).prop_map(Op::Fail),
    ]
}

/// What one client has.
#[derive(Debug, Default)]
struct Model {
    spaces: BTreeMap<u16, Vec<Seen>>,
    /// Spaces that each device holds, and whether its accesses abort.
    devices: [(Vec<SpaceId>, bool); 2],
}

impl Model {
    fn holds(&self, space: SpaceId) -> bool {
        self.devices.iter().any(|(spaces, _)| spaces.contains(&space))
    }

    fn space(&self, id: SpaceId) -> Result<&Vec<Seen>, Refusal> {
        self.spaces.get(&id.0).ok_or(Refusal::NoSuchSpace(id))
    }

    /// The range of a fixed MAP, or the alignment of another, or why it is refused; but for lack of memory.
    fn map(&self, map: &MapRequest, geometry: &Geometry) -> Result<(Option<IovaRange>, u64), Refusal> {
        let areas = self.space(map.space)?;
        let (base, bytes, granted) = match map.slot {
            0 => (REGION, REGION_BYTES, Rights::READ_WRITE),
            1 => (SMALL, PAGE, Rights::READ),
            slot => return Err(Refusal::NoSuchRegion(slot)),
        };
        let (offset, length, aperture) = (map.offset, map.length, geometry.aperture());
        let range = IovaRange::from_length(map.iova, length);
        let source = u128::from(offset) + u128::from(length);
        let iova = if map.fixed { map.iova } else { 0 };
        let meets = range.and_then(|range| areas.iter().find(|area| area.range.overlaps(range)));
        let largest = 1 << geometry.page_sizes.ilog2();
        let align = (0..).map(|n| PAGE << n).take_while(|&align| {
            align <= length.max(PAGE) && base.0.wrapping_add(offset).is_multiple_of(align) && align <= largest
        });
        let align = align.last().unwrap_or(PAGE);
        Err(if map.generation != 1 {
            Refusal::StaleRegion { asked: map.generation, current: 1 }
        } else if source > u128::from(bytes) {
            Refusal::OutOfRegion { offset, length, bytes }
        } else if !granted.covers(map.rights) {
            Refusal::NotPermitted { asked: map.rights, granted }
        } else if [iova, offset, length].iter().any(|value| value % PAGE != 0) {
            Refusal::Misaligned(0)
        } else if length == 0 {
            Refusal::ZeroLength
        } else if map.fixed && range.is_none() {
            Refusal::Overflow { first: map.iova }
        } else if map.fixed && !range.is_some_and(|range| aperture.covers(range)) {
            Refusal::Reserved { range: aperture, aperture }
        } else if map.fixed && meets.is_some() {
            Refusal::Overlap(aperture)
        } else if map.rights.is_none() {
            Refusal::NoRights
        } else if !expressible(geometry.format, map.rights) {
            Refusal::NotExpressible(map.rights)
        } else {
            return Ok((range.filter(|_| map.fixed), align));
        })
    }

    /// The lowest place for `length` bytes, never 0.
    fn fit(&self, id: SpaceId, geometry: &Geometry, length: u64, align: u64) -> Option<u64> {
        let mut at = PAGE.max(align);
        for area in &self.spaces[&id.0] {
            if at + length <= area.range.first() {
                break;
            }
            at = at.max((area.range.last() + 1).next_multiple_of(align));
        }
        (at + length - 1 <= geometry.aperture().last()).then_some(at)
    }
}

struct World {
    machine: Machine,
    core: TestCore,
    geometry: Geometry,
    models: BTreeMap<ClientId, Model>,
}

impl World {
    fn request<T>(&mut self, step: impl FnOnce(&mut TestCore) -> T) -> T {
        request(&mut self.core, &self.machine, step)
    }

    /// Whether lack of memory is a true reason to refuse something that needs up to `frames` frames.
    fn short(&self, client: ClientId, resource: Refusal, frames: u32, areas: u32) -> bool {
        let used = self.core.usage(client);
        let limit = limit(client);
        match resource {
            Refusal::NoMemory(Resource::Areas) => {
                self.core.areas.in_use() + areas > self.core.area_capacity()
            }
            Refusal::NoMemory(Resource::Frames) => self.core.frame_counts().1 < frames,
            Refusal::QuotaExceeded(Resource::Areas) => used.areas + areas > limit.areas,
            Refusal::QuotaExceeded(Resource::Frames) => used.frames + frames > limit.frames,
            Refusal::QuotaExceeded(Resource::Spaces) => used.spaces == limit.spaces,
            _ => false,
        }
    }

    /// Takes the areas' states over into the model, of which everything else must be right already.
    fn compare(&mut self) {
        for (&client, model) in &mut self.models {
            assert_eq!(self.core.usage(client).spaces as usize, model.spaces.len());
            for (&id, expected) in &mut model.spaces {
                let seen = areas(&self.core, space(&self.core, client, SpaceId(id)));
                let fixed = |area: &Seen| (area.range, area.slot, area.offset, area.rights);
                assert!(seen.iter().map(fixed).eq(expected.iter().map(fixed)), "{seen:?} {expected:?}");
                *expected = seen;
            }
            for (index, (spaces, aborts)) in model.devices.iter().enumerate() {
                let info = self.core.device_info(client, index as u16).unwrap();
                let expected = spaces.first().copied().filter(|_| !aborts);
                assert_eq!(info, DeviceInfo { stream: stream(client, index as u16), space: expected });
            }
        }
    }

    fn map(&mut self, client: ClientId, map: &MapRequest) {
        let predicted = self.models[&client].map(map, &self.geometry);
        let frames = 2 * (self.geometry.levels() - 1) + (map.length.min(REGION_BYTES) >> 21) as u32;
        let result = self.request(|core| core.map(client, map));
        let done = match (result, predicted) {
            (Err(refusal), Err(expected)) => {
                assert_eq!(discriminant(&refusal), discriminant(&expected), "{refusal:?} {expected:?}");
                return;
            }
            (Err(Refusal::NoSpace { length, align }), Ok((None, expected))) => {
                assert_eq!((length, align), (map.length, expected));
                let sure = length + align - PAGE;
                assert_eq!(self.models[&client].fit(map.space, &self.geometry, sure, PAGE), None);
                return;
            }
            (Err(refusal), Ok(_)) => {
                assert!(self.short(client, refusal, frames, 1), "{refusal:?} without need");
                return;
            }
            (Ok(done), Ok((range, align))) => {
                let model = self.models.get_mut(&client).unwrap();
                match range {
                    Some(range) => assert_eq!(done.iova, range.first()),
                    None => {
                        assert!(done.iova != 0 && done.iova.is_multiple_of(align));
                        if model.spaces[&map.space.0].len() < FIRST_FIT_TRIES as usize {
                            let lowest = model.fit(map.space, &self.geometry, map.length, align);
                            assert_eq!(Some(done.iova), lowest);
                        }
                    }
                }
                done
            }
            (Ok(done), Err(refusal)) => panic!("{done:?} in spite of {refusal:?}"),
        };
        assert_eq!(done.more, done.bytes < map.length);
        assert!(done.more || done.bytes == map.length);
        let areas = self.models.get_mut(&client).unwrap().spaces.get_mut(&map.space.0).unwrap();
        areas.push(Seen {
            range: IovaRange::from_length(done.iova, map.length).unwrap(),
            slot: map.slot as u8,
            offset: map.offset,
            rights: map.rights,
            state: State::Live,
            cursor: 0,
            reserved: 0,
        });
        areas.sort_by_key(|area| area.range.first());
    }

    fn resume(&mut self, client: ClientId, id: SpaceId, nth: usize) {
        let Ok(areas) = self.models[&client].space(id) else { return };
        let Some(area) = areas.iter().filter(|area| area.state == State::Filling).cycle().nth(nth).copied()
        else {
            return;
        };
        let map = MapRequest {
            space: id,
            slot: area.slot.into(),
            generation: 1,
            rights: area.rights,
            fixed: true,
            resume: true,
            iova: area.range.first(),
            offset: area.offset,
            length: area.range.length_minus_one() + 1,
        };
        let done = self.request(|core| core.map(client, &map)).expect("all was reserved");
        assert!(done.iova == map.iova && done.bytes > area.cursor);
        assert_eq!(done.more, done.bytes < map.length);
    }

    /// Takes the areas of `range`, from below, for as many bytes as `done` says out of the model.
    fn removed(&mut self, client: ClientId, id: SpaceId, range: IovaRange, done: &Progress) {
        let areas = self.models.get_mut(&client).unwrap().spaces.get_mut(&id.0).unwrap();
        let mut bytes = done.bytes;
        areas.retain(|area| {
            let taken = range.covers(area.range) && bytes != 0;
            if taken {
                bytes = bytes.checked_sub(area.range.length_minus_one() + 1).expect("whole areas from below");
            }
            !taken
        });
        assert_eq!(bytes, 0);
        assert_eq!(done.more, areas.iter().any(|area| area.range.overlaps(range)));
    }

    fn unmap(&mut self, client: ClientId, id: SpaceId, first: u64, last: u64) {
        let predicted = self.models[&client].space(id).and_then(|areas| {
            let range = IovaRange::new(first, last).ok_or(match first.wrapping_sub(1) == last {
                true => Refusal::ZeroLength,
                false => Refusal::Overflow { first },
            });
            let range = range?;
            let mut met = areas.iter().filter(|area| area.range.overlaps(range)).peekable();
            if met.peek().is_none() && range != IovaRange::ALL {
                return Err(Refusal::NotMapped(range));
            }
            match met.find(|area| !range.covers(area.range)) {
                Some(area) => Err(Refusal::WouldSplit(area.range)),
                None => Ok(range),
            }
        });
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| core.unmap(client, id, first, last));
        match (result, predicted) {
            (Ok(done), Ok(range)) => self.removed(client, id, range, &done),
            (Err(refusal), Err(expected)) => assert_eq!(refusal, expected),
            (result, Ok(_)) => assert!(armed && result == Err(TIMEOUT.into()), "{result:?}"),
            (result, Err(expected)) => panic!("{result:?} in spite of {expected:?}"),
        }
    }

    fn destroy(&mut self, client: ClientId, id: SpaceId) {
        let model = &self.models[&client];
        let predicted =
            model.space(id).and_then(|_| if model.holds(id) { Err(Refusal::Busy) } else { Ok(()) });
        let armed = self.machine.0.fail.get().is_some();
        match (self.request(|core| core.ioas_destroy(client, id)), predicted) {
            (Ok(done), Ok(())) => {
                self.removed(client, id, IovaRange::ALL, &done);
                if !done.more {
                    self.models.get_mut(&client).unwrap().spaces.remove(&id.0);
                }
            }
            (Err(refusal), Err(expected)) => assert_eq!(refusal, expected),
            (result, Ok(())) => {
                // The areas may have gone before the last invalidation failed.
                assert!(armed && result == Err(TIMEOUT.into()), "{result:?}");
                let seen = areas(&self.core, space(&self.core, client, id));
                let expected = self.models.get_mut(&client).unwrap().spaces.get_mut(&id.0).unwrap();
                expected.retain(|area| seen.iter().any(|other| other.range == area.range));
            }
            (result, Err(expected)) => panic!("{result:?} in spite of {expected:?}"),
        }
    }

    fn attach(&mut self, client: ClientId, id: SpaceId, device: u16, replace: bool) {
        let model = &self.models[&client];
        let predicted = model.space(id).and_then(|_| {
            let (held, aborts) =
                model.devices.get(usize::from(device)).ok_or(Refusal::NoSuchDevice(device))?;
            match held.first() {
                _ if *aborts => Err(Refusal::Busy),
                None if replace => Err(Refusal::NotAttached),
                Some(&held) if !replace => Err(Refusal::AlreadyAttached(held)),
                _ => Ok(()),
            }
        });
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| match replace {
            true => core.replace(client, id, device),
            false => core.attach(client, id, device),
        });
        if let Err(expected) = predicted {
            assert_eq!(result, Err(expected));
            return;
        }
        let (held, aborts) = &mut self.models.get_mut(&client).unwrap().devices[usize::from(device)];
        match result {
            Ok(()) => *held = vec![id],
            Err(refusal) => {
                assert!(armed && refusal == TIMEOUT.into(), "{refusal:?}");
                held.insert(0, id);
                *aborts = true;
            }
        }
    }

    fn detach(&mut self, client: ClientId, device: u16) {
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| core.detach(client, device));
        let model = self.models.get_mut(&client).unwrap();
        let Some((held, aborts)) = model.devices.get_mut(usize::from(device)) else {
            assert_eq!(result, Err(Refusal::NoSuchDevice(device)));
            return;
        };
        match result {
            Ok(()) => {
                assert!(!held.is_empty());
                (*held, *aborts) = (Vec::new(), false);
            }
            Err(Refusal::NotAttached) => assert!(held.is_empty()),
            Err(refusal) => {
                assert!(armed && refusal == TIMEOUT.into(), "{refusal:?}");
                *aborts = true;
            }
        }
    }

    /// Until nothing is left.
    fn reset(&mut self, client: ClientId) {
        self.machine.disarm();
        repeat(|| self.request(|core| core.reset(client))).unwrap();
        self.models.insert(client, Model::default());
        assert_eq!(self.core.usage(client), Quota::ZERO);
    }

    fn alloc(&mut self, client: ClientId) {
        match self.request(|core| core.ioas_alloc(client)) {
            Ok((id, geometry)) => {
                assert_eq!(geometry, self.geometry);
                assert!(self.models.get_mut(&client).unwrap().spaces.insert(id.0, Vec::new()).is_none());
            }
            Err(refusal) => assert!(self.short(client, refusal, 1, 0), "{refusal:?}"),
        }
    }
}

fn limit(client: ClientId) -> Quota {
    if client == A { Quota { spaces: 4, ..PLENTY } } else { Quota { frames: 12, areas: 6, spaces: 2 } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn clients_have_what_they_should(
        shape in prop_oneof![Just(STAGE1), Just(STAGE2), Just(Geometry { page_sizes: 1 << 12, ..STAGE2 })],
        frames in 4..40_usize,
        ops in prop::collection::vec((prop::bool::weighted(0.7), op()), 1..80),
    ) {
        let machine = Machine::default();
        let mut core = core_of::<24>(&machine, &[shape], frames);
        let models = [A, B].map(|client| {
            core.set_quota(client, limit(client));
            (client, Model::default())
        });
        let mut world = World { machine, core, geometry: shape, models: models.into() };
        world.alloc(A);
        for (first, op) in ops {
            let client = if first { A } else { B };
            match op {
                Op::Alloc => world.alloc(client),
                Op::Destroy(id) => world.destroy(client, id),
                Op::Map(map) => world.map(client, &map),
                Op::Resume(id, nth) => world.resume(client, id, nth),
                Op::Unmap(id, first, last) => world.unmap(client, id, first, last),
                Op::Attach(id, device) => world.attach(client, id, device, false),
                Op::Replace(id, device) => {
                    // To where it is already is no change, and asks nothing of the hardware.
                    let held = world.models[&client].devices.get(usize::from(device)).cloned();
                    if held == Some((vec![id], false)) {
                        prop_assert_eq!(world.request(|core| core.replace(client, id, device)), Ok(()));
                    } else {
                        world.attach(client, id, device, true);
                    }
                }
                Op::Detach(device) => world.detach(client, device),
                Op::Reset => world.reset(client),
                Op::Fail(n) => world.machine.fail_at(n, TIMEOUT),
            }
            world.compare();
        }
        world.reset(A);
        world.reset(B);
        prop_assert_eq!(world.core.frame_counts(), (frames as u32, frames as u32));
        prop_assert!(world.machine.0.cached.borrow().is_empty());
    }
}
