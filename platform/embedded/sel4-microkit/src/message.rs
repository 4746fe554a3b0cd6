//! Messages: the tag, and the words in the IPC buffer.
#![allow(unsafe_code)] // The kernel shares the IPC buffer by address.

use core::ptr::NonNull;

use crate::arch::{self, FastWords};

/// A message's label.
pub type MessageLabel = u64;

/// A word of a message.
pub type MessageRegisterValue = u64;

/// Most words of a message (`seL4_MsgMaxLength`).
const MAX_WORDS: usize = 120;

/// `seL4_MessageInfo`: length 6:0, extra capabilities 8:7, unwrapped ones 11:9, label 63:12.
const LENGTH_BITS: u32 = 7;
const LABEL_SHIFT: u32 = 12;

/// What a message is about and how many words it has: `microkit_msginfo`.
#[derive(Debug, Clone)]
pub struct MessageInfo {
    tag: u64,
}

impl MessageInfo {
    /// A message with `label`, whose bits from [`MessageInfo::label_width`] on are lost, and `count` words.
    ///
    /// # Panics
    /// If `count` does not fit its 7 bits.
    pub fn new(label: MessageLabel, count: usize) -> Self {
        assert!(count < 1 << LENGTH_BITS, "a message of {count} words");
        Self { tag: label << LABEL_SHIFT | count as u64 }
    }

    pub(crate) const fn from_tag(tag: u64) -> Self {
        Self { tag }
    }

    pub(crate) const fn tag(&self) -> u64 {
        self.tag
    }

    /// The label.
    pub fn label(&self) -> MessageLabel {
        self.tag >> LABEL_SHIFT
    }

    /// Meaningful bits of a label.
    pub const fn label_width() -> usize {
        (u64::BITS - LABEL_SHIFT) as usize
    }

    /// The words that the message has.
    pub fn count(&self) -> usize {
        (self.tag & ((1 << LENGTH_BITS) - 1)) as usize
    }
}

impl Default for MessageInfo {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

/// The head of `seL4_IPCBuffer`.
#[repr(C)]
pub(crate) struct Layout {
    _tag: u64,
    words: [u64; MAX_WORDS],
}

impl Layout {
    /// An empty message.
    #[cfg(not(target_os = "none"))]
    pub(crate) const fn new() -> Self {
        Self { _tag: 0, words: [0; MAX_WORDS] }
    }
}

/// What the PD shares with the kernel.
pub(crate) struct IpcBuffer(NonNull<Layout>);

impl IpcBuffer {
    /// The buffer at `address`.
    ///
    /// # Safety
    /// 1. `address` is aligned, and an IPC buffer is there whenever the value's methods run.
    /// 2. No other value stands for this buffer.
    pub(crate) const unsafe fn new(address: NonNull<Layout>) -> Self {
        Self(address)
    }

    fn words(&self) -> &[u64; MAX_WORDS] {
        // SAFETY: the buffer is there, and `self` is borrowed; the kernel writes it only inside system calls,
        // around which no borrow lives.
        let layout = unsafe { self.0.as_ref() };
        &layout.words
    }

    fn words_mut(&mut self) -> &mut [u64; MAX_WORDS] {
        // SAFETY: as in `words`, and `self` is borrowed mutably.
        let layout = unsafe { self.0.as_mut() };
        &mut layout.words
    }
}

/// Lends `f` the words of the message that came last or goes next.
///
/// # Panics
/// Inside [`with_msg_regs_mut`].
pub fn with_msg_regs<T>(f: impl FnOnce(&[MessageRegisterValue]) -> T) -> T {
    arch::ipc_buffer(|buffer| f(buffer.borrow().words()))
}

/// Lends `f` the words of the message that came last or goes next, to change them.
///
/// # Panics
/// Inside itself or [`with_msg_regs`].
pub fn with_msg_regs_mut<T>(f: impl FnOnce(&mut [MessageRegisterValue]) -> T) -> T {
    arch::ipc_buffer(|buffer| f(buffer.borrow_mut().words_mut()))
}

/// Reads word `i`: `microkit_mr_get`.
///
/// # Panics
/// If there is no word `i`.
pub fn get_mr(i: usize) -> MessageRegisterValue {
    with_msg_regs(|words| words[i])
}

/// Writes word `i`: `microkit_mr_set`.
///
/// # Panics
/// If there is no word `i`.
pub fn set_mr(i: usize, value: MessageRegisterValue) {
    with_msg_regs_mut(|words| words[i] = value);
}

/// The words that travel in registers.
pub(crate) fn fast_words() -> FastWords {
    arch::ipc_buffer(|buffer| {
        let buffer = buffer.borrow();
        let [w0, w1, w2, w3, ..] = *buffer.words();
        [w0, w1, w2, w3]
    })
}

/// Puts the words that came in registers where the others are.
pub(crate) fn set_fast_words(words: FastWords) {
    arch::ipc_buffer(|buffer| buffer.borrow_mut().words_mut()[..words.len()].copy_from_slice(&words));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_packed_as_sel4_does() {
        let info = MessageInfo::new(0x1_2345, 4);
        assert_eq!(info.tag(), 0x1234_5004);
        assert_eq!((info.label(), info.count()), (0x1_2345, 4));
        let with_capabilities = MessageInfo::from_tag(7 << 12 | 0b111 << 9 | 0b11 << 7 | 120);
        assert_eq!((with_capabilities.label(), with_capabilities.count()), (7, 120));
        assert_eq!(MessageInfo::new(u64::MAX, 0).label(), (1 << MessageInfo::label_width()) - 1);
        assert_eq!(MessageInfo::default().tag(), 0);
    }

    #[test]
    #[should_panic(expected = "a message of 128 words")]
    fn count_must_fit() {
        MessageInfo::new(0, 128);
    }

    #[test]
    fn words_are_shared_by_all_accessors() {
        set_mr(0, 10);
        set_mr(MAX_WORDS - 1, 20);
        with_msg_regs_mut(|words| words[3] = 30);
        assert_eq!(fast_words(), [10, 0, 0, 30]);
        assert_eq!(with_msg_regs(|words| (words.len(), words[MAX_WORDS - 1])), (MAX_WORDS, 20));
        set_fast_words([1, 2, 3, 4]);
        assert_eq!((get_mr(0), get_mr(3), get_mr(4)), (1, 4, 0));
    }

    #[test]
    #[should_panic(expected = "borrowed")]
    fn words_cannot_be_changed_while_lent() {
        with_msg_regs(|_| set_mr(0, 1));
    }
}
