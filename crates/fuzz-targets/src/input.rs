//! Bytes as decisions.

use std::cell::RefCell;

/// What is left of an input. Past its end everything is zero.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// The first `bytes` of what is left, or all of it, apart.
    pub fn split(&mut self, bytes: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        first
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.split(usize::MAX)
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let from = self.split(N);
        array[..from.len()].copy_from_slice(from);
        array
    }

    /// A number of a few bytes, of the kind at which things change: small, a page's or a block's first or last
    /// address, near a power of two, near the end; or any.
    pub fn number(&mut self) -> u64 {
        let kind = self.byte();
        let low = u64::from(kind & 0x1f);
        match kind >> 5 {
            0 => low,
            1 => u64::from(self.byte()) << 12,
            2 => low << 21,
            3 => (1_u64 << (12 + low)).wrapping_sub(u64::from(self.byte()) << 12),
            4 => u64::MAX - low,
            5 => (u64::from(self.byte()) << 12) + 0xfff,
            6 => (1_u64 << (32 + low)).wrapping_sub(u64::from(self.byte())),
            _ => self.u64(),
        }
    }
}

/// An input that both sides of a conversation take from.
pub struct Shared<'a>(RefCell<Input<'a>>);

impl<'a> Shared<'a> {
    pub const fn new(input: Input<'a>) -> Self {
        Self(RefCell::new(input))
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub fn byte(&self) -> u8 {
        self.0.borrow_mut().byte()
    }

    pub fn number(&self) -> u64 {
        self.0.borrow_mut().number()
    }
}
