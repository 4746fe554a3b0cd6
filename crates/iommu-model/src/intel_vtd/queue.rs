//! The invalidation queue (6.5.2, 11.4.9).

use super::{
    Vtd,
    descriptors::{Descriptor, Removes, decode},
    fault_recording::{ICE, IQE, ITE},
    global_command::QIES,
    registers::IWC,
    tlb::Scope,
};
use crate::{
    SystemMemory,
    fields::{bits, mask},
};

/// The shape of the queue.
#[derive(Debug, Clone, Copy)]
struct Queue {
    base: u64,
    bytes: u64,
    /// Bytes of a descriptor.
    step: u64,
}

impl Queue {
    /// Bytes from offset `from` on to offset `to`.
    const fn distance(&self, from: u64, to: u64) -> u64 {
        to.wrapping_sub(from) & (self.bytes - 1)
    }
}

impl Vtd {
    fn queue(&self) -> Queue {
        let address = self.registers.queue_address;
        let step = if bits(address, 11, 11) == 1 { 32 } else { 16 };
        Queue { base: address & mask(12, 63), bytes: 0x1000 << bits(address, 0, 2), step }
    }

    /// Writes IQT.
    pub(super) fn write_tail(&mut self, value: u64) {
        assert_eq!(value & !mask(4, 18), 0, "IQT {value:#x}: reserved bits set (11.4.9.2)");
        let queue = self.queue();
        if !self.registers.status.is(QIES) {
            assert_eq!(value, 0, "IQT {value:#x} written while queued invalidation is off (6.5.2)");
        } else {
            if value >= queue.bytes || !value.is_multiple_of(queue.step) {
                self.registers.faults.raise(IQE);
                return;
            }
            let (head, old) = (self.registers.queue_head, self.registers.queue_tail);
            let forward = queue.distance(head, value) >= queue.distance(head, old);
            assert!(
                forward || self.is_stopped(),
                "IQT {value:#x}: passes the head {head:#x} or moves back from {old:#x} (6.5.2)"
            );
        }
        self.registers.queue_tail = value;
    }

    const fn is_stopped(&self) -> bool {
        self.registers.faults.any(IQE | ITE)
    }

    /// Panics where the CPU stores to a descriptor that the unit may be reading.
    pub(super) fn check_descriptor_store(&self, at: u64) {
        let queue = self.queue();
        if !self.registers.status.is(QIES) || self.is_stopped() {
            return;
        }
        if let Some(offset) = at.checked_sub(queue.base)
            && offset < queue.bytes
        {
            let (head, tail) = (self.registers.queue_head, self.registers.queue_tail);
            let place = queue.distance(head, offset);
            assert!(
                place >= queue.distance(head, tail),
                "store to {at:#x}: the descriptor there belongs to the unit until IQH has passed it (6.5.2)"
            );
        }
    }

    /// Takes descriptors while there are any and nothing is slow.
    pub(super) fn run_queue(&mut self, memory: &mut SystemMemory) {
        while self.faults.reads_per_descriptor == 0 && self.take_descriptor(memory) {}
    }

    /// Takes one after so many reads, where the unit is slow.
    pub(super) fn run_slowly(&mut self, memory: &mut SystemMemory) {
        let limit = self.faults.reads_per_descriptor;
        if limit == 0 {
            return self.run_queue(memory);
        }
        self.reads_since_descriptor += 1;
        if self.reads_since_descriptor >= limit {
            self.reads_since_descriptor = 0;
            self.take_descriptor(memory);
        }
    }

    /// Whether a descriptor was taken.
    fn take_descriptor(&mut self, memory: &mut SystemMemory) -> bool {
        let (head, tail) = (self.registers.queue_head, self.registers.queue_tail);
        if !self.registers.status.is(QIES) || self.is_stopped() || head == tail {
            return false;
        }
        let queue = self.queue();
        assert!(
            !self.is_scalable() || queue.step == 32,
            "the queue has 128-bit descriptors in scalable mode, which takes 256-bit ones (6.5.2)"
        );
        let Some(descriptor) = self.fetch_descriptor(memory, &queue, head) else {
            self.registers.faults.raise(IQE);
            return false;
        };
        let next = (head + queue.step) & (queue.bytes - 1);
        match descriptor {
            Descriptor::Invalidate(removes) => self.take(memory, removes),
            Descriptor::Wait { .. } if self.faults.stands_still() => {
                self.looks_at_standstill = self.looks_at_standstill.saturating_add(1);
                return false;
            }
            Descriptor::Wait { .. } if std::mem::take(&mut self.faults.next_wait_times_out) => {
                self.registers.queue_head = next;
                self.looks_at_standstill = 0;
                self.registers.faults.raise(ITE);
                return false;
            }
            Descriptor::Wait { interrupt, status } => self.finish_wait(memory, interrupt, status),
        }
        self.registers.queue_head = next;
        self.looks_at_standstill = 0;
        self.observed.descriptors_taken += 1;
        true
    }

    fn fetch_descriptor(&mut self, memory: &SystemMemory, queue: &Queue, head: u64) -> Option<Descriptor> {
        let mut words = [0; 4];
        for (word, place) in (0..).zip(&mut words[..(queue.step / 8) as usize]) {
            *place = memory.fetch_snooped(queue.base + head + 8 * word, self.config.write_buffer)?;
        }
        if self.faults.next_descriptor_fails {
            if self.faults.descriptors_before_failure == 0 {
                self.faults.next_descriptor_fails = false;
                return None;
            }
            self.faults.descriptors_before_failure -= 1;
        }
        let descriptor = decode(&self.config, self.is_scalable(), words).ok()?;
        if let Descriptor::Invalidate(Removes::Translations(scope)) = descriptor {
            self.check_drain(scope, bits(words[0], 6, 7));
        }
        Some(descriptor)
    }

    /// Panics where an invalidation lets accesses that are under way land after it (6.5.4).
    pub(super) fn check_drain(&self, scope: Scope, drains: u64) {
        assert!(
            !self.config.drains || drains == 0b11 || !self.registers.is_translating(),
            "IOTLB invalidation {scope:x?} without DR and DW: what is under way may still land (6.5.4)"
        );
    }

    fn finish_wait(&mut self, memory: &mut SystemMemory, interrupt: bool, status: Option<(u64, u32)>) {
        self.complete(memory, |_| true);
        self.observed.waits_completed += 1;
        if let Some((at, value)) = status
            && !memory.deposit_snooped(at, value)
        {
            self.registers.faults.raise(ICE);
        }
        if interrupt && self.registers.completion & IWC == 0 {
            self.registers.completion |= IWC;
            self.registers.completion_event.raise();
        }
    }
}
