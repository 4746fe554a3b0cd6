//! The ring between one writer and the printer.
//!
//! Words of 8 bytes, little-endian, each stored in one access and after every earlier one. Word [`BEGUN`] counts the
//! bytes whose place the writer may have overwritten, word [`WRITTEN`] those that are there; byte number n (from 0)
//! lies at n modulo [`CAPACITY`] from [`TEXT`] on. The writer stores `BEGUN`, the text, `WRITTEN`. So a reader that
//! finds `BEGUN` at most `CAPACITY` after byte n once it has copied it has byte n.

/// Bytes of the ring.
pub const BYTES: usize = 0x4000;

/// Bytes of a word.
pub const WORD: usize = 8;

/// The word that counts the bytes begun.
pub const BEGUN: usize = 0;

/// The word that counts the bytes written.
pub const WRITTEN: usize = 1;

/// The first word of the writer's name, which ends with the first zero byte.
pub const NAME: usize = 2;

/// Words of the name.
pub const NAME_WORDS: usize = 6;

/// The first word of the text.
pub const TEXT: usize = NAME + NAME_WORDS;

/// Bytes of text that the ring holds.
pub const CAPACITY: u64 = (BYTES - TEXT * WORD) as u64;

const _: () = assert!(CAPACITY.is_multiple_of(WORD as u64));

/// The writer's view of a ring. A writer that was restarted also [loads](Load), to go on where it was.
pub trait Store {
    /// Stores the word at `index`, in words and inside the ring, in one access and after every earlier one.
    fn store(&mut self, index: usize, value: u64);
}

/// The printer's view of a ring.
pub trait Load {
    /// Loads the word at `index`, in words and inside the ring, in one access and before every later one.
    fn load(&self, index: usize) -> u64;
}

/// Where byte number `position` is: its word and how far it is shifted there.
pub(crate) const fn place(position: u64) -> (usize, u32) {
    let byte = (position % CAPACITY) as usize;
    (TEXT + byte / WORD, (byte % WORD) as u32 * 8)
}
