//! The reading end: lines out of what a writer, honest or not, has put into its ring.

use core::fmt::Write;

use heapless::String;

use crate::ring::{BEGUN, CAPACITY, Load, NAME, NAME_WORDS, WORD, WRITTEN, place};

/// Bytes of a printed line, its end included; a longer one comes in pieces.
pub const LINE_BYTES: usize = 256;

/// A line to print: printable ASCII, then a line feed.
pub type Line = String<LINE_BYTES>;

/// Bytes of a line's text.
const TEXT_BYTES: u64 = LINE_BYTES as u64 - 1;

/// Reads one ring.
///
/// Whatever stands there, a call of [`Reader::poll`] loads a bounded number of words, and only news of the writer
/// make it say something again.
#[derive(Debug)]
pub struct Reader<M> {
    memory: M,
    /// The number of the next byte.
    read: u64,
    /// Bytes lost and not told yet.
    lost: u64,
    /// Whether the next byte is inside a line whose beginning is lost.
    torn: bool,
}

impl<M: Load> Reader<M> {
    /// A reader of `memory`, from its first byte.
    pub const fn new(memory: M) -> Self {
        Self { memory, read: 0, lost: 0, torn: false }
    }

    /// Puts into `line` what is to be printed next: a line of the writer, or how much of them was lost. Returns
    /// whether there is something; else the writer's next signal is what to wait for.
    pub fn poll(&mut self, line: &mut Line) -> bool {
        line.clear();
        let mut ready = self.drop_overwritten();
        if self.torn {
            ready -= self.drop_torn(ready);
        }
        if self.torn {
            return false;
        }
        if self.lost > 0 {
            self.tell_lost(line);
            return true;
        }
        self.copy(ready, line)
    }

    /// Counts as lost what the writer has overwritten. Returns how many bytes can be read.
    fn drop_overwritten(&mut self) -> u64 {
        let ahead = self.memory.load(WRITTEN).wrapping_sub(self.read);
        let overwritten = self.begun_ahead(self.read).saturating_sub(CAPACITY).min(ahead);
        if overwritten > 0 {
            self.lose(overwritten);
            self.torn = true;
        }
        (ahead - overwritten).min(CAPACITY)
    }

    /// Counts as lost the rest of a torn line, of `ready` bytes that can be read. Returns how many those were.
    fn drop_torn(&mut self, ready: u64) -> u64 {
        let first = self.read;
        let end = (0..ready).find(|&offset| self.byte(first.wrapping_add(offset)) == b'\n');
        let torn = end.map_or(ready, |end| end + 1);
        self.lose(torn);
        self.torn = end.is_none() || self.begun_ahead(first) > CAPACITY;
        torn
    }

    fn lose(&mut self, bytes: u64) {
        self.read = self.read.wrapping_add(bytes);
        self.lost = self.lost.saturating_add(bytes);
    }

    /// How far the writer has begun beyond `position`.
    fn begun_ahead(&self, position: u64) -> u64 {
        self.memory.load(BEGUN).wrapping_sub(position)
    }

    fn tell_lost(&mut self, line: &mut Line) {
        // The line holds the largest number and the longest name.
        _ = write!(line, "serial: {} bytes of ", self.lost);
        let name = (NAME..NAME + NAME_WORDS).flat_map(|index| self.memory.load(index).to_le_bytes());
        for byte in name.take_while(|&byte| byte != 0) {
            _ = line.push(printable(byte));
        }
        _ = line.push_str(" lost\n");
        self.lost = 0;
    }

    /// Copies a line of the `ready` bytes; whether there is one, whole or full, that stayed while it
    /// was copied.
    fn copy(&mut self, ready: u64, line: &mut Line) -> bool {
        let mut taken = None;
        for offset in 0..ready.min(LINE_BYTES as u64) {
            let byte = self.byte(self.read.wrapping_add(offset));
            if byte == b'\n' {
                taken = Some(offset + 1);
                break;
            }
            if offset == TEXT_BYTES {
                taken = Some(offset);
                break;
            }
            // Fewer than the line holds.
            _ = line.push(printable(byte));
        }
        let Some(taken) = taken.filter(|_| self.begun_ahead(self.read) <= CAPACITY) else { return false };
        self.read = self.read.wrapping_add(taken);
        _ = line.push('\n');
        true
    }

    fn byte(&self, position: u64) -> u8 {
        let (index, shift) = place(position);
        (self.memory.load(index) >> shift) as u8
    }
}

const _: () =
    assert!("serial: 18446744073709551615 bytes of  lost\n".len() + NAME_WORDS * WORD <= LINE_BYTES);

/// What stands for `byte` on the terminal: a writer does not steer it.
const fn printable(byte: u8) -> char {
    if byte == b' ' || byte.is_ascii_graphic() { byte as char } else { '?' }
}
