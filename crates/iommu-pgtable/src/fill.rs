//! Making mappings.

use iommu_hal::{FRAME_BYTES, Geometry, IovaRange, PhysAddr, TableMemory};

use crate::{
    Extent, FramePool, Reservation, Table,
    fmt::EntryFormat,
    level::{ENTRIES, index, slot, span_lg2},
    plan::{Stop, descend},
};

pub(crate) fn fill<F: EntryFormat, M: TableMemory>(
    table: &Table,
    pool: &mut FramePool<'_>,
    reservation: &mut Reservation,
    memory: &mut M,
    clean: bool,
    extent: &Extent,
    budget: &mut u32,
) -> u64 {
    check::<F>(table.geometry(), extent);
    let mut done = 0;
    while done < extent.bytes {
        let (iova, pa, rest) = (extent.iova + done, extent.pa.0 + done, extent.bytes - done);
        let leaf_height = leaf_height(table.page_sizes(), iova | pa, rest);
        let Stop { table: parent, height, entry } = descend::<F, M>(table, memory, iova, leaf_height);
        assert!(!F::is_present(entry), "the extent is mapped already");
        let overhead = (height - leaf_height) * Table::FRESH_TABLE_WRITES;
        if *budget <= overhead {
            break;
        }
        // To the end of this table: only its first entry can lie where a larger block could begin.
        let span_lg2 = span_lg2(leaf_height);
        let count =
            (ENTRIES - index(iova, leaf_height)).min(rest >> span_lg2).min(u64::from(*budget - overhead));
        let first_leaf = F::leaf(leaf_height, extent.rights) | pa;
        if height == leaf_height {
            let first = slot(parent, iova, leaf_height);
            leaves::<F, M>(memory, first, first_leaf, span_lg2, count);
            pool.add(parent, count as u16, 0);
            if clean {
                memory.clean(first, 8 * count);
            }
        } else {
            // From below, so that the hardware sees all of it at once, with the last store.
            let mut child = pool.take(reservation, memory, count as u16, 0);
            leaves::<F, M>(memory, slot(child, iova, leaf_height), first_leaf, span_lg2, count);
            for height in leaf_height + 1..height {
                let table = pool.take(reservation, memory, 1, 1);
                memory.write(slot(table, iova, height), F::table(child));
                if clean {
                    memory.clean(child, FRAME_BYTES);
                }
                child = table;
            }
            let link = slot(parent, iova, height);
            if clean {
                memory.clean(child, FRAME_BYTES);
            }
            memory.publish();
            memory.write(link, F::table(child));
            pool.add(parent, 1, 1);
            if clean {
                memory.clean(link, 8);
            }
        }
        *budget -= overhead + count as u32;
        done += count << span_lg2;
    }
    memory.publish();
    done
}

/// Panics if `extent` is not one that the caller may ask for.
#[inline]
fn check<F: EntryFormat>(geometry: &Geometry, extent: &Extent) {
    let range = IovaRange::from_length(extent.iova, extent.bytes);
    assert!(range.is_some_and(|range| geometry.aperture().covers(range)), "outside the aperture");
    let end = extent.pa.checked_add(extent.bytes);
    assert!(end.is_some_and(|end| end.0 <= 1 << geometry.output_bits), "outside the output size");
    assert!((extent.iova | extent.pa.0 | extent.bytes).is_multiple_of(FRAME_BYTES), "not whole pages");
    assert!(F::expressible(extent.rights), "rights that the format does not have");
}

/// The height of the largest page of `sizes` that begins where `address` (both addresses, or'ed) does and is
/// no longer than `rest`.
#[inline]
fn leaf_height(sizes: u64, address: u64, rest: u64) -> u32 {
    let aligned = ((address & address.wrapping_neg()) << 1).wrapping_sub(1);
    let short = u64::MAX >> rest.leading_zeros();
    let size_lg2 = (sizes & aligned & short).ilog2();
    (size_lg2 - Geometry::GRANULE_LG2) / Geometry::LEVEL_BITS
}

/// Stores `count` leaves from the slot `first` on: `leaf`, then the same with its address one page of
/// `2^span_lg2` bytes further on, and so forth.
#[inline]
fn leaves<F: EntryFormat, M: TableMemory>(
    memory: &mut M,
    first: PhysAddr,
    leaf: u64,
    span_lg2: u32,
    count: u64,
) {
    for n in 0..count {
        let at = PhysAddr(first.0 + 8 * n);
        debug_assert!(!F::is_present(memory.read(at)), "a page of the extent is mapped already");
        memory.write(at, leaf + (n << span_lg2));
    }
}
