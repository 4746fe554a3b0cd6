//! The requests of random lives that are not on the hot path.

use core::mem::discriminant;
use std::vec::Vec;

use iommu_hal::{IovaRange, Rights};
use iommu_pgtable::expressible;

use super::machine::TIMEOUT;
use super::model::Model;
use super::random::World;
use super::watch::Seen;
use super::{ClientId, Geometry, PAGE, Refusal, repeat};
use crate::area::State;
use crate::{CopyRequest, MAX_COPIED};

impl Model {
    /// The areas that a COPY makes, as if the target began at 0, or why it is refused; but for lack of memory.
    fn copy(&self, copy: &CopyRequest, geometry: &Geometry) -> Result<Vec<Seen>, Refusal> {
        let target = self.space(copy.target)?;
        let source = self.space(copy.source)?;
        let iova = if copy.fixed { copy.iova } else { 0 };
        if let Some(&wrong) = [iova, copy.first, copy.length].iter().find(|value| *value % PAGE != 0) {
            return Err(Refusal::Misaligned(wrong));
        }
        if copy.length == 0 {
            return Err(Refusal::ZeroLength);
        }
        let range = IovaRange::from_length(copy.first, copy.length).ok_or(Refusal::Overflow { first: 0 })?;
        let mut pieces = Vec::new();
        let mut rest = Some(range);
        while let Some(part) = rest {
            let holder =
                source.iter().find(|area| area.range.contains(part.first()) && area.state == State::Live);
            let holder = holder.ok_or(Refusal::NotMapped(part))?;
            if self.withdrawn[usize::from(holder.slot)].1 {
                return Err(Refusal::StaleRegion { asked: 0, current: 0 });
            }
            if !holder.rights.covers(copy.rights) {
                return Err(Refusal::NotPermitted { asked: copy.rights, granted: Rights::NONE });
            }
            let last = part.last().min(holder.range.last());
            pieces.push(Seen {
                range: IovaRange::new(part.first() - range.first(), last - range.first()).unwrap(),
                slot: holder.slot,
                offset: holder.offset + (part.first() - holder.range.first()),
                rights: copy.rights,
                state: State::Live,
                cursor: 0,
                reserved: 0,
            });
            if pieces.len() > MAX_COPIED as usize {
                return Err(Refusal::TooMany(pieces.len()));
            }
            rest = last.checked_add(1).and_then(|next| IovaRange::new(next, range.last()));
        }
        let to = IovaRange::from_length(copy.iova, copy.length);
        let aperture = geometry.aperture();
        Err(if copy.fixed && to.is_none() {
            Refusal::Overflow { first: copy.iova }
        } else if copy.fixed && !to.is_some_and(|to| aperture.covers(to)) {
            Refusal::Reserved { range: aperture, aperture }
        } else if copy.fixed && target.iter().any(|area| to.is_some_and(|to| area.range.overlaps(to))) {
            Refusal::Overlap(aperture)
        } else if copy.rights.is_none() {
            Refusal::NoRights
        } else if !expressible(geometry.format, copy.rights) {
            Refusal::NotExpressible(copy.rights)
        } else {
            return Ok(pieces);
        })
    }
}

impl World {
    pub fn copy(&mut self, client: ClientId, copy: &CopyRequest) {
        let predicted = self.models[&client].copy(copy, &self.geometry);
        let armed = self.machine.0.fail.get().is_some();
        let (done, pieces) = match (self.request(|core| core.copy(client, copy)), predicted) {
            (Err(refusal), Ok(_)) if armed && refusal == TIMEOUT.into() => return,
            (Err(refusal), Err(expected)) => {
                assert_eq!(discriminant(&refusal), discriminant(&expected), "{refusal:?} {expected:?}");
                return;
            }
            (Err(Refusal::NoSpace { length, align }), Ok(_)) => {
                let sure = length + align - PAGE;
                assert_eq!(self.models[&client].fit(copy.target, &self.geometry, sure, PAGE), None);
                return;
            }
            (Err(refusal), Ok(pieces)) => {
                let count = pieces.len() as u32;
                let frames = count * 2 * (self.geometry.levels() - 1) + (copy.length >> 21) as u32;
                assert!(self.short(client, refusal, frames, count), "{refusal:?} without need");
                return;
            }
            (Ok(done), Ok(pieces)) => (done, pieces),
            (Ok(done), Err(refusal)) => panic!("{done:?} in spite of {refusal:?}"),
        };
        assert!(!copy.fixed || done.iova == copy.iova);
        assert!(done.iova != 0 || copy.fixed);
        assert_eq!(done.more, done.bytes < copy.length);
        let areas = self.models.get_mut(&client).unwrap().spaces.get_mut(&copy.target.0).unwrap();
        areas.extend(pieces.into_iter().map(|piece| {
            let range = IovaRange::new(piece.range.first() + done.iova, piece.range.last() + done.iova);
            Seen { range: range.unwrap(), ..piece }
        }));
        areas.sort_by_key(|area| area.range.first());
        if done.more {
            self.resume_copy(
                client,
                &CopyRequest { iova: done.iova, fixed: true, resume: true, ..*copy },
                done.bytes,
            );
        }
    }

    /// Once: what is left then is for other requests to meet.
    fn resume_copy(&mut self, client: ClientId, copy: &CopyRequest, before: u64) {
        let armed = self.machine.0.fail.get().is_some();
        let done = match self.request(|core| core.copy(client, copy)) {
            Err(refusal) if armed && refusal == TIMEOUT.into() => return,
            done => done.expect("all was reserved"),
        };
        assert!(done.bytes > before && done.iova == copy.iova);
        assert_eq!(done.more, done.bytes < copy.length);
    }

    fn remove(&mut self, client: ClientId, leaves: impl Fn(&Seen) -> bool) {
        let spaces = &mut self.models.get_mut(&client).unwrap().spaces;
        spaces.values_mut().for_each(|areas| areas.retain(|area| !leaves(area)));
    }

    pub fn revoke(&mut self, client: ClientId, slot: u16) {
        self.machine.disarm();
        if slot > 1 {
            let refused = self.request(|core| core.revoke(client, slot));
            assert_eq!(refused, Err(Refusal::NoSuchRegion(slot)));
            return;
        }
        repeat(|| self.request(|core| core.revoke(client, slot).map(|(_, done)| done))).unwrap();
        self.remove(client, |area| u16::from(area.slot) == slot);
        let (times, withdrawn) = &mut self.models.get_mut(&client).unwrap().withdrawn[usize::from(slot)];
        *times += u16::from(!*withdrawn);
        *withdrawn = true;
    }

    pub fn regrant(&mut self, client: ClientId, slot: u16) {
        let model = self.models.get_mut(&client).unwrap();
        let expected = match model.withdrawn.get_mut(usize::from(slot)) {
            None => Err(Refusal::NoSuchRegion(slot)),
            Some((_, false)) => Err(Refusal::NotRevoked),
            Some((times, withdrawn)) => {
                *withdrawn = false;
                Ok(1 + *times)
            }
        };
        assert_eq!(self.request(|core| core.regrant(client, slot)), expected);
    }

    pub fn sweep(&mut self, client: ClientId) {
        self.machine.disarm();
        self.core.begin_sweep(client);
        repeat(|| self.request(|core| core.sweep(client))).unwrap();
        self.remove(client, |area| area.state != State::Live);
    }

    pub fn stop(&mut self, client: ClientId, device: u16) {
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| core.stop(client, device));
        let model = self.models.get_mut(&client).unwrap();
        let Some((held, aborts)) = model.devices.get_mut(usize::from(device)) else {
            return assert_eq!(result, Err(Refusal::NoSuchDevice(device)));
        };
        match result {
            Ok(()) => model.stopped[usize::from(device)] = !held.is_empty() && !*aborts,
            Err(refusal) => {
                assert!(armed && refusal == TIMEOUT.into() && !held.is_empty(), "{refusal:?}");
                *aborts = true;
            }
        }
    }

    pub fn enable(&mut self, client: ClientId, device: u16) {
        let armed = self.machine.0.fail.get().is_some();
        let result = self.request(|core| core.enable(client, device));
        let model = self.models.get_mut(&client).unwrap();
        let Some((held, aborts)) = model.devices.get_mut(usize::from(device)) else {
            return assert_eq!(result, Err(Refusal::NoSuchDevice(device)));
        };
        match result {
            Ok(()) => assert!(!held.is_empty() && !*aborts),
            Err(Refusal::NotAttached) => assert!(held.is_empty()),
            Err(Refusal::Busy) => assert!(*aborts),
            Err(refusal) => {
                assert!(armed && refusal == TIMEOUT.into(), "{refusal:?}");
                *aborts = true;
            }
        }
        model.stopped[usize::from(device)] = false;
    }
}
