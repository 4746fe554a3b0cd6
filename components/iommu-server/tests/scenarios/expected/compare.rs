//! The comparison: with what the server says, with what it charges, and with where the hardware lets devices get.

use iommu_protocol::{DeviceIndex, Request, SpaceId, Status};

use super::{Area, Client, Device, Life, State};
use crate::{
    PAGE,
    bench::{Mapping, World},
};

impl Client {
    /// Compares what the server says that this client has.
    pub(super) fn compare(&mut self, world: &mut World) {
        let Self { channel, spaces, grants, life, .. } = self;
        spaces.retain(|&id, space| {
            let id = SpaceId(id);
            if world.status(*channel, Request::NextMapping { space: id, from: u64::MAX })
                == Status::NoSuchSpace
            {
                assert!(space.leaving || *life == Life::Ending, "space {id:?} of {channel} is gone");
                return false;
            }
            let mut seen = world.mappings(*channel, id).into_iter().peekable();
            space.areas.retain_mut(|area| {
                let may_go = area.touched
                    || grants[usize::from(area.at.slot)].withdrawn
                    || *life == Life::Ending
                    || (*life == Life::Held && area.half_done());
                let found = seen.next_if(|mapping| Mapping { half_done: false, ..*mapping } == area.at);
                let Some(found) = found else {
                    assert!(may_go, "{channel} {id:?}: {area:x?} is gone, next is {:x?}", seen.peek());
                    return false;
                };
                match (found.half_done, area.state) {
                    (false, State::Whole) => area.touched = false,
                    (true, State::Filled(_)) if !may_go => {}
                    (true, _) => {
                        assert!(may_go, "{channel} {id:?}: {area:x?} is half done");
                        area.state = State::Leaving;
                    }
                    (false, _) => panic!("{channel} {id:?}: {area:x?} is done"),
                }
                true
            });
            assert_eq!(seen.next(), None, "{channel} {id:?}: more than there should be");
            space.leaving = false;
            true
        });
        for (index, device) in self.devices.iter().enumerate() {
            let info = world.ok(*channel, Request::DeviceInfo { device: DeviceIndex(index as u16) });
            let settled = self.life != Life::Ending && device.unsure.is_none();
            let at = device.at.filter(|_| settled);
            if settled {
                let expected = [device.stream.0.into(), at.is_some().into(), at.unwrap_or(0).into()];
                assert_eq!(info.as_slice(), expected, "device {index} of {channel}");
            }
        }
    }

    /// The charges are what is in use: of areas exactly; of frames, what these areas need, and an empty table or what was set
    /// aside for the half-done ones.
    pub(super) fn check_charges(&self, world: &mut World, aperture: u64) {
        let (areas, frames) = world.charged(self.channel);
        if self.life == Life::Ending {
            return;
        }
        let all = || self.spaces.values().flat_map(|space| &space.areas);
        assert_eq!(areas, all().count() as u64, "areas of {}", self.channel);
        let mut needed = 0;
        for space in self.spaces.values() {
            needed += 1;
            let whole = || space.areas.iter().filter(|area| !area.half_done());
            let bits = 64 - aperture.leading_zeros();
            for shift in [21, 30, 39].into_iter().filter(|&shift| shift < bits) {
                let tables = whole().flat_map(|area| {
                    (area.at.first >> shift..=area.at.last >> shift).map(move |n| (area, n))
                });
                let block = |area: &Area, n: u64| {
                    let pa = self.grants[usize::from(area.at.slot)].base + area.at.offset;
                    let aligned = (area.at.first ^ pa).trailing_zeros() >= shift;
                    shift == 21
                        && aligned
                        && area.at.first <= n << 21
                        && (n << 21 | 0x1f_ffff) <= area.at.last
                };
                let mut tables: Vec<_> =
                    tables.filter(|(area, n)| !block(area, *n)).map(|(_, n)| n).collect();
                tables.sort_unstable();
                tables.dedup();
                needed += tables.len() as u64;
            }
        }
        let settled =
            self.devices.iter().all(|device| device.unsure.is_none()) && all().all(|area| !area.half_done());
        let most = if settled { needed + 3 * self.spaces.len() as u64 } else { u64::MAX };
        assert!((needed..=most).contains(&frames), "{}: {frames} frames, {needed} needed", self.channel);
    }

    /// Looks where a device gets, at every edge of every mapping of its owner's and at places where nothing ever is.
    pub(super) fn check_device(&self, world: &World, device: &Device, aperture: u64) {
        let look = |iova, write| world.bench.translate(device.stream, iova, write).ok();
        let mut places = vec![0, PAGE, 0x1f_f000, 0x20_0000, aperture, aperture + 1, u64::MAX];
        for Area { at, state, .. } in self.spaces.values().flat_map(|space| &space.areas) {
            let middle = at.first + (at.last - at.first) / 2;
            places.extend([at.first.wrapping_sub(1), at.first, middle, at.last, at.last.wrapping_add(1)]);
            if let State::Filled(bytes) = state {
                places.extend([(at.first + bytes).wrapping_sub(1), at.first + bytes]);
            }
        }
        places.extend(self.grants.iter().map(|grant| grant.base));
        for iova in places {
            for write in [false, true] {
                let seen = look(iova, write);
                let (mut allowed, loose) = match self.life {
                    Life::Ending => (vec![None], false),
                    _ => self.leads_to(device.at, iova, write),
                };
                if let Some(old) = device.unsure {
                    allowed.extend(self.leads_to(old, iova, write).0);
                    allowed.push(None);
                }
                if loose {
                    allowed.push(None);
                }
                let stream = device.stream.0;
                assert!(
                    allowed.contains(&seen),
                    "stream {stream:#x} of {} at {iova:#x}, write: {write}: {seen:x?}, not {allowed:x?}; {self:#x?}",
                    self.channel
                );
            }
        }
    }

    /// Where an access through `space` gets, and whether it may be that it does not.
    fn leads_to(&self, space: Option<u16>, iova: u64, write: bool) -> (Vec<Option<u64>>, bool) {
        let space = space.and_then(|id| self.spaces.get(&id));
        let area = space.and_then(|space| space.areas.iter().find(|area| area.meets((iova, iova))));
        let Some(Area { at, state, .. }) = area else { return (vec![None], false) };
        let inside = iova - at.first;
        let there = match *state {
            State::Filled(bytes) => inside < bytes,
            _ => true,
        };
        let permitted = if write { at.write } else { at.read };
        let pa = self.grants[usize::from(at.slot)].base + at.offset + inside;
        let slot_leaving = self.grants[usize::from(at.slot)].withdrawn;
        (vec![(there && permitted).then_some(pa)], *state == State::Leaving || slot_leaving)
    }
}
