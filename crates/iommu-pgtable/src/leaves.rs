//! Removing the leaves of one mapping from the one table that holds them.

use iommu_hal::{IovaRange, TableMemory};

use crate::{
    FramePool, Table,
    fmt::EntryFormat,
    level::{in_one_table, slot, span, span_lg2},
    plan::descend,
    way::Spare,
};

/// Clears the leaves of `range`, one whole mapping. `None`, with nothing done: they are not leaves of one table; or
/// all that it can hold, which goes with the table in one store; or `budget` does not hold them and one more. Else the table, if it is empty now and not the
/// root.
#[inline]
pub(crate) fn clear_leaves<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    pool: &mut FramePool<'_>,
    memory: &mut M,
    clean: bool,
    range: IovaRange,
    budget: &mut u32,
) -> Option<Option<Spare>> {
    let (first, last) = (range.first(), range.last());
    assert!(last >> table.geometry().input_bits == 0, "outside the aperture");
    assert!((first | (last + 1)) & (span(0) - 1) == 0, "not whole pages");
    let bytes_less_one = last - first;
    if in_one_table(first, last, 0) && bytes_less_one < span(1) - 1 {
        run::<F, M>(table, pool, memory, clean, range, 0, budget)
    } else if in_one_table(first, last, 1)
        && bytes_less_one < span(2) - 1
        && (first | (last + 1)) & (span(1) - 1) == 0
    {
        run::<F, M>(table, pool, memory, clean, range, 1, budget)
    } else {
        None
    }
}

/// As [`clear_leaves`], with all leaves at `height`.
#[inline(always)] // With a known height, half the instructions.
fn run<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    pool: &mut FramePool<'_>,
    memory: &mut M,
    clean: bool,
    range: IovaRange,
    height: u32,
    budget: &mut u32,
) -> Option<Option<Spare>> {
    let first = range.first();
    let parent = descend::<F, M>(table, memory, first, height);
    let at = slot(parent.table, first, height);
    // One mapping: what its first entry is, all its entries are.
    let count = (range.last() - first + 1) >> span_lg2(height);
    if parent.height != height || F::is_table(memory.read(at), height) || u64::from(*budget) <= count {
        return None;
    }
    *budget -= count as u32;
    let mut entry = at;
    for _ in 0..count {
        debug_assert!(F::is_present(memory.read(entry)), "a page of the mapping is missing");
        memory.write(entry, 0);
        // Does not wrap: the table ends before.
        entry.0 = entry.0.wrapping_add(8);
    }
    if clean {
        memory.clean(at, 8 * count);
    }
    memory.publish();
    table.remember(first, height, parent.table);
    let left = pool.remove(parent.table, count as u16, 0);
    Some((left == 0 && height < table.top()).then(|| Spare::new(first, height, parent.table)))
}
