//! MAP: reserve, then fill.

use iommu_hal::{Clock, Geometry, IovaRange, PhysAddr, Rights, TableMemory, Unit};
use iommu_pgtable::{Extent, FramePool, Reservation, expressible};

use crate::area::{Area, State};
use crate::engine::reserve;
use crate::quota::{Account, Quota};
use crate::{ClientId, Core, MAX_TABLE_WRITES, Progress, Refusal, Resource, SpaceId};

pub(crate) const GRANULE: u64 = 1 << Geometry::GRANULE_LG2;

/// A piece of a region to be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRequest {
    /// The space to map into.
    pub space: SpaceId,
    /// The region.
    pub slot: u16,
    /// The grant's generation.
    pub generation: u16,
    /// What the device may do.
    pub rights: Rights,
    /// At `iova`, and nowhere else; otherwise `iova` is not looked at.
    pub fixed: bool,
    /// Goes on with the MAP that was left at `iova` half done; all else is as it was then. Implies `fixed`.
    pub resume: bool,
    /// Where.
    pub iova: u64,
    /// First byte in the region.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Maps a piece of a region. Everything that it takes is checked and reserved before the first entry is
    /// written, so that neither the rest of this request nor its resumption can fail for lack of it.
    ///
    /// Without `fixed`, the lowest free place is chosen ([`Tree::first_fit`](crate::tree::Tree::first_fit)) in
    /// the aperture less its first page, aligned to the largest power of two that is not above the length, the
    /// alignment of the source's physical address, or the largest block size.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::NoSuchRegion`], [`Refusal::StaleRegion`],
    /// [`Refusal::OutOfRegion`], [`Refusal::NotPermitted`], [`Refusal::Misaligned`], [`Refusal::ZeroLength`],
    /// [`Refusal::Overflow`], [`Refusal::Reserved`], [`Refusal::Overlap`], [`Refusal::NoRights`],
    /// [`Refusal::NotExpressible`], [`Refusal::NoSpace`], [`Refusal::NotMapped`] (nothing to resume),
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`] (what was taken out before, or an empty table in the
    /// way, the hardware does not confirm to have forgotten; a half done MAP stays so),
    /// [`Refusal::NoMemory`], [`Refusal::QuotaExceeded`].
    pub fn map(&mut self, client: ClientId, request: &MapRequest) -> Result<Progress, Refusal> {
        let MapRequest { rights, offset, length, .. } = *request;
        let Self { areas, frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let space = spaces.get_mut(owner.space(request.space)?);
        let grant = owner.grant(request.slot)?;
        grant.check(request.generation, offset, length, rights)?;
        let pa = grant.address(offset);
        let fixed = request.fixed || request.resume;
        let iova = if fixed { request.iova } else { 0 };
        if (iova | offset | length) % GRANULE != 0 {
            let misaligned = [iova, offset, length].into_iter().find(|value| value % GRANULE != 0);
            return Err(Refusal::Misaligned(misaligned.unwrap_or(0)));
        }
        if length == 0 {
            return Err(Refusal::ZeroLength);
        }
        let geometry = space.table.geometry();
        let open = space.open;
        let given = if fixed {
            let range = IovaRange::from_length(iova, length).ok_or(Refusal::Overflow { first: iova })?;
            if !open.covers(range) {
                return self.map_elsewhere(client, request);
            }
            Some(range)
        } else {
            None
        };
        if let (Some(range), false) = (given, request.resume) {
            let place = space.tree.locate(areas, range);
            place.map_err(|index| Refusal::Overlap(areas[index as usize].range()))?;
        }
        if rights.is_none() {
            return Err(Refusal::NoRights);
        }
        if !expressible(geometry.format, rights) {
            return Err(Refusal::NotExpressible(rights));
        }
        if let (Some(range), true) = (given, request.resume) {
            return self.resume(client, request, range, pa);
        }
        let range = match given {
            Some(range) => range,
            None => {
                let align = alignment(geometry.page_sizes, length, pa);
                let within = IovaRange::new(open.first().max(GRANULE), open.last());
                let fit = within.and_then(|within| space.tree.first_fit(areas, within, length, align));
                let Some(range) = fit.and_then(|iova| IovaRange::from_length(iova, length)) else {
                    return self.map_elsewhere(client, request);
                };
                let place = space.tree.locate(areas, range);
                assert!(place.is_ok(), "the place is free");
                range
            }
        };

        let extent = Extent { iova: range.first(), pa, bytes: length, rights };
        let area = Area::new(range, request.slot as u8, offset, rights);
        hardware.ascertain(space, frames, &mut owner.account)?;
        let taken = areas.take(area);
        // Most often the entries go into a table that is there, and nothing but the area is to be had.
        let one = Quota { areas: 1, ..Quota::ZERO };
        if let Some(index) = taken
            && owner.account.charge(one).is_ok()
        {
            let memory = &mut hardware.memory;
            if space.table.fill_leaves(frames, memory, space.clean, &extent, MAX_TABLE_WRITES) {
                owner.grants[usize::from(request.slot)].area_added();
                hardware.show(space, extent.iova, length);
                space.tree.insert(index);
                return Ok(Progress { iova: range.first(), bytes: length, more: false });
            }
            owner.account.release(one);
        }
        // A block takes the place of a table, even of an empty one.
        if space.table.spare().is_some_and(|spare| range.covers(spare))
            && let Err(refusal) = hardware.shed(space, frames, &mut owner.account)
        {
            if let Some(index) = taken {
                areas.give(index);
            }
            return Err(refusal);
        }
        let index = taken.ok_or(Refusal::NoMemory(Resource::Areas))?;
        let mut reservation = loop {
            let needed = space.table.plan(&hardware.memory, &extent).frames;
            let charge = Quota { frames: needed, areas: 1, spaces: 0 };
            let refusal = match reserve(frames, &mut owner.account, charge) {
                Ok(reservation) => break reservation,
                Err(refusal) => refusal,
            };
            // A table that is kept for nothing may be all that is missing. There is one at most.
            match hardware.shed(space, frames, &mut owner.account) {
                Ok(true) => {}
                shed => {
                    areas.give(index);
                    return Err(shed.err().unwrap_or(refusal));
                }
            }
        };
        owner.grants[usize::from(request.slot)].area_added();

        let mut budget = MAX_TABLE_WRITES;
        let memory = &mut hardware.memory;
        let done = space.table.fill(frames, &mut reservation, memory, space.clean, &extent, &mut budget);
        hardware.show(space, extent.iova, done);
        if done == length {
            give_back(frames, &mut owner.account, reservation);
        } else {
            areas[index as usize].set_state(State::Filling, done);
            areas[index as usize].reserved = reservation;
        }
        space.tree.insert(index);
        Ok(Progress { iova: range.first(), bytes: done, more: done != length })
    }

    /// Goes on filling the area at `range`, if `request` is the one that began it.
    #[cold]
    fn resume(
        &mut self,
        client: ClientId,
        request: &MapRequest,
        range: IovaRange,
        pa: PhysAddr,
    ) -> Result<Progress, Refusal> {
        let Self { areas, frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let space = spaces.get_mut(owner.space(request.space)?);
        let index = space.tree.lowest_in(areas, range).ok_or(Refusal::NotMapped(range))?;
        let area = &mut areas[index as usize];
        let same = area.range() == range
            && u16::from(area.slot()) == request.slot
            && area.offset() == request.offset
            && area.rights() == request.rights;
        if !same || area.state() != State::Filling {
            return Err(Refusal::NotMapped(range));
        }
        hardware.ascertain(space, frames, &mut owner.account)?;
        let before = area.cursor();
        let extent = Extent {
            iova: range.first() + before,
            pa: PhysAddr(pa.0 + before),
            bytes: request.length - before,
            rights: request.rights,
        };
        let mut budget = MAX_TABLE_WRITES;
        let memory = &mut hardware.memory;
        let filled = space.table.fill(frames, &mut area.reserved, memory, space.clean, &extent, &mut budget);
        hardware.show(space, extent.iova, filled);
        let done = before + filled;
        if done == request.length {
            area.set_state(State::Live, 0);
            give_back(frames, &mut owner.account, core::mem::replace(&mut area.reserved, Reservation::EMPTY));
        } else {
            area.set_state(State::Filling, done);
        }
        Ok(Progress { iova: range.first(), bytes: done, more: done != request.length })
    }
}

/// Gives back what is left of a reservation.
#[inline]
pub(crate) fn give_back(frames: &mut FramePool<'_>, account: &mut Account, rest: Reservation) {
    if rest.frames() != 0 {
        account.release(Quota { frames: rest.frames(), ..Quota::ZERO });
        frames.release(rest);
    }
}

/// The alignment of a place that the server chooses for `length` bytes of memory at `pa`.
pub(crate) fn alignment(page_sizes: u64, length: u64, pa: PhysAddr) -> u64 {
    let length_lg2 = length.ilog2();
    let block_lg2 = page_sizes.ilog2();
    1 << length_lg2.min(pa.0.trailing_zeros()).min(block_lg2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

    #[test]
    fn chosen_places_are_aligned_as_length_source_and_blocks_allow() {
        for (length, pa, align) in [
            (0x1000, 0x4000_0000, 0x1000),
            (0x3000, 0x4000_0000, 0x2000),
            (0x40_0000, 0x4000_0000, 0x40_0000),
            (0x40_0000, 0x4000_3000, 0x1000),
            (0x40_0000, 0x4020_0000, 0x20_0000),
            (1 << 34, 0, 1 << 30),
        ] {
            assert_eq!(alignment(SIZES, length, PhysAddr(pa)), align, "{length:#x} {pa:#x}");
        }
    }
}
