//! Where the entries of a queue lie.

use crate::PhysAddr;

/// Positions in a queue in memory: an index of some bits and, above it, a bit that changes with every lap.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    base: PhysAddr,
    entries: u32,
    /// Index and wrap bits.
    mask: u32,
}

impl Ring {
    /// A queue of `2^log2` entries at `base`, at most `2^30`.
    pub const fn new(base: PhysAddr, log2: u8) -> Self {
        Self { base, entries: 1 << log2, mask: (2 << log2) - 1 }
    }

    /// How many entries there are.
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// `position` with index and wrap bits alone.
    pub const fn masked(&self, position: u32) -> u32 {
        position & self.mask
    }

    /// The index of `position`.
    pub const fn index(&self, position: u32) -> u32 {
        position & (self.mask >> 1)
    }

    /// The position behind `position`.
    pub const fn next(&self, position: u32) -> u32 {
        self.masked(position.wrapping_add(1))
    }

    /// Where the entry of `position` lies.
    pub const fn entry(&self, position: u32, entry_bytes: u64) -> PhysAddr {
        PhysAddr(self.base.0 + self.index(position) as u64 * entry_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_round_twice_before_they_repeat() {
        for log2 in [0, 1, 5] {
            let ring = Ring::new(PhysAddr(0x1000), log2);
            let entries = ring.entries();
            let mut position = 0;
            for step in 0..2 * entries {
                assert_eq!(ring.index(position), step % entries);
                assert_eq!(ring.entry(position, 16), PhysAddr(0x1000 + 16 * u64::from(step % entries)));
                position = ring.next(position);
                assert_eq!(position == 0, step == 2 * entries - 1);
            }
            assert_eq!(ring.masked(u32::MAX), 2 * entries - 1);
        }
    }
}
