//! COPY: what a range maps, mapped once more; reserved as a whole, then filled.

use iommu_hal::{Clock, Geometry, IovaRange, PhysAddr, Rights, TableMemory, Unit};
use iommu_pgtable::{Extent, Reservation, expressible};

use crate::area::{Area, State};
use crate::engine::reserve;
use crate::map::{GRANULE, alignment, give_back};
use crate::quota::Quota;
use crate::space::SpaceSlot;
use crate::{
    ClientId, Core, MAX_COPIED, MAX_COPIED_AT_ONCE, MAX_TABLE_WRITES, Progress, Refusal, Resource, SpaceId,
};

/// A range of a space to be mapped once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyRequest {
    /// The space to map into.
    pub target: SpaceId,
    /// The space to copy from; it may be the same.
    pub source: SpaceId,
    /// What the device may do.
    pub rights: Rights,
    /// At `iova`, and nowhere else; otherwise `iova` is not looked at.
    pub fixed: bool,
    /// Goes on with the COPY that was left at `iova` half done; all else is as it was then.
    pub resume: bool,
    /// Where.
    pub iova: u64,
    /// First address in the source.
    pub first: u64,
    /// Bytes.
    pub length: u64,
}

/// A part of the source that lies in one area.
#[derive(Clone, Copy)]
struct Piece {
    range: IovaRange,
    slot: u8,
    offset: u64,
    pa: PhysAddr,
}

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Maps what a range of one space maps into another or the same: an area for each that is there, of which the
    /// first and the last may be cut. Everything is checked and reserved before the first entry is written, as for
    /// [`Core::map`], and what is half done is any area's: the whole is taken over by whatever takes over its areas.
    ///
    /// Areas in the source that are not completely made do not count as mapped.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::Misaligned`], [`Refusal::ZeroLength`],
    /// [`Refusal::Overflow`] of the source, [`Refusal::NotMapped`] (a gap, or nothing to resume),
    /// [`Refusal::StaleRegion`], [`Refusal::NotPermitted`], [`Refusal::TooMany`] (areas, [`MAX_COPIED`]);
    /// [`Refusal::Overflow`], [`Refusal::Reserved`], [`Refusal::ReservedByDevice`] and [`Refusal::Overlap`] of the
    /// target; [`Refusal::NoRights`], [`Refusal::NotExpressible`], [`Refusal::NoSpace`]; [`Refusal::HardwareTimeout`],
    /// [`Refusal::HardwareFailed`] (as for [`Core::map`]); [`Refusal::NoMemory`], [`Refusal::QuotaExceeded`].
    pub fn copy(&mut self, client: ClientId, request: &CopyRequest) -> Result<Progress, Refusal> {
        let CopyRequest { rights, first, length, .. } = *request;
        let owner = &self.clients[client.number()];
        let (target, source) = (owner.space(request.target)?, owner.space(request.source)?);
        let fixed = request.fixed || request.resume;
        let iova = if fixed { request.iova } else { 0 };
        if let Some(wrong) = [iova, first, length].into_iter().find(|value| value % GRANULE != 0) {
            return Err(Refusal::Misaligned(wrong));
        }
        if length == 0 {
            return Err(Refusal::ZeroLength);
        }
        let range = IovaRange::from_length(first, length).ok_or(Refusal::Overflow { first })?;
        if request.resume {
            return self.resume_copy(client, target, request);
        }

        // All that is copied, and what it takes.
        let mut count = 0;
        let mut rest = Some(range);
        let mut begin = PhysAddr(0);
        while let Some(part) = rest {
            let piece = self.piece(client, source, part, rights)?;
            if count == MAX_COPIED {
                return Err(Refusal::TooMany(MAX_COPIED as usize));
            }
            if count == 0 {
                begin = piece.pa;
            }
            count += 1;
            rest = above(piece.range, range);
        }
        let at = self.copy_to(client, target, fixed.then_some(iova), length, rights, begin)?;
        // An empty table may be where a block is to be, or all that is missing.
        let account = &mut self.clients[client.number()].account;
        self.hardware.ascertain(self.spaces.get_mut(target), &mut self.frames, account)?;
        self.hardware.shed(self.spaces.get_mut(target), &mut self.frames, account)?;
        let geometry = *self.spaces.get(target).table.geometry();
        let alone = count == 1;
        // In one request there is no other in between, so that the pieces share tables.
        let together = alone || length <= MAX_COPIED_AT_ONCE;
        let frames = if together {
            // As pages, which need no fewer tables than blocks; a single piece is as it is.
            let pa = if alone { begin } else { PhysAddr(at ^ GRANULE) };
            let extent = Extent { iova: at, pa, bytes: length, rights };
            self.spaces.get(target).table.plan(&self.hardware.memory, &extent).frames
        } else {
            let mut frames = 0_u32;
            let mut rest = Some(range);
            while let Some(part) = rest {
                let piece = self.piece(client, source, part, rights)?;
                frames = frames.saturating_add(all_tables(&geometry, &extent(&piece, first, at, rights)));
                rest = above(piece.range, range);
            }
            frames
        };
        if self.areas.in_use() + count > self.areas.capacity() {
            return Err(Refusal::NoMemory(Resource::Areas));
        }
        let charge = Quota { frames, areas: count, spaces: 0 };
        let account = &mut self.clients[client.number()].account;
        let mut shared = reserve(&mut self.frames, account, charge)?;
        if !together {
            // Set aside again piece by piece; nobody else comes in between.
            self.frames.release(core::mem::replace(&mut shared, Reservation::EMPTY));
        }

        let (mut budget, mut bytes, mut shown) = (MAX_TABLE_WRITES, 0, 0);
        let mut rest = Some(range);
        while let Some(part) = rest {
            let piece = self.piece(client, source, part, rights)?;
            let extent = extent(&piece, first, at, rights);
            let Self { areas, frames, clients, spaces, hardware, .. } = self;
            let owner = &mut clients[client.number()];
            let space = spaces.get_mut(target);
            let to = IovaRange::from_length(extent.iova, extent.bytes).expect("inside the target");
            let index =
                areas.take(Area::new(to, piece.slot, piece.offset, rights)).expect("there are enough");
            owner.grants[usize::from(piece.slot)].area_added();
            let place = space.tree.locate(areas, to);
            assert!(place.is_ok(), "the target is free");
            let mut own = if together {
                core::mem::replace(&mut shared, Reservation::EMPTY)
            } else {
                frames.reserve(all_tables(&geometry, &extent)).expect("this was free before")
            };
            let mut done = 0;
            if budget != 0 {
                let memory = &mut hardware.memory;
                done = space.table.fill(frames, &mut own, memory, space.clean, &extent, &mut budget);
                shown += done;
            }
            bytes += done;
            if done != extent.bytes {
                budget = 0;
                areas[index as usize].set_state(State::Filling, done);
                areas[index as usize].reserved = own;
            } else if together {
                shared = own;
            } else {
                give_back(frames, &mut owner.account, own);
            }
            space.tree.insert(index);
            rest = above(piece.range, range);
        }
        give_back(&mut self.frames, &mut self.clients[client.number()].account, shared);
        self.hardware.show(self.spaces.get_mut(target), at, shown);
        Ok(Progress { iova: at, bytes, more: bytes != length })
    }

    /// The part of `range`, from its start, that one area of the space in `slot` maps.
    fn piece(
        &self,
        client: ClientId,
        slot: SpaceSlot,
        range: IovaRange,
        rights: Rights,
    ) -> Result<Piece, Refusal> {
        let index =
            self.spaces.get(slot).tree.lowest_in(&self.areas, range).ok_or(Refusal::NotMapped(range))?;
        let area = &self.areas[index as usize];
        if !area.range().contains(range.first()) || area.state() != State::Live {
            return Err(Refusal::NotMapped(range));
        }
        let grant = &self.clients[client.number()].grants[usize::from(area.slot())];
        if grant.is_withdrawn() {
            let current = grant.info().generation;
            return Err(Refusal::StaleRegion { asked: current.wrapping_sub(1), current });
        }
        let granted = area.rights();
        if !granted.covers(rights) {
            return Err(Refusal::NotPermitted { asked: rights, granted });
        }
        let offset = area.offset() + (range.first() - area.range().first());
        let part = IovaRange::new(range.first(), range.last().min(area.range().last()));
        Ok(Piece { range: part.unwrap_or(range), slot: area.slot(), offset, pa: grant.address(offset) })
    }

    /// Where `length` bytes go in the space in `slot`: to `fixed` if it is free, otherwise to a place that is.
    fn copy_to(
        &self,
        client: ClientId,
        slot: SpaceSlot,
        fixed: Option<u64>,
        length: u64,
        rights: Rights,
        pa: PhysAddr,
    ) -> Result<u64, Refusal> {
        let space = self.spaces.get(slot);
        let geometry = space.table.geometry();
        let aperture = geometry.aperture();
        if let Some(first) = fixed {
            let range = IovaRange::from_length(first, length).ok_or(Refusal::Overflow { first })?;
            if !aperture.covers(range) {
                return Err(Refusal::Reserved { range, aperture });
            }
            self.clear_of_reserved(client, slot, range)?;
            if let Some(index) = space.tree.lowest_in(&self.areas, range) {
                return Err(Refusal::Overlap(self.areas[index as usize].range()));
            }
        }
        if rights.is_none() {
            return Err(Refusal::NoRights);
        }
        if !expressible(geometry.format, rights) {
            return Err(Refusal::NotExpressible(rights));
        }
        match fixed {
            Some(first) => Ok(first),
            None => self.place(client, slot, length, alignment(geometry.page_sizes, length, pa)),
        }
    }

    /// Goes on filling the areas in the target, which are exactly its range.
    fn resume_copy(
        &mut self,
        client: ClientId,
        slot: SpaceSlot,
        request: &CopyRequest,
    ) -> Result<Progress, Refusal> {
        let CopyRequest { rights, iova, length, .. } = *request;
        let range = IovaRange::from_length(iova, length).ok_or(Refusal::Overflow { first: iova })?;
        let none = Refusal::NotMapped(range);
        let Self { areas, frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let space = spaces.get_mut(slot);
        // First all that may be wrong, then the work.
        let mut budget = 0;
        let mut bytes = 0;
        for work in [false, true] {
            let mut rest = Some(range);
            for _ in 0..MAX_COPIED {
                let Some(part) = rest else { break };
                let index = space.tree.lowest_in(areas, part).ok_or(none)?;
                let area = &mut areas[index as usize];
                let whole =
                    area.first == part.first() && part.covers(area.range()) && area.rights() == rights;
                if !whole || area.state() == State::Removing {
                    return Err(none);
                }
                let grant = &owner.grants[usize::from(area.slot())];
                if grant.is_withdrawn() {
                    let current = grant.info().generation;
                    return Err(Refusal::StaleRegion { asked: current.wrapping_sub(1), current });
                }
                let all = area.last - area.first + 1;
                rest = above(area.range(), range);
                if !work {
                    continue;
                }
                if area.state() == State::Filling && budget != 0 {
                    let before = area.cursor();
                    let pa = PhysAddr(grant.address(area.offset()).0 + before);
                    let extent = Extent { iova: area.first + before, pa, bytes: all - before, rights };
                    let memory = &mut hardware.memory;
                    let left = &mut area.reserved;
                    let done =
                        before + space.table.fill(frames, left, memory, space.clean, &extent, &mut budget);
                    if done == all {
                        area.set_state(State::Live, 0);
                        let left = core::mem::replace(&mut area.reserved, Reservation::EMPTY);
                        give_back(frames, &mut owner.account, left);
                    } else {
                        area.set_state(State::Filling, done);
                        budget = 0;
                    }
                }
                bytes += if area.state() == State::Live { all } else { area.cursor() };
            }
            if rest.is_some() {
                return Err(none);
            }
            if !work {
                hardware.ascertain(space, frames, &mut owner.account)?;
            }
            budget = MAX_TABLE_WRITES;
        }
        hardware.show(space, iova, bytes);
        Ok(Progress { iova, bytes, more: bytes != length })
    }
}

/// Where `piece` of a source that begins at `first` goes in a target that begins at `at`.
fn extent(piece: &Piece, first: u64, at: u64, rights: Rights) -> Extent {
    let bytes = piece.range.length_minus_one() + 1;
    Extent { iova: at + (piece.range.first() - first), pa: piece.pa, bytes, rights }
}

/// What of `whole` lies above `part`.
fn above(part: IovaRange, whole: IovaRange) -> Option<IovaRange> {
    IovaRange::new(part.last().checked_add(1)?, whole.last())
}

/// The tables that `extent` needs if there are none: at least those that it needs whatever else is unmapped before
/// its first page is filled.
fn all_tables(geometry: &Geometry, extent: &Extent) -> u32 {
    let (first, last) = (extent.iova, extent.iova + (extent.bytes - 1));
    let mut frames = 0;
    for height in 1..geometry.levels() {
        let span_lg2 = Geometry::GRANULE_LG2 + Geometry::LEVEL_BITS * height;
        let mut tables = (last >> span_lg2) - (first >> span_lg2) + 1;
        let block = 1_u64 << span_lg2;
        if height == 1 && geometry.page_sizes & block != 0 && (first ^ extent.pa.0).is_multiple_of(block) {
            let from = first.next_multiple_of(block);
            let to = (last + 1) & !(block - 1);
            tables -= to.saturating_sub(from) >> span_lg2;
        }
        frames += tables as u32;
    }
    frames
}
