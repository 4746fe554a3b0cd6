//! A page mapped here and at a client.

use core::ptr::NonNull;

use volatile::VolatilePtr;

use crate::{FRAME_BYTES, SharedPage};

/// A mapped page.
#[derive(Debug)]
pub struct MappedPage {
    at: NonNull<u64>,
}

impl MappedPage {
    /// The page at `at`.
    ///
    /// # Safety
    /// 1. `at` is page-aligned and mapped readable and writable for one page, for as long as the value lives.
    /// 2. Nothing in this program but this value accesses it.
    pub unsafe fn new(at: NonNull<u64>) -> Self {
        assert!(at.addr().get().is_multiple_of(FRAME_BYTES as usize), "a shared page is page-aligned");
        Self { at }
    }
}

impl SharedPage for MappedPage {
    fn write(&mut self, index: usize, value: u64) {
        assert!(index < FRAME_BYTES as usize / 8, "shared word out of range");
        // SAFETY: the assertion keeps the word inside the page that `new` was promised.
        let word = unsafe { self.at.add(index) };
        // SAFETY: aligned, mapped, and accessed by this value alone (`new`).
        unsafe { VolatilePtr::new(word) }.write(value.to_le());
    }
}
