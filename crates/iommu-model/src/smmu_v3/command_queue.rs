//! The Command queue (IHI 0070, 4.1 and 7.1): consumption, and what a CMD_SYNC completes.

use super::{
    Smmu,
    commands::{Command, ConfigScope, decode},
    tlb::Scope,
};
use crate::SystemMemory;

/// Bytes of a command.
const COMMAND_BYTES: u64 = 16;

/// CERROR_ILL and CERROR_ABT (7.1).
const ILLEGAL: u8 = 1;
const FETCH_ABORTED: u8 = 2;

/// GERROR.CMDQ_ERR and GERROR.MSI_CMDQ_ABT_ERR.
const CMDQ_ERR: u32 = 1 << 0;
const MSI_CMDQ_ABT_ERR: u32 = 1 << 4;

/// What an invalidation removes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Removes {
    Configuration(ConfigScope),
    Translations(Scope),
    HypervisorTranslations,
}

/// An invalidation that has been consumed and waits for its CMD_SYNC. It reaches what was cached before it was
/// consumed: what the unit reads afresh later, it may keep (3.21).
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Its number, from 1 on.
    pub number: u64,
    pub removes: Removes,
}

impl Smmu {
    /// Consumes commands until the queue is empty or stands still.
    pub(super) fn run_commands(&mut self, memory: &mut SystemMemory) {
        if self.faults.reads_per_command == 0 {
            while self.consume_one(memory) {}
        }
    }

    /// Counts a register read towards the next command of a slow unit.
    pub(super) fn run_slowly(&mut self, memory: &mut SystemMemory) {
        if self.faults.reads_per_command == 0 {
            self.run_commands(memory);
            return;
        }
        self.reads_since_command += 1;
        if self.reads_since_command >= self.faults.reads_per_command {
            self.reads_since_command = 0;
            self.consume_one(memory);
        }
    }

    /// Consumes one command; whether it did.
    fn consume_one(&mut self, memory: &mut SystemMemory) -> bool {
        let queue = self.registers.command_queue();
        let stopped = !self.registers.command_queue_enabled()
            || self.registers.active_errors() & CMDQ_ERR != 0
            || self.service_failure;
        if stopped || queue.is_empty() {
            return false;
        }
        if let Some(code) = self.faults.next_command_fails {
            if self.faults.commands_before_failure == 0 {
                self.faults.next_command_fails = None;
                return self.fail_command(code);
            }
            self.faults.commands_before_failure -= 1;
        }
        let at = queue.base + COMMAND_BYTES * u64::from(queue.consumed_index());
        let (Some(low), Some(high)) = (memory.fetch(at), memory.fetch(at + 8)) else {
            return self.fail_command(FETCH_ABORTED);
        };
        let Some(command) = decode([low, high], &self.config) else { return self.fail_command(ILLEGAL) };
        match command {
            Command::Prefetch => {}
            Command::Configuration(scope) => {
                self.watch.mark(memory, &scope);
                self.invalidate_later(Removes::Configuration(scope));
            }
            Command::Translations(scope) => self.invalidate_later(Removes::Translations(scope)),
            Command::HypervisorTranslations => self.invalidate_later(Removes::HypervisorTranslations),
            Command::Sync { .. } if self.faults.stands_still() => return false,
            Command::Sync { signal, message_at, message } => {
                self.complete(memory);
                self.signal(memory, signal, message_at, message);
                self.observed.syncs_completed += 1;
            }
        }
        self.registers.advance_commands();
        self.observed.commands_consumed += 1;
        true
    }

    /// Panics where the CPU stores into a command that the unit may be reading (3.21.2).
    pub(super) fn check_command_store(&self, at: u64) {
        let queue = self.registers.command_queue();
        let stopped = self.registers.active_errors() & CMDQ_ERR != 0;
        if stopped || !self.registers.command_queue_enabled() {
            return;
        }
        if let Some(place) = at.checked_sub(queue.base).map(|offset| offset / COMMAND_BYTES) {
            assert!(
                !queue.holds(place),
                "store at {at:#x} into command {place:#x}, not yet consumed (3.21.2)"
            );
        }
    }

    fn invalidate_later(&mut self, removes: Removes) {
        self.invalidations += 1;
        self.pending.push(Pending { number: self.invalidations, removes });
    }

    fn fail_command(&mut self, code: u8) -> bool {
        self.registers.set_command_error(code);
        self.raise_errors(CMDQ_ERR);
        false
    }

    /// Makes every consumed invalidation effective.
    fn complete(&mut self, memory: &SystemMemory) {
        for Pending { number, removes } in std::mem::take(&mut self.pending) {
            match removes {
                Removes::Configuration(scope) => {
                    self.forget_configuration(&scope, number);
                    let everything = ConfigScope::Streams { first: 0, last: u32::MAX, descriptors: true };
                    self.cleared.configuration |= scope == everything;
                    self.watch.close(memory, &self.config, &scope);
                }
                Removes::Translations(scope) => {
                    self.tlb.invalidate(&scope, number);
                    let all_of_stage_one = !self.config.stage2 && scope == Scope::StageOne(0);
                    self.cleared.translations |= scope == Scope::All || all_of_stage_one;
                }
                Removes::HypervisorTranslations => self.cleared.hypervisor = true,
            }
        }
    }

    fn signal(&mut self, memory: &mut SystemMemory, signal: u64, message_at: u64, message: u32) {
        if signal != 0b01 {
            return;
        }
        self.observed.sync_interrupts += 1;
        if self.config.msi && message_at != 0 {
            let word = message_at & !7;
            let mut bytes = [0; 8];
            memory.peek(word, &mut bytes);
            bytes[(message_at & 7) as usize..][..4].copy_from_slice(&message.to_le_bytes());
            if !memory.deposit(word, u64::from_le_bytes(bytes)) {
                self.raise_errors(MSI_CMDQ_ABT_ERR);
            }
        }
    }
}
