//! UNMAP, IOAS_DESTROY and RESET: clear, invalidate, wait, and only then free.

use iommu_hal::{Clock, IovaRange, TableMemory, Unit};
use iommu_pgtable::StaleFrames;

use crate::area::{AreaIndex, State};
use crate::hardware::{Touched, a_page_of};
use crate::quota::Quota;
use crate::remove::{Leaving, free};
use crate::space::SpaceSlot;
use crate::{ClientId, Core, MAX_DEVICES, MAX_TABLE_WRITES, Progress, Refusal, SpaceId};

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Takes out every area in `first..=last`, whole areas only. The whole space is `0..=u64::MAX`, which may be
    /// empty. When it returns, no device reaches what was taken out.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`]; [`Refusal::ZeroLength`] and [`Refusal::Overflow`] for a `last`
    /// below `first`, directly or further; [`Refusal::NotMapped`]; [`Refusal::WouldSplit`]: nothing was removed;
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: the areas keep their addresses, and to call
    /// again tries again.
    pub fn unmap(
        &mut self,
        client: ClientId,
        space: SpaceId,
        first: u64,
        last: u64,
    ) -> Result<Progress, Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        let range = IovaRange::new(first, last).ok_or_else(|| match first - 1 == last {
            true => Refusal::ZeroLength,
            false => Refusal::Overflow { first },
        })?;
        let (areas, tree) = (&mut self.areas, &mut self.spaces.get_mut(slot).tree);
        let Some(lowest) = tree.find(areas, range) else {
            return match range == IovaRange::ALL {
                true => Ok(Progress { iova: 0, bytes: 0, more: false }),
                false => Err(Refusal::NotMapped(range)),
            };
        };
        let mut edge = &areas[lowest as usize];
        if edge.first == first
            && edge.last == last
            && edge.state() == State::Live
            && let Some(done) = self.take_one(client, slot, range, lowest)
        {
            return done;
        }
        let (areas, tree) = (&self.areas, &self.spaces.get(slot).tree);
        edge = &areas[lowest as usize];
        if range.covers(edge.range())
            && edge.range().last() != last
            && let Some(highest) = tree.highest_at(areas, last)
        {
            edge = &areas[highest as usize];
        }
        if !range.covers(edge.range()) {
            return Err(Refusal::WouldSplit(edge.range()));
        }
        self.take_out(client, slot, range)
    }

    /// Destroys a space to which no device is attached, and its areas. While there is more to do, the space
    /// goes on as one with fewer areas.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::Busy`]; [`Refusal::HardwareTimeout`],
    /// [`Refusal::HardwareFailed`]: the space stays.
    pub fn ioas_destroy(&mut self, client: ClientId, space: SpaceId) -> Result<Progress, Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        let object = self.spaces.get_mut(slot);
        if object.devices != 0 {
            return Err(Refusal::Busy);
        }
        let mut progress = Progress { iova: 0, bytes: 0, more: false };
        if !object.tree.is_empty() {
            progress = self.take_out(client, slot, IovaRange::ALL)?;
            if progress.more {
                return Ok(progress);
            }
        }
        let Self { frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let object = spaces.get_mut(slot);
        let shed = object.table.shed(frames, &mut hardware.memory, object.clean);
        let stale = shed.map_or(StaleFrames::EMPTY, |(_, stale)| stale);
        // Whatever was cached without having been mapped out, the walk of the root itself included.
        let touched = Touched { range: IovaRange::ALL, tables: true, spare: None };
        hardware.settle(object, frames, &mut owner.account, &touched, stale)?;
        hardware.forget(spaces.take(slot), frames, &mut owner.account);
        owner.account.release(Quota { spaces: 1, ..Quota::ZERO });
        owner.name(space, None);
        Ok(progress)
    }

    /// Gives back everything that `client` holds: its devices are detached, in the first call, and its spaces
    /// destroyed, one a call.
    ///
    /// # Errors
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: as [`Core::detach`] and [`Core::ioas_destroy`];
    /// every device was tried.
    pub fn reset(&mut self, client: ClientId) -> Result<Progress, Refusal> {
        let mut refusal = None;
        for device in 0..MAX_DEVICES as u16 {
            match self.detach(client, device) {
                Ok(()) | Err(Refusal::NotAttached) => {}
                Err(Refusal::NoSuchDevice(_)) => break,
                Err(other) => refusal = refusal.or(Some(other)),
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let Some(space) = self.clients[client.number()].any_space() else {
            return Ok(Progress { iova: 0, bytes: 0, more: false });
        };
        let mut progress = self.ioas_destroy(client, space)?;
        progress.more = self.clients[client.number()].any_space().is_some();
        Ok(progress)
    }

    /// Takes out `index`, which was just found, the live area at `range`, in place: what comes and goes by itself
    /// finds its table again. `None`, with nothing done, where that cannot be.
    #[inline]
    fn take_one(
        &mut self,
        client: ClientId,
        slot: SpaceSlot,
        range: IovaRange,
        index: AreaIndex,
    ) -> Option<Result<Progress, Refusal>> {
        let Self { areas, frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let space = spaces.get_mut(slot);
        let (memory, budget) = (&mut hardware.memory, &mut { MAX_TABLE_WRITES });
        let cleared = space.table.clear_leaves(frames, memory, space.clean, range, budget)?;
        let settled = if cleared.spare.is_none() {
            hardware.settle_leaves(space, frames, &mut owner.account, range)
        } else {
            let touched = Touched { range, tables: false, spare: cleared.spare.map(a_page_of) };
            hardware.settle(space, frames, &mut owner.account, &touched, cleared.frames)
        };
        if let Err(refusal) = settled {
            areas[index as usize].set_state(State::Removing, cleared.bytes);
            return Some(Err(refusal));
        }
        space.tree.remove(areas);
        let bytes = free(areas, owner, index);
        Some(Ok(Progress { iova: 0, bytes, more: false }))
    }

    /// Takes out the areas in `range`, which cuts none of them, from the lowest up, as far as one request's bounds
    /// allow. An area that is half filled is taken over.
    fn take_out(&mut self, client: ClientId, slot: SpaceSlot, range: IovaRange) -> Result<Progress, Refusal> {
        let (_, bytes) = self.remove_in(client, slot, range, Leaving::All)?;
        let more = self.spaces.get(slot).tree.lowest_in(&self.areas, range).is_some();
        Ok(Progress { iova: 0, bytes, more })
    }
}
