//! Accesses to registers, and what follows from them.

use super::{Ack, Smmu, registers::SMMUEN};
use crate::SystemMemory;

impl Smmu {
    pub(super) fn read32(&mut self, memory: &mut SystemMemory, offset: u32) -> u32 {
        assert!(offset.is_multiple_of(4), "misaligned read at {offset:#x} (6.2)");
        self.run_slowly(memory);
        let value = self.registers.read(&self.config, &self.faults, offset);
        self.follow(memory);
        value
    }

    pub(super) fn write32(&mut self, memory: &mut SystemMemory, offset: u32, value: u32) {
        assert!(offset.is_multiple_of(4), "misaligned write at {offset:#x} (6.2)");
        self.registers.write(&self.config, &self.faults, offset, value);
        if offset == 0x20 && self.registers.cr0 & !self.registers.cr0_ack & SMMUEN != 0 {
            let cleared = &self.cleared;
            assert!(cleared.configuration, "SMMUEN before CMD_CFGI_ALL and CMD_SYNC since reset (3.11)");
            assert!(cleared.translations, "SMMUEN before the TLBs were invalidated since reset (3.11)");
            let hypervisor = !self.config.hypervisor || !self.config.stage1 || cleared.hypervisor;
            assert!(hypervisor, "SMMUEN before CMD_TLBI_EL2_ALL since reset (3.11)");
        }
        if offset == 0x20 && self.faults.cr0_ack == Ack::AtOnce {
            self.registers.cr0_ack = self.registers.cr0;
        }
        self.follow(memory);
        self.run_commands(memory);
    }

    pub(super) fn read64(&mut self, memory: &mut SystemMemory, offset: u32) -> u64 {
        let wide = matches!(offset, 0x68 | 0x80 | 0x90 | 0xa0 | 0xb0);
        assert!(wide, "64-bit read at {offset:#x}, which is no 64-bit register (6.2)");
        u64::from(self.read32(memory, offset)) | u64::from(self.read32(memory, offset + 4)) << 32
    }

    pub(super) fn write64(&mut self, memory: &mut SystemMemory, offset: u32, value: u64) {
        if matches!(offset, 0x68 | 0xb0) {
            self.write32(memory, offset, value as u32);
            self.write32(memory, offset + 4, (value >> 32) as u32);
        } else {
            self.registers.write_base(&self.config, offset, value);
        }
    }

    /// Does what follows from a change of what is in force.
    pub(super) fn follow(&mut self, memory: &SystemMemory) {
        let reachable = self.registers.any(SMMUEN);
        if reachable != self.was_reachable {
            self.was_reachable = reachable;
            if reachable {
                self.watch.start(memory, &self.config, self.registers.stream_table());
            } else {
                self.watch.stop();
            }
        }
        let open = !self.registers.is_translating() && !self.registers.aborts_globally();
        if open && !self.was_open {
            self.observed.global_bypasses += 1;
        }
        self.was_open = open;
    }

    /// Activates global errors, with their interrupt (7.5.1).
    pub(super) fn raise_errors(&mut self, errors: u32) {
        const MSI_GERROR_ABT_ERR: u32 = 1 << 7;
        const SFM_ERR: u32 = 1 << 8;
        let new = self.registers.activate(errors);
        self.service_failure |= new & SFM_ERR != 0;
        if new & !MSI_GERROR_ABT_ERR != 0 && self.registers.interrupts_on_errors() {
            self.observed.error_interrupts += 1;
        }
    }
}
