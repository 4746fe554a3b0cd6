//! Taking mappings out.

use iommu_hal::{IovaRange, PhysAddr, TableMemory};

use crate::{
    FramePool, StaleFrames, Table,
    fmt::EntryFormat,
    frames::Residue,
    level::{MAX_LEVELS, index, last_of, slot, span_lg2, within},
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
}

impl Cleared {
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
    assert!(table.geometry().aperture().covers(range), "outside the aperture");
    assert!((range.first() | (range.last() + 1)).trailing_zeros() >= span_lg2(0), "not whole pages");
    let top = table.top();
    let mut cleared = Cleared { next: Some(range.first()), bytes: 0, frames: StaleFrames::EMPTY };
    let mut stored = Stored { clean, first: PhysAddr(0), bytes: 0 };
    // The tables on the way to `iova`, by height, from the root down to `height`.
    let mut path = [table.root(); MAX_LEVELS];
    let mut height = top;
    let mut iova = range.first();
    while *budget > 0 {
        let entry = memory.read(slot(path[height as usize], iova, height));
        if F::is_present(entry) {
            if F::is_table(entry, height) {
                let child = F::address(entry);
                if pool.tables(child) > 0 || !within(range, iova, height) {
                    height -= 1;
                    path[height as usize] = child;
                    continue;
                }
                // All its leaves go with it.
                cleared.bytes += u64::from(pool.live(child)) << span_lg2(height - 1);
                pool.retire(&mut cleared.frames, child, Residue::UNKNOWN);
            } else {
                assert!(within(range, iova, height), "the range cuts a block in two");
                cleared.bytes += 1 << span_lg2(height);
            }
            let mut tables = u16::from(F::is_table(entry, height));
            // A table with no other entry goes with this one.
            while height < top && pool.live(path[height as usize]) == 1 {
                let residue = Residue::entry(index(iova, height));
                pool.retire(&mut cleared.frames, path[height as usize], residue);
                tables = 1;
                height += 1;
            }
            let at = slot(path[height as usize], iova, height);
            memory.write(at, 0);
            pool.remove(path[height as usize], 1, tables);
            stored.store(memory, at);
        }
        *budget -= 1;
        let next = last_of(iova, height) + 1;
        if next > range.last() {
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
