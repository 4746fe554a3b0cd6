//! Making mappings.

use iommu_hal::{FRAME_BYTES, Geometry, PhysAddr, TableMemory};

use crate::{
    Extent, FramePool, Reservation, Table,
    fmt::EntryFormat,
    level::{ENTRIES, in_one_table, index, slot, span, span_lg2},
    plan::{Stop, blocks_of_one_table, descend},
};

pub(crate) fn fill<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    pool: &mut FramePool<'_>,
    reservation: &mut Reservation,
    memory: &mut M,
    clean: bool,
    extent: &Extent,
    budget: &mut u32,
) -> u64 {
    check::<F>(table.geometry(), extent);
    let mut ground = Ground { pool, reservation, memory, clean };
    let done = if in_one_table(extent.iova, extent.last(), 0) && extent.bytes < span(1) {
        // The common case, without what only the others need.
        step::<F, M>(table, &mut ground, extent, 0, budget)
    } else if blocks_of_one_table(table.page_sizes(), extent) {
        step::<F, M>(table, &mut ground, extent, 1, budget)
    } else {
        steps::<F, M>(table, &mut ground, extent, budget)
    };
    ground.memory.publish();
    done
}

/// Maps `extent` in one table that is there; see [`Table::fill_leaves`].
#[inline]
pub(crate) fn fill_leaves<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    pool: &mut FramePool<'_>,
    memory: &mut M,
    clean: bool,
    extent: &Extent,
    most: u32,
) -> bool {
    if extent.bytes < span(1) {
        put::<F, M>(table, pool, memory, clean, extent, 0, most)
    } else if blocks_of_one_table(table.page_sizes(), extent) && !table.has_spare_below(1) {
        put::<F, M>(table, pool, memory, clean, extent, 1, most)
    } else {
        false
    }
}

/// As [`fill_leaves`], with all leaves at `height`.
#[inline(always)] // With a known height, half the instructions.
fn put<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    pool: &mut FramePool<'_>,
    memory: &mut M,
    clean: bool,
    extent: &Extent,
    height: u32,
    most: u32,
) -> bool {
    let count = extent.bytes >> span_lg2(height);
    let Some(holder) = reach::<F, M>(table, memory, extent.iova, height) else { return false };
    if count > (ENTRIES - index(extent.iova, height)).min(most.into()) {
        return false;
    }
    check::<F>(table.geometry(), extent);
    let leaf = F::leaf(height, extent.rights) | extent.pa.0;
    let first = Run { iova: extent.iova, height, leaf, count }.store::<F, M>(memory, holder);
    if clean {
        memory.clean(first, 8 * count);
    }
    memory.publish();
    pool.add(holder, count as u16, 0);
    table.in_use(holder);
    true
}

/// The table at `height` that serves `iova`, if there is one. The next change there finds it at once.
#[inline(always)]
fn reach<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    memory: &M,
    iova: u64,
    height: u32,
) -> Option<PhysAddr> {
    if let Some(known) = table.known(iova, height) {
        return Some(known);
    }
    let stop = descend::<F, M>(table, memory, iova, height);
    (stop.height == height).then(|| {
        table.remember(iova, height, stop.table);
        stop.table
    })
}

/// What tables are made of and in.
struct Ground<'g, 'p, M> {
    pool: &'g mut FramePool<'p>,
    reservation: &'g mut Reservation,
    memory: &'g mut M,
    clean: bool,
}

/// Maps `extent`, each part with the largest page that fits.
#[inline(never)]
fn steps<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    ground: &mut Ground<'_, '_, M>,
    extent: &Extent,
    budget: &mut u32,
) -> u64 {
    let mut rest = *extent;
    while rest.bytes > 0 {
        let height = leaf_height(table.page_sizes(), rest.iova | rest.pa.0, rest.bytes);
        let done = step::<F, M>(table, ground, &rest, height, budget);
        if done == 0 {
            break;
        }
        rest.iova += done;
        rest.pa.0 += done;
        rest.bytes -= done;
    }
    extent.bytes - rest.bytes
}

/// Maps the first part of `extent`, with leaves at `height` in one table.
#[inline(always)] // With a known height, half the instructions.
fn step<F: EntryFormat, M: TableMemory>(
    table: &mut Table,
    ground: &mut Ground<'_, '_, M>,
    extent: &Extent,
    height: u32,
    budget: &mut u32,
) -> u64 {
    let parent = descend::<F, M>(table, ground.memory, extent.iova, height);
    let missing = parent.height - height;
    let overhead = if missing == 0 { 0 } else { missing * Table::FRESH_TABLE_WRITES };
    if *budget <= overhead {
        return 0;
    }
    // To the end of this table: only its first entry can lie where a larger block could begin.
    let count = (ENTRIES - index(extent.iova, height)).min(extent.bytes.wrapping_shr(span_lg2(height)));
    let count = count.min(u64::from(*budget - overhead));
    let leaf = F::leaf(height, extent.rights) | extent.pa.0;
    let run = Run { iova: extent.iova, height, leaf, count };
    let holder = if missing == 0 {
        let first = run.store::<F, M>(ground.memory, parent.table);
        ground.pool.add(parent.table, count as u16, 0);
        if ground.clean {
            ground.memory.clean(first, 8 * count);
        }
        parent.table
    } else {
        grow::<F, M>(ground, &parent, &run)
    };
    table.remember(extent.iova, height, holder);
    // It has a leaf more, or the way to those that were missing.
    table.in_use(parent.table);
    *budget -= overhead + count as u32;
    count * span(height)
}

/// Leaves in a row, all in one table.
struct Run {
    /// What the first one maps.
    iova: u64,
    /// The height of their table.
    height: u32,
    /// The first one.
    leaf: u64,
    /// How many there are.
    count: u64,
}

impl Run {
    /// Stores the leaves in `table` and returns where the first one lies.
    #[inline]
    fn store<F: EntryFormat, M: TableMemory>(&self, memory: &mut M, table: PhysAddr) -> PhysAddr {
        let first = slot(table, self.iova, self.height);
        let (mut at, mut leaf) = (first, self.leaf);
        for _ in 0..self.count {
            debug_assert!(!F::is_present(memory.read(at)), "a page of the extent is mapped already");
            memory.write(at, leaf);
            // Neither wraps: the table ends before, and so does the memory (`check`).
            at.0 = at.0.wrapping_add(8);
            leaf = leaf.wrapping_add(span(self.height));
        }
        first
    }
}

/// Puts the tables that are missing below `parent` there, with `run` in the lowest of them. They are made from
/// below, so that the hardware sees all of them at once, with the last store. Returns the lowest.
#[inline(never)]
fn grow<F: EntryFormat, M: TableMemory>(
    ground: &mut Ground<'_, '_, M>,
    parent: &Stop,
    run: &Run,
) -> PhysAddr {
    assert!(!F::is_present(parent.entry), "the extent is mapped already");
    let Ground { pool, reservation, memory, clean } = ground;
    let lowest = pool.take(reservation, *memory, run.count as u16, 0);
    run.store::<F, M>(memory, lowest);
    let mut child = lowest;
    for height in run.height + 1..parent.height {
        let table = pool.take(reservation, *memory, 1, 1);
        memory.write(slot(table, run.iova, height), F::table(child));
        if *clean {
            memory.clean(child, FRAME_BYTES);
        }
        child = table;
    }
    if *clean {
        memory.clean(child, FRAME_BYTES);
    }
    memory.publish();
    let link = slot(parent.table, run.iova, parent.height);
    memory.write(link, F::table(child));
    pool.add(parent.table, 1, 1);
    if *clean {
        memory.clean(link, 8);
    }
    lowest
}

/// Panics if `extent` is not one that the caller may ask for.
#[inline]
fn check<F: EntryFormat>(geometry: &Geometry, extent: &Extent) {
    let fits = |first: u64, bits: u8| {
        let end = 1_u64.wrapping_shl(bits.into());
        first < end && extent.bytes <= end - first
    };
    assert!(fits(extent.iova, geometry.input_bits), "outside the aperture");
    assert!(fits(extent.pa.0, geometry.output_bits), "outside the output size");
    let all = extent.iova | extent.pa.0 | extent.bytes;
    assert!(all.is_multiple_of(FRAME_BYTES) && extent.bytes > 0, "not whole pages");
    assert!(F::expressible(extent.rights), "rights that the format does not have");
}

/// The height of the largest page of `sizes` that begins where `address` (both addresses, or'ed) does and is
/// no longer than `rest`.
#[inline]
fn leaf_height(sizes: u64, address: u64, rest: u64) -> u32 {
    let fits = |height| rest >= span(height) && address & (span(height) - 1) == 0;
    if !fits(1) {
        0
    } else if sizes & span(2) != 0 && fits(2) {
        2
    } else if sizes & span(1) != 0 {
        1
    } else {
        0
    }
}
