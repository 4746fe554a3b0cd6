//! Configuration space where it is mapped.
#![allow(unsafe_code)] // The registers are mapped, not allocated: only their address is known.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::config::{ConfigSpace, Requester};

/// Base-2 logarithm of the bytes of one function's configuration space (PCI Express Base Specification, 7.2.2).
const FUNCTION_LG2: u32 = 12;

/// Base-2 logarithm of the bytes of one bus.
const BUS_LG2: u32 = 20;

/// Most buses of a segment.
const MAX_BUSES: usize = 256;

/// An ECAM: configuration space in memory, 4 KiB for each function.
#[derive(Debug)]
pub struct Ecam {
    at: NonNull<u32>,
    buses: u16,
}

impl Ecam {
    /// The ECAM at `at`, of which `bytes` bytes are mapped; it begins with bus 0.
    ///
    /// # Safety
    /// 1. `at` is page-aligned and mapped as device memory, readable and writable, for `bytes` bytes, for as
    ///    long as the value lives.
    /// 2. Nothing else in this program accesses it.
    pub unsafe fn new(at: NonNull<u32>, bytes: usize) -> Self {
        assert!(at.addr().get().is_multiple_of(1 << FUNCTION_LG2), "an ECAM is page-aligned");
        Self { at, buses: (bytes >> BUS_LG2).min(MAX_BUSES) as u16 }
    }

    fn register(&mut self, function: Requester, register: u16) -> VolatilePtr<'_, u32> {
        let aligned = register.is_multiple_of(4) && register < 1 << FUNCTION_LG2;
        assert!(aligned && function.bus() < self.buses, "configuration register out of range");
        let offset = usize::from(function.0) << FUNCTION_LG2 | usize::from(register);
        // SAFETY: the assertion keeps the register inside the mapping that `new` was promised.
        let at = unsafe { self.at.byte_add(offset) };
        // SAFETY: mapped and aligned (`new`); the pointer borrows `self`, the only accessor.
        unsafe { VolatilePtr::new(at) }
    }
}

impl ConfigSpace for Ecam {
    fn buses(&self) -> u16 {
        self.buses
    }

    fn read(&mut self, function: Requester, register: u16) -> u32 {
        u32::from_le(self.register(function, register).read())
    }

    fn write(&mut self, function: Requester, register: u16, value: u32) {
        self.register(function, register).write(value.to_le());
    }
}
