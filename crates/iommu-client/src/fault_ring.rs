//! The reading end of the fault ring.
#![allow(unsafe_code)] // The page is mapped, not allocated: only its address is known.

use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};

use iommu_protocol::ring::{BYTES, CAPACITY, Header, MAGIC, Record};
use volatile::{VolatilePtr, access::ReadOnly};
use zerocopy::transmute;

const WORD: usize = 8;
const RECORD_WORDS: usize = size_of::<Record>() / WORD;
const HEADER_WORDS: usize = size_of::<Header>() / WORD;
const AT_MAGIC: usize = core::mem::offset_of!(Header, magic) / WORD;
const AT_WRITTEN: usize = core::mem::offset_of!(Header, written) / WORD;
const AT_LOST: usize = core::mem::offset_of!(Header, lost_by_hardware) / WORD;
const AT_STOPPED: usize = core::mem::offset_of!(Header, stopped) / WORD;
const AT_SEQUENCE: usize = core::mem::offset_of!(Record, sequence) / WORD;

/// The ring's page.
pub trait RingMemory {
    /// Loads the 64-bit little-endian word at `index` (in words, inside the page), in one access and before
    /// every later load.
    fn load(&self, index: usize) -> u64;
}

/// The page where it is mapped.
#[derive(Debug)]
pub struct MappedRing {
    at: NonNull<u64>,
}

impl MappedRing {
    /// The page at `at`.
    ///
    /// # Safety
    /// `at` is page-aligned and mapped readable for one page, for as long as the value lives, and nothing in
    /// this program writes it.
    pub unsafe fn new(at: NonNull<u64>) -> Self {
        assert!(at.addr().get().is_multiple_of(BYTES), "a fault ring is page-aligned");
        Self { at }
    }
}

impl RingMemory for MappedRing {
    fn load(&self, index: usize) -> u64 {
        assert!(index < BYTES / WORD, "ring word out of range");
        // SAFETY: the assertion keeps the word inside the page that `new` was promised.
        let word = unsafe { self.at.add(index) };
        // SAFETY: mapped and aligned (`new`); only the server writes it, and the access is volatile.
        let word: VolatilePtr<'_, u64, ReadOnly> = unsafe { VolatilePtr::new_read_only(word) };
        let value = u64::from_le(word.read());
        fence(Ordering::Acquire);
        value
    }
}

/// News of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The hardware stopped accesses of one of this client's devices.
    Fault(Record),
    /// This many records were overwritten before they were read.
    Lost(u64),
    /// The hardware dropped this many fault records of its own, of whichever device.
    LostByHardware(u64),
}

/// The reading end of a fault ring.
///
/// Nothing that stands in the ring can harm the reader: [`FaultRing::poll`] loads a fixed number of words and
/// returns, whatever the writer does meanwhile. It yields each record once, whole, or counts it as lost.
#[derive(Debug)]
pub struct FaultRing<M> {
    memory: M,
    next: u64,
    lost_by_hardware: u64,
}

impl<M: RingMemory> FaultRing<M> {
    /// The ring in `memory`, from its first record on.
    pub const fn new(memory: M) -> Self {
        Self { memory, next: 0, lost_by_hardware: 0 }
    }

    /// The next event, or `None` when there is no news (or no server yet).
    pub fn poll(&mut self) -> Option<Event> {
        if self.memory.load(AT_MAGIC) != MAGIC {
            return None;
        }
        let written = self.memory.load(AT_WRITTEN);
        if written < self.next {
            // Only a server that starts anew counts from zero again.
            self.next = 0;
        }
        let behind = written - self.next;
        if behind == 0 {
            return self.poll_hardware();
        }
        if let Some(lost) = behind.checked_sub(CAPACITY).filter(|&lost| lost != 0) {
            self.next += lost;
            return Some(Event::Lost(lost));
        }
        let record = self.copy(self.next);
        self.next += 1;
        Some(record.map_or(Event::Lost(1), Event::Fault))
    }

    /// The devices that are stopped after a fault storm: bit n for the one with index n on this channel.
    pub fn stopped(&self) -> u64 {
        if self.memory.load(AT_MAGIC) == MAGIC { self.memory.load(AT_STOPPED) } else { 0 }
    }

    fn poll_hardware(&mut self) -> Option<Event> {
        let lost = self.memory.load(AT_LOST);
        let before = core::mem::replace(&mut self.lost_by_hardware, lost);
        // Below what it was: a server that starts anew.
        let news = lost.checked_sub(before).unwrap_or(lost);
        (news != 0).then_some(Event::LostByHardware(news))
    }

    /// Record `number`, unless it is overwritten before it is copied.
    fn copy(&self, number: u64) -> Option<Record> {
        let first = HEADER_WORDS + (number % CAPACITY) as usize * RECORD_WORDS;
        let sequence = number.checked_add(1)?;
        if self.memory.load(first + AT_SEQUENCE) != sequence {
            return None;
        }
        let mut words = [0; RECORD_WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.memory.load(first + index);
        }
        if self.memory.load(first + AT_SEQUENCE) != sequence {
            return None;
        }
        words[AT_SEQUENCE] = sequence;
        Some(transmute!(words))
    }
}
