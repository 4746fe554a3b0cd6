//! Faults on their way to the drivers: coalescing, and the rings that carry them.

use core::sync::atomic::{Ordering, fence};

use iommu_hal::{Access, Fault, FaultReason, SharedPage, StreamId};
use iommu_protocol::ring::{self, access, reason};

/// Base-2 logarithm of the page within which faults alike become one record.
const COALESCE_LG2: u32 = 12;

const HEADER_WRITTEN: usize = 1;
const HEADER_LOST: usize = 2;
const HEADER_STOPPED: usize = 3;
const RECORD_WORDS: usize = size_of::<ring::Record>() / 8;

/// The writing end of one client's fault ring ([`ring`]).
#[derive(Debug)]
pub struct RingWriter<P> {
    page: P,
    written: u64,
    stopped: u64,
}

impl<P: SharedPage> RingWriter<P> {
    /// Makes `page` an empty ring.
    pub fn new(mut page: P) -> Self {
        for word in 0..ring::BYTES / 8 {
            page.write(word, 0);
        }
        fence(Ordering::Release);
        page.write(0, ring::MAGIC);
        Self { page, written: 0, stopped: 0 }
    }

    /// Appends a record, over the oldest when the ring is full. Its `sequence` is filled in here.
    pub fn push(&mut self, record: &ring::Record) {
        let index = (self.written % ring::CAPACITY) as usize;
        let at = size_of::<ring::Header>() / 8 + index * RECORD_WORDS;
        self.page.write(at, 0);
        fence(Ordering::Release);
        let ring::Record { sequence: _, iova, count, what, stream, time_ns, raw } = *record;
        for (word, value) in [iova, count, what, stream, time_ns, raw[0], raw[1]].into_iter().enumerate() {
            self.page.write(at + 1 + word, value);
        }
        self.written += 1;
        fence(Ordering::Release);
        self.page.write(at, self.written);
        fence(Ordering::Release);
        self.page.write(HEADER_WRITTEN, self.written);
    }

    /// Records written so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Says whether the device that this client knows as `device`, below 64, is stopped after a storm.
    pub fn set_stopped(&mut self, device: u16, stopped: bool) {
        let bit = 1_u64.checked_shl(device.into()).unwrap_or(0);
        let mask = if stopped { self.stopped | bit } else { self.stopped & !bit };
        if mask != self.stopped {
            self.stopped = mask;
            self.page.write(HEADER_STOPPED, mask);
        }
    }

    /// Says how many faults the hardware has dropped so far.
    pub fn set_lost(&mut self, lost: u64) {
        self.page.write(HEADER_LOST, lost);
    }
}

/// Faults alike, in a row: what becomes one record.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    first: Fault,
    count: u64,
    time_ns: u64,
}

impl Burst {
    /// A burst of one.
    pub const fn new(fault: Fault, time_ns: u64) -> Self {
        Self { first: fault, count: 1, time_ns }
    }

    /// The device.
    pub const fn stream(&self) -> StreamId {
        self.first.stream
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// When the first was read.
    pub const fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// Takes `fault` in, if it is like the others: same device, rule, access and page.
    pub fn absorb(&mut self, fault: &Fault) -> bool {
        let page = |iova: Option<u64>| iova.map(|iova| iova >> COALESCE_LG2);
        let alike = self.first.stream == fault.stream
            && self.first.reason == fault.reason
            && self.first.access == fault.access
            && page(self.first.iova) == page(fault.iova);
        if alike {
            self.count += 1;
        }
        alike
    }

    /// The record that says that the device was stopped, after `count` faults of which these are the last.
    pub fn storm(&self, device: u16, count: u64) -> ring::Record {
        let record = self.record(device);
        let what = ring::Record::pack(device, reason::STORM, record.access(), self.first.iova.is_some());
        ring::Record { what, count, ..record }
    }

    /// The record, for the client that knows the device as `device`.
    pub fn record(&self, device: u16) -> ring::Record {
        let fault = &self.first;
        ring::Record {
            sequence: 0,
            iova: fault.iova.unwrap_or(0),
            count: self.count,
            what: ring::Record::pack(
                device,
                reason_code(fault.reason),
                access_code(fault.access),
                fault.iova.is_some(),
            ),
            stream: fault.stream.0.into(),
            time_ns: self.time_ns,
            raw: [fault.raw[0], fault.raw[1]],
        }
    }
}

const fn reason_code(why: FaultReason) -> u16 {
    match why {
        FaultReason::NotMapped => reason::NOT_MAPPED,
        FaultReason::Permission => reason::PERMISSION,
        FaultReason::AddressSize => reason::ADDRESS_SIZE,
        FaultReason::WalkAbort => reason::WALK_ABORT,
        FaultReason::StreamAborted => reason::STREAM_ABORTED,
        FaultReason::Other(code) => reason::OTHER | code as u16,
    }
}

const fn access_code(wanted: Access) -> u8 {
    match wanted {
        Access::Read => access::READ,
        Access::Write => access::WRITE,
        Access::Unknown => access::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Page([u64; ring::BYTES / 8]);

    impl SharedPage for &mut Page {
        fn write(&mut self, index: usize, value: u64) {
            self.0[index] = value;
        }
    }

    fn fault(iova: u64) -> Fault {
        Fault {
            stream: StreamId(16),
            reason: FaultReason::NotMapped,
            iova: Some(iova),
            access: Access::Write,
            raw: [1, 2, 3, 4],
        }
    }

    #[test]
    fn a_burst_takes_in_one_page_of_one_kind() {
        let mut burst = Burst::new(fault(0x1000), 7);
        assert!(burst.absorb(&fault(0x1ffc)));
        assert!(!burst.absorb(&fault(0x2000)));
        assert!(!burst.absorb(&Fault { access: Access::Read, ..fault(0x1000) }));
        assert!(!burst.absorb(&Fault { stream: StreamId(17), ..fault(0x1000) }));
        assert!(!burst.absorb(&Fault { reason: FaultReason::Permission, ..fault(0x1000) }));
        assert!(!burst.absorb(&Fault { iova: None, ..fault(0x1000) }));
        let record = burst.record(3);
        assert_eq!((record.count, record.iova(), record.device(), record.time_ns), (2, Some(0x1000), 3, 7));
        assert_eq!(
            (record.reason(), record.access(), record.stream),
            (reason::NOT_MAPPED, access::WRITE, 16)
        );
        assert_eq!(record.raw, [1, 2]);
    }

    #[test]
    fn the_ring_numbers_its_records_and_wraps() {
        let mut page = Page([u64::MAX; ring::BYTES / 8]);
        let mut writer = RingWriter::new(&mut page);
        for number in 0..ring::CAPACITY + 2 {
            writer.push(&Burst::new(fault(number << 12), number).record(0));
        }
        writer.set_lost(5);
        for (device, stopped) in [(0, true), (2, true), (0, false), (64, true)] {
            writer.set_stopped(device, stopped);
        }
        let header = &page.0[..8];
        assert_eq!(header, [ring::MAGIC, ring::CAPACITY + 2, 5, 0b100, 0, 0, 0, 0]);
        let sequence = |index: usize| page.0[8 + 8 * index];
        let iova = |index: usize| page.0[8 + 8 * index + 1];
        assert_eq!((sequence(0), iova(0)), (ring::CAPACITY + 1, ring::CAPACITY << 12));
        assert_eq!((sequence(1), iova(1)), (ring::CAPACITY + 2, (ring::CAPACITY + 1) << 12));
        assert_eq!((sequence(2), iova(2)), (3, 2 << 12));
    }

    #[test]
    fn a_record_being_written_has_no_number() {
        /// Notes the sequence word of record 0 at every store to that record.
        struct Watch(Vec<(usize, u64)>);
        impl SharedPage for &mut Watch {
            fn write(&mut self, index: usize, value: u64) {
                self.0.push((index, value));
            }
        }
        extern crate std;
        use std::vec::Vec;
        let mut watch = Watch(Vec::new());
        let mut writer = RingWriter::new(&mut watch);
        writer.push(&Burst::new(fault(0x5000), 1).record(0));
        let stores = &watch.0[ring::BYTES / 8 + 1..];
        assert_eq!(stores.first(), Some(&(8, 0)), "the number goes first");
        assert_eq!(&stores[8..], [(8, 1), (HEADER_WRITTEN, 1)], "and comes back last, before the count");
    }
}
