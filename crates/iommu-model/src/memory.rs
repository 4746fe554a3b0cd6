//! The machine's memory: the region that holds tables and queues, and the RAM that devices access.
//!
//! The table region exists twice: as the CPU sees it and as the unit sees it. What joins the two is what the
//! contract of [`iommu_hal::TableMemory`] names, at the latest moment that it allows.

use std::collections::{BTreeSet, HashMap};

use iommu_hal::FRAME_BYTES;

/// Bytes of a cache line of the modelled CPU.
pub const LINE_BYTES: u64 = 64;

const WORDS_PER_LINE: u64 = LINE_BYTES / 8;

/// A word of the table region that has changed for the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its physical address.
    pub at: u64,
    /// What the unit saw before.
    pub old: u64,
}

/// The memory behind one unit.
#[derive(Debug)]
pub struct SystemMemory {
    base: u64,
    /// The table region as the CPU loads it.
    cpu: Vec<u64>,
    /// The table region as the unit loads it.
    ram: Vec<u64>,
    snooped: bool,
    /// Words stored and not yet published, in order of the stores; for a unit that snoops.
    unpublished: Vec<usize>,
    /// Lines stored to and not yet cleaned; for a unit that does not snoop.
    dirty: BTreeSet<u64>,
    /// RAM outside the table region; a page that nobody touched reads as zero.
    pages: HashMap<u64, Box<[u8; FRAME_BYTES as usize]>>,
    /// Memory of somebody else's tables, which the unit may walk too: first address, last address.
    foreign_tables: Vec<(u64, u64)>,
    /// Addresses at which the bus aborts the unit's own accesses: first address, last address.
    aborting: Vec<(u64, u64)>,
}

impl SystemMemory {
    pub(crate) fn new(base: u64, bytes: u64, snooped: bool) -> Self {
        assert!(base.is_multiple_of(FRAME_BYTES) && bytes.is_multiple_of(FRAME_BYTES));
        let words = (bytes / 8) as usize;
        Self {
            base,
            cpu: vec![0; words],
            ram: vec![0; words],
            snooped,
            unpublished: Vec::new(),
            dirty: BTreeSet::new(),
            pages: HashMap::new(),
            foreign_tables: Vec::new(),
            aborting: Vec::new(),
        }
    }

    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    pub(crate) const fn bytes(&self) -> u64 {
        8 * self.ram.len() as u64
    }

    fn index(&self, at: u64) -> usize {
        self.table_index(at).unwrap_or_else(|| panic!("{at:#x} is misaligned or outside the table region"))
    }

    fn table_index(&self, at: u64) -> Option<usize> {
        let offset = at.checked_sub(self.base)?;
        (at.is_multiple_of(8) && offset < self.bytes()).then_some((offset / 8) as usize)
    }

    fn line(index: usize) -> u64 {
        index as u64 / WORDS_PER_LINE
    }

    // What the CPU does.

    pub(crate) fn load(&self, at: u64) -> u64 {
        self.cpu[self.index(at)]
    }

    /// Stores `value`; the answer is what the CPU saw there before.
    pub(crate) fn store(&mut self, at: u64, value: u64) -> u64 {
        let index = self.index(at);
        if self.snooped {
            self.unpublished.push(index);
        } else {
            self.dirty.insert(Self::line(index));
        }
        std::mem::replace(&mut self.cpu[index], value)
    }

    pub(crate) fn publish(&mut self) -> Vec<Change> {
        let stored = std::mem::take(&mut self.unpublished);
        stored.into_iter().filter_map(|index| self.reveal(index)).collect()
    }

    fn reveal(&mut self, index: usize) -> Option<Change> {
        let old = std::mem::replace(&mut self.ram[index], self.cpu[index]);
        (old != self.cpu[index]).then_some(Change { at: self.base + 8 * index as u64, old })
    }

    fn lines(&self, at: u64, bytes: u64) -> std::ops::Range<u64> {
        let offset = at.checked_sub(self.base).expect("cache maintenance below the table region");
        assert!(bytes <= self.bytes() && offset <= self.bytes() - bytes, "cache maintenance past the region");
        if bytes == 0 { 0..0 } else { offset / LINE_BYTES..(offset + bytes - 1) / LINE_BYTES + 1 }
    }

    pub(crate) fn clean(&mut self, at: u64, bytes: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for line in self.lines(at, bytes) {
            if self.dirty.remove(&line) {
                let first = (line * WORDS_PER_LINE) as usize;
                changes
                    .extend((first..first + WORDS_PER_LINE as usize).filter_map(|index| self.reveal(index)));
            }
        }
        changes
    }

    pub(crate) fn invalidate(&mut self, at: u64, bytes: u64) {
        for line in self.lines(at, bytes) {
            assert!(
                !self.dirty.contains(&line),
                "invalidation of line {line}, which holds stores not yet cleaned"
            );
            if !self.snooped {
                let first = (line * WORDS_PER_LINE) as usize;
                let words = first..first + WORDS_PER_LINE as usize;
                self.cpu[words.clone()].copy_from_slice(&self.ram[words]);
            }
        }
    }

    /// Whether the unit sees `words` words from `at` as the CPU stored them.
    pub(crate) fn is_settled(&self, at: u64, words: usize) -> bool {
        match self.table_index(at) {
            Some(first) => self.cpu[first..first + words] == self.ram[first..first + words],
            None => true,
        }
    }

    /// The word at `at` as the CPU last stored it.
    pub(crate) fn stored_word(&self, at: u64) -> Option<u64> {
        match self.table_index(at) {
            Some(index) => Some(self.cpu[index]),
            None => self.fetch(at),
        }
    }

    // What the unit does.

    fn aborts(&self, at: u64) -> bool {
        self.aborting.iter().any(|&(first, last)| first <= at && at <= last)
    }

    /// The unit's own load of a word: a table entry, a command. `None`: external abort.
    pub(crate) fn fetch(&self, at: u64) -> Option<u64> {
        if self.aborts(at) {
            return None;
        }
        if let Some(index) = self.table_index(at) {
            return Some(self.ram[index]);
        }
        let foreign = self.foreign_tables.iter().any(|&(first, last)| first <= at && at <= last);
        foreign.then(|| {
            let mut bytes = [0; 8];
            self.peek(at, &mut bytes);
            u64::from_le_bytes(bytes)
        })
    }

    /// The unit's own load of a 64-byte structure.
    pub(crate) fn fetch_entry(&self, at: u64) -> Option<[u64; 8]> {
        let mut entry = [0; 8];
        for (word, place) in (0..).zip(entry.iter_mut()) {
            *place = self.fetch(at + 8 * word)?;
        }
        Some(entry)
    }

    /// The 64-byte structure at `at` as the CPU last stored it.
    pub(crate) fn stored_entry(&self, at: u64) -> Option<[u64; 8]> {
        match self.table_index(at) {
            Some(first) => self.cpu[first..first + 8].try_into().ok(),
            None => self.fetch_entry(at),
        }
    }

    /// The unit's own store of a word: an event record. `false`: external abort, nothing stored.
    pub(crate) fn deposit(&mut self, at: u64, value: u64) -> bool {
        if self.aborts(at) {
            return false;
        }
        match self.table_index(at) {
            Some(index) => {
                assert!(
                    !self.dirty.contains(&Self::line(index)) && !self.unpublished.contains(&index),
                    "the unit stores to {at:#x}, where the CPU holds stores not yet cleaned or published: a later \
                     write-back would destroy the record"
                );
                self.ram[index] = value;
                if self.snooped {
                    self.cpu[index] = value;
                }
            }
            None => self.poke(at, &value.to_le_bytes()),
        }
        true
    }

    // What a unit does with memory that it always snoops, whether or not it snoops for its tables.

    /// The unit's own load of a word that it snoops for. In a region that it snoops for its tables too, it sees
    /// what is published, unless the stores can still be `held` up on their way to the tables.
    pub(crate) fn fetch_snooped(&self, at: u64, held: bool) -> Option<u64> {
        match self.table_index(at) {
            Some(index) if !self.aborts(at) && (held || !self.snooped) => Some(self.cpu[index]),
            _ => self.fetch(at),
        }
    }

    /// The unit's own store of four bytes, seen by the CPU at once. `false`: external abort, nothing stored.
    pub(crate) fn deposit_snooped(&mut self, at: u64, value: u32) -> bool {
        if self.aborts(at) {
            return false;
        }
        self.poke(at, &value.to_le_bytes());
        if let Some(index) = self.table_index(at & !7) {
            let mut word = self.cpu[index].to_le_bytes();
            word[(at & 7) as usize..][..4].copy_from_slice(&value.to_le_bytes());
            self.cpu[index] = u64::from_le_bytes(word);
        }
        true
    }

    // What devices do, and tests by the back door.

    /// Loads bytes from `at`, as the bus sees them.
    pub fn peek(&self, at: u64, bytes: &mut [u8]) {
        for (at, byte) in (at..).zip(bytes) {
            *byte = match self.table_index(at & !7) {
                Some(index) => self.ram[index].to_le_bytes()[(at & 7) as usize],
                None => {
                    self.pages.get(&(at / FRAME_BYTES)).map_or(0, |page| page[(at % FRAME_BYTES) as usize])
                }
            };
        }
    }

    /// Stores bytes from `at`, as a bus master does.
    pub fn poke(&mut self, at: u64, bytes: &[u8]) {
        for (at, &byte) in (at..).zip(bytes) {
            match self.table_index(at & !7) {
                Some(index) => {
                    let mut word = self.ram[index].to_le_bytes();
                    word[(at & 7) as usize] = byte;
                    self.ram[index] = u64::from_le_bytes(word);
                    if self.snooped {
                        self.cpu[index] = self.ram[index];
                    }
                }
                None => {
                    let page = self.pages.entry(at / FRAME_BYTES);
                    page.or_insert_with(|| Box::new([0; FRAME_BYTES as usize]))
                        [(at % FRAME_BYTES) as usize] = byte;
                }
            }
        }
    }

    /// Lets the unit walk tables at `first..=last`, outside the table region.
    pub(crate) fn allow_foreign_tables(&mut self, first: u64, last: u64) {
        self.foreign_tables.push((first, last));
    }

    /// Makes the bus abort the unit's own accesses at `first..=last`: fetches and event records.
    pub fn abort_at(&mut self, first: u64, last: u64) {
        self.aborting.push((first, last));
    }

    /// Takes back every [`SystemMemory::abort_at`].
    pub fn abort_nowhere(&mut self) {
        self.aborting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snooping_unit_sees_stores_once_published_and_in_one_access() {
        let mut memory = SystemMemory::new(0x1000, 0x1000, true);
        memory.store(0x1008, 5);
        assert_eq!((memory.load(0x1008), memory.fetch(0x1008)), (5, Some(0)));
        assert_eq!(memory.publish(), [Change { at: 0x1008, old: 0 }]);
        assert_eq!(memory.fetch(0x1008), Some(5));
        assert!(memory.deposit(0x1010, 7));
        assert_eq!(memory.load(0x1010), 7);
    }

    #[test]
    fn a_unit_that_does_not_snoop_sees_lines_once_cleaned() {
        let mut memory = SystemMemory::new(0x1000, 0x1000, false);
        memory.store(0x1038, 5);
        memory.store(0x1040, 6);
        assert!(memory.publish().is_empty());
        assert_eq!(memory.fetch(0x1038), Some(0));
        memory.clean(0x103f, 1);
        assert_eq!((memory.fetch(0x1038), memory.fetch(0x1040)), (Some(5), Some(0)));
        memory.deposit(0x1080, 9);
        assert_eq!(memory.load(0x1080), 0);
        memory.invalidate(0x1080, 8);
        assert_eq!(memory.load(0x1080), 9);
    }

    #[test]
    #[should_panic(expected = "not yet cleaned")]
    fn a_line_with_stores_cannot_be_invalidated() {
        let mut memory = SystemMemory::new(0x1000, 0x1000, false);
        memory.store(0x1000, 5);
        memory.invalidate(0x1000, 64);
    }

    #[test]
    #[should_panic(expected = "would destroy the record")]
    fn the_unit_cannot_store_under_a_dirty_line() {
        let mut memory = SystemMemory::new(0x1000, 0x1000, false);
        memory.store(0x1000, 0);
        memory.deposit(0x1008, 9);
    }

    #[test]
    fn ram_is_sparse_and_aborts_are_for_the_unit_alone() {
        let mut memory = SystemMemory::new(0x1000, 0x1000, true);
        memory.poke(0x7fff_fffe, &[1, 2, 3]);
        let mut bytes = [9; 4];
        memory.peek(0x7fff_fffd, &mut bytes);
        assert_eq!(bytes, [0, 1, 2, 3]);
        assert_eq!(memory.fetch(0x7fff_fff8), None);
        memory.abort_at(0x1000, 0x1007);
        assert_eq!((memory.fetch(0x1000), memory.fetch(0x1008)), (None, Some(0)));
        assert!(!memory.deposit(0x1000, 1));
        memory.abort_nowhere();
        assert!(memory.deposit(0x1000, 1));
    }
}
