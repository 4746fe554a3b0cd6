//! The registers where they are mapped.
#![allow(unsafe_code)] // They are mapped, not allocated: only their address is known.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::Registers;

/// Bytes of registers that are used.
const BYTES: u32 = 0x100;

/// Registers mapped as device memory.
#[derive(Debug)]
pub struct MappedRegisters {
    at: NonNull<u64>,
}

impl MappedRegisters {
    /// The registers at `at`.
    ///
    /// # Safety
    /// 1. `at` is 8-byte aligned and mapped as device memory, readable and writable, for 256 bytes, for as long
    ///    as the value lives.
    /// 2. Nothing else in this program accesses it.
    pub const unsafe fn new(at: NonNull<u64>) -> Self {
        Self { at }
    }

    fn register<T: Copy>(&mut self, register: u32) -> VolatilePtr<'_, T> {
        let size = size_of::<T>() as u32;
        assert!(register.is_multiple_of(size) && register <= BYTES - size, "register out of range");
        // SAFETY: the assertion keeps the register inside the mapping that `new` was promised.
        let at = unsafe { self.at.byte_add(register as usize) };
        // SAFETY: mapped and aligned (`new`, and the assertion); the pointer borrows `self`, the only accessor.
        unsafe { VolatilePtr::new(at.cast::<T>()) }
    }
}

impl Registers for MappedRegisters {
    fn read32(&mut self, register: u32) -> u32 {
        u32::from_le(self.register::<u32>(register).read())
    }

    fn write32(&mut self, register: u32, value: u32) {
        self.register::<u32>(register).write(value.to_le());
    }

    fn read64(&mut self, register: u32) -> u64 {
        u64::from_le(self.register::<u64>(register).read())
    }

    fn write64(&mut self, register: u32, value: u64) {
        self.register::<u64>(register).write(value.to_le());
    }
}
