//! The event queue (IHI 0070, 7.2) and what its records say.

use iommu_hal::{Access, Fault, FaultReason, PhysAddr, Registers, Ring, StreamId, TableMemory};

use crate::spec::{
    events::{EVENT_BYTES, EventType, EventWord0, EventWord1},
    registers::{EventqIndex, offset},
};

/// The driver's side of the event queue.
#[derive(Debug)]
pub(crate) struct EventQueue {
    ring: Ring,
    /// The next record to read.
    cons: u32,
    /// Behind the last record that is there, as last seen.
    prod: u32,
    /// What EVENTQ_CONS.OVACKFLG was last written.
    overflow_seen: bool,
    /// How often an overflow was met.
    pub overflows: u64,
    /// Records taken out.
    pub records: u64,
    snoops: bool,
}

impl EventQueue {
    /// An empty queue of `2^log2` records at `base`.
    pub const fn new(base: PhysAddr, log2: u8, snoops: bool) -> Self {
        let ring = Ring::new(base, log2);
        Self { ring, cons: 0, prod: 0, overflow_seen: false, overflows: 0, records: 0, snoops }
    }

    /// Takes out the next record. An overflow is acknowledged when the queue is looked at anew.
    pub fn next<R: Registers, M: TableMemory>(&mut self, regs: &mut R, memory: &mut M) -> Option<[u64; 4]> {
        if self.cons == self.prod {
            let prod = EventqIndex::from(regs.read32(offset::EVENTQ_PROD));
            self.prod = self.ring.masked(prod.index());
            if prod.overflow() != self.overflow_seen {
                self.overflow_seen = prod.overflow();
                self.overflows = self.overflows.saturating_add(1);
                self.tell(regs);
            }
            if self.cons == self.prod {
                return None;
            }
        }
        let at = self.ring.entry(self.cons, EVENT_BYTES);
        if !self.snoops {
            memory.invalidate(at, EVENT_BYTES);
        }
        let record = core::array::from_fn(|word| memory.read(PhysAddr(at.0 + 8 * word as u64)));
        self.cons = self.ring.next(self.cons);
        self.records = self.records.saturating_add(1);
        self.tell(regs);
        Some(record)
    }

    fn tell<R: Registers>(&self, regs: &mut R) {
        let cons = EventqIndex::new().with_index(self.cons).with_overflow(self.overflow_seen);
        regs.write32(offset::EVENTQ_CONS, cons.into());
    }
}

/// What an event record says (7.3).
pub fn decode(raw: [u64; 4]) -> Fault {
    let (head, body) = (EventWord0::from(raw[0]), EventWord1::from(raw[1]));
    let event = head.event();
    let reason = match event {
        EventType::F_TRANSLATION => FaultReason::NotMapped,
        EventType::F_PERMISSION => FaultReason::Permission,
        EventType::F_ADDR_SIZE => FaultReason::AddressSize,
        EventType::F_WALK_EABT | EventType::F_STE_FETCH | EventType::F_CD_FETCH => FaultReason::WalkAbort,
        EventType::C_BAD_STREAMID
        | EventType::C_BAD_STE
        | EventType::C_BAD_CD
        | EventType::C_BAD_SUBSTREAMID
        | EventType::F_STREAM_DISABLED => FaultReason::StreamAborted,
        EventType(other) => FaultReason::Other(other),
    };
    let names_access = matches!(
        event,
        EventType::F_UUT
            | EventType::F_TRANSL_FORBIDDEN
            | EventType::F_WALK_EABT
            | EventType::F_TRANSLATION
            | EventType::F_ADDR_SIZE
            | EventType::F_ACCESS
            | EventType::F_PERMISSION
    );
    let access = match body.read() {
        _ if !names_access => Access::Unknown,
        true => Access::Read,
        false => Access::Write,
    };
    Fault { stream: StreamId(head.stream()), reason, iova: names_access.then_some(raw[2]), access, raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EVENTQ_PROD as a test sets it, and the last value of EVENTQ_CONS.
    struct Indices {
        prod: u32,
        cons: Option<u32>,
    }

    impl Registers for Indices {
        fn read32(&mut self, at: u32) -> u32 {
            assert_eq!(at, offset::EVENTQ_PROD);
            self.prod
        }
        fn write32(&mut self, at: u32, value: u32) {
            assert_eq!(at, offset::EVENTQ_CONS);
            self.cons = Some(value);
        }
        fn read64(&mut self, _: u32) -> u64 {
            unreachable!()
        }
        fn write64(&mut self, _: u32, _: u64) {
            unreachable!()
        }
    }

    /// Memory in which every record is empty.
    struct Blank;

    impl TableMemory for Blank {
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
    fn an_overflow_met_with_an_empty_queue_is_acknowledged_at_once_and_once() {
        let mut queue = EventQueue::new(PhysAddr(0), 2, true);
        let mut regs = Indices { prod: 0, cons: None };
        assert_eq!(queue.next(&mut regs, &mut Blank), None);
        assert_eq!(regs.cons, None, "nothing to tell");
        for (prod, cons, overflows) in [(1 << 31, 1 << 31, 1), (0, 0, 2)] {
            regs = Indices { prod, cons: None };
            assert_eq!(queue.next(&mut regs, &mut Blank), None);
            assert_eq!((regs.cons, queue.overflows), (Some(cons), overflows));
            regs.cons = None;
            assert_eq!(queue.next(&mut regs, &mut Blank), None);
            assert_eq!((regs.cons, queue.overflows), (None, overflows));
        }
    }

    #[test]
    fn an_index_that_no_unit_reports_ends_after_two_laps_at_most() {
        for prod in [7, 5, 0x000f_fff3, u32::MAX] {
            let mut queue = EventQueue::new(PhysAddr(0), 2, false);
            let mut regs = Indices { prod, cons: None };
            let taken = (0..100).take_while(|_| queue.next(&mut regs, &mut Blank).is_some()).count();
            assert!(taken < 8, "{taken} records of 4");
        }
    }

    #[test]
    fn records_of_stopped_accesses_name_address_and_access() {
        let read = u64::from(EventWord1::new().with_read(true));
        let fault = decode([0x10_0000_0010, read, 0x1234_5678, 0]);
        assert_eq!(fault.stream, StreamId(0x10));
        assert_eq!(fault.reason, FaultReason::NotMapped);
        assert_eq!((fault.iova, fault.access), (Some(0x1234_5678), Access::Read));
        let fault = decode([0xffff_ffff_0000_0013, 0, u64::MAX, 0]);
        assert_eq!((fault.stream, fault.reason), (StreamId(u32::MAX), FaultReason::Permission));
        assert_eq!((fault.iova, fault.access), (Some(u64::MAX), Access::Write));
    }

    #[test]
    fn every_type_decodes_and_only_some_have_an_address() {
        for event in 0..=u8::MAX {
            let fault = decode([u64::from(event), u64::MAX, 1, 2]);
            assert_eq!(fault.iova.is_some(), fault.access != Access::Unknown);
            let expected = match event {
                0x02 | 0x04 | 0x06 | 0x08 | 0x0a => FaultReason::StreamAborted,
                0x03 | 0x09 | 0x0b => FaultReason::WalkAbort,
                0x10 => FaultReason::NotMapped,
                0x11 => FaultReason::AddressSize,
                0x13 => FaultReason::Permission,
                other => FaultReason::Other(other),
            };
            assert_eq!(fault.reason, expected, "type {event:#x}");
            assert_eq!(fault.raw, [u64::from(event), u64::MAX, 1, 2]);
        }
    }
}
