//! Memory that a device may be given.
#![allow(unsafe_code)] // The memory is mapped, not allocated: only its addresses are known.

use core::ptr::NonNull;

use iommu_protocol::RegionSlot;
use volatile::{VolatilePtr, access::ReadOnly};

/// Bytes of the words that a buffer is read and written in.
const WORD: usize = 8;

/// A piece of a granted region, mapped into this program and owned by it alone.
///
/// It is read and written in 64-bit words, each in one volatile access. While it is mapped for a device it is
/// inside a [`Mapped`](crate::Mapped), and the program has no way to it:
///
/// ```
/// # use iommu_client::{Call, DmaBuffer, Iommu, MapFailed, Placement, Rights, Space};
/// # fn show<C: Call>(iommu: &mut Iommu<C>, space: &Space, mut buffer: DmaBuffer) -> Result<(), MapFailed> {
/// buffer.write(0, 1);
/// let mapped = iommu.map(space, buffer, Rights::READ, Placement::Any)?;
/// # drop(mapped);
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0382
/// # use iommu_client::{Call, DmaBuffer, Iommu, MapFailed, Placement, Rights, Space};
/// # fn show<C: Call>(iommu: &mut Iommu<C>, space: &Space, mut buffer: DmaBuffer) -> Result<(), MapFailed> {
/// let mapped = iommu.map(space, buffer, Rights::READ, Placement::Any)?;
/// buffer.write(0, 1); // the device's now
/// # drop(mapped);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DmaBuffer {
    at: NonNull<u64>,
    bytes: usize,
    slot: RegionSlot,
    generation: u16,
    offset: u64,
}

impl DmaBuffer {
    /// The `bytes` bytes at `at`, which are those from `offset` of the region granted at `slot` with
    /// `generation` (see [`Iommu::region_info`](crate::Iommu::region_info)).
    ///
    /// # Safety
    /// 1. `at` is 8-byte aligned and mapped readable and writable for `bytes` bytes, a multiple of 8, for as
    ///    long as the program runs.
    /// 2. Nothing else in this program accesses these bytes, and no other buffer covers one of them, at this
    ///    address or at another.
    pub unsafe fn new(
        at: NonNull<u64>,
        bytes: usize,
        slot: RegionSlot,
        generation: u16,
        offset: u64,
    ) -> Self {
        assert!(at.is_aligned() && bytes.is_multiple_of(WORD), "a buffer consists of words");
        assert!(bytes <= isize::MAX as usize && offset <= u64::MAX - bytes as u64);
        Self { at, bytes, slot, generation, offset }
    }

    /// The same memory under another generation of its grant.
    pub const fn with_generation(self, generation: u16) -> Self {
        Self { generation, ..self }
    }

    /// Its size in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its size in words.
    pub const fn words(&self) -> usize {
        self.bytes / WORD
    }

    /// The region, its grant's generation, and the offset in the region.
    pub const fn source(&self) -> (RegionSlot, u16, u64) {
        (self.slot, self.generation, self.offset)
    }

    /// The first `bytes` bytes, a multiple of 8 and at most [`DmaBuffer::bytes`], and the rest.
    ///
    /// # Panics
    /// When `bytes` is neither.
    pub fn split(self, bytes: usize) -> (Self, Self) {
        assert!(bytes.is_multiple_of(WORD) && bytes <= self.bytes, "a buffer splits inside, between words");
        // SAFETY: the assertion keeps the second half's first byte inside the mapping, or one past it.
        let middle = unsafe { self.at.byte_add(bytes) };
        let first = Self { bytes, ..self };
        let rest = Self { at: middle, bytes: self.bytes - bytes, offset: self.offset + bytes as u64, ..self };
        (first, rest)
    }

    fn word(&self, index: usize) -> NonNull<u64> {
        assert!(index < self.words(), "word {index} of a buffer of {}", self.words());
        // SAFETY: the assertion keeps the word inside the mapping that `new` was promised.
        unsafe { self.at.add(index) }
    }

    /// The word at `index`, counted in words.
    ///
    /// # Panics
    /// When `index` is [`DmaBuffer::words`] or more.
    pub fn read(&self, index: usize) -> u64 {
        // SAFETY: mapped, aligned, and accessed through this value alone (`new`).
        let word: VolatilePtr<'_, u64, ReadOnly> = unsafe { VolatilePtr::new_read_only(self.word(index)) };
        word.read()
    }

    /// Sets the word at `index`, counted in words.
    ///
    /// # Panics
    /// As [`DmaBuffer::read`].
    pub fn write(&mut self, index: usize, value: u64) {
        // SAFETY: mapped, aligned, and accessed through this value alone (`new`), which is borrowed mutably.
        let word: VolatilePtr<'_, u64> = unsafe { VolatilePtr::new(self.word(index)) };
        word.write(value);
    }

    /// Sets every word to what `pattern` says for its index.
    pub fn fill(&mut self, mut pattern: impl FnMut(usize) -> u64) {
        for index in 0..self.words() {
            self.write(index, pattern(index));
        }
    }

    /// The index and value of the first word that is not what `pattern` says for its index.
    pub fn find_difference(&self, mut pattern: impl FnMut(usize) -> u64) -> Option<(usize, u64)> {
        (0..self.words()).map(|index| (index, self.read(index))).find(|&(index, word)| word != pattern(index))
    }
}
