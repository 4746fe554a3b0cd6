//! The writing end.

use core::fmt;

use crate::ring::{BEGUN, Load, NAME, NAME_WORDS, Store, WORD, WRITTEN, place};

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

impl<M: Store + Load> Writer<M> {
    /// A writer called `name` into `memory`, an empty ring or one that an earlier writer has left, whose last line
    /// ends then; without a ring, what is written goes nowhere. `signal` wakes the printer.
    pub fn new(memory: Option<M>, name: &str, signal: fn()) -> Self {
        let mut writer = Self { memory, signal, written: 0, word: 0 };
        if let Some(memory) = &mut writer.memory {
            for (index, bytes) in name.as_bytes().chunks(WORD).take(NAME_WORDS).enumerate() {
                let mut word = [0; WORD];
                word[..bytes.len()].copy_from_slice(bytes);
                memory.store(NAME + index, u64::from_le_bytes(word));
            }
            writer.written = memory.load(WRITTEN);
        }
        writer.end_line();
        writer
    }
}

impl<M: Store + Load> Writer<M> {
    /// Ends the line that an earlier writer was in when it stopped, if any.
    fn end_line(&mut self) {
        let Some(memory) = &self.memory else { return };
        let (index, shift) = place(self.written);
        self.word = memory.load(index) & !(u64::MAX << shift);
        let (last_index, last_shift) = place(self.written.wrapping_sub(1));
        let last = (memory.load(last_index) >> last_shift) as u8;
        if self.written != 0 && last != b'\n' {
            // Writing does not fail.
            _ = fmt::Write::write_str(self, "\n");
        }
    }
}

impl<M: Store> fmt::Write for Writer<M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(memory) = &mut self.memory else { return Ok(()) };
        // An earlier writer may have left any number.
        let end = self.written.wrapping_add(text.len() as u64);
        // The last word is overwritten whole.
        memory.store(BEGUN, end.wrapping_add(WORD as u64 - 1) & !(WORD as u64 - 1));
        for byte in text.bytes() {
            let (index, shift) = place(self.written);
            let before = if shift == 0 { 0 } else { self.word };
            self.word = before | u64::from(byte) << shift;
            self.written = self.written.wrapping_add(1);
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
