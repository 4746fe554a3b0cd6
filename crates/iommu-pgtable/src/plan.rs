//! Walks that change nothing.

use iommu_hal::{PhysAddr, TableMemory};

use crate::{
    Extent, Mapping, Table,
    fmt::EntryFormat,
    level::{in_one_table, slot, span, span_lg2},
};

/// What mapping an [`Extent`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What to reserve: the tables that must be added, exactly, but for tables that serve the extent's last
    /// page and not its first. These count as missing even if they exist now, for until a fill in slices
    /// gets there, whatever else needs them may be unmapped. What is left over is to be released.
    pub frames: u32,
}

/// Where a walk stopped.
pub(crate) struct Stop {
    /// The table.
    pub(crate) table: PhysAddr,
    /// Its height.
    pub(crate) height: u32,
    /// The entry that led no further; 0 where the walk reached the height that it was to reach.
    pub(crate) entry: u64,
}

/// Walks towards `iova` down to the table at height `floor`, or to the last table that exists above it.
#[inline]
pub(crate) fn descend<F: EntryFormat, M: TableMemory>(
    table: &Table,
    memory: &M,
    iova: u64,
    floor: u32,
) -> Stop {
    if let Some(table) = table.known(iova, floor) {
        return Stop { table, height: floor, entry: 0 };
    }
    let mut stop = Stop { table: table.root(), height: table.top(), entry: 0 };
    while stop.height > floor {
        let entry = memory.read(slot(stop.table, iova, stop.height));
        if !F::is_present(entry) || !F::is_table(entry, stop.height) {
            stop.entry = entry;
            break;
        }
        stop.table = F::address(entry);
        stop.height -= 1;
    }
    stop
}

pub(crate) fn plan<F: EntryFormat, M: TableMemory>(table: &Table, memory: &M, extent: &Extent) -> Plan {
    let (first, last) = (extent.iova, extent.last());
    if blocks_of_one_table(table.page_sizes(), extent) {
        return Plan { frames: descend::<F, M>(table, memory, first, 1).height - 1 };
    }
    // On the path to the first page, tables below this height are missing.
    let lowest = descend::<F, M>(table, memory, first, 0).height;
    if in_one_table(first, last, 0) && extent.bytes < span(1) {
        return Plan { frames: lowest };
    }
    let mut frames = 0;
    for height in 0..table.top() {
        let span_lg2 = span_lg2(height + 1);
        let mut tables = (last >> span_lg2) - (first >> span_lg2) + 1;
        // The smallest block that takes the place of tables at this height covers all its aligned multiples.
        let blocks = table.page_sizes() & (u64::MAX << span_lg2);
        let block = blocks & blocks.wrapping_neg();
        if block != 0 && (extent.iova ^ extent.pa.0) & (block - 1) == 0 {
            let from = first.next_multiple_of(block);
            let to = (last + 1) & !(block - 1);
            tables -= to.saturating_sub(from) >> span_lg2;
        }
        frames += (tables - u64::from(height >= lowest)) as u32;
    }
    Plan { frames }
}

/// Whether `extent` is blocks of one table above the pages, and less than all that it can hold.
#[inline]
pub(crate) const fn blocks_of_one_table(page_sizes: u64, extent: &Extent) -> bool {
    let all = extent.iova | extent.pa.0 | extent.bytes;
    all & (span(1) - 1) == 0
        && page_sizes & span(1) != 0
        && extent.bytes < span(2)
        && in_one_table(extent.iova, extent.last(), 1)
}

pub(crate) fn lookup<F: EntryFormat, M: TableMemory>(
    table: &Table,
    memory: &M,
    iova: u64,
) -> Option<Mapping> {
    if !table.geometry().aperture().contains(iova) {
        return None;
    }
    let mut stop = descend::<F, M>(table, memory, iova, 0);
    if stop.height == 0 {
        stop.entry = memory.read(slot(stop.table, iova, 0));
    }
    F::is_present(stop.entry).then(|| {
        let page_bytes = span(stop.height);
        Mapping {
            pa: PhysAddr(F::address(stop.entry).0 | (iova & (page_bytes - 1))),
            rights: F::rights(stop.entry),
            page_bytes,
        }
    })
}
