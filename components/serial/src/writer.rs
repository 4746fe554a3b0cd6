//! The writing end.

use core::fmt;

use crate::ring::{BEGUN, NAME, NAME_WORDS, Store, WORD, WRITTEN, place};

/// The last byte of a word is shifted so far.
const LAST_SHIFT: u32 = (WORD as u32 - 1) * 8;

/// Writes text into a ring, and signals the printer at each end of a line.
///
/// Writing never waits and never fails.
#[derive(Debug)]
pub struct Writer<M> {
    memory: Option<M>,
    signal: fn(),
    written: u64,
    /// The word that byte number `written` falls into, as far as it is filled.
    word: u64,
}

impl<M: Store> Writer<M> {
    /// A writer called `name` into `memory`, an empty ring; without one, what is written goes nowhere. `signal`
    /// wakes the printer.
    pub fn new(memory: Option<M>, name: &str, signal: fn()) -> Self {
        let mut writer = Self { memory, signal, written: 0, word: 0 };
        if let Some(memory) = &mut writer.memory {
            for (index, bytes) in name.as_bytes().chunks(WORD).take(NAME_WORDS).enumerate() {
                let mut word = [0; WORD];
                word[..bytes.len()].copy_from_slice(bytes);
                memory.store(NAME + index, u64::from_le_bytes(word));
            }
        }
        writer
    }
}

impl<M: Store> fmt::Write for Writer<M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let end = self.written + text.len() as u64;
        // The last word is overwritten whole.
        memory.store(BEGUN, end.next_multiple_of(WORD as u64));
        for byte in text.bytes() {
            let (index, shift) = place(self.written);
            let before = if shift == 0 { 0 } else { self.word };
            self.word = before | u64::from(byte) << shift;
            self.written += 1;
            if shift == LAST_SHIFT || self.written == end {
                memory.store(index, self.word);
            }
        }
        memory.store(WRITTEN, self.written);
        if text.contains('\n') {
            (self.signal)();
        }
        Ok(())
    }
}
