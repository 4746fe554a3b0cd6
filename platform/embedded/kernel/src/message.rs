//! The message info word of a system call.

/// Most message words of one message, as in seL4.
pub const MAX_WORDS: usize = 120;

/// Message words that travel in registers; the rest is in the IPC buffers.
pub const REGISTER_WORDS: usize = 4;

/// An invocation that worked.
pub(crate) const OK: u64 = 0;
/// seL4's error for a capability that is not there.
pub(crate) const INVALID_CAPABILITY: u64 = 2;
/// seL4's error for an operation that the object does not have.
pub(crate) const ILLEGAL_OPERATION: u64 = 3;

/// seL4's error for a message with too few words.
pub(crate) const TRUNCATED_MESSAGE: u64 = 7;

const LABEL_SHIFT: u32 = 12;
const LENGTH_MASK: u64 = 0x7f;

/// A message info word: label in bits 63:12, length in bits 6:0. Bits 11:7 announce capabilities, which no
/// message carries here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageInfo {
    /// What is asked, or how it went.
    pub label: u64,
    /// Message words, at most [`MAX_WORDS`].
    pub words: usize,
}

impl MessageInfo {
    /// Reads a word that a PD wrote; a length above [`MAX_WORDS`] counts as [`MAX_WORDS`].
    pub fn from_word(word: u64) -> Self {
        // At most 127, so that the conversion is exact.
        let words = (word & LENGTH_MASK) as usize;
        Self { label: word >> LABEL_SHIFT, words: words.min(MAX_WORDS) }
    }

    /// The word that a PD reads.
    pub fn to_word(self) -> u64 {
        self.label << LABEL_SHIFT | self.words as u64
    }
}
