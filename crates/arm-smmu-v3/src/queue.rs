//! The command queue in memory (IHI 0070, 3.5).

use iommu_hal::{PhysAddr, Ring, TableMemory};

use crate::spec::commands::{COMMAND_BYTES, Command};

/// The driver's side of the command queue.
#[derive(Debug)]
pub(crate) struct CommandQueue {
    ring: Ring,
    /// Where the next command goes.
    prod: u32,
    /// Entries that are free, as last seen.
    free: u32,
    /// What the unit was last told.
    rung: u32,
    clean: bool,
}

impl CommandQueue {
    /// An empty queue of `2^log2` entries at `base`; `clean` for a unit that does not snoop.
    pub const fn new(base: PhysAddr, log2: u8, clean: bool) -> Self {
        let ring = Ring::new(base, log2);
        Self { ring, prod: 0, free: ring.entries(), rung: 0, clean }
    }

    /// Whether no entry is free, as far as was seen.
    pub const fn full(&self) -> bool {
        self.free == 0
    }

    /// Whether everything stored was consumed, as far as was seen.
    pub const fn drained(&self) -> bool {
        self.free == self.ring.entries()
    }

    /// Takes note of CMDQ_CONS.RD. A position that no unit reports counts as nothing consumed.
    pub const fn consumed(&mut self, rd: u32) {
        self.free = self.ring.entries().saturating_sub(self.ring.masked(self.prod.wrapping_sub(rd)));
    }

    /// Where the next command goes.
    pub const fn position(&self) -> u32 {
        self.prod
    }

    /// Commands stored since [`CommandQueue::position`] was `before`.
    pub const fn since(&self, before: u32) -> u32 {
        self.ring.masked(self.prod.wrapping_sub(before))
    }

    /// Takes no more commands.
    pub const fn close(&mut self) {
        self.free = 0;
    }

    /// Stores a command in a free entry.
    #[inline]
    pub fn store<M: TableMemory>(&mut self, memory: &mut M, command: Command) {
        self.free -= 1;
        self.put(memory, self.prod, command);
        self.prod = self.ring.next(self.prod);
    }

    /// Stores a command over the one at `rd`, at which the unit has stopped.
    pub fn overwrite<M: TableMemory>(&mut self, memory: &mut M, rd: u32, command: Command) {
        self.put(memory, rd, command);
        memory.publish();
    }

    /// The value of CMDQ_PROD that tells the unit of everything stored; `None` when it knows.
    #[inline]
    pub fn ring<M: TableMemory>(&mut self, memory: &mut M) -> Option<u32> {
        if self.rung == self.prod {
            return None;
        }
        memory.publish();
        self.rung = self.prod;
        Some(self.prod)
    }

    #[inline]
    fn put<M: TableMemory>(&self, memory: &mut M, position: u32, command: Command) {
        let at = self.ring.entry(position, COMMAND_BYTES);
        memory.write(at, command.0[0]);
        memory.write(PhysAddr(at.0 + 8), command.0[1]);
        if self.clean {
            memory.clean(at, COMMAND_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl TableMemory for Nowhere {
        fn base(&self) -> PhysAddr {
            PhysAddr(0)
        }
        fn bytes(&self) -> u64 {
            0
        }
        fn read(&self, _: PhysAddr) -> u64 {
            0
        }
        fn write(&mut self, _: PhysAddr, _: u64) {}
        fn publish(&mut self) {}
        fn clean(&mut self, _: PhysAddr, _: u64) {}
        fn invalidate(&mut self, _: PhysAddr, _: u64) {}
    }

    #[test]
    fn full_and_drained_differ_by_the_wrap_bit_alone() {
        for log2 in 0..=4 {
            let mut queue = CommandQueue::new(PhysAddr(0x1000), log2, false);
            for lap in 0..5 {
                for _ in 0..1 << log2 {
                    assert!(!queue.full());
                    queue.store(&mut Nowhere, Command::SYNC);
                    assert!(!queue.drained());
                }
                assert!(queue.full(), "lap {lap} of {} entries", 1 << log2);
                let rd = queue.ring(&mut Nowhere).unwrap();
                assert_eq!(queue.ring(&mut Nowhere), None);
                queue.consumed(rd);
                assert!(queue.drained() && !queue.full());
            }
        }
    }

    #[test]
    fn a_position_that_no_unit_reports_counts_as_full() {
        let mut queue = CommandQueue::new(PhysAddr(0x1000), 2, false);
        queue.consumed(1);
        assert!(queue.full() && !queue.drained());
        queue.consumed(0xffff_fff0);
        assert!(!queue.full() && queue.drained(), "bits above index and wrap do not count");
        queue.close();
        assert!(queue.full() && !queue.drained());
    }
}
