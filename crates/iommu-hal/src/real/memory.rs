//! Table memory mapped into the server.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::{FRAME_BYTES, PhysAddr, TableMemory, real::cpu};

/// A mapped, physically contiguous region.
#[derive(Debug)]
pub struct MappedMemory {
    at: NonNull<u64>,
    base: PhysAddr,
    bytes: u64,
}

impl MappedMemory {
    /// The region at physical address `base`, mapped at `at`; `bytes` and both addresses are whole frames.
    ///
    /// # Safety
    /// 1. `at` is mapped readable and writable for `bytes` bytes, for as long as the value lives, and the bytes
    ///    are contiguous in physical memory from `base`.
    /// 2. Nothing in this program but this value accesses them. (Hardware does: every access is volatile.)
    pub unsafe fn new(at: NonNull<u64>, base: PhysAddr, bytes: u64) -> Self {
        assert!(at.addr().get().is_multiple_of(FRAME_BYTES as usize));
        assert!(base.0.is_multiple_of(FRAME_BYTES) && bytes.is_multiple_of(FRAME_BYTES));
        assert!(bytes >= FRAME_BYTES && base.0 <= u64::MAX - bytes);
        Self { at, base, bytes }
    }

    #[inline(always)] // A few instructions, several times on the way of every request.
    fn word(&self, at: PhysAddr) -> VolatilePtr<'_, u64> {
        let offset = at.0.wrapping_sub(self.base.0);
        // A misaligned offset becomes a huge number of words.
        assert!(offset.rotate_right(3) < self.bytes >> 3, "table address out of range");
        // SAFETY: the assertion keeps the access inside the mapping that `new` was promised, and aligned.
        let word = unsafe { self.at.byte_add(offset as usize) };
        // SAFETY: as above.
        unsafe { VolatilePtr::new(word) }
    }

    /// Where `bytes` bytes from `at` are mapped.
    #[inline]
    fn lines(&self, at: PhysAddr, bytes: u64) -> core::ops::Range<usize> {
        let offset = at.0.wrapping_sub(self.base.0);
        assert!(bytes <= self.bytes && offset <= self.bytes - bytes, "table range out of range");
        let first = self.at.addr().get() + offset as usize;
        first..first + bytes as usize
    }
}

impl TableMemory for MappedMemory {
    fn base(&self) -> PhysAddr {
        self.base
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline(always)]
    fn read(&self, at: PhysAddr) -> u64 {
        u64::from_le(self.word(at).read())
    }

    #[inline(always)]
    fn write(&mut self, at: PhysAddr, value: u64) {
        self.word(at).write(value.to_le());
    }

    fn publish(&mut self) {
        cpu::barrier_stores();
    }

    #[inline]
    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        cpu::clean_lines(self.lines(at, bytes));
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        cpu::invalidate_lines(self.lines(at, bytes));
    }
}
