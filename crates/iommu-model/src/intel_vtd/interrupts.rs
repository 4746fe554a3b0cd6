//! Interrupt requests and their remapping (3.14, 5.1).

use super::{Vtd, fault_recording::Record, global_command::CFIS};
use crate::{
    SystemMemory,
    fields::{bits, mask},
};

/// An interrupt on its way to a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupt {
    /// The vector.
    pub vector: u8,
    /// The APIC that it goes to.
    pub destination: u32,
    /// It went through the interrupt remapping table.
    pub remapped: bool,
}

/// A cached entry of the interrupt remapping table.
#[derive(Debug, Clone, Copy)]
pub(super) struct CachedInterrupt {
    words: [u64; 2],
    pub born: u64,
}

/// Whether `address` is where requests without PASID are interrupts.
pub(super) const fn is_interrupt(address: u64) -> bool {
    address >> 20 == 0xfee
}

impl Vtd {
    /// Delivers a write of `data` to `address` in the interrupt range, or says the reason why not (7.1.2).
    pub(super) fn interrupt(
        &mut self,
        memory: &SystemMemory,
        source: u16,
        address: u64,
        data: u32,
    ) -> Result<Interrupt, u8> {
        let plain =
            || Interrupt { vector: data as u8, destination: bits(address, 12, 19) as u32, remapped: false };
        if !self.registers.is_remapping() {
            return Ok(plain());
        }
        let table = self.registers.latched_interrupt_table;
        let extended = bits(table, 11, 11) == 1;
        if bits(address, 4, 4) == 0 {
            // Compatibility format.
            let passes = self.registers.status.is(CFIS) && !extended;
            return if passes { Ok(plain()) } else { Err(0x25) };
        }
        let with_subhandle = bits(address, 3, 3) == 1;
        let handle = bits(address, 5, 19) as u32 | (bits(address, 2, 2) as u32) << 15;
        let index = handle + if with_subhandle { data & 0xffff } else { 0 };
        if data >> 16 != 0 || (!with_subhandle && data != 0) {
            return Err(0x20);
        }
        if u64::from(index) >> (bits(table, 0, 3) + 1) != 0 {
            return Err(0x21);
        }
        let words = self.interrupt_entry(memory, index as u16).ok_or(0x23)?;
        let [low, high] = words;
        if low & 1 == 0 {
            return Err(0x22);
        }
        let destination = if extended { 0 } else { mask(32, 39) | mask(48, 63) };
        // Posted interrupts are not implemented.
        if low & (mask(12, 15) | mask(24, 31) | destination) != 0 || high & mask(20, 63) != 0 {
            return Err(0x24);
        }
        self.check_source(source, high)?;
        let destination = if extended { bits(low, 32, 63) as u32 } else { bits(low, 40, 47) as u32 };
        Ok(Interrupt { vector: bits(low, 16, 23) as u8, destination, remapped: true })
    }

    fn check_source(&self, source: u16, high: u64) -> Result<(), u8> {
        let named = bits(high, 0, 15) as u16;
        let fits = match bits(high, 18, 19) {
            0b00 => true,
            0b01 => {
                let ignored = [0b000, 0b100, 0b110, 0b111][bits(high, 16, 17) as usize];
                source & !ignored == named & !ignored
            }
            0b10 => (named >> 8..=named & 0xff).contains(&(source >> 8)),
            _ => return Err(0x24),
        };
        if fits { Ok(()) } else { Err(0x26) }
    }

    fn interrupt_entry(&mut self, memory: &SystemMemory, index: u16) -> Option<[u64; 2]> {
        if let Some(held) = self.interrupts.get(&index) {
            return Some(held.words);
        }
        let at = self.registers.latched_interrupt_table & mask(12, 63);
        let at = at + 16 * u64::from(index);
        let words = [memory.fetch(at)?, memory.fetch(at + 8)?];
        if words[0] & 1 == 1 || self.config.caching_mode {
            self.interrupts.insert(index, CachedInterrupt { words, born: self.invalidations });
        }
        Some(words)
    }

    /// The record of an interrupt that was blocked.
    pub(super) const fn interrupt_record(source: u16, address: u64, data: u32, code: u8) -> Record {
        let handle = bits(address, 5, 19) as u32 | (bits(address, 2, 2) as u32) << 15;
        let index = handle + if bits(address, 3, 3) == 1 { data & 0xffff } else { 0 };
        // Compatibility-format requests have no index.
        let information = if code == 0x25 { 0 } else { (index as u64) << 48 };
        Record { source, pasid: None, information, write: true, code }
    }

    /// Whether FPD of the entry for this request is set.
    pub(super) fn interrupt_is_quiet(
        &mut self,
        memory: &SystemMemory,
        address: u64,
        data: u32,
        code: u8,
    ) -> bool {
        if !matches!(code, 0x22 | 0x24 | 0x26) {
            return false;
        }
        let record = Self::interrupt_record(0, address, data, code);
        let entry = self.interrupt_entry(memory, bits(record.information, 48, 63) as u16);
        entry.is_some_and(|words| words[0] & 0b10 != 0)
    }
}
