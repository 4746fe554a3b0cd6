//! One unit's registers.

/// The memory-mapped registers of one IOMMU.
///
/// Offsets are bytes from the unit's register base. Reads may have side effects, so they take `&mut self`.
/// A 64-bit access is one bus transaction where the platform has it.
pub trait Registers {
    /// Reads the 32-bit register at `offset`.
    fn read32(&mut self, offset: u32) -> u32;

    /// Writes the 32-bit register at `offset`. All earlier [`crate::TableMemory`] stores that were published
    /// are visible to the unit before the write is.
    fn write32(&mut self, offset: u32, value: u32);

    /// Reads the 64-bit register at `offset`.
    fn read64(&mut self, offset: u32) -> u64;

    /// Writes the 64-bit register at `offset`; ordered as [`Registers::write32`].
    fn write64(&mut self, offset: u32, value: u64);
}

impl<R: Registers + ?Sized> Registers for &mut R {
    fn read32(&mut self, offset: u32) -> u32 {
        (**self).read32(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        (**self).write32(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        (**self).read64(offset)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        (**self).write64(offset, value);
    }
}
