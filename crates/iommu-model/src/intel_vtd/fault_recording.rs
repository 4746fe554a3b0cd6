//! Fault recording, and the events that faults and the queue raise (7.2, 11.4.7).

use crate::fields::{bits, mask};

/// FSTS: primary fault overflow.
pub(super) const PFO: u32 = 1 << 0;
/// FSTS: primary pending fault.
const PPF: u32 = 1 << 1;
/// FSTS: invalidation queue error.
pub(super) const IQE: u32 = 1 << 4;
/// FSTS: invalidation completion error.
pub(super) const ICE: u32 = 1 << 5;
/// FSTS: invalidation time-out error.
pub(super) const ITE: u32 = 1 << 6;

/// FRCD, F.
const F: u64 = 1 << 63;

/// An event: its control, message data and message address, as FECTL and IECTL start.
#[derive(Debug)]
pub(super) struct EventRegisters {
    pub masked: bool,
    pub pending: bool,
    pub data: u32,
    pub address: u32,
    pub upper: u32,
    /// Messages sent.
    pub sent: u64,
}

impl Default for EventRegisters {
    fn default() -> Self {
        Self { masked: true, pending: false, data: 0, address: 0, upper: 0, sent: 0 }
    }
}

impl EventRegisters {
    /// The control register: IM and IP.
    pub fn control(&self) -> u32 {
        u32::from(self.masked) << 31 | u32::from(self.pending) << 30
    }

    pub fn write_control(&mut self, name: &str, value: u32) {
        assert_eq!(value & !(0b11 << 30), 0, "{name} {value:#x}: reserved bits set (11.4.7.2)");
        self.masked = value >> 31 == 1;
        if !self.masked {
            assert_ne!(self.address, 0, "{name} unmasked before its message address and data (11.4.7.2)");
            if std::mem::take(&mut self.pending) {
                self.sent += 1;
            }
        }
    }

    pub fn raise(&mut self) {
        if self.masked {
            self.pending = true;
        } else {
            self.sent += 1;
        }
    }

    /// Writes data, address or upper address: `place` 1, 2 or 3.
    pub fn write_message(&mut self, extended: bool, place: u32, value: u32) {
        match place {
            1 => {
                assert!(extended || value >> 16 == 0, "event data {value:#x}: reserved bits set (11.4.7.3)");
                self.data = value;
            }
            2 => {
                assert_eq!(value & 0b11, 0, "event address {value:#x}: reserved bits set (11.4.7.4)");
                assert_eq!(value >> 20, 0xfee, "event address {value:#x}: outside the interrupt range");
                self.address = value;
            }
            _ => {
                assert!(extended || value == 0, "event upper address: reserved without EIM (11.4.7.5)");
                self.upper = value;
            }
        }
    }
}

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Recorded,
    /// A record of the same device is pending.
    Collapsed,
    Lost,
}

/// FSTS, the fault event, and the fault recording registers.
#[derive(Debug, Default)]
pub(super) struct FaultRegisters {
    records: Vec<[u64; 2]>,
    next: usize,
    /// FSTS.FRI.
    first: usize,
    status: u32,
    pub event: EventRegisters,
}

/// A fault to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub source: u16,
    pub pasid: Option<u32>,
    /// The page, or an interrupt index in bits 48 to 63.
    pub information: u64,
    pub write: bool,
    pub code: u8,
}

impl Record {
    /// The record as it is read (11.4.7.6), F included.
    fn words(&self) -> [u64; 2] {
        let pasid = self.pasid.map_or(0, |pasid| 1 << 31 | u64::from(pasid) << 40);
        let high =
            u64::from(self.source) | u64::from(self.code) << 32 | u64::from(!self.write) << 62 | F | pasid;
        [self.information & mask(12, 63), high]
    }
}

impl FaultRegisters {
    pub fn new(records: u32) -> Self {
        Self { records: vec![[0; 2]; records as usize], ..Self::default() }
    }

    fn is_pending(&self) -> bool {
        self.records.iter().any(|record| record[1] & F != 0)
    }

    /// FSTS.
    pub fn status(&self) -> u32 {
        let pending = self.is_pending();
        self.status | if pending { PPF | (self.first as u32) << 8 } else { 0 }
    }

    /// Whether a queue error stands.
    pub const fn any(&self, errors: u32) -> bool {
        self.status & errors != 0
    }

    pub fn record(&mut self, record: &Record, collapses: bool) -> Fate {
        let words = record.words();
        let same = |held: &[u64; 2]| {
            let requester = mask(0, 15) | mask(31, 31) | mask(40, 59);
            held[1] & F != 0 && (held[1] ^ words[1]) & requester == 0
        };
        if collapses && self.records.iter().any(same) {
            return Fate::Collapsed;
        }
        if self.status & PFO != 0 {
            return Fate::Lost;
        }
        let quiet = self.status() == 0;
        let fate = if self.records[self.next][1] & F != 0 {
            self.status |= PFO;
            Fate::Lost
        } else {
            if !self.is_pending() {
                self.first = self.next;
            }
            self.records[self.next] = words;
            self.next = (self.next + 1) % self.records.len();
            Fate::Recorded
        };
        self.announce(quiet);
        fate
    }

    /// Sets error bits of FSTS.
    pub fn raise(&mut self, errors: u32) {
        let quiet = self.status() == 0;
        self.status |= errors & (PFO | IQE | ICE | ITE);
        self.announce(quiet);
    }

    /// An event is generated only where no status stood before (7.3).
    fn announce(&mut self, was_quiet: bool) {
        if was_quiet && self.status() != 0 {
            self.event.raise();
        }
    }

    fn settle(&mut self) {
        if self.status() == 0 {
            self.event.pending = false;
        }
    }

    pub fn write_status(&mut self, value: u32) {
        assert_eq!(value & !0xff7f, 0, "FSTS {value:#x}: reserved bits set (11.4.7.1)");
        self.status &= !(value & (PFO | IQE | ICE | ITE));
        self.settle();
    }

    /// The word of a record; `word` counts 64-bit words from the first record.
    pub fn word(&self, word: usize) -> u64 {
        self.records[word / 2][word % 2]
    }

    /// Writes bits of a record's word: F clears with a one, the rest is read-only.
    pub fn write_word(&mut self, word: usize, value: u64) {
        if word % 2 == 1 && bits(value, 63, 63) == 1 {
            self.records[word / 2][1] &= !F;
            self.settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(source: u16) -> Record {
        Record { source, pasid: None, information: 0x1_2345, write: false, code: 6 }
    }

    #[test]
    fn records_go_round_and_overflow_is_told() {
        let mut faults = FaultRegisters::new(2);
        assert_eq!(faults.record(&fault(1), false), Fate::Recorded);
        assert_eq!(faults.status(), PPF);
        assert_eq!((faults.word(0), faults.word(1)), (0x1_2000, 1 << 63 | 1 << 62 | 6 << 32 | 1));
        assert_eq!(faults.record(&fault(2), false), Fate::Recorded);
        assert_eq!(faults.record(&fault(3), false), Fate::Lost);
        assert_eq!(faults.status(), PPF | PFO);
        faults.write_word(1, F);
        assert_eq!(faults.record(&fault(3), false), Fate::Lost, "until PFO is cleared");
        faults.write_status(PFO);
        assert_eq!(faults.record(&fault(3), false), Fate::Recorded);
        faults.write_word(3, F);
        faults.write_word(1, F);
        assert_eq!(faults.status(), 0);
        assert_eq!(faults.record(&fault(4), false), Fate::Recorded);
        assert_eq!(faults.status(), PPF | 1 << 8, "the second is the first pending");
    }

    #[test]
    fn an_event_is_raised_once_for_what_stands() {
        let mut faults = FaultRegisters::new(2);
        faults.record(&fault(1), false);
        assert!(faults.event.pending);
        faults.event.write_message(false, 2, 0xfee0_0000);
        faults.event.write_control("FECTL", 0);
        faults.raise(IQE);
        assert_eq!(faults.event.sent, 1);
        faults.write_status(IQE);
        faults.write_word(1, F);
        faults.raise(IQE);
        assert_eq!(faults.event.sent, 2);
    }

    #[test]
    fn a_pending_device_is_not_recorded_again_where_faults_collapse() {
        let mut faults = FaultRegisters::new(2);
        faults.record(&fault(1), true);
        assert_eq!(faults.record(&Record { information: 0, ..fault(1) }, true), Fate::Collapsed);
        assert_eq!(faults.record(&Record { pasid: Some(0), ..fault(1) }, true), Fate::Recorded);
    }
}
