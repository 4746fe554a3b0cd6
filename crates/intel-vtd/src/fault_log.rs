//! Fault records in registers (7.3) and what they say.

use iommu_hal::{Access, Fault, FaultReason, PhysAddr, Registers, StreamId, TableMemory};

use crate::{
    entries::Target,
    features::Features,
    spec::{
        faults::{FAULT_RECORD_BYTES, FaultWord1, Reason},
        registers::{FaultStatus, offset},
        second_stage::SecondStageEntry,
    },
};

/// The driver's side of the fault records.
#[derive(Debug)]
pub(crate) struct FaultLog {
    /// Where the first record is.
    first: u32,
    records: u16,
    /// The record to be looked at next; `None` when the unit is to be asked where the first fault is.
    next: Option<u16>,
    /// How often an overflow was met.
    pub overflows: u64,
    /// Records taken out.
    pub taken: u64,
}

impl FaultLog {
    /// The records of a unit with these features.
    pub fn new(features: &Features) -> Self {
        let (records, first) = features.fault_records();
        Self { first, records, next: None, overflows: 0, taken: 0 }
    }

    const fn place(&self, record: u16) -> u32 {
        self.first + record as u32 * FAULT_RECORD_BYTES
    }

    /// Forgets all records.
    pub fn clear<R: Registers>(&mut self, regs: &mut R) {
        for record in 0..self.records {
            self.free(regs, record);
        }
        regs.write32(offset::FSTS, FaultStatus::new().with_pfo(true).into());
        self.next = None;
    }

    /// Takes out the next record. An overflow is acknowledged once there is none left.
    pub fn next<R: Registers>(&mut self, regs: &mut R) -> Option<[u64; 2]> {
        if let Some(record) = self.next.take()
            && let Some(words) = self.take(regs, record)
        {
            return Some(words);
        }
        let status = FaultStatus::from(regs.read32(offset::FSTS));
        if status.ppf() {
            // A unit that names a record that it does not have has none.
            let first = u16::from(status.fri());
            if let Some(words) = (first < self.records).then(|| self.take(regs, first)).flatten() {
                return Some(words);
            }
        }
        if status.pfo() {
            self.overflows = self.overflows.saturating_add(1);
            regs.write32(offset::FSTS, FaultStatus::new().with_pfo(true).into());
        }
        None
    }

    fn take<R: Registers>(&mut self, regs: &mut R, record: u16) -> Option<[u64; 2]> {
        let at = self.place(record);
        let word1 = regs.read64(at + 8);
        if !FaultWord1::from(word1).fault() {
            return None;
        }
        let word0 = regs.read64(at);
        self.free(regs, record);
        self.next = Some((record + 1) % self.records);
        self.taken = self.taken.saturating_add(1);
        Some([word0, word1])
    }

    fn free<R: Registers>(&self, regs: &mut R, record: u16) {
        // The upper half of word 1, where F is.
        let fault = FaultWord1::new().with_fault(true).into_bits() >> 32;
        regs.write32(self.place(record) + 12, fault as u32);
    }
}

/// What a fault record says by itself. An absent page and one without the right are the same to the hardware; both
/// read as [`FaultReason::Permission`] here.
pub fn decode(record: [u64; 2]) -> Fault {
    let word1 = FaultWord1::from(record[1]);
    let reason = match word1.reason() {
        Reason::NO_WRITE
        | Reason::NO_READ
        | Reason::SM_NO_RIGHT
        | Reason::SM_NO_WRITE
        | Reason::SM_NO_READ => FaultReason::Permission,
        Reason::ADDRESS | Reason::SM_ADDRESS | Reason::SM_TABLE_ADDRESS => FaultReason::AddressSize,
        Reason::TABLE_ACCESS
        | Reason::ROOT_ACCESS
        | Reason::CONTEXT_ACCESS
        | Reason::SM_ROOT_ACCESS
        | Reason::SM_CONTEXT_ACCESS
        | Reason::SM_DIRECTORY_ACCESS
        | Reason::SM_PASID_ACCESS
        | Reason::SM_TABLE_ACCESS => FaultReason::WalkAbort,
        Reason::ROOT_ABSENT
        | Reason::CONTEXT_ABSENT
        | Reason::CONTEXT_INVALID
        | Reason::ROOT_RESERVED
        | Reason::CONTEXT_RESERVED
        | Reason::SM_ROOT_ABSENT
        | Reason::SM_ROOT_RESERVED
        | Reason::SM_DIRECTORY_ABSENT
        | Reason::SM_DIRECTORY_RESERVED => FaultReason::StreamAborted,
        Reason(code) => match code {
            _ if (Reason::SM_CONTEXT_ABSENT.0..=Reason::SM_CONTEXT_LAST.0).contains(&code)
                || (Reason::SM_PASID_ABSENT.0..=Reason::SM_PASID_LAST.0).contains(&code) =>
            {
                FaultReason::StreamAborted
            }
            _ => FaultReason::Other(code),
        },
    };
    // Of interrupts, word 0 holds no address.
    let interrupt = (Reason::INTERRUPTS_FIRST.0..=Reason::INTERRUPTS_LAST.0).contains(&word1.reason().0);
    let access = match (word1.type2(), word1.type1()) {
        _ if interrupt => Access::Unknown,
        (false, true) => Access::Read,
        // An atomic operation writes too.
        (false, false) | (true, true) => Access::Write,
        (true, false) => Access::Unknown,
    };
    Fault {
        stream: StreamId(word1.source().into()),
        reason,
        iova: (!interrupt).then_some(record[0] & !0xfff),
        access,
        raw: [record[0], record[1], 0, 0],
    }
}

/// Whether `iova` leads to a page in the tables of `target`, which are live.
pub(crate) fn is_mapped<M: TableMemory>(memory: &M, target: &Target, iova: u64) -> bool {
    let mut table = target.root;
    for height in (0..target.levels).rev() {
        let index = iova >> (12 + 9 * height) & 511;
        let entry = SecondStageEntry::from(memory.read(PhysAddr(table.0 + 8 * index)));
        if !entry.read() && !entry.write() {
            return false;
        }
        if entry.page() {
            return true;
        }
        table = PhysAddr(entry.address_12() << 12);
    }
    true
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{collections::BTreeMap, vec::Vec};

    use super::*;
    use crate::spec::registers::Cap;

    /// FSTS and fault records as a unit has them; F and PFO are cleared by writing 1.
    struct Records {
        status: u32,
        records: BTreeMap<u32, u64>,
    }

    impl Registers for Records {
        fn read32(&mut self, at: u32) -> u32 {
            assert_eq!(at, offset::FSTS);
            self.status
        }
        fn write32(&mut self, at: u32, value: u32) {
            if at == offset::FSTS {
                self.status &= !(value & 1);
            } else {
                assert_eq!((at % 16, value), (12, 1 << 31));
                if let Some(word) = self.records.get_mut(&(at - 4)) {
                    *word &= !(1 << 63);
                }
                if self.records.iter().all(|(at, word)| at % 16 == 0 || word >> 63 == 0) {
                    self.status &= !2;
                }
            }
        }
        fn read64(&mut self, at: u32) -> u64 {
            *self.records.get(&at).unwrap_or(&0)
        }
        fn write64(&mut self, _: u32, _: u64) {
            unreachable!("the other word is read-only")
        }
    }

    fn log(records: u8) -> FaultLog {
        let cap = Cap::new().with_fro(0x40).with_nfr(records - 1);
        FaultLog::new(&Features { version: 0x10, cap: cap.into(), ecap: 0 })
    }

    fn fault(source: u16) -> u64 {
        FaultWord1::new().with_fault(true).with_source(source).with_reason(Reason::NO_READ).into()
    }

    #[test]
    fn records_come_in_the_order_of_their_faults_and_across_the_end() {
        let mut log = log(4);
        let place = |record: u32| 0x400 + 16 * record + 8;
        let records = [2, 3, 0].map(|record| (place(record), fault(record as u16))).into();
        let mut regs = Records { status: 2 | 2 << 8, records };
        let seen: Vec<_> = std::iter::from_fn(|| log.next(&mut regs)).map(|r| decode(r).stream.0).collect();
        assert_eq!(seen, [2, 3, 0]);
        assert_eq!((regs.status & 3, log.taken, log.overflows), (0, 3, 0));
    }

    #[test]
    fn an_overflow_is_acknowledged_once_the_records_are_out() {
        let mut log = log(1);
        let mut regs = Records { status: 3, records: [(0x408, fault(7))].into() };
        assert!(log.next(&mut regs).is_some());
        assert_eq!((regs.status & 1, log.overflows), (1, 0));
        assert_eq!(log.next(&mut regs), None);
        assert_eq!((regs.status & 1, log.overflows), (0, 1));
        assert_eq!(log.next(&mut regs), None);
        assert_eq!(log.overflows, 1);
    }

    #[test]
    fn a_unit_that_names_a_record_that_it_lacks_has_none() {
        let mut regs = Records { status: 2 | 0xff << 8, records: BTreeMap::new() };
        assert_eq!(log(4).next(&mut regs), None);
        regs.status = 2 | 1 << 8;
        assert_eq!(log(4).next(&mut regs), None);
    }

    #[test]
    fn a_record_is_decoded_as_the_specification_writes_it() {
        // As QEMU records a write of device 00:03.0 without context entry.
        let fault = decode([0x3000_0000, 0x8000_0001_0000_0018]);
        assert_eq!((fault.stream, fault.reason), (StreamId(0x18), FaultReason::StreamAborted));
        assert_eq!((fault.iova, fault.access), (Some(0x3000_0000), Access::Write));
        assert_eq!(fault.raw, [0x3000_0000, 0x8000_0001_0000_0018, 0, 0]);
        let fault = decode([0x1000, 0xc000_0006_0000_ffff]);
        assert_eq!((fault.stream, fault.reason), (StreamId(0xffff), FaultReason::Permission));
        assert_eq!(fault.access, Access::Read);
        let interrupt = decode([7 << 48, 0x8000_0022_0000_0018]);
        assert_eq!((interrupt.reason, interrupt.iova), (FaultReason::Other(0x22), None));
        assert_eq!(interrupt.access, Access::Unknown);
    }

    #[test]
    fn every_reason_decodes() {
        for code in 0..=u8::MAX {
            let record = FaultWord1::new().with_fault(true).with_reason(Reason(code));
            let expected = match code {
                1..=3 | 0xa | 0xb | 0x39 | 0x3a | 0x41..=0x48 | 0x51 | 0x52 | 0x59..=0x5d => {
                    FaultReason::StreamAborted
                }
                4 | 0x83 | 0x84 => FaultReason::AddressSize,
                5 | 6 | 0x79 | 0x85 | 0x86 => FaultReason::Permission,
                7..=9 | 0x38 | 0x40 | 0x50 | 0x58 | 0x78 => FaultReason::WalkAbort,
                other => FaultReason::Other(other),
            };
            assert_eq!(decode([0, record.into()]).reason, expected, "{code:#x}");
        }
    }
}
