//! Memory-mapped registers.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::{Registers, real::cpu};

/// Registers mapped as device memory.
#[derive(Debug)]
pub struct MmioRegisters {
    base: NonNull<u8>,
    bytes: u32,
}

impl MmioRegisters {
    /// Registers of `bytes` bytes, mapped at `base`.
    ///
    /// # Safety
    /// 1. `base` is mapped as device memory, readable and writable, for `bytes` bytes, for as long as the value
    ///    lives, and is 8-byte aligned.
    /// 2. Nothing else in this program accesses it.
    pub const unsafe fn new(base: NonNull<u8>, bytes: u32) -> Self {
        Self { base, bytes }
    }

    fn register<T: Copy>(&mut self, offset: u32) -> VolatilePtr<'_, T> {
        let size = size_of::<T>() as u32;
        assert!(offset.is_multiple_of(size) && offset <= self.bytes - size, "register offset out of range");
        // SAFETY: the assertion keeps the access inside the mapping that `new` was promised, and aligned; the
        // pointer borrows `self`, the only accessor.
        let at = unsafe { self.base.byte_add(offset as usize) }.cast::<T>();
        // SAFETY: as above.
        unsafe { VolatilePtr::new(at) }
    }
}

impl Registers for MmioRegisters {
    fn read32(&mut self, offset: u32) -> u32 {
        let value = self.register::<u32>(offset).read();
        cpu::barrier_after_device_read();
        value
    }

    fn write32(&mut self, offset: u32, value: u32) {
        cpu::barrier_before_device_write();
        self.register::<u32>(offset).write(value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        let value = self.register::<u64>(offset).read();
        cpu::barrier_after_device_read();
        value
    }

    fn write64(&mut self, offset: u32, value: u64) {
        cpu::barrier_before_device_write();
        self.register::<u64>(offset).write(value);
    }
}
