//! The units, and when what was taken out may be used again.

use iommu_hal::{Clock, Completed, Geometry, IovaRange, TableMemory, Unit, UnitError};
use iommu_pgtable::{FramePool, StaleFrames};

use crate::quota::{Account, Quota};
use crate::space::Space;
use crate::{MAX_UNITS, Refusal};

/// What the requests need of the machine.
#[derive(Debug)]
pub(crate) struct Hardware<U, M, C> {
    pub(crate) units: heapless::Vec<U, MAX_UNITS>,
    pub(crate) memory: M,
    pub(crate) clock: C,
    /// From bring-up, which invalidates everything: what was unmapped under a tag that no stream was attached
    /// with since, or since that tag's own invalidation, cannot be cached.
    quiet: Completed,
    /// Some unit has to be told of new mappings.
    pub(crate) caches_absence: bool,
}

/// Where entries of a space's tables were taken out.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) range: IovaRange,
    /// Entries above the leaves were among them.
    pub(crate) tables: bool,
    /// Where an empty table was taken out, if one was ([`a_page_of`]).
    pub(crate) spare: Option<IovaRange>,
}

/// Some page of the addresses that an empty table served: what the units know of the table, they know by any.
pub(crate) const fn a_page_of(window: IovaRange) -> IovaRange {
    match IovaRange::from_length(window.first(), 1 << Geometry::GRANULE_LG2) {
        Some(page) => page,
        None => unreachable!(),
    }
}

impl<U: Unit, M: TableMemory, C: Clock> Hardware<U, M, C> {
    /// Waits for each unit once.
    pub(crate) fn new(
        mut units: heapless::Vec<U, MAX_UNITS>,
        mut memory: M,
        clock: C,
    ) -> Result<Self, UnitError> {
        let mut quiet = None;
        for unit in &mut units {
            quiet = Some(unit.sync(&mut memory, &clock)?);
        }
        let quiet = quiet.expect("there is a unit");
        let caches_absence = units.iter().any(Unit::caches_absence);
        Ok(Self { units, memory, clock, quiet, caches_absence })
    }

    /// Makes every unit forget what `space` no longer maps where it was `touched`, then frees `stale`, which was
    /// taken out of its tables. At most three calls of each unit. Nothing is sent where nothing can be cached.
    ///
    /// # Errors
    /// [`Refusal::HardwareTimeout`], [`Refusal::HardwareFailed`]: `stale` stays out of use, and charged, until a
    /// later call for `space` succeeds.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        space: &mut Space,
        frames: &mut FramePool<'_>,
        account: &mut Account,
        touched: &Touched,
        stale: StaleFrames,
    ) -> Result<(), Refusal> {
        if space.cached.is_empty() {
            recycle(frames, account, stale, &self.quiet);
            return Ok(());
        }
        match self.invalidate(space, touched) {
            Ok(completed) => {
                recycle(frames, account, stale, &completed);
                if space.unsure {
                    space.unsure = false;
                    let quarantine = core::mem::replace(&mut space.quarantine, StaleFrames::EMPTY);
                    recycle(frames, account, quarantine, &completed);
                }
                if space.devices == 0 {
                    space.cached = crate::space::UnitSet::EMPTY;
                }
                Ok(())
            }
            Err(error) => {
                space.unsure = true;
                space.quarantine.append(frames, stale);
                Err(error.into())
            }
        }
    }

    /// Makes every unit see what `space` maps from `first` on, `bytes` bytes that it did not map before. Where a unit
    /// fails, the device may not reach them; the unit itself tells what is the matter with it.
    #[inline]
    pub(crate) fn show(&mut self, space: &mut Space, first: u64, bytes: u64) {
        if self.caches_absence && !space.cached.is_empty() {
            self.show_range(space, first, bytes);
        }
    }

    #[cold]
    fn show_range(&mut self, space: &mut Space, first: u64, bytes: u64) {
        let Some(range) = IovaRange::from_length(first, bytes) else { return };
        let Self { units, memory, clock, .. } = self;
        let (tag, geometry) = (space.tag(), space.table.geometry());
        let mut shown = Ok(());
        for (index, unit) in units.iter_mut().enumerate() {
            if space.cached.contains(index) && unit.caches_absence() {
                let mut told = unit
                    .invalidate(memory, clock, tag, geometry, range, true)
                    .and_then(|()| unit.sync(memory, clock));
                if let Err(UnitError::CommandRejected(_)) = told {
                    // Refused while a refusal was made good. It is in order, and owes what it was to forget.
                    told = unit.sync(memory, clock);
                }
                shown = shown.and(told.map(|_| ()));
            }
        }
        space.unsure |= shown.is_err();
    }

    /// Takes the spare table out of `space` and frees it; whether there was one.
    ///
    /// # Errors
    /// As [`Hardware::settle`].
    #[cold]
    pub(crate) fn shed(
        &mut self,
        space: &mut Space,
        frames: &mut FramePool<'_>,
        account: &mut Account,
    ) -> Result<bool, Refusal> {
        let Some((window, stale)) = space.table.shed(frames, &mut self.memory, space.clean) else {
            return Ok(false);
        };
        let touched = Touched { range: a_page_of(window), tables: true, spare: None };
        self.settle(space, frames, account, &touched, stale)?;
        Ok(true)
    }

    /// Has the units forget what an earlier request could not have them forget, so that no old table is still walked where
    /// new entries are to be. To be called before any are made.
    ///
    /// # Errors
    /// As [`Hardware::settle`].
    #[inline]
    pub(crate) fn ascertain(
        &mut self,
        space: &mut Space,
        frames: &mut FramePool<'_>,
        account: &mut Account,
    ) -> Result<(), Refusal> {
        if !space.unsure {
            return Ok(());
        }
        let touched = Touched { range: IovaRange::ALL, tables: true, spare: None };
        self.settle(space, frames, account, &touched, StaleFrames::EMPTY)
    }

    /// Frees the root of a space whose tag is quiet.
    pub(crate) fn forget(&mut self, space: Space, frames: &mut FramePool<'_>, account: &mut Account) {
        assert!(space.cached.is_empty() && space.devices == 0 && space.quarantine.is_empty());
        let root = space.table.destroy(frames);
        recycle(frames, account, root, &self.quiet);
    }

    fn invalidate(&mut self, space: &Space, touched: &Touched) -> Result<Completed, UnitError> {
        let Self { units, memory, clock, .. } = self;
        let (tag, geometry) = (space.tag(), space.table.geometry());
        // Of a space without devices, everything: then nothing more need be sent for it.
        let all = space.unsure || space.devices == 0;
        for (index, unit) in units.iter_mut().enumerate() {
            if !space.cached.contains(index) {
                continue;
            }
            if all {
                unit.invalidate_all(memory, clock, tag, geometry)?;
            } else {
                unit.invalidate(memory, clock, tag, geometry, touched.range, touched.tables)?;
                if let Some(spare) = touched.spare {
                    unit.invalidate(memory, clock, tag, geometry, spare, true)?;
                }
            }
        }
        let mut completed = None;
        for (index, unit) in units.iter_mut().enumerate() {
            if space.cached.contains(index) {
                completed = Some(unit.sync(memory, clock)?);
            }
        }
        Ok(completed.expect("some unit holds translations"))
    }
}

/// Makes `stale` free again, in the pool and on the account.
#[inline]
fn recycle(frames: &mut FramePool<'_>, account: &mut Account, stale: StaleFrames, completed: &Completed) {
    if !stale.is_empty() {
        account.release(Quota { frames: stale.len(), ..Quota::ZERO });
        frames.recycle(stale, completed);
    }
}
