//! Bit fields of 64-bit words, and pieces of an access.

use std::ops::Range;

use iommu_hal::FRAME_BYTES;

/// A field: bits `first..=last` of a word.
pub(crate) const fn bits(word: u64, first: u32, last: u32) -> u64 {
    (word >> first) & (u64::MAX >> (63 - (last - first)))
}

/// A mask of bits `first..=last`.
pub(crate) const fn mask(first: u32, last: u32) -> u64 {
    (u64::MAX >> (63 - (last - first))) << first
}

/// Index ranges of `bytes` bytes from `iova` that do not cross a page.
pub(crate) fn split_pages(iova: u64, bytes: usize) -> impl Iterator<Item = Range<usize>> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = bytes - done;
        let to_page = (FRAME_BYTES - iova.wrapping_add(done as u64) % FRAME_BYTES) as usize;
        let first = done;
        done += left.min(to_page);
        (left > 0).then_some(first..done)
    })
}
