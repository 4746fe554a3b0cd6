//! Table memory that remembers what was done to it.

use std::cell::Cell;

use iommu_hal::{PhysAddr, TableMemory};

/// Where the memory lies; not 0, so that a lost base shows.
pub const BASE: u64 = 0x9000_0000;

/// One thing done to the memory, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Store { at: u64, value: u64 },
    Publish,
    Clean { at: u64, bytes: u64 },
}

/// The memory. It begins with what a walker would take for tables and mappings.
pub struct Ram {
    pub words: Vec<u64>,
    pub log: Vec<Event>,
    pub reads: Cell<u64>,
}

impl Ram {
    pub fn new(frames: u64) -> Self {
        let words = (0..frames * 512)
            .map(|word| match word % 3 {
                0 => BASE + (word * 0x1000) % (frames * 0x1000) + 3,
                1 => 0x40_0000_0000 | (word << 12) | 0x7ff,
                _ => 0x6000_0000_07fd,
            })
            .collect();
        Self { words, log: Vec::new(), reads: Cell::new(0) }
    }

    pub fn writes(&self) -> u64 {
        self.log.iter().filter(|event| matches!(event, Event::Store { .. })).count() as u64
    }

    fn word(&self, at: PhysAddr) -> usize {
        assert!(at.0.is_multiple_of(8) && at.0 >= BASE, "{at:?}");
        ((at.0 - BASE) / 8) as usize
    }
}

impl TableMemory for Ram {
    fn base(&self) -> PhysAddr {
        PhysAddr(BASE)
    }

    fn bytes(&self) -> u64 {
        8 * self.words.len() as u64
    }

    fn read(&self, at: PhysAddr) -> u64 {
        self.reads.set(self.reads.get() + 1);
        self.words[self.word(at)]
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        let word = self.word(at);
        self.words[word] = value;
        self.log.push(Event::Store { at: at.0, value });
    }

    fn publish(&mut self) {
        self.log.push(Event::Publish);
    }

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        self.log.push(Event::Clean { at: at.0, bytes });
    }

    fn invalidate(&mut self, _at: PhysAddr, _bytes: u64) {
        unreachable!("nobody else stores to tables");
    }
}
