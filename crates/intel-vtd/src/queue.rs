//! The invalidation queue in memory (6.5.2).

use iommu_hal::{PhysAddr, Ring, TableMemory};

use crate::spec::{
    descriptors::{DESCRIPTOR_BYTES, Descriptor},
    registers::QueueAddress,
};

/// Base-2 logarithm of the queue's bytes: one page.
const BYTES_LOG2: u8 = 12;

/// The driver's side of the invalidation queue. The unit always snoops it and where it stores its answers (11.4,
/// ECAP.C), so nothing here is cleaned.
#[derive(Debug)]
pub(crate) struct InvalidationQueue {
    ring: Ring,
    base: PhysAddr,
    /// Descriptors of 256 bits.
    wide: bool,
    /// Where the next descriptor goes.
    tail: u32,
    /// Entries that are free, as last seen. One always stays empty: a full queue would look like an empty one.
    free: u32,
    /// What the unit was last told.
    rung: u32,
    /// Descriptors stored since bring-up, modulo 2^32.
    stored: u32,
    /// Where waits store their status.
    status: PhysAddr,
    /// What the last wait stores.
    last_wait: u32,
}

impl InvalidationQueue {
    /// Bytes of the queue.
    #[cfg(test)]
    const BYTES: u64 = 1 << BYTES_LOG2;

    /// An empty queue at `base`, with zeroed memory for the status at `status`.
    pub const fn new(base: PhysAddr, status: PhysAddr, wide: bool) -> Self {
        let ring = Ring::new(base, BYTES_LOG2 - if wide { 5 } else { 4 });
        Self { ring, base, wide, tail: 0, free: ring.entries() - 1, rung: 0, stored: 0, status, last_wait: 0 }
    }

    /// IQA_REG for this queue.
    pub const fn address(&self) -> QueueAddress {
        QueueAddress::new().with_wide(self.wide).with_address_12(self.base.0 >> 12)
    }

    /// How many descriptors it holds.
    pub const fn capacity(&self) -> u32 {
        self.ring.entries() - 1
    }

    const fn entry_bytes(&self) -> u64 {
        if self.wide { 2 * DESCRIPTOR_BYTES } else { DESCRIPTOR_BYTES }
    }

    /// Whether no entry is free, as far as was seen.
    pub const fn full(&self) -> bool {
        self.free == 0
    }

    /// Whether everything stored was taken, as far as was seen. What was taken need not be complete.
    pub const fn drained(&self) -> bool {
        self.free == self.capacity()
    }

    /// Whether the last wait has completed, and so all before it.
    pub fn completed<M: TableMemory>(&self, memory: &M) -> bool {
        memory.read(self.status) as u32 == self.last_wait
    }

    /// Takes note that the last wait has completed: all before it was taken, and itself.
    pub const fn all_taken(&mut self) {
        self.free = self.capacity();
    }

    /// Takes note of IQH_REG.
    pub const fn taken(&mut self, head: u64) {
        let head = (head / self.entry_bytes()) as u32;
        self.free = self.capacity() - self.ring.index(self.tail.wrapping_sub(head));
    }

    /// Descriptors stored since bring-up, modulo 2^32.
    pub const fn stored(&self) -> u32 {
        self.stored
    }

    /// Takes no more descriptors.
    pub const fn close(&mut self) {
        self.free = 0;
    }

    /// Stores a descriptor in a free entry.
    #[inline(always)] // Twice on the way of every UNMAP.
    pub fn store<M: TableMemory>(&mut self, memory: &mut M, descriptor: Descriptor) {
        self.free -= 1;
        self.put(memory, self.ring.entry(self.tail, self.entry_bytes()), descriptor);
        self.tail = self.ring.next(self.tail);
        self.stored = self.stored.wrapping_add(1);
    }

    /// Stores a wait in a free entry.
    #[inline(always)]
    pub fn store_wait<M: TableMemory>(&mut self, memory: &mut M) {
        self.last_wait = self.last_wait.wrapping_add(1);
        self.store(memory, Descriptor::wait(self.status.0, self.last_wait));
    }

    /// Puts what does nothing in the place of the descriptor at `head`, at which the unit has stopped: a wait that
    /// stores what is there.
    pub fn overwrite<M: TableMemory>(&mut self, memory: &mut M, head: u64) {
        let index = (head / self.entry_bytes()) as u32;
        let nothing = Descriptor::wait(self.status.0, memory.read(self.status) as u32);
        self.put(memory, self.ring.entry(index, self.entry_bytes()), nothing);
        memory.publish();
    }

    /// IQT_REG that tells the unit of everything stored; `None` when it knows.
    #[inline]
    pub fn ring<M: TableMemory>(&mut self, memory: &mut M) -> Option<u64> {
        if self.rung == self.tail {
            return None;
        }
        memory.publish();
        self.rung = self.tail;
        Some(self.rung_tail())
    }

    /// IQT_REG as the unit was last told.
    pub const fn rung_tail(&self) -> u64 {
        self.ring.index(self.rung) as u64 * self.entry_bytes()
    }

    #[inline(always)]
    fn put<M: TableMemory>(&self, memory: &mut M, at: PhysAddr, descriptor: Descriptor) {
        memory.write(at, descriptor.0[0]);
        memory.write(PhysAddr(at.0 + 8), descriptor.0[1]);
        if self.wide {
            memory.write(PhysAddr(at.0 + 16), 0);
            memory.write(PhysAddr(at.0 + 24), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;

    struct Ram(Vec<u64>);

    impl TableMemory for Ram {
        fn base(&self) -> PhysAddr {
            PhysAddr(0)
        }
        fn bytes(&self) -> u64 {
            8 * self.0.len() as u64
        }
        fn read(&self, at: PhysAddr) -> u64 {
            self.0[at.0 as usize / 8]
        }
        fn write(&mut self, at: PhysAddr, value: u64) {
            self.0[at.0 as usize / 8] = value;
        }
        fn publish(&mut self) {}
        fn clean(&mut self, _: PhysAddr, _: u64) {}
        fn invalidate(&mut self, _: PhysAddr, _: u64) {}
    }

    fn queue(wide: bool) -> (Ram, InvalidationQueue) {
        (Ram(vec![0; 1024]), InvalidationQueue::new(PhysAddr(0x1000), PhysAddr(0x800), wide))
    }

    #[test]
    fn a_full_queue_leaves_one_entry_empty_at_every_place() {
        for wide in [false, true] {
            let (mut ram, mut queue) = queue(wide);
            let bytes = if wide { 32 } else { 16 };
            assert_eq!(u64::from(queue.capacity() + 1) * bytes, InvalidationQueue::BYTES);
            let mut head = 0;
            for lap in 0..5 {
                // Not a divisor of the queue's size, so that laps end everywhere.
                for _ in 0..queue.capacity() - lap {
                    queue.store(&mut ram, Descriptor::CONTEXT_ALL);
                    assert!(!queue.drained());
                }
                assert_eq!(queue.full(), lap == 0);
                let tail = queue.ring(&mut ram).unwrap();
                assert_eq!(queue.ring(&mut ram), None);
                assert!(tail < InvalidationQueue::BYTES && tail % bytes == 0);
                queue.taken(head);
                assert_eq!(queue.full(), lap == 0, "nothing was taken");
                head = tail;
                queue.taken(head);
                assert!(queue.drained() && !queue.full());
            }
            queue.close();
            assert!(queue.full() && !queue.drained());
        }
    }

    #[test]
    fn any_head_that_a_unit_may_report_leaves_a_sound_count() {
        for wide in [false, true] {
            let (mut ram, mut queue) = queue(wide);
            for _ in 0..10 {
                queue.store_wait(&mut ram);
            }
            for head in [0, 16, 0x50, 0xff0, 0x1000, u64::MAX] {
                queue.taken(head);
                assert!(queue.free <= queue.capacity());
                queue.overwrite(&mut ram, head);
            }
        }
    }

    #[test]
    fn a_wait_is_complete_when_its_own_status_is_there() {
        let (mut ram, mut queue) = queue(false);
        assert!(queue.completed(&ram), "nothing is waited for");
        queue.store_wait(&mut ram);
        queue.store_wait(&mut ram);
        for (status, done) in [(0, false), (1, false), (0xdead_0000_0001, false), (0xdead_0000_0002, true)] {
            ram.write(PhysAddr(0x800), status);
            assert_eq!(queue.completed(&ram), done);
        }
        assert_eq!(ram.0[0x1010 / 8], 0x2_0000_0065);
        queue.overwrite(&mut ram, 16);
        assert_eq!(ram.0[0x1010 / 8], 0x2_0000_0065, "stores what is there");
    }
}
