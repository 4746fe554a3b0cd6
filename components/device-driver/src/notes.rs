//! What a driver keeps over its restarts.

/// Words of notes.
pub const NOTES_WORDS: usize = 16;

/// Memory that stays as it is when the driver is restarted, zero at first: [`NOTES_WORDS`] words.
pub trait Notes {
    /// Loads the word at `index`.
    fn load(&self, index: usize) -> u64;
    /// Stores the word at `index`.
    fn store(&mut self, index: usize, value: u64);
}

/// A word of the notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Note {
    /// What is shown, a [`Stage`].
    Stage,
    /// How often it was shown.
    Round,
    /// How often a round was too late to show it.
    Late,
    /// Checks told.
    Checks,
    /// Patterns made.
    Patterns,
    /// What the builder's symbols are like.
    Symbols,
    /// The number of the last fault record that was seen.
    Seen,
    /// What the page held that the device was to write.
    Before,
    /// What is in the device's buffer.
    Secret,
    /// Where the device was to write.
    Aim,
}

/// What the lives of a driver show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The first life: all that takes no restart.
    First,
    /// Restarts.
    Restarted,
    /// A handover: the predecessor was replaced while its device had a transfer to do.
    Replaced,
    /// A death: the predecessor died while its device had a transfer to do.
    Died,
}

impl Stage {
    pub(crate) fn of(word: u64) -> Self {
        match word {
            1 => Self::Restarted,
            2 => Self::Replaced,
            3 => Self::Died,
            _ => Self::First,
        }
    }

    pub(crate) fn word(self) -> u64 {
        self as u64
    }
}
