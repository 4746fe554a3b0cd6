//! The tables of one address space.

use iommu_hal::{FRAME_BYTES, Format, Geometry, IovaRange, PhysAddr, Rights, TableMemory};

use crate::{
    Cleared, FramePool, Plan, Reservation, StaleFrames, clear, fill,
    fmt::{ArmStage1, ArmStage2, EntryFormat, VtdSecondStage},
    frames::Residue,
    leaves,
    level::{MAX_LEVELS, span},
    plan,
    way::{Spare, Way},
};

/// One contiguous mapping to be: `bytes` bytes at `iova` lead to as many at `pa`. All are multiples of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first IO virtual address.
    pub iova: u64,
    /// The physical address that it leads to.
    pub pa: PhysAddr,
    /// The length in bytes, not 0.
    pub bytes: u64,
    /// What the device may do.
    pub rights: Rights,
}

impl Extent {
    /// The last IO virtual address.
    pub(crate) const fn last(&self) -> u64 {
        self.iova + (self.bytes - 1)
    }
}

/// What one IO virtual address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The physical address of the byte that was asked for.
    pub pa: PhysAddr,
    /// What the device may do there.
    pub rights: Rights,
    /// The size of the page or block, in bytes.
    pub page_bytes: u64,
}

/// The tables of one address space.
///
/// Every call takes the same pool and the memory that the pool's frames lie in. `clean` says whether a unit
/// that walks these tables does not snoop, so that stores need [`TableMemory::clean`]. When a call returns,
/// all its stores are published, and cleaned if need be.
#[derive(Debug)]
pub struct Table {
    geometry: Geometry,
    root: PhysAddr,
    /// The page sizes that both the geometry and its levels allow.
    page_sizes: u64,
    /// The height of the root.
    top: u32,
    /// Where the last change was made.
    way: Way,
    /// The table without an entry that [`Table::clear_leaves`] has left, until it holds something or is taken out.
    spare: Option<Spare>,
}

/// Calls `$module::$call` for the entry format of `$table`.
macro_rules! by_format {
    ($table:expr, $module:ident::$call:ident($($argument:expr),*)) => {
        match $table.geometry.format {
            Format::ArmStage1 => $module::$call::<ArmStage1, _>($($argument),*),
            Format::ArmStage2 => $module::$call::<ArmStage2, _>($($argument),*),
            Format::VtdSecondStage => $module::$call::<VtdSecondStage, _>($($argument),*),
        }
    };
}

impl Table {
    /// Frames that [`Table::new`] takes.
    pub const ROOT_FRAMES: u32 = 1;

    /// What a new table costs of a budget: the store that links it and its zeroing, which runs at the speed of
    /// cache lines and not of single stores.
    pub const FRESH_TABLE_WRITES: u32 = 25;

    /// A budget with which [`Table::fill`] always makes progress: all tables below the root, and one leaf.
    pub const MIN_BUDGET: u32 = (MAX_LEVELS as u32 - 1) * Self::FRESH_TABLE_WRITES + 1;

    /// Empty tables of shape `geometry`: a root that is ready to be attached. Takes [`Table::ROOT_FRAMES`] out
    /// of `reservation`.
    pub fn new<M: TableMemory>(
        geometry: Geometry,
        pool: &mut FramePool<'_>,
        reservation: &mut Reservation,
        memory: &mut M,
        clean: bool,
    ) -> Self {
        assert!((21..=48).contains(&geometry.input_bits) && geometry.output_bits <= 48);
        assert!(geometry.page_sizes & FRAME_BYTES != 0);
        let top = geometry.levels() - 1;
        let known = match geometry.format {
            Format::ArmStage1 => ArmStage1::PAGE_SIZES,
            Format::ArmStage2 => ArmStage2::PAGE_SIZES,
            Format::VtdSecondStage => VtdSecondStage::PAGE_SIZES,
        };
        let page_sizes = geometry.page_sizes & known & (2 * span(top) - 1);
        let root = pool.take(reservation, memory, 0, 0);
        if clean {
            memory.clean(root, FRAME_BYTES);
        }
        memory.publish();
        Self { geometry, root, page_sizes, top, way: Way::NONE, spare: None }
    }

    /// The root table's frame.
    pub const fn root(&self) -> PhysAddr {
        self.root
    }

    /// The shape of the tables.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What mapping `extent`, none of which is mapped, takes, in a time that does not depend on its length.
    ///
    /// The plan holds once [`Table::fill`] has done a first page, which must follow before any other change to
    /// the tables.
    pub fn plan<M: TableMemory>(&self, memory: &M, extent: &Extent) -> Plan {
        by_format!(self, plan::plan(self, memory, extent))
    }

    /// Maps `extent` from its start, for as far as `budget` goes, and returns the bytes done; to go on, call
    /// again with the rest, whatever else was mapped and unmapped meanwhile. `reservation` holds the planned
    /// frames, so that it cannot fail.
    ///
    /// Each leaf costs 1 of `budget`, each new table [`Table::FRESH_TABLE_WRITES`]. What does not fit is not
    /// begun: with less than [`Table::MIN_BUDGET`] it may be that nothing is done. At any store an address
    /// leads where it led before or where `extent` says.
    ///
    /// The caller keeps `extent` inside the aperture and the output size, and its rights
    /// [`expressible`](crate::expressible); none of its pages is mapped.
    pub fn fill<M: TableMemory>(
        &mut self,
        pool: &mut FramePool<'_>,
        reservation: &mut Reservation,
        memory: &mut M,
        clean: bool,
        extent: &Extent,
        budget: &mut u32,
    ) -> u64 {
        by_format!(self, fill::fill(self, pool, reservation, memory, clean, extent, budget))
    }

    /// Maps all of `extent`, if its leaves, `most` at most, go into one table that is there: nothing is to be planned or
    /// reserved. `false`, with nothing done, if not.
    ///
    /// For all else, see [`Table::fill`].
    #[inline]
    pub fn fill_leaves<M: TableMemory>(
        &mut self,
        pool: &mut FramePool<'_>,
        memory: &mut M,
        clean: bool,
        extent: &Extent,
        most: u32,
    ) -> bool {
        by_format!(self, fill::fill_leaves(self, pool, memory, clean, extent, most))
    }

    /// Unmaps what is mapped in `range`, from its start, for as far as `budget` goes. Each entry looked at costs
    /// 1 of `budget`, so that any budget makes progress. At any store an address leads where it led before or
    /// nowhere.
    ///
    /// `range` is whole pages, inside the aperture, and cuts no block in two. The addresses before
    /// [`Cleared::next`] are to be invalidated, with the entries above the leaves if [`Cleared::tables`] says
    /// so, before [`Cleared::frames`] are recycled; invalidating a part of `range` that held something is
    /// enough for every table in the chain.
    pub fn clear<M: TableMemory>(
        &mut self,
        pool: &mut FramePool<'_>,
        memory: &mut M,
        clean: bool,
        range: IovaRange,
        budget: &mut u32,
    ) -> Cleared {
        let cleared = by_format!(self, clear::clear(self, pool, memory, clean, range, budget));
        if cleared.tables() {
            self.way = Way::NONE;
            let last = cleared.next.map_or(range.last(), |next| next - 1);
            let done = IovaRange::new(range.first(), last);
            self.spare = self.spare.filter(|spare| !done.is_some_and(|done| done.covers(spare.window())));
        }
        cleared
    }

    /// Unmaps `range`, one whole mapping, if it consists of leaves of one table; `None`, with nothing done, if
    /// not. A table that this leaves without an entry stays as the spare: the next mapping there finds it, and
    /// taking it out and putting it back is saved. There is one spare at most; [`Cleared::spare`] tells of an
    /// earlier one that had to go. Each leaf costs 1 of `budget`, and so does such a spare; `None` where that does
    /// not suffice.
    ///
    /// For all else, see [`Table::clear`].
    #[inline]
    pub fn clear_leaves<M: TableMemory>(
        &mut self,
        pool: &mut FramePool<'_>,
        memory: &mut M,
        clean: bool,
        range: IovaRange,
        budget: &mut u32,
    ) -> Option<Cleared> {
        let emptied = by_format!(self, leaves::clear_leaves(self, pool, memory, clean, range, budget))?;
        let mut cleared = Cleared { bytes: range.last() - range.first() + 1, ..Cleared::NOTHING };
        if emptied.is_some() {
            if let Some((window, frames)) = self.shed(pool, memory, clean) {
                (cleared.spare, cleared.frames) = (Some(window), frames);
                *budget -= 1;
            }
            self.spare = emptied;
        }
        Some(cleared)
    }

    /// Takes the spare out, if there is one: the addresses that it served, of which one is to be invalidated with the
    /// entries above the leaves, and the frames.
    pub fn shed<M: TableMemory>(
        &mut self,
        pool: &mut FramePool<'_>,
        memory: &mut M,
        clean: bool,
    ) -> Option<(IovaRange, StaleFrames)> {
        let window = self.spare?.window();
        // All that is there is the empty table, which goes with one store.
        let cleared = self.clear(pool, memory, clean, window, &mut 1);
        assert!(cleared.bytes == 0 && self.spare.is_none(), "the spare is empty and goes");
        Some((window, cleared.frames))
    }

    /// The addresses that the spare serves, if there is one.
    pub fn spare(&self) -> Option<IovaRange> {
        self.spare.map(|spare| spare.window())
    }

    /// What `iova` leads to; `None` where nothing is mapped.
    pub fn lookup<M: TableMemory>(&self, memory: &M, iova: u64) -> Option<Mapping> {
        by_format!(self, plan::lookup(self, memory, iova))
    }

    /// Whether nothing is mapped and there is no spare.
    pub fn is_empty(&self, pool: &FramePool<'_>) -> bool {
        pool.live(self.root) == 0
    }

    /// Gives up the root of tables in which nothing is mapped and whose spare was [shed](Table::shed). No stream is attached to it any more.
    pub fn destroy(self, pool: &mut FramePool<'_>) -> StaleFrames {
        assert!(self.is_empty(pool), "destroyed tables map something");
        let mut stale = StaleFrames::EMPTY;
        pool.retire(&mut stale, self.root, Residue::NONE);
        stale
    }

    /// The height of the root.
    pub(crate) const fn top(&self) -> u32 {
        self.top
    }

    /// The table at `height` that serves `iova`, if the last change was made there.
    #[inline]
    pub(crate) const fn known(&self, iova: u64, height: u32) -> Option<PhysAddr> {
        self.way.leads_to(iova, height)
    }

    /// Takes note that `table`, at `height`, serves `iova`.
    #[inline]
    pub(crate) const fn remember(&mut self, iova: u64, height: u32, table: PhysAddr) {
        self.way = Way::to(iova, height, table);
    }

    /// Takes note that `table` holds something.
    #[inline]
    pub(crate) fn in_use(&mut self, table: PhysAddr) {
        if self.spare.is_some_and(|spare| spare.table == table) {
            self.spare = None;
        }
    }

    /// Whether a table below `height` is the spare: a block may have to take its place.
    #[inline]
    pub(crate) fn has_spare_below(&self, height: u32) -> bool {
        self.spare.is_some_and(|spare| spare.height < height)
    }

    /// The page sizes that may be used, as a bit mask of bytes.
    pub(crate) const fn page_sizes(&self) -> u64 {
        self.page_sizes
    }
}
