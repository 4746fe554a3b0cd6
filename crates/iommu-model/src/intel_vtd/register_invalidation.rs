//! Invalidation through registers, for units and software without a queue (6.5.1, 11.4.6).

use super::{
    Ack, Vtd,
    descriptors::{ContextScope, Removes, pages},
    global_command::QIES,
    tlb::Scope,
};
use crate::{
    SystemMemory,
    fields::{bits, mask},
};

/// CCMD.ICC and IOTLB.IVT.
const GO: u64 = 1 << 63;

impl Vtd {
    /// Whether a command through registers has not completed.
    pub(super) const fn commands_under_way(&self) -> bool {
        (self.registers.context_command | self.registers.iotlb) & GO != 0
    }

    /// Whether a command that never completes was looked at.
    pub(super) fn has_lost_a_command(&self) -> bool {
        let commands = [
            (self.registers.context_command, self.faults.context_command),
            (self.registers.iotlb, self.faults.iotlb_command),
        ];
        let looked_at = commands.iter().zip(self.looks_at_commands);
        looked_at.into_iter().any(|((value, ack), looks)| value & GO != 0 && *ack == Ack::Never && looks > 0)
    }

    fn check_idle(&self, name: &str) {
        assert!(!self.registers.status.is(QIES), "{name} written while queued invalidation is on (6.5.1)");
        assert!(!self.commands_under_way(), "{name} written before the last command has completed (6.5.1)");
    }

    /// Writes CCMD; the command goes if `go` says that the half with ICC was written.
    pub(super) fn write_context_command(&mut self, memory: &mut SystemMemory, value: u64, go: bool) {
        self.check_idle("CCMD");
        assert_eq!(value & mask(34, 58), 0, "CCMD {value:#x}: reserved bits set (11.4.6)");
        self.registers.context_command = value & !mask(59, 60);
        if value & GO == 0 || !go {
            self.registers.context_command &= !GO;
            return;
        }
        let (domain, source) = (bits(value, 0, 15), bits(value, 16, 31));
        assert!(self.config.is_domain(domain), "CCMD {value:#x}: the domain id is too large");
        let scope = ContextScope::new(bits(value, 61, 62), domain, source, bits(value, 32, 33));
        let scope = scope.expect("CCMD.CIRG 0 is reserved (11.4.6)");
        assert!(!self.is_scalable(), "CCMD in scalable mode, which needs queued invalidation (6.5.1)");
        (self.registers.command_reads[0], self.looks_at_commands[0]) = (0, 0);
        self.take(memory, Removes::Contexts(scope));
        if self.faults.context_command == Ack::AtOnce {
            self.finish_context_command(memory);
        }
    }

    fn finish_context_command(&mut self, memory: &SystemMemory) {
        let command = self.registers.context_command & !GO;
        self.registers.context_command = command | bits(command, 61, 62) << 59;
        self.complete(memory, |_| true);
    }

    /// Writes IOTLB; as [`Vtd::write_context_command`].
    pub(super) fn write_iotlb_command(&mut self, memory: &mut SystemMemory, value: u64, go: bool) {
        self.check_idle("IOTLB");
        let reserved = mask(0, 31) | mask(50, 56) | mask(59, 59) | mask(62, 62);
        assert_eq!(value & reserved, 0, "IOTLB {value:#x}: reserved bits set (11.4.6)");
        self.registers.iotlb = value & !mask(57, 58);
        if value & GO == 0 || !go {
            self.registers.iotlb &= !GO;
            return;
        }
        assert!(self.config.is_domain(bits(value, 32, 47)), "IOTLB {value:#x}: the domain id is too large");
        let domain = bits(value, 32, 47) as u16;
        let scope = match bits(value, 60, 61) {
            0b01 => Scope::All,
            0b10 => Scope::Domain(domain),
            0b11 => pages(&self.config, domain, self.registers.invalidate_address)
                .expect("IVA.AM is larger than CAP.MAMV (11.4.6)"),
            _ => panic!("IOTLB.IIRG 0 is reserved (11.4.6)"),
        };
        self.check_drain(scope, bits(value, 48, 49));
        (self.registers.command_reads[1], self.looks_at_commands[1]) = (0, 0);
        self.take(memory, Removes::Translations(scope));
        if self.faults.iotlb_command == Ack::AtOnce {
            self.finish_iotlb_command(memory);
        }
    }

    fn finish_iotlb_command(&mut self, memory: &SystemMemory) {
        let command = self.registers.iotlb & !GO;
        let asked = bits(command, 60, 61);
        let done = if asked == 0b11 && !self.config.page_selective { 0b10 } else { asked };
        self.registers.iotlb = command | done << 57;
        self.complete(memory, |_| true);
    }

    /// Counts a read of CCMD, which may be the one that shows its end.
    pub(super) fn read_context_command(&mut self, memory: &SystemMemory) {
        self.looks_at_commands[0] = self.looks_at_commands[0].saturating_add(1);
        if self.registers.context_command & GO != 0
            && self.faults.context_command.is_due(&mut self.registers.command_reads[0])
        {
            self.finish_context_command(memory);
        }
    }

    /// Likewise for IOTLB.
    pub(super) fn read_iotlb_command(&mut self, memory: &SystemMemory) {
        self.looks_at_commands[1] = self.looks_at_commands[1].saturating_add(1);
        if self.registers.iotlb & GO != 0
            && self.faults.iotlb_command.is_due(&mut self.registers.command_reads[1])
        {
            self.finish_iotlb_command(memory);
        }
    }
}
