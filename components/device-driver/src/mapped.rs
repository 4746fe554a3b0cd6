//! The notes where they are mapped.
#![allow(unsafe_code)] // They are mapped, not allocated: only their address is known.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::notes::{NOTES_WORDS, Notes};

/// Notes in a region of their own.
#[derive(Debug)]
pub struct MappedNotes {
    at: NonNull<u64>,
}

impl MappedNotes {
    /// The notes at `at`.
    ///
    /// # Safety
    /// 1. `at` is 8-byte aligned and mapped, readable and writable, for [`NOTES_WORDS`] words, for as long as the value
    ///    lives.
    /// 2. Nothing else in this program accesses it.
    pub const unsafe fn new(at: NonNull<u64>) -> Self {
        Self { at }
    }

    fn word(&self, index: usize) -> VolatilePtr<'_, u64> {
        assert!(index < NOTES_WORDS, "note out of range");
        // SAFETY: the assertion keeps the word inside the mapping that `new` was promised.
        let at = unsafe { self.at.add(index) };
        // SAFETY: mapped and aligned (`new`); the pointer borrows `self`, the only accessor, which one thread uses.
        unsafe { VolatilePtr::new(at) }
    }
}

impl Notes for MappedNotes {
    fn load(&self, index: usize) -> u64 {
        self.word(index).read()
    }

    fn store(&mut self, index: usize, value: u64) {
        self.word(index).write(value);
    }
}
