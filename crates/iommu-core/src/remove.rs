//! Taking areas out, a bounded step at a time: those of a range, of a withdrawn grant, or that a client left half
//! done.

use iommu_hal::{Clock, IovaRange, TableMemory, Unit};
use iommu_pgtable::{Reservation, StaleFrames};

use crate::area::{Area, AreaIndex, AreaPool, State};
use crate::client::{Client, Place};
use crate::hardware::Touched;
use crate::map::give_back;
use crate::quota::Quota;
use crate::space::SpaceSlot;
use crate::{ClientId, Core, MAX_AREAS_PER_REQUEST, MAX_TABLE_WRITES, Progress, Refusal, SpaceId};

/// Which areas leave.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaving {
    /// All.
    All,
    /// Those that map the grant in this slot.
    Slot(u8),
    /// Those that are half made or half removed.
    HalfDone,
}

impl Leaving {
    fn names(self, area: &Area) -> bool {
        match self {
            Self::All => true,
            Self::Slot(slot) => area.slot() == slot,
            Self::HalfDone => area.state() != State::Live,
        }
    }
}

const DONE: Progress = Progress { iova: 0, bytes: 0, more: false };

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// Withdraws the grant in `slot`: its generation is another at once and nothing can be mapped through it; then
    /// every area that maps it leaves. When it returns with nothing more to do, no device of `client` reaches the
    /// region through it. The new generation comes with the progress.
    ///
    /// # Errors
    /// [`Refusal::NoSuchRegion`]; [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: the grant is
    /// withdrawn, and to call again tries again.
    pub fn revoke(&mut self, client: ClientId, slot: u16) -> Result<(u16, Progress), Refusal> {
        self.clients[client.number()].grant(slot)?;
        self.clients[client.number()].grants[usize::from(slot)].withdraw();
        let progress = self.remove_withdrawn(client, slot)?;
        Ok((self.region_info(client, slot)?.generation, progress))
    }

    /// Gives back a withdrawn grant that no area maps; its generation, which stays that of the withdrawal.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchRegion`], [`Refusal::NotRevoked`], [`Refusal::Busy`].
    pub fn regrant(&mut self, client: ClientId, slot: u16) -> Result<u16, Refusal> {
        let info = self.region_info(client, slot)?;
        let grant = &mut self.clients[client.number()].grants[usize::from(slot)];
        match grant.is_withdrawn() {
            false => Err(Refusal::NotRevoked),
            true if info.live_areas != 0 => Err(Refusal::Busy),
            true => {
                grant.restore();
                Ok(info.generation)
            }
        }
    }

    /// Goes on with a withdrawal of `client`'s that is not complete, if there is one.
    ///
    /// # Errors
    /// As [`Core::revoke`].
    pub fn finish_revoking(&mut self, client: ClientId) -> Result<Progress, Refusal> {
        let grants = &self.clients[client.number()].grants;
        let unfinished = grants.iter().position(|grant| grant.is_withdrawn() && grant.info().live_areas != 0);
        let Some(slot) = unfinished else { return Ok(DONE) };
        // There may be another.
        Ok(Progress { more: true, ..self.remove_withdrawn(client, slot as u16)? })
    }

    /// Has [`Core::sweep`] look at everything again.
    pub fn begin_sweep(&mut self, client: ClientId) {
        self.clients[client.number()].sweep = Place::START;
    }

    /// Takes out every area of a client that is no longer there which it left half made or half removed.
    ///
    /// # Errors
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: to call again tries again.
    pub fn sweep(&mut self, client: ClientId) -> Result<Progress, Refusal> {
        let from = self.clients[client.number()].sweep;
        let (to, bytes) = self.remove_where(client, from, Leaving::HalfDone)?;
        self.clients[client.number()].sweep = to;
        Ok(Progress { bytes, more: to != Place::END, ..DONE })
    }

    fn remove_withdrawn(&mut self, client: ClientId, slot: u16) -> Result<Progress, Refusal> {
        let grant = &self.clients[client.number()].grants[usize::from(slot)];
        if grant.info().live_areas == 0 {
            return Ok(DONE);
        }
        let (to, bytes) = self.remove_where(client, grant.removal, Leaving::Slot(slot as u8))?;
        let grant = &mut self.clients[client.number()].grants[usize::from(slot)];
        // Where another client's areas were taken over since, they may lie behind.
        grant.removal = if to == Place::END { Place::START } else { to };
        Ok(Progress { bytes, more: grant.info().live_areas != 0, ..DONE })
    }

    /// Takes out those areas of `client`, from `from` on in one space, that `leaves` names, as far as one request's
    /// bounds allow: where to go on, and the bytes of the areas that have left.
    #[cold]
    #[inline(never)]
    fn remove_where(
        &mut self,
        client: ClientId,
        from: Place,
        leaves: Leaving,
    ) -> Result<(Place, u64), Refusal> {
        let owner = &self.clients[client.number()];
        let below = owner.space_ids() >> (from.space + 1);
        if below == 0 {
            return Ok((Place::END, 0));
        }
        let skipped = below.trailing_zeros() as u16;
        let at = Place { space: from.space + skipped, iova: if skipped == 0 { from.iova } else { 0 } };
        let slot = owner.space(SpaceId(at.space + 1))?;
        let range = IovaRange::new(at.iova, u64::MAX).expect("the last address is the highest");
        let (next, bytes) = self.remove_in(client, slot, range, leaves)?;
        let to = match next {
            Some(iova) => Place { iova, ..at },
            None => Place { space: at.space + 1, iova: 0 },
        };
        let rest = self.clients[client.number()].space_ids() >> (to.space + 1);
        Ok((if rest == 0 { Place::END } else { to }, bytes))
    }

    /// As [`Core::remove_where`], those in `range` of the space in `slot`, which cuts none of them; `None` once its end
    /// is reached.
    pub(crate) fn remove_in(
        &mut self,
        client: ClientId,
        slot: SpaceSlot,
        range: IovaRange,
        leaves: Leaving,
    ) -> Result<(Option<u64>, u64), Refusal> {
        let Self { areas, frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let space = spaces.get_mut(slot);
        let mut budget = MAX_TABLE_WRITES;
        let mut stale = StaleFrames::EMPTY;
        // From the first address that was cleared to the last; the areas in it that have nothing left there.
        let mut touched: Option<IovaRange> = None;
        let mut gone = [0; MAX_AREAS_PER_REQUEST as usize];
        let mut count = 0;
        let mut next = Some(range.first());
        for _ in 0..MAX_AREAS_PER_REQUEST {
            let above = next.and_then(|first| IovaRange::new(first, range.last()));
            let Some(index) = above.and_then(|above| space.tree.lowest_in(areas, above)) else {
                next = None;
                break;
            };
            let area = &mut areas[index as usize];
            let (first, last) = (area.first, area.last);
            if !leaves.names(area) {
                next = last.checked_add(1);
                continue;
            }
            let mut cursor = 0;
            match area.state() {
                State::Live => {}
                State::Filling => {
                    let reserved = core::mem::replace(&mut area.reserved, Reservation::EMPTY);
                    give_back(frames, &mut owner.account, reserved);
                }
                State::Removing => cursor = area.cursor,
            }
            let mut end = last;
            let mut cut = None;
            if let Some(left) = first.checked_add(cursor).and_then(|first| IovaRange::new(first, last)) {
                let cleared = space.table.clear(frames, &mut hardware.memory, space.clean, left, &mut budget);
                stale.append(frames, cleared.frames);
                cut = cleared.next;
            }
            match cut {
                Some(cut) => {
                    area.set_state(State::Removing, cut - first);
                    end = cut - 1;
                }
                None => {
                    area.set_state(State::Removing, last - first + 1);
                    gone[count] = first;
                    count += 1;
                }
            }
            touched = IovaRange::new(touched.map_or(first, |range| range.first()), end.max(first));
            if cut.is_some() || budget == 0 {
                // What has not left yet is met again.
                next = if cut.is_some() { Some(first) } else { last.checked_add(1) };
                break;
            }
            next = last.checked_add(1);
        }
        let Some(range) = touched else { return Ok((next, 0)) };
        let touched = Touched { range, tables: !stale.is_empty(), spare: None };
        hardware.settle(space, frames, &mut owner.account, &touched, stale)?;
        let mut bytes = 0;
        for first in &gone[..count] {
            let at = IovaRange::from_length(*first, 1).expect("one address");
            space.tree.find(areas, at).expect("these areas are still there");
            let index = space.tree.remove(areas);
            bytes += free(areas, owner, index);
        }
        Ok((next, bytes))
    }
}

/// Gives back `index`, an area that is no longer in its tree, and what its owner was charged for it: its bytes.
#[inline]
pub(crate) fn free(areas: &mut AreaPool<'_>, owner: &mut Client, index: AreaIndex) -> u64 {
    let area = &areas[index as usize];
    let bytes = area.last - area.first + 1;
    owner.grants[usize::from(area.slot)].area_removed();
    owner.account.release(Quota { areas: 1, ..Quota::ZERO });
    areas.give(index);
    bytes
}
