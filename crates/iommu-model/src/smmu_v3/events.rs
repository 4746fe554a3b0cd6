//! Event records (IHI 0070, 7.3) and the Event queue (7.2, 7.4).

use super::{Smmu, walk::Access};
use crate::SystemMemory;

/// Which stage found a fault of translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub second_stage: bool,
    /// The input of stage 2.
    pub intermediate: u64,
}

impl Found {
    pub const STAGE_ONE: Self = Self { second_stage: false, intermediate: UNKNOWN };
}

/// What stopped an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    UnsupportedUpstream,
    BadStreamId,
    SteFetch(u64),
    BadSte,
    StreamDisabled,
    CdFetch(u64),
    BadCd,
    WalkAbort { found: Found, fetched: u64 },
    Translation(Found),
    AddressSize(Found),
    Access(Found),
    Permission(Found),
    TlbConflict(Found),
}

/// What a field holds of which the architecture only says UNKNOWN.
const UNKNOWN: u64 = 0x00a5_5a5a_5a5a_5000;
/// The same for a SubstreamID that is not valid.
const UNKNOWN_SUBSTREAM: u64 = 0xa_5a5a;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub why: Why,
    pub stream: u32,
    pub input: u64,
    pub access: Access,
}

impl Event {
    /// The event number.
    pub const fn number(&self) -> u8 {
        match self.why {
            Why::UnsupportedUpstream => 0x01,
            Why::BadStreamId => 0x02,
            Why::SteFetch(_) => 0x03,
            Why::BadSte => 0x04,
            Why::StreamDisabled => 0x06,
            Why::CdFetch(_) => 0x09,
            Why::BadCd => 0x0a,
            Why::WalkAbort { .. } => 0x0b,
            Why::Translation(_) => 0x10,
            Why::AddressSize(_) => 0x11,
            Why::Access(_) => 0x12,
            Why::Permission(_) => 0x13,
            Why::TlbConflict(_) => 0x20,
        }
    }

    /// The record's four words.
    pub fn record(&self, output_bits: u32) -> [u64; 4] {
        let within = |address: u64| address & ((1 << output_bits) - 1);
        let head = u64::from(self.number()) | u64::from(self.stream) << 32;
        // F_STREAM_DISABLED has neither SSV nor SubstreamID.
        let substream = if self.why == Why::StreamDisabled { 0 } else { UNKNOWN_SUBSTREAM << 12 };
        let access = u64::from(self.access.privileged) << 33
            | u64::from(self.access.instruction) << 34
            | u64::from(!self.access.write) << 35;
        let head = head | substream;
        // CLASS is IN (0b10) but for the fetch of a stage 1 or stage 2 entry.
        let fault = |found: Found| access | u64::from(found.second_stage) << 39 | 0b10 << 40;
        match self.why {
            Why::BadStreamId | Why::BadSte | Why::StreamDisabled | Why::BadCd => [head, 0, 0, 0],
            Why::SteFetch(at) | Why::CdFetch(at) => [head, 0, 0, within(at) & !7],
            Why::UnsupportedUpstream => [head, access, self.input, 0],
            Why::WalkAbort { found, fetched } => {
                let class = if found.second_stage { 0b10 } else { 0b01 };
                let flags = access | u64::from(found.second_stage) << 39 | class << 40;
                [head, flags, self.input, within(fetched) & !7]
            }
            Why::Translation(found)
            | Why::AddressSize(found)
            | Why::Access(found)
            | Why::Permission(found)
            | Why::TlbConflict(found) => {
                [head, fault(found), self.input, within(found.intermediate) & !0xfff]
            }
        }
    }
}

/// Bytes of a record.
const RECORD_BYTES: u64 = 32;

/// GERROR.EVENTQ_ABT_ERR.
const EVENTQ_ABT_ERR: u32 = 1 << 2;

impl Smmu {
    /// Records `event` if the queue is writable (7.2.1); counts it as lost if not.
    pub(super) fn record(&mut self, memory: &mut SystemMemory, event: &Event) {
        let record = event.record(self.config.output_bits);
        self.record_words(memory, record);
    }

    pub(super) fn record_words(&mut self, memory: &mut SystemMemory, record: [u64; 4]) {
        let registers = &mut self.registers;
        if !registers.event_queue_enabled() || registers.active_errors() & EVENTQ_ABT_ERR != 0 {
            self.observed.events_lost += 1;
            return;
        }
        let queue = registers.event_queue();
        if queue.is_full() {
            // A second overflow before the first is acknowledged cannot be told (7.4).
            registers.overflow_events();
            self.observed.events_lost += 1;
            return;
        }
        let was_empty = queue.is_empty();
        let at = queue.base + RECORD_BYTES * u64::from(queue.produced_index());
        for (word, value) in (0..).zip(record) {
            if !memory.deposit(at + 8 * word, value) {
                self.observed.events_lost += 1;
                self.raise_errors(EVENTQ_ABT_ERR);
                return;
            }
        }
        self.registers.advance_events();
        self.observed.events_recorded += 1;
        if was_empty && self.registers.interrupts_on_events() {
            self.observed.event_interrupts += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Access = Access { write: true, privileged: false, instruction: false };

    #[test]
    fn fields_are_where_the_architecture_puts_them() {
        let event = |why, access| Event { why, stream: 0x1234, input: 0xabcd_e678, access };
        let found = Found { second_stage: true, intermediate: 0xabcd_e678 };
        let record = event(Why::Translation(found), WRITE).record(44);
        assert_eq!(record[0] & 0xffff_ffff_0000_0fff, 0x1234_0000_0010);
        assert_eq!(record[1..], [0x280_0000_0000, 0xabcd_e678, 0xabcd_e000]);
        let read = Access { write: false, privileged: true, instruction: true };
        let record = event(Why::Permission(Found::STAGE_ONE), read).record(44);
        assert_eq!((record[0] & 0xff, record[1]), (0x13, 0x20e_0000_0000));
        let record =
            event(Why::WalkAbort { found: Found::STAGE_ONE, fetched: 0x5000_0008 }, WRITE).record(44);
        assert_eq!(record[1..], [0x100_0000_0000, 0xabcd_e678, 0x5000_0008]);
        assert_eq!(event(Why::StreamDisabled, WRITE).record(44), [0x1234_0000_0006, 0, 0, 0]);
        assert_eq!(event(Why::SteFetch(0x40), WRITE).record(44)[3], 0x40);
    }
}
