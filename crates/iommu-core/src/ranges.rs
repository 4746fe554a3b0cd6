//! Where a space may map: reserved ranges of its devices, and allowed ranges.

use iommu_hal::{Clock, IovaRange, TableMemory, Unit};

use crate::engine::ConfigError;
use crate::map::{GRANULE, alignment};
use crate::space::{Space, SpaceSlot};
use crate::{ClientId, Core, MAX_ALLOWED, MapRequest, Progress, Refusal, SpaceId};

/// One of the ranges of a space that are not reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usable {
    /// The range.
    pub range: IovaRange,
    /// How many there are.
    pub count: u16,
}

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Says that no space may map `range` while `client`'s device at `index` is attached to it. To be called before
    /// the first request.
    ///
    /// # Errors
    /// [`ConfigError::NoSuchDevice`], [`ConfigError::TooManyReserved`].
    pub fn add_reserved(
        &mut self,
        client: ClientId,
        index: u16,
        range: IovaRange,
    ) -> Result<(), ConfigError> {
        let devices = &mut self.clients[client.number()].devices;
        let device = devices.get_mut(usize::from(index)).ok_or(ConfigError::NoSuchDevice(index))?;
        device.reserved.push(range).map_err(|_| ConfigError::TooManyReserved)
    }

    /// The range at `index` of those that are not reserved in `space`, upwards.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::NoSuchEntry`].
    pub fn usable(&self, client: ClientId, space: SpaceId, index: u16) -> Result<Usable, Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        let aperture = self.spaces.get(slot).table.geometry().aperture();
        let (mut found, mut count) = (None, 0);
        let mut rest = Some(aperture);
        while let Some(piece) = rest.and_then(|rest| self.free_piece(client, slot, rest)) {
            if count == index {
                found = Some(piece);
            }
            count += 1;
            rest = after(piece, aperture);
        }
        found.map(|range| Usable { range, count }).ok_or(Refusal::NoSuchEntry(index))
    }

    /// Begins a list of ranges in which `space` may place mappings, in place of one that was begun before.
    ///
    /// # Errors
    /// [`Refusal::NoSuchSpace`].
    pub fn allow_begin(&mut self, client: ClientId, space: SpaceId) -> Result<(), Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        self.spaces.get_mut(slot).staged.clear();
        Ok(())
    }

    /// Adds a range to the list that was begun.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::ZeroLength`], [`Refusal::Overflow`] for a `last` below
    /// `first`, directly or further; [`Refusal::Overlap`] with another of the list; [`Refusal::TooMany`].
    pub fn allow_add(
        &mut self,
        client: ClientId,
        space: SpaceId,
        first: u64,
        last: u64,
    ) -> Result<(), Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        let range = IovaRange::new(first, last).ok_or_else(|| match first - 1 == last {
            true => Refusal::ZeroLength,
            false => Refusal::Overflow { first },
        })?;
        let staged = &mut self.spaces.get_mut(slot).staged;
        if let Some(other) = staged.iter().find(|other| other.overlaps(range)) {
            return Err(Refusal::Overlap(*other));
        }
        let place = staged.iter().position(|other| other.first() > first).unwrap_or(staged.len());
        staged.insert(place, range).map_err(|_| Refusal::TooMany(MAX_ALLOWED))
    }

    /// Makes the list that was begun the space's, as a whole. An empty one allows everything. Mappings that there
    /// are, and those at a fixed place, do not ask for it.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::RangeInUse`]: the old list stays.
    pub fn allow_commit(&mut self, client: ClientId, space: SpaceId) -> Result<(), Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        for range in &self.spaces.get(slot).staged {
            if let Some(reserved) = self.reserved(client, slot).find(|reserved| reserved.overlaps(*range)) {
                return Err(Refusal::RangeInUse(reserved));
            }
        }
        let object = self.spaces.get_mut(slot);
        object.allowed = core::mem::take(&mut object.staged);
        self.refresh(client, slot);
        Ok(())
    }

    /// MAP outside the range of the space that is [open](crate::space::Space::open): keeps clear of what is reserved,
    /// finds a place in what is allowed.
    #[cold]
    #[inline(never)]
    pub(crate) fn map_elsewhere(
        &mut self,
        client: ClientId,
        request: &MapRequest,
    ) -> Result<Progress, Refusal> {
        let owner = &self.clients[client.number()];
        let slot = owner.space(request.space)?;
        let space = self.spaces.get(slot);
        let geometry = space.table.geometry();
        let aperture = geometry.aperture();
        let length = request.length;
        let mut placed = *request;
        // MAP itself has found nothing wrong so far.
        if request.fixed || request.resume {
            let first = request.iova;
            let range = IovaRange::from_length(first, length).ok_or(Refusal::Overflow { first })?;
            if !aperture.covers(range) {
                return Err(Refusal::Reserved { range, aperture });
            }
            self.clear_of_reserved(client, slot, range)?;
        } else {
            let pa = owner.grant(request.slot)?.address(request.offset);
            placed.iova = self.place(client, slot, length, alignment(geometry.page_sizes, length, pa))?;
            placed.fixed = true;
        }
        let open = core::mem::replace(&mut self.spaces.get_mut(slot).open, aperture);
        let mapped = self.map(client, &placed);
        self.spaces.get_mut(slot).open = open;
        mapped
    }

    /// Refuses a `range` that touches what is reserved.
    pub(crate) fn clear_of_reserved(
        &self,
        client: ClientId,
        slot: SpaceSlot,
        range: IovaRange,
    ) -> Result<(), Refusal> {
        match self.reserved(client, slot).find(|reserved| reserved.overlaps(range)) {
            Some(reserved) => Err(Refusal::ReservedByDevice { range, reserved }),
            None => Ok(()),
        }
    }

    /// The lowest place for `length` bytes that is allowed, not reserved, and free.
    pub(crate) fn place(
        &self,
        client: ClientId,
        slot: SpaceSlot,
        length: u64,
        align: u64,
    ) -> Result<u64, Refusal> {
        let space = self.spaces.get(slot);
        let none = Refusal::NoSpace { length, align };
        let all = IovaRange::new(GRANULE, space.table.geometry().aperture().last()).ok_or(none)?;
        let whole = [IovaRange::ALL];
        let allowed = if space.allowed.is_empty() { &whole[..] } else { &space.allowed };
        for range in allowed {
            let within = IovaRange::new(range.first().max(all.first()), range.last().min(all.last()));
            let mut rest = within;
            while let Some(piece) = rest.and_then(|rest| self.free_piece(client, slot, rest)) {
                if let Some(iova) = space.tree.first_fit(&self.areas, piece, length, align) {
                    return Ok(iova);
                }
                rest = within.and_then(|within| after(piece, within));
            }
        }
        Err(none)
    }

    /// Sees anew which range of the space in `slot` is open.
    pub(crate) fn refresh(&mut self, client: ClientId, slot: SpaceSlot) {
        let space = self.spaces.get(slot);
        let aperture = space.table.geometry().aperture();
        let all = Some(aperture).filter(|_| space.allowed.is_empty());
        let open = all.and_then(|all| self.free_piece(client, slot, all)).unwrap_or(Space::CLOSED);
        self.spaces.get_mut(slot).open = open;
    }

    /// The reserved ranges of the space in `slot`: what its units never translate, and those of `client`'s devices that
    /// hold it.
    fn reserved(&self, client: ClientId, slot: SpaceSlot) -> impl Iterator<Item = IovaRange> {
        let untranslated = self.spaces.get(slot).table.geometry().format.untranslated();
        let devices = self.clients[client.number()].devices.iter();
        let holders = devices.filter(move |device| device.attachment.holds().any(|held| held == slot));
        untranslated.into_iter().chain(holders.flat_map(|device| device.reserved.iter().copied()))
    }

    /// The lowest part of `within` that is not reserved, up to what is.
    fn free_piece(&self, client: ClientId, slot: SpaceSlot, within: IovaRange) -> Option<IovaRange> {
        let mut first = within.first();
        loop {
            let above = self.reserved(client, slot).filter(|range| range.last() >= first);
            match above.min_by_key(|range| range.first()) {
                Some(range) if range.first() <= first => {
                    first = range.last().checked_add(1).filter(|&first| first <= within.last())?;
                }
                Some(range) => return IovaRange::new(first, within.last().min(range.first() - 1)),
                None => return IovaRange::new(first, within.last()),
            }
        }
    }
}

/// What of `within` lies above `piece`.
fn after(piece: IovaRange, within: IovaRange) -> Option<IovaRange> {
    IovaRange::new(piece.last().checked_add(1)?, within.last())
}
