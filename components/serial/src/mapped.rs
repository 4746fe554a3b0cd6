//! A ring where it is mapped.
#![allow(unsafe_code)] // The ring is mapped, not allocated: only its address is known.

use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use volatile::{
    VolatilePtr,
    access::{ReadOnly, WriteOnly},
};

use crate::ring::{BYTES, Load, Store, WORD};

/// A mapped ring.
#[derive(Debug)]
pub struct PrintRing {
    at: NonNull<u64>,
}

impl PrintRing {
    /// The ring at `at`.
    ///
    /// # Safety
    /// 1. `at` is 8-byte aligned and mapped for [`BYTES`] bytes, for as long as the value lives: writable for a
    ///    [`Writer`](crate::Writer), readable for a [`Printer`](crate::Printer).
    /// 2. Nothing in this program but this value accesses it.
    pub unsafe fn new(at: NonNull<u64>) -> Self {
        assert!(at.is_aligned(), "a ring consists of words");
        Self { at }
    }

    fn word(&self, index: usize) -> NonNull<u64> {
        assert!(index < BYTES / WORD, "ring word out of range");
        // SAFETY: the assertion keeps the word inside the mapping that `new` was promised.
        unsafe { self.at.add(index) }
    }
}

impl Store for PrintRing {
    fn store(&mut self, index: usize, value: u64) {
        fence(Ordering::Release);
        // SAFETY: mapped, aligned, and in this program accessed by this value alone (`new`).
        let word: VolatilePtr<'_, u64, WriteOnly> =
            unsafe { VolatilePtr::new_restricted(WriteOnly, self.word(index)) };
        word.write(value.to_le());
    }
}

impl Load for PrintRing {
    fn load(&self, index: usize) -> u64 {
        // SAFETY: mapped and aligned (`new`); another program may write it, and the access is volatile.
        let word: VolatilePtr<'_, u64, ReadOnly> = unsafe { VolatilePtr::new_read_only(self.word(index)) };
        let value = u64::from_le(word.read());
        fence(Ordering::Acquire);
        value
    }
}
