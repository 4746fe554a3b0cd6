//! Taking mappings out.

use iommu_hal::{IovaRange, PhysAddr, TableMemory};

use crate::{
    FramePool, StaleFrames, Table,
    fmt::EntryFormat,
    frames::Residue,
    level::{ENTRIES, MAX_LEVELS, index, last_of, slot, span},
};

/// What [`Table::clear`] has done.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping it loses the frames"]
pub struct Cleared {
    /// Where to go on; `None` when the whole range is done.
    pub next: Option<u64>,
    /// Bytes that were mapped and are no more.
    pub bytes: u64,
    /// The tables that were taken out.
    pub frames: StaleFrames,
    /// Where the spare was that went, if one did: its tables are among the frames, and one address of it is to be
    /// invalidated with the entries above the leaves.
    pub spare: Option<IovaRange>,
}

impl Cleared {
    /// What clearing nothing does.
    pub(crate) const NOTHING: Self = Self { next: None, bytes: 0, frames: StaleFrames::EMPTY, spare: None };

    /// Whether entries above the leaves were taken out, which an invalidation must cover too.
    pub const fn tables(&self) -> bool {
        !self.frames.is_empty()
    }
}

pub(crate) fn clear<F: EntryFormat, M: TableMemory>(
    table: &Table,
    pool: &mut FramePool<'_>,
    memory: &mut M,
    clean: bool,
    range: IovaRange,
    budget: &mut u32,
) -> Cleared {
    let (first, last) = (range.first(), range.last());
    assert!(last >> table.geometry().input_bits == 0, "outside the aperture");
    assert!((first | (last + 1)) & (span(0) - 1) == 0, "not whole pages");
    let top = table.top();
    let mut cleared = Cleared { next: Some(first), ..Cleared::NOTHING };
    let mut stored = Stored { clean, first: PhysAddr(0), bytes: 0 };
    // The tables on the way to `iova`, by height, from the root down to `height`.
    let mut path = [table.root(); MAX_LEVELS];
    let mut height = top;
    let mut iova = first;
    while *budget > 0 {
        let mut entry = 0;
        while height > 0 {
            entry = memory.read(slot(path[height as usize], iova, height));
            if !F::is_present(entry) {
                break;
            }
            let is_whole = is_whole(iova, height, last);
            if !F::is_table(entry, height) {
                assert!(is_whole, "the range cuts a block in two");
                break;
            }
            let child = F::address(entry);
            if is_whole && pool.tables(child) == 0 {
                break;
            }
            height -= 1;
            path[height as usize] = child;
        }
        let mut next = iova;
        if height == 0 {
            // All but the table's last page, with which the table goes too.
            let spare = pool.live(path[0]).saturating_sub(u16::from(top > 0));
            let count = (ENTRIES - index(iova, 0)).min((last - iova) / span(0) + 1);
            let count = count.min(u64::from(*budget));
            let at = slot(path[0], iova, 0);
            let seen = pages::<F, M>(memory, at, count, spare, &mut stored);
            if seen.taken > 0 {
                pool.remove(path[0], seen.taken, 0);
            }
            cleared.bytes += u64::from(seen.taken) * span(0);
            *budget -= seen.entries as u32;
            next += seen.entries * span(0);
            entry = seen.last;
        }
        if height > 0 || F::is_present(entry) {
            iova = next;
            if F::is_present(entry) {
                let at = take_out::<F>(pool, &mut cleared, &path, &mut height, iova, entry, top);
                memory.write(at, 0);
                stored.store(memory, at);
            }
            *budget -= 1;
            next = last_of(iova, height) + 1;
        }
        if next > last {
            cleared.next = None;
            break;
        }
        // Back up where `next` lies in another table.
        while height < top && index(next, height) == 0 {
            height += 1;
        }
        iova = next;
        cleared.next = Some(next);
    }
    stored.flush(memory);
    memory.publish();
    cleared
}

/// Whether the entry of `iova` in a table at `height` spans nothing outside a range that ends at `last`. An
/// entry is met at its first address, unless it begins before the range.
const fn is_whole(iova: u64, height: u32, last: u64) -> bool {
    last_of(iova, height) <= last && iova & (span(height) - 1) == 0
}

/// Counts `iova`'s present `entry` in the table at `height` of `path` out, and all that goes with it. Returns
/// the slot to be cleared and sets `height` to that of its table.
#[inline]
fn take_out<F: EntryFormat>(
    pool: &mut FramePool<'_>,
    cleared: &mut Cleared,
    path: &[PhysAddr; MAX_LEVELS],
    height: &mut u32,
    iova: u64,
    entry: u64,
    top: u32,
) -> PhysAddr {
    let mut tables = 0;
    if F::is_table(entry, *height) {
        // All its leaves go with it.
        let child = F::address(entry);
        cleared.bytes += u64::from(pool.live(child)) * span(*height - 1);
        pool.retire(&mut cleared.frames, child, Residue::UNKNOWN);
        tables = 1;
    } else {
        cleared.bytes += span(*height);
    }
    // A table with no other entry goes with this one.
    let mut table = path[*height as usize];
    while *height < top && pool.live(table) == 1 {
        pool.retire(&mut cleared.frames, table, Residue::entry(index(iova, *height)));
        tables = 1;
        *height += 1;
        table = path[*height as usize];
    }
    pool.remove(table, 1, tables);
    slot(table, iova, *height)
}

/// What [`pages`] has met.
struct Seen {
    /// Entries that it has dealt with.
    entries: u64,
    /// Pages that it has taken out.
    taken: u16,
    /// The page at which it has stopped; 0 if it has not.
    last: u64,
}

/// Clears `count` entries of a table of pages from the slot `first` on, but stops at the page that would be one
/// more than `spare`.
#[inline]
fn pages<F: EntryFormat, M: TableMemory>(
    memory: &mut M,
    first: PhysAddr,
    count: u64,
    spare: u16,
    stored: &mut Stored,
) -> Seen {
    let mut seen = Seen { entries: 0, taken: 0, last: 0 };
    while seen.entries < count {
        let at = PhysAddr(first.0 + 8 * seen.entries);
        let entry = memory.read(at);
        if F::is_present(entry) {
            if seen.taken == spare {
                seen.last = entry;
                break;
            }
            memory.write(at, 0);
            stored.store(memory, at);
            seen.taken += 1;
        }
        seen.entries += 1;
    }
    seen
}

/// The last adjacent stores, to be cleaned together.
struct Stored {
    clean: bool,
    first: PhysAddr,
    bytes: u64,
}

impl Stored {
    #[inline]
    fn store<M: TableMemory>(&mut self, memory: &mut M, at: PhysAddr) {
        if self.clean {
            if at.0 != self.first.0 + self.bytes {
                self.flush(memory);
                self.first = at;
            }
            self.bytes += 8;
        }
    }

    #[inline]
    fn flush<M: TableMemory>(&mut self, memory: &mut M) {
        if self.bytes > 0 {
            memory.clean(self.first, self.bytes);
            self.bytes = 0;
        }
    }
}
