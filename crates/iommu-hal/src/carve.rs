//! Carving table memory at bring-up.

use crate::{FRAME_BYTES, PhysAddr, TableMemory};

/// Hands out aligned pieces of table memory, once, at bring-up: queues, stream tables. What is left becomes the
/// pool of table frames.
#[derive(Debug)]
pub struct Carver {
    next: u64,
    end: u64,
}

/// The table memory region is too small for what bring-up needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTableMemory {
    /// Bytes asked for.
    pub asked: u64,
    /// Bytes that were left, alignment not counted.
    pub left: u64,
}

impl Carver {
    /// Carves from `bytes` bytes at `base`, both multiples of [`FRAME_BYTES`].
    pub const fn new(base: PhysAddr, bytes: u64) -> Self {
        assert!(base.0.is_multiple_of(FRAME_BYTES) && bytes.is_multiple_of(FRAME_BYTES));
        assert!(base.0 <= u64::MAX - bytes);
        Self { next: base.0, end: base.0 + bytes }
    }

    /// Takes `bytes`, rounded up to whole frames, aligned to `align` (a power of two, at least a frame).
    ///
    /// # Errors
    /// [`OutOfTableMemory`] when the region has no such piece left; nothing is taken then.
    pub fn take(&mut self, bytes: u64, align: u64) -> Result<PhysAddr, OutOfTableMemory> {
        let short = OutOfTableMemory { asked: bytes, left: self.end - self.next };
        assert!(align.is_power_of_two());
        let align = align.max(FRAME_BYTES);
        let at = self.next.checked_next_multiple_of(align).ok_or(short)?;
        let bytes = bytes.checked_next_multiple_of(FRAME_BYTES).ok_or(short)?;
        match at.checked_add(bytes) {
            Some(next) if next <= self.end => {
                self.next = next;
                Ok(PhysAddr(at))
            }
            _ => Err(short),
        }
    }

    /// Takes `bytes` of zeroes, rounded up to whole frames and aligned to their size, as tables and queues have to be.
    /// `clean`: for a unit that does not snoop.
    ///
    /// # Errors
    /// As [`Carver::take`].
    pub fn take_zeroed(
        &mut self,
        memory: &mut impl TableMemory,
        bytes: u64,
        clean: bool,
    ) -> Result<PhysAddr, OutOfTableMemory> {
        let bytes = bytes.next_multiple_of(FRAME_BYTES);
        let at = self.take(bytes, bytes.next_power_of_two())?;
        memory.zero(at, bytes);
        if clean {
            memory.clean(at, bytes);
        }
        Ok(at)
    }

    /// The rest, as base and bytes.
    pub const fn rest(self) -> (PhysAddr, u64) {
        (PhysAddr(self.next), self.end - self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_disjoint_and_bounded() {
        let mut carver = Carver::new(PhysAddr(0x1000), 0x8000);
        assert_eq!(carver.take(1, 8), Ok(PhysAddr(0x1000)));
        assert_eq!(carver.take(0x2000, 0x2000), Ok(PhysAddr(0x2000)));
        assert_eq!(carver.take(0x1000, 0x8000), Ok(PhysAddr(0x8000)));
        assert_eq!(carver.take(0x1000, 0x1000), Err(OutOfTableMemory { asked: 0x1000, left: 0 }));
        assert_eq!(carver.rest(), (PhysAddr(0x9000), 0));
    }

    #[test]
    fn a_refused_piece_takes_nothing() {
        let mut carver = Carver::new(PhysAddr(0x1000), 0x2000);
        assert!(carver.take(0x3000, 0x1000).is_err());
        assert!(carver.take(u64::MAX, 0x1000).is_err());
        assert!(carver.take(0x1000, 1 << 63).is_err());
        assert_eq!(carver.rest(), (PhysAddr(0x1000), 0x2000));
    }
}
