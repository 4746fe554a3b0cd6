//! Tables under test beside the reference.

use std::collections::BTreeSet;

use iommu_hal::{Completed, Geometry, IovaRange, PhysAddr};
use iommu_pgtable::{Extent, FrameMeta, FramePool, Reservation, StaleFrames, Table};

use super::{
    GIB1, KIB4, MIB2,
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
    /// The table that is kept though it holds nothing: the size that it spans and its first address.
    pub spare: Option<(u64, u64)>,
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
        Self { ram, pool, table, stale: StaleFrames::EMPTY, reference, clean, spare: None }
    }

    pub fn view(&self) -> View<'_> {
        View { words: &self.ram.words, root: self.table.root().0, geometry: self.table.geometry() }
    }

    /// Plans `extent`, compares the plan with the reference, and reserves. `None`: the pool is exhausted, and
    /// nothing changed.
    pub fn reserve(&mut self, extent: &Extent) -> Option<Reservation> {
        let plan = self.table.plan(&self.ram, extent);
        let existing = self.tables();
        let on_first_path = |&(size, first): &(u64, u64)| extent.iova / size * size == first;
        let own = self.reference.tables_of(extent);
        let pinned = own.iter().filter(|&t| existing.contains(t) && on_first_path(t)).count();
        assert_eq!(plan.frames as usize, own.len() - pinned, "{extent:x?}");
        let free = self.pool.free();
        let reservation = self.pool.reserve(plan.frames);
        assert_eq!(reservation.is_ok(), plan.frames <= free);
        assert_eq!(self.pool.free(), if reservation.is_ok() { free - plan.frames } else { free });
        reservation.ok()
    }

    /// Maps `extent` in slices: every call gets what the one before left and `slice` more. `None`: the pool is
    /// exhausted, and nothing changed.
    pub fn map(&mut self, extent: Extent, slice: u32) -> Option<()> {
        let whole = IovaRange::from_length(extent.iova, extent.bytes).unwrap();
        if self.table.spare().is_some_and(|spare| whole.covers(spare)) {
            self.shed();
        }
        let mut reservation = self.reserve(&extent)?;
        let reserved = reservation.frames();
        let before = self.tables().len();
        self.reference.areas.push(extent);
        if self.spare.is_some_and(|spare| self.reference.tables().contains(&spare)) {
            self.spare = None;
        }
        let (mut done, mut budget) = (0, 0_u32);
        while done < extent.bytes {
            let could = budget.saturating_add(slice);
            budget = could;
            let left = reservation.frames();
            let step = self.fill(&mut reservation, &rest(&extent, done), &mut budget);
            assert!(budget <= could && step <= extent.bytes - done);
            assert!(step > 0 || could < Table::MIN_BUDGET, "no progress with a budget of {could}");
            if step == 0 {
                assert_eq!((reservation.frames(), budget), (left, could), "tables without a leaf");
            }
            done += step;
        }
        let used = reserved - reservation.frames();
        assert_eq!(used as usize, self.tables().len() - before, "tables added");
        self.pool.release(reservation);
        Some(())
    }

    /// Maps `extent` without a plan, if its leaves go into one table that is there; whether they did.
    pub fn map_leaves(&mut self, extent: Extent) -> bool {
        let last = extent.iova + (extent.bytes - 1);
        let holds = |&&(page, size): &&(u64, u64)| {
            let alike = self.reference.pages(&extent).all(|(_, other)| other == page);
            alike && extent.iova / size == last / size && extent.bytes < size
        };
        let tables = self.tables();
        let is_there = |&(_, size): &(u64, u64)| {
            let root = size >= 1 << self.reference.geometry.input_bits;
            root || tables.contains(&(size, extent.iova / size * size))
        };
        let in_the_way = |size| self.spare.is_some_and(|(spare, _)| spare < size);
        let holder = [(KIB4, MIB2), (MIB2, GIB1)].iter().find(holds).copied();
        let expected = holder.filter(is_there).is_some_and(|(_, size)| !in_the_way(size));
        let (clean, most) = (self.clean, u32::MAX);
        let done = self.table.fill_leaves(&mut self.pool, &mut self.ram, clean, &extent, most);
        assert_eq!(done, expected, "{extent:x?}");
        if done {
            self.reference.areas.push(extent);
            if self.spare.is_some_and(|spare| self.reference.tables().contains(&spare)) {
                self.spare = None;
            }
        }
        done
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
        if self.spare.is_some_and(|(size, spare)| spare >= first && spare + (size - 1) <= last) {
            self.spare = None;
        }
    }

    /// Unmaps the mapping `area` in place, if it lies in one table that it does not fill.
    pub fn unmap_leaves(&mut self, area: Extent) -> bool {
        let range = IovaRange::from_length(area.iova, area.bytes).unwrap();
        let last = area.iova + (area.bytes - 1);
        let is_table = |&&(page, size): &&(u64, u64)| {
            let alike = self.reference.pages(&area).all(|(_, other)| other == page);
            alike && area.iova / size == last / size && area.bytes < size
        };
        let table = [(KIB4, MIB2), (MIB2, GIB1)].iter().find(is_table).copied();
        let before = self.tables();
        let mut budget = 512;
        let cleared = self.table.clear_leaves(&mut self.pool, &mut self.ram, self.clean, range, &mut budget);
        let Some(cleared) = cleared else {
            assert_eq!(table, None, "{area:x?}");
            return false;
        };
        assert_eq!((cleared.next, cleared.bytes), (None, area.bytes));
        let (page, size) = table.expect("not in one table");
        let spent = area.bytes / page + u64::from(cleared.spare.is_some());
        assert_eq!(u64::from(512 - budget), spent);
        self.reference.areas.retain(|other| *other != area);
        let own = (size, area.iova / size * size);
        let is_root = 1 << self.reference.geometry.input_bits <= size;
        let mut window = None;
        // The way to the spare is an entry like any other.
        if !is_root && !self.tables().contains(&own) {
            window = self.spare.filter(|&spare| spare != own);
            self.spare = Some(own);
        }
        let gone = before.difference(&self.tables()).count();
        assert_eq!(cleared.frames.len() as usize, gone, "tables that went");
        assert_eq!(cleared.spare.map(|range| (range.last() - range.first() + 1, range.first())), window);
        self.stale.append(&mut self.pool, cleared.frames);
        true
    }

    /// Takes the spare out.
    pub fn shed(&mut self) {
        let spare = self.spare.take();
        let shed = self.table.shed(&mut self.pool, &mut self.ram, self.clean);
        let window = shed.as_ref().map(|(range, _)| (range.last() - range.first() + 1, range.first()));
        assert_eq!(window, spare);
        if let Some((_, frames)) = shed {
            self.stale.append(&mut self.pool, frames);
        }
    }

    /// The tables below the root that there should be: what the mappings need, and the way to the spare.
    pub fn tables(&self) -> BTreeSet<(u64, u64)> {
        let mut tables = self.reference.tables();
        if let Some((size, first)) = self.spare {
            let sizes = [MIB2, GIB1, 512 * GIB1].into_iter();
            let below = |&above: &u64| above >= size && above < 1 << self.reference.geometry.input_bits;
            tables.extend(sizes.filter(below).map(|above| (above, first / above * above)));
        }
        tables
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
        let spare = self.spare.map(|(size, first)| IovaRange::from_length(first, size).unwrap());
        assert_eq!(self.table.spare(), spare);
        let tables = self.view().reachable();
        assert_eq!(tables.len(), 1 + self.tables().len(), "tables in use");
        let known = self.pool.free() + self.pool.reserved() + self.stale.len() + tables.len() as u32;
        assert_eq!(known, self.pool.capacity(), "frames lost");
        assert_eq!(
            self.table.is_empty(&self.pool),
            self.tables().is_empty() && self.reference.areas.is_empty()
        );
    }
}

/// What is left of `extent` after `done` bytes.
pub fn rest(extent: &Extent, done: u64) -> Extent {
    Extent {
        iova: extent.iova + done,
        pa: PhysAddr(extent.pa.0 + done),
        bytes: extent.bytes - done,
        rights: extent.rights,
    }
}
