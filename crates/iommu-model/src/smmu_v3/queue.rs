//! Circular queues (IHI 0070, 3.5.1): an index and, above it, a bit that toggles with each round.

use super::stream_table::mask;

/// The base, the size and both indexes of a queue (3.5.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    pub base: u64,
    pub size_lg2: u32,
    pub produced: u32,
    pub consumed: u32,
}

impl Queue {
    pub const fn new(register: u64, produced: u32, consumed: u32) -> Self {
        let size_lg2 = (register & 0x1f) as u32;
        let all = (2 << size_lg2) - 1;
        Self { base: register & mask(5, 55), size_lg2, produced: produced & all, consumed: consumed & all }
    }

    pub const fn is_empty(&self) -> bool {
        self.produced == self.consumed
    }

    pub const fn is_full(&self) -> bool {
        self.produced ^ self.consumed == 1 << self.size_lg2
    }

    const fn index(&self, of: u32) -> u32 {
        of & ((1 << self.size_lg2) - 1)
    }

    pub const fn produced_index(&self) -> u32 {
        self.index(self.produced)
    }

    pub const fn consumed_index(&self) -> u32 {
        self.index(self.consumed)
    }

    pub const fn after(&self, index: u32) -> u32 {
        (index + 1) & self.wrap_mask()
    }

    pub const fn wrap_mask(&self) -> u32 {
        (2 << self.size_lg2) - 1
    }

    /// Entries from index `from` on to index `to`.
    pub const fn distance(&self, from: u32, to: u32) -> u32 {
        to.wrapping_sub(from) & self.wrap_mask()
    }

    /// Whether place `place` of the ring lies between CONS and PROD.
    pub const fn holds(&self, place: u64) -> bool {
        if place >> self.size_lg2 != 0 {
            return false;
        }
        let ahead = (place as u32).wrapping_sub(self.consumed_index()) & ((1 << self.size_lg2) - 1);
        ahead < self.distance(self.consumed, self.produced)
    }

    pub fn check_consistent(&self, name: &str) {
        assert!(
            self.distance(self.consumed, self.produced) <= 1 << self.size_lg2,
            "{name}: PROD {:#x} and CONS {:#x} are inconsistent (3.5.1)",
            self.produced,
            self.consumed
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrap_bit_tells_full_from_empty() {
        let queue = |produced, consumed| Queue::new(0x5000_0000 | 2, produced, consumed);
        assert!(queue(0, 0).is_empty() && queue(7, 7).is_empty() && !queue(4, 0).is_empty());
        assert!(queue(4, 0).is_full() && queue(3, 7).is_full() && !queue(3, 0).is_full());
        assert_eq!((queue(6, 0).produced_index(), queue(0, 7).consumed_index()), (2, 3));
        assert_eq!((queue(0, 0).after(3), queue(0, 0).after(7), queue(0, 0).distance(6, 1)), (4, 0, 3));
        assert_eq!(queue(0, 0).base, 0x5000_0000);
        assert_eq!([0, 1, 2, 3, 4].map(|place| queue(5, 3).holds(place)), [true, false, false, true, false]);
        assert!((0..4).all(|place| queue(4, 0).holds(place) && !queue(4, 4).holds(place)));
    }

    #[test]
    fn a_queue_of_one_entry_has_only_the_wrap_bit() {
        let queue = Queue::new(0, 1, 0);
        assert!(queue.is_full());
        assert_eq!((queue.produced_index(), queue.after(1)), (0, 0));
    }

    #[test]
    #[should_panic(expected = "inconsistent")]
    fn more_entries_than_there_are_places() {
        Queue::new(2, 5, 0).check_consistent("CMDQ");
    }
}
