//! Tables under test beside the reference.

use iommu_hal::{Completed, Geometry, IovaRange, PhysAddr};
use iommu_pgtable::{Extent, FrameMeta, FramePool, Reservation, StaleFrames, Table};

use super::{
    hardware::View,
    ram::{BASE, Ram},
    reference::Reference,
};

pub struct Rig {
    pub ram: Ram,
    pub pool: FramePool<'static>,
    pub table: Table,
    pub stale: StaleFrames,
    pub reference: Reference,
    pub clean: bool,
}

impl Rig {
    pub fn new(geometry: Geometry, frames: u32, clean: bool) -> Self {
        let mut ram = Ram::new(u64::from(frames));
        let meta = vec![FrameMeta::NEW; frames as usize].leak();
        let mut pool = FramePool::new(PhysAddr(BASE), u64::from(frames) << 12, meta);
        let mut reservation = pool.reserve(Table::ROOT_FRAMES).unwrap();
        let table = Table::new(geometry, &mut pool, &mut reservation, &mut ram, clean);
        pool.release(reservation);
        let reference = Reference { geometry, areas: Vec::new() };
        Self { ram, pool, table, stale: StaleFrames::EMPTY, reference, clean }
    }

    pub fn view(&self) -> View<'_> {
        View { words: &self.ram.words, root: self.table.root().0, geometry: self.table.geometry() }
    }

    /// Maps `extent` in slices: every call gets what the one before left and `slice` more. `None`: the pool is
    /// exhausted, and nothing changed.
    pub fn map(&mut self, extent: Extent, slice: u32) -> Option<()> {
        let plan = self.table.plan(&self.ram, &extent);
        let before = self.reference.tables().len();
        self.reference.areas.push(extent);
        assert_eq!(plan.frames as usize, self.reference.tables().len() - before, "{extent:x?}");
        let Ok(mut reservation) = self.pool.reserve(plan.frames) else {
            self.reference.areas.pop();
            return None;
        };
        let (mut done, mut budget) = (0, 0_u32);
        while done < extent.bytes {
            let could = budget.saturating_add(slice);
            budget = could;
            let mut rest = extent;
            rest.iova += done;
            rest.pa.0 += done;
            rest.bytes -= done;
            let step = self.fill(&mut reservation, &rest, &mut budget);
            assert!(budget <= could && step <= rest.bytes);
            assert!(step > 0 || could < Table::MIN_BUDGET, "no progress with a budget of {could}");
            done += step;
        }
        assert_eq!(reservation, Reservation::EMPTY, "the plan was not exact");
        Some(())
    }

    /// One call of `fill`.
    pub fn fill(&mut self, reservation: &mut Reservation, extent: &Extent, budget: &mut u32) -> u64 {
        self.table.fill(&mut self.pool, reservation, &mut self.ram, self.clean, extent, budget)
    }

    /// Unmaps the mappings inside `first..=last`, which cuts none, in calls with a budget of `slice`.
    pub fn unmap(&mut self, first: u64, last: u64, slice: u32) {
        let is_inside = |area: &Extent| area.iova >= first && area.iova + (area.bytes - 1) <= last;
        let bytes: u64 = self.reference.areas.iter().filter(|area| is_inside(area)).map(|a| a.bytes).sum();
        self.reference.areas.retain(|area| !is_inside(area));
        let (mut next, mut done) = (Some(first), 0);
        while let Some(from) = next {
            let mut budget = slice;
            let range = IovaRange::new(from, last).unwrap();
            let cleared = self.table.clear(&mut self.pool, &mut self.ram, self.clean, range, &mut budget);
            assert!(cleared.next.is_none_or(|next| next > from && next <= last && budget == 0));
            assert_eq!(cleared.tables(), !cleared.frames.is_empty());
            done += cleared.bytes;
            next = cleared.next;
            self.stale.append(&mut self.pool, cleared.frames);
        }
        assert_eq!(done, bytes);
    }

    /// The invalidation has completed.
    pub fn recycle(&mut self) {
        let stale = core::mem::replace(&mut self.stale, StaleFrames::EMPTY);
        self.pool.recycle(stale, &Completed::by_hardware());
    }

    /// Compares everything with the reference.
    pub fn check(&self) {
        for iova in self.reference.probes() {
            let expected = self.reference.translate(iova);
            assert_eq!(self.view().translate(iova), expected, "hardware at {iova:#x}");
            let found = self.table.lookup(&self.ram, iova);
            let found = found.map(|m| (m.pa.0, m.rights.read, m.rights.write, m.page_bytes));
            let expected = expected.map(|e| (e.pa, e.read, e.write, e.page_bytes));
            assert_eq!(found, expected, "lookup at {iova:#x}");
        }
        let tables = self.view().reachable();
        assert_eq!(tables.len(), 1 + self.reference.tables().len(), "tables in use");
        let known = self.pool.free() + self.pool.reserved() + self.stale.len() + tables.len() as u32;
        assert_eq!(known, self.pool.capacity(), "frames lost");
        assert_eq!(self.table.is_empty(&self.pool), self.reference.areas.is_empty());
    }
}
