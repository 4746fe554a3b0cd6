//! Random lives of two clients, against a map of what each should have.

use core::mem::discriminant;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use iommu_hal::IovaRange;
use proptest::prelude::*;

use super::machine::TIMEOUT;
use super::model::Model;
use super::ops::{Op, op};
use super::watch::{Seen, areas, request, space};
use super::{
    A, B, ClientId, Geometry, Machine, MapRequest, PAGE, PLENTY, Progress, Quota, REGION_BYTES, Refusal,
    STAGE1, STAGE2, SpaceId, TestCore, VTD, core_of, repeat, stream,
};
use crate::area::State;
use crate::tree::FIRST_FIT_TRIES;
use crate::{DeviceInfo, Resource};

pub struct World {
    pub machine: Machine,
    pub core: TestCore,
    pub geometry: Geometry,
    pub models: BTreeMap<ClientId, Model>,
}

impl World {
    pub fn request<T>(&mut self, step: impl FnOnce(&mut TestCore) -> T) -> T {
        request(&mut self.core, &self.machine, step)
    }

    /// Whether lack of memory is a true reason to refuse something that needs up to `frames` frames.
    pub fn short(&self, client: ClientId, resource: Refusal, frames: u32, areas: u32) -> bool {
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
                let held = spaces.first().copied();
                let (stopped, stream) = (model.stopped[index], stream(client, index as u16));
                let space = held.filter(|_| !aborts && !stopped);
                assert_eq!(info, DeviceInfo { stream, space, stopped: held.filter(|_| stopped) });
            }
        }
    }

    fn map(&mut self, client: ClientId, map: &MapRequest) {
        // The first generation stands for the present one.
        let times = self.models[&client].withdrawn.get(usize::from(map.slot)).map_or(0, |of| of.0);
        let generation = if map.generation == 1 { 1 + times } else { map.generation };
        let map = &MapRequest { generation, ..*map };
        let predicted = self.models[&client].map(map, &self.geometry);
        let frames = 2 * (self.geometry.levels() - 1) + (map.length.min(REGION_BYTES) >> 21) as u32;
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| core.map(client, map));
        let done = match (result, predicted) {
            (Err(refusal), Ok(_)) if armed && refusal == TIMEOUT.into() => return,
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
            generation: 1 + self.models[&client].withdrawn[usize::from(area.slot)].0,
            rights: area.rights,
            fixed: true,
            resume: true,
            iova: area.range.first(),
            offset: area.offset,
            length: area.range.length_minus_one() + 1,
        };
        let armed = self.machine.0.fail.get().is_some();
        let done = match self.request(|core| core.map(client, &map)) {
            Err(refusal) if armed && refusal == TIMEOUT.into() => return,
            done => done.expect("all was reserved"),
        };
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
                Some(_) if replace && model.stopped[usize::from(device)] => Err(Refusal::Stopped),
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
                model.stopped[usize::from(device)] = false;
            }
            Err(Refusal::NotAttached) => assert!(held.is_empty()),
            Err(refusal) => {
                assert!(armed && refusal == TIMEOUT.into(), "{refusal:?}");
                *aborts = true;
                model.stopped[usize::from(device)] = false;
            }
        }
    }

    /// Until nothing is left.
    fn reset(&mut self, client: ClientId) {
        self.machine.disarm();
        repeat(|| self.request(|core| core.reset(client))).unwrap();
        let withdrawn = self.models[&client].withdrawn;
        self.models.insert(client, Model { withdrawn, ..Model::default() });
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

fn arm() -> impl Strategy<Value = Geometry> {
    prop_oneof![Just(STAGE1), Just(STAGE2), Just(Geometry { page_sizes: 1 << 12, ..STAGE2 })]
}

/// Of VT-d units, which have one format.
fn vtd() -> impl Strategy<Value = Geometry> {
    prop_oneof![2 => Just(VTD), 1 => Just(Geometry { page_sizes: 1 << 12, ..VTD })]
}

fn lives() -> impl Strategy<Value = Vec<(bool, Op)>> {
    prop::collection::vec((prop::bool::weighted(0.7), op()), 1..80)
}

/// Over units of `shape` that cache the absence of mappings, or not.
fn live(
    shape: Geometry,
    caches_absence: bool,
    frames: usize,
    ops: Vec<(bool, Op)>,
) -> Result<(), TestCaseError> {
    let machine = Machine::default();
    machine.0.caches_absence.set(caches_absence);
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
                let stopped = world.models[&client].stopped.get(usize::from(device)) == Some(&true);
                if held == Some((vec![id], false)) && !stopped {
                    prop_assert_eq!(world.request(|core| core.replace(client, id, device)), Ok(()));
                } else {
                    world.attach(client, id, device, true);
                }
            }
            Op::Detach(device) => world.detach(client, device),
            Op::Reset => world.reset(client),
            Op::Copy(copy) => world.copy(client, &copy),
            Op::Revoke(slot) => world.revoke(client, slot),
            Op::Regrant(slot) => world.regrant(client, slot),
            Op::Sweep => world.sweep(client),
            Op::Stop(device) => world.stop(client, device),
            Op::Enable(device) => world.enable(client, device),
            Op::Fail(n) => world.machine.fail_at(n, TIMEOUT),
        }
        world.compare();
    }
    world.reset(A);
    world.reset(B);
    prop_assert_eq!(world.core.frame_counts(), (frames as u32, frames as u32));
    prop_assert!(world.machine.0.cached.borrow().is_empty());
    prop_assert!(world.machine.0.absent.borrow().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn clients_have_what_they_should(shape in arm(), frames in 4..40_usize, ops in lives()) {
        live(shape, false, frames, ops)?;
    }

    #[test]
    fn clients_of_vtd_units_have_what_they_should(shape in vtd(), frames in 4..40_usize, ops in lives()) {
        live(shape, false, frames, ops)?;
    }

    #[test]
    fn clients_of_units_in_caching_mode_have_what_they_should(
        shape in vtd(), frames in 4..40_usize, ops in lives(),
    ) {
        live(shape, true, frames, ops)?;
    }
}
