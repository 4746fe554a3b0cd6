//! Statics that tell whether a restart has made them as at first.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Failure, same};

/// What every word of the initialised static begins as.
const MARK: u64 = 0x5072_6973_7469_6e65;

/// In `.data`.
static DATA: [AtomicU64; 64] = [const { AtomicU64::new(MARK) }; 64];

/// In `.bss`.
static ZEROS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// Holds when nothing has been spoilt since the program was loaded, or restarted.
pub(crate) fn pristine() -> Result<(), Failure> {
    for (what, words, expected) in [("a word of .data", &DATA, MARK), ("a word of .bss", &ZEROS, 0)] {
        for word in words {
            same(what, expected, word.load(Ordering::Relaxed))?;
        }
    }
    Ok(())
}

/// Spoils all of it.
pub(crate) fn spoil() {
    for word in DATA.iter().chain(&ZEROS) {
        word.fetch_xor(u64::MAX, Ordering::Relaxed);
    }
}
