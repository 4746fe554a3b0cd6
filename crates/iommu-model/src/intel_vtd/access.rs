//! Accesses to registers (11.2).

use super::{Vtd, registers::Register};
use crate::SystemMemory;

impl Vtd {
    pub(super) fn read(&mut self, memory: &mut SystemMemory, offset: u32, wide: bool) -> u64 {
        let register = self.find(offset, wide);
        self.run_slowly(memory);
        match register {
            Register::GlobalStatus => {
                self.read_global_status(memory);
                self.run_queue(memory);
            }
            Register::ContextCommand => self.read_context_command(memory),
            Register::Iotlb => self.read_iotlb_command(memory),
            Register::ProtectedMemory => {
                self.registers.protected.read(self.faults.protected_memory);
            }
            _ => {}
        }
        let value = self.registers.value(&self.config, register);
        match (wide, offset % 8) {
            (false, 4) if register.is_wide() => value >> 32,
            (false, _) => value & 0xffff_ffff,
            (true, _) => value,
        }
    }

    pub(super) fn write(&mut self, memory: &mut SystemMemory, offset: u32, wide: bool, value: u64) {
        let register = self.find(offset, wide);
        let upper = register.is_wide() && offset % 8 == 4;
        let written = match (wide, upper) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff << 32,
            (false, false) => 0xffff_ffff,
        };
        let value = if upper { value << 32 } else { value };
        let whole = |held: u64| held & !written | value;
        let go = written >> 63 == 1;
        match register {
            Register::GlobalCommand => self.write_global_command(memory, value as u32),
            Register::ContextCommand => {
                self.write_context_command(memory, whole(self.registers.context_command), go);
            }
            Register::Iotlb => self.write_iotlb_command(memory, whole(self.registers.iotlb), go),
            Register::QueueTail => self.write_tail(whole(self.registers.queue_tail)),
            Register::ProtectedMemory => {
                assert!(
                    self.config.protected_memory,
                    "PMEN written: no protected regions (CAP.PLMR, CAP.PHMR)"
                );
                self.registers.protected.write(self.faults.protected_memory, value as u32);
            }
            Register::RootTable
            | Register::QueueAddress
            | Register::InterruptTable
            | Register::ProtectedBound(2 | 3) => {
                let held = self.registers.value(&self.config, register);
                self.registers.store(&self.config, register, whole(held), written);
            }
            Register::InvalidateAddress => {
                let held = self.registers.invalidate_address;
                self.registers.store(&self.config, register, whole(held), written);
            }
            _ => self.registers.store(&self.config, register, value, written),
        }
        self.run_queue(memory);
    }

    fn find(&self, offset: u32, wide: bool) -> Register {
        let size = if wide { 8 } else { 4 };
        assert!(offset.is_multiple_of(size), "misaligned access of {size} bytes at {offset:#x} (11.2)");
        let register = Register::at(&self.config, offset);
        assert!(!wide || register.is_wide(), "64-bit access to {register:?}, which has 32 bits (11.2)");
        register
    }
}
