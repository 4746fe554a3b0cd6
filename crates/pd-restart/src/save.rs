//! The copy of a program's data, and how it is put back.
#![allow(unsafe_code)] // The program's own memory, by address.

use core::ptr;

use crate::{MAX_DATA_BYTES, Span};

/// Why nothing is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveError {
    /// The program has more data than [`MAX_DATA_BYTES`].
    TooMuchData,
    /// There is no copy, or it has been damaged.
    Damaged,
}

/// The start of FNV-1a, 64 bits, and its multiplier.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

/// What a program was before it ran.
#[derive(Debug)]
#[repr(C)]
pub struct Save {
    /// The stack pointer. The restart entry reads it here, at offset 0.
    stack_pointer: usize,
    bytes: usize,
    checksum: u64,
    data: [u8; MAX_DATA_BYTES],
}

impl Default for Save {
    fn default() -> Self {
        Self::new()
    }
}

impl Save {
    /// No copy yet.
    pub const fn new() -> Self {
        Self { stack_pointer: 0, bytes: 0, checksum: 0, data: [0; MAX_DATA_BYTES] }
    }

    /// Copies the data of `spans`.
    ///
    /// # Errors
    /// [`SaveError::TooMuchData`]; there is no copy then.
    ///
    /// # Safety
    /// The data of all spans can be read.
    pub unsafe fn keep(&mut self, spans: &[Span], stack_pointer: usize) -> Result<(), SaveError> {
        let mut kept = 0;
        for span in spans {
            let room = self.data.get_mut(kept..).unwrap_or_default();
            let room = room.get_mut(..span.data).ok_or(SaveError::TooMuchData)?;
            for (index, byte) in room.iter_mut().enumerate() {
                let from = ptr::with_exposed_provenance::<u8>(span.address + index);
                // SAFETY: the caller lets this be read.
                *byte = unsafe { from.read_volatile() };
            }
            kept += span.data;
        }
        self.stack_pointer = stack_pointer;
        self.bytes = kept;
        self.checksum = self.sum();
        Ok(())
    }

    /// Puts the data of `spans` back, and zeroes what begins as zeros, but for this copy itself.
    ///
    /// # Errors
    /// [`SaveError::Damaged`]; nothing has been changed then.
    ///
    /// # Safety
    /// The spans are those that were kept, all of them can be written, and no reference to anything in them is in
    /// use.
    pub unsafe fn put_back(&self, spans: &[Span]) -> Result<(), SaveError> {
        let all: usize = spans.iter().map(|span| span.data).sum();
        if self.stack_pointer == 0 || self.bytes != all || self.checksum != self.sum() {
            return Err(SaveError::Damaged);
        }
        let mut bytes = self.data.iter();
        let own = ptr::from_ref(self).addr();
        let own = own..own + size_of::<Self>();
        for span in spans {
            let data = bytes.by_ref().take(span.data).copied();
            let zeros = core::iter::repeat_n(0, span.zeros);
            for (address, byte) in (span.address..).zip(data.chain(zeros)) {
                if own.contains(&address) {
                    continue;
                }
                // SAFETY: the caller lets this be written; it is not in the copy.
                unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(byte) };
            }
        }
        Ok(())
    }

    fn sum(&self) -> u64 {
        let kept = self.data.get(..self.bytes).unwrap_or_default().iter().copied();
        let words = self.stack_pointer.to_le_bytes().into_iter().chain(self.bytes.to_le_bytes());
        words.chain(kept).fold(FNV_START, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
    }
}
