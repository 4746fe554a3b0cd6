//! The global command and status registers (11.4.4).

use super::{Ack, Faults, Vtd};
use crate::{SystemMemory, fields::bits};

/// Translation enable, and its status.
pub(super) const TES: u32 = 1 << 31;
/// Set root table pointer.
pub(super) const RTPS: u32 = 1 << 30;
/// Write-buffer flush.
pub(super) const WBFS: u32 = 1 << 27;
/// Queued invalidation enable.
pub(super) const QIES: u32 = 1 << 26;
/// Interrupt remapping enable.
pub(super) const IRES: u32 = 1 << 25;
/// Set interrupt remap table pointer.
pub(super) const IRTPS: u32 = 1 << 24;
/// Compatibility format interrupts.
pub(super) const CFIS: u32 = 1 << 23;

/// Fields that keep their value; the others ask for something once.
const LEVELS: u32 = TES | QIES | IRES | CFIS;
const ONCE: u32 = RTPS | WBFS | IRTPS;

/// GCMD as written and GSTS.
#[derive(Debug, Default)]
pub(super) struct GlobalStatus {
    /// The levels that were last written.
    asked: u32,
    status: u32,
    /// The field that is not acknowledged yet.
    moving: Option<u32>,
    /// It is in force all the same.
    early: bool,
    reads: u32,
    /// Reads of GSTS since the last command.
    looks: u32,
}

impl GlobalStatus {
    pub const fn value(&self) -> u32 {
        self.status
    }

    /// Whether a field is in force.
    pub const fn is(&self, field: u32) -> bool {
        match self.moving {
            Some(moving) if moving == field && self.early => self.asked & field != 0,
            _ => self.status & field != 0,
        }
    }

    /// A status that a boot loader left.
    pub const fn left(status: u32) -> Self {
        Self { asked: status & LEVELS, status, moving: None, early: false, reads: 0, looks: 0 }
    }
}

impl Faults {
    const fn of(&self, field: u32) -> Ack {
        match field {
            TES => self.translation_enable,
            RTPS => self.root_pointer,
            WBFS => self.write_buffer_flush,
            QIES => self.queue_enable,
            IRES => self.interrupt_enable,
            IRTPS => self.interrupt_pointer,
            _ => Ack::AtOnce,
        }
    }
}

impl Vtd {
    /// Whether a driver has waited for what never comes: the acknowledgement of a command, a wait descriptor at which the
    /// queue stands still, or the end of an invalidation through registers. With a root table that the unit has taken, turning translation on is then better than to let
    /// everything pass, though a command is under way or what is cached was not invalidated. Before the unit has taken a root
    /// table nothing is: it would use whatever it had.
    fn has_left_waiting(&self) -> bool {
        let global = &self.registers.status;
        match global.moving {
            Some(RTPS) => false,
            Some(field) => self.faults.of(field) == Ack::Never && global.looks > 0,
            // The first look is the unit's own, when it is told of the descriptor.
            None => self.looks_at_standstill > 1 || self.has_lost_a_command(),
        }
    }

    pub(super) fn write_global_command(&mut self, memory: &mut SystemMemory, value: u32) {
        let config = &self.config;
        let remapping = if config.interrupt_remapping { IRES | IRTPS | CFIS } else { 0 };
        let queue = if config.queued_invalidation { QIES } else { 0 };
        let defined = TES | RTPS | WBFS | remapping | queue;
        assert_eq!(value & !defined, 0, "GCMD {value:#x}: bits of what the unit does not have (11.4.4.1)");
        let global = &self.registers.status;
        let changed = (value ^ global.asked) & LEVELS | value & ONCE;
        let desperate = changed == TES && value & TES != 0 && self.has_left_waiting();
        assert!(
            global.moving.is_none() || changed == 0 || desperate,
            "GCMD {value:#x}: written before GSTS acknowledged the last command (11.4.4.1)"
        );
        assert!(
            changed.count_ones() <= 1,
            "GCMD {value:#x} changes {changed:#x}: one field at a time; a field left out is turned off (11.4.4.1)"
        );
        if changed == 0 {
            return;
        }
        self.check_command(changed, value & changed != 0);
        assert!(
            changed != TES || value & TES == 0 || desperate || !self.owed.any(),
            "TE before the global invalidations that SRTP asks for, in order: {:?} (6.6)",
            self.owed
        );
        let global = &mut self.registers.status;
        global.asked = value & LEVELS;
        (global.moving, global.reads, global.looks) = (Some(changed), 0, 0);
        match changed {
            RTPS | IRTPS => global.status &= !changed,
            WBFS => global.status |= WBFS,
            _ => {}
        }
        global.early = self.faults.in_force_before_acknowledged;
        if global.early {
            self.carry_out_command(memory, changed);
        }
        if self.faults.of(changed) == Ack::AtOnce {
            self.acknowledge(memory, changed);
        }
    }

    /// Counts a read of GSTS, which may be the one that shows the acknowledgement.
    pub(super) fn read_global_status(&mut self, memory: &mut SystemMemory) {
        let global = &mut self.registers.status;
        global.looks = global.looks.saturating_add(1);
        if let Some(field) = self.registers.status.moving
            && self.faults.of(field).is_due(&mut self.registers.status.reads)
        {
            self.acknowledge(memory, field);
        }
    }

    fn acknowledge(&mut self, memory: &mut SystemMemory, field: u32) {
        let global = &mut self.registers.status;
        let early = std::mem::take(&mut global.early);
        global.moving = None;
        match field {
            WBFS => global.status &= !WBFS,
            RTPS | IRTPS => global.status |= field,
            _ => global.status = global.status & !field | global.asked & field,
        }
        if !early {
            self.carry_out_command(memory, field);
        }
    }

    /// Panics where a command breaks a rule.
    fn check_command(&self, field: u32, on: bool) {
        let registers = &self.registers;
        match field {
            TES if on => {
                assert!(registers.status.is(RTPS), "TE before the root table pointer was set (11.4.4.1)");
                assert_eq!(
                    registers.root, registers.latched_root,
                    "TE after RTADDR was written without SRTP (11.4.5)"
                );
            }
            RTPS => {
                let mode = |root| bits(root, 10, 11);
                assert!(
                    !registers.is_translating() || mode(registers.root) == mode(registers.latched_root),
                    "SRTP: the translation table mode changes while translation is on (11.4.5)"
                );
            }
            WBFS => assert!(self.config.write_buffer, "WBF: the unit needs no write-buffer flush (CAP.RWBF)"),
            QIES if on => {
                assert_eq!(registers.queue_tail, 0, "QIE before IQT was set to 0 (6.5.2)");
                assert_ne!(registers.queue_address & !0xfff, 0, "QIE before IQA was set (6.5.2)");
                assert!(
                    !self.commands_under_way(),
                    "QIE while an invalidation through registers is under way (6.5.1)"
                );
            }
            QIES => assert_eq!(
                registers.queue_head, registers.queue_tail,
                "QIE turned off with descriptors in the queue (6.5.2)"
            ),
            IRES if on => {
                assert!(
                    registers.status.is(IRTPS),
                    "IRE before the interrupt table pointer was set (11.4.4.1)"
                );
                assert_eq!(
                    registers.interrupt_table, registers.latched_interrupt_table,
                    "IRE after IRTA was written without SIRTP (11.4.10)"
                );
                assert!(
                    !self.owed.interrupts,
                    "IRE before the interrupt entry cache was invalidated (11.4.4.1)"
                );
            }
            _ => {}
        }
    }

    fn carry_out_command(&mut self, memory: &mut SystemMemory, field: u32) {
        match field {
            TES => {
                self.watch.forget_all();
                if !self.registers.is_translating() {
                    self.observed.translation_ended += 1;
                }
            }
            RTPS => {
                self.registers.latched_root = self.registers.root;
                if self.config.pointer_invalidates {
                    self.forget_everything();
                } else {
                    self.owe_after_root_pointer();
                }
            }
            WBFS => {
                self.observed.write_buffer_flushes += 1;
                self.flush(memory);
            }
            // Off: the head goes back to the start (11.4.9.1).
            QIES if !self.registers.status.is(QIES) => self.registers.queue_head = 0,
            IRTPS => {
                self.registers.latched_interrupt_table = self.registers.interrupt_table;
                if self.config.pointer_invalidates {
                    self.interrupts.clear();
                } else {
                    self.owed.interrupts = true;
                    self.owed.interrupts_since = self.invalidations;
                }
            }
            _ => {}
        }
    }
}
