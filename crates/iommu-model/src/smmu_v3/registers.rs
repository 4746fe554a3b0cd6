//! The register file (IHI 0070, chapter 6): what may be written when, and what a write begins.

use super::{
    Smmu,
    config::Config,
    faults::Faults,
    stream_table::{StreamTable, mask, output_beyond},
};
use crate::SystemMemory;

/// CR0 and CR0ACK (6.3.9).
const SMMUEN: u32 = 1 << 0;
const EVENTQEN: u32 = 1 << 2;
const CMDQEN: u32 = 1 << 3;

/// GBPA (6.3.14).
const GBPA_UPDATE: u32 = 1 << 31;
const GBPA_ABORT: u32 = 1 << 20;

/// IRQ_CTRL (6.3.16).
const GERROR_IRQEN: u32 = 1 << 0;
const EVENTQ_IRQEN: u32 = 1 << 2;

/// The base, the size and both indexes of a queue (3.5.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue {
    pub base: u64,
    size_lg2: u32,
    produced: u32,
    consumed: u32,
}

impl Queue {
    const fn new(register: u64, produced: u32, consumed: u32) -> Self {
        let size_lg2 = (register & 0x1f) as u32;
        let all = (2 << size_lg2) - 1;
        Self { base: register & mask(5, 55), size_lg2, produced: produced & all, consumed: consumed & all }
    }

    pub const fn is_empty(&self) -> bool {
        self.produced == self.consumed
    }

    pub const fn is_full(&self) -> bool {
        self.produced ^ self.consumed == 1 << self.size_lg2
    }

    const fn index(&self, of: u32) -> u32 {
        of & ((1 << self.size_lg2) - 1)
    }

    pub const fn produced_index(&self) -> u32 {
        self.index(self.produced)
    }

    pub const fn consumed_index(&self) -> u32 {
        self.index(self.consumed)
    }

    const fn after(&self, index: u32) -> u32 {
        (index + 1) & self.wrap_mask()
    }

    const fn wrap_mask(&self) -> u32 {
        (2 << self.size_lg2) - 1
    }

    /// Entries from index `from` on to index `to`.
    const fn distance(&self, from: u32, to: u32) -> u32 {
        to.wrapping_sub(from) & self.wrap_mask()
    }

    fn check_consistent(&self, name: &str) {
        assert!(
            self.distance(self.consumed, self.produced) <= 1 << self.size_lg2,
            "{name}: PROD {:#x} and CONS {:#x} are inconsistent (3.5.1)",
            self.produced,
            self.consumed
        );
    }
}

/// Which registers of unknown content at reset have been written.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    base: bool,
    produced: bool,
    consumed: bool,
}

/// The registers that software can write, and their acknowledgements.
#[derive(Debug, Default)]
pub(super) struct RegisterFile {
    pub(super) cr0: u32,
    pub(super) cr0_ack: u32,
    cr1: u32,
    cr2: u32,
    pub(super) gbpa: u32,
    gbpa_in_force: u32,
    irq_ctrl: u32,
    irq_ctrl_ack: u32,
    gerror: u32,
    gerrorn: u32,
    pub(super) strtab_base: u64,
    pub(super) strtab_shape: u32,
    pub(super) cmdq_base: u64,
    pub(super) cmdq_prod: u32,
    pub(super) cmdq_cons: u32,
    pub(super) eventq_base: u64,
    pub(super) eventq_prod: u32,
    pub(super) eventq_cons: u32,
    /// GERROR_IRQ_CFG0 to 2 and EVENTQ_IRQ_CFG0 to 2.
    message: [u64; 6],
    cmdq: Written,
    eventq: Written,
    table: [bool; 4],
    ack_reads: [u32; 3],
}

impl RegisterFile {
    pub fn at_reset(config: &Config) -> Self {
        // Incoming shareability; what QEMU has.
        let gbpa = 0x1000 | if config.aborts_at_reset { GBPA_ABORT } else { 0 };
        // What is UNKNOWN at reset looks like nothing in use.
        Self { gbpa, gbpa_in_force: gbpa, cmdq_prod: 0x5, cmdq_cons: 0x5a00_0003, ..Self::default() }
    }

    /// What a boot loader left in force.
    pub fn leave_on(&mut self, cr0: u32, gbpa_abort: bool) {
        (self.cr0, self.cr0_ack) = (cr0, cr0);
        self.gbpa = 0x1000 | if gbpa_abort { GBPA_ABORT } else { 0 };
        self.gbpa_in_force = self.gbpa;
    }

    const fn any(&self, enable: u32) -> bool {
        (self.cr0 | self.cr0_ack) & enable != 0
    }

    pub const fn is_translating(&self) -> bool {
        self.cr0_ack & SMMUEN != 0
    }

    pub const fn aborts_globally(&self) -> bool {
        self.gbpa_in_force & GBPA_ABORT != 0
    }

    pub const fn records_invalid_streams(&self) -> bool {
        self.cr2 & 0b10 != 0
    }

    pub fn stream_table(&self) -> StreamTable {
        StreamTable::new(self.strtab_base, self.strtab_shape)
    }

    pub const fn command_queue_enabled(&self) -> bool {
        self.cr0_ack & CMDQEN != 0
    }

    pub const fn event_queue_enabled(&self) -> bool {
        self.cr0_ack & EVENTQEN != 0
    }

    pub const fn command_queue(&self) -> Queue {
        Queue::new(self.cmdq_base, self.cmdq_prod, self.cmdq_cons)
    }

    pub const fn event_queue(&self) -> Queue {
        Queue::new(self.eventq_base, self.eventq_prod, self.eventq_cons)
    }

    pub const fn advance_commands(&mut self) {
        let queue = self.command_queue();
        self.cmdq_cons = queue.after(queue.consumed) | (self.cmdq_cons & 0x7f00_0000);
    }

    pub fn set_command_error(&mut self, code: u8) {
        self.cmdq_cons = self.command_queue().consumed | u32::from(code) << 24;
    }

    pub const fn advance_events(&mut self) {
        let queue = self.event_queue();
        self.eventq_prod = queue.after(queue.produced) | (self.eventq_prod & 1 << 31);
    }

    /// Toggles OVFLG unless an overflow is unacknowledged (7.4).
    pub const fn overflow_events(&mut self) {
        if (self.eventq_prod ^ self.eventq_cons) >> 31 == 0 {
            self.eventq_prod ^= 1 << 31;
        }
    }

    pub const fn active_errors(&self) -> u32 {
        self.gerror ^ self.gerrorn
    }

    pub const fn interrupts_on_events(&self) -> bool {
        self.irq_ctrl_ack & EVENTQ_IRQEN != 0
    }

    pub const fn interrupts_on_errors(&self) -> bool {
        self.irq_ctrl_ack & GERROR_IRQEN != 0
    }

    /// Toggles the bits of `errors` that are not active (7.5); those that were not.
    pub const fn activate(&mut self, errors: u32) -> u32 {
        let new = errors & !self.active_errors();
        self.gerror ^= new;
        new
    }

    pub fn read(&mut self, config: &Config, faults: &Faults, offset: u32) -> u32 {
        let high = |value: u64| (value >> 32) as u32;
        match offset {
            0x00 => config.idr0(),
            0x04 => config.idr1(),
            0x08 | 0x10 => 0,
            0x0c => config.idr3(),
            0x14 => config.idr5(),
            0x18 => 0x0043_b000, // IIDR: any product, no implementer's code
            0x1c => config.minor_version,
            0x20 => self.cr0,
            0x24 => {
                if self.cr0_ack != self.cr0 && faults.cr0_ack.is_due(&mut self.ack_reads[0]) {
                    self.ack_reads[0] = 0;
                    self.cr0_ack = self.cr0;
                }
                self.cr0_ack
            }
            0x28 => self.cr1,
            0x2c => self.cr2,
            0x40 | 0x48 => 0,
            0x44 => {
                if self.gbpa & GBPA_UPDATE != 0 && faults.gbpa_update.is_due(&mut self.ack_reads[1]) {
                    self.finish_gbpa();
                }
                self.gbpa
            }
            0x50 => self.irq_ctrl,
            0x54 => {
                if self.irq_ctrl_ack != self.irq_ctrl && faults.irq_ctrl_ack.is_due(&mut self.ack_reads[2]) {
                    self.ack_reads[2] = 0;
                    self.irq_ctrl_ack = self.irq_ctrl;
                }
                self.irq_ctrl_ack
            }
            0x60 => self.gerror,
            0x64 => self.gerrorn,
            0x68 => self.message[0] as u32,
            0x6c => high(self.message[0]),
            0x70 => self.message[1] as u32,
            0x74 => self.message[2] as u32,
            0x80 => self.strtab_base as u32,
            0x84 => high(self.strtab_base),
            0x88 => self.strtab_shape,
            0x90 => self.cmdq_base as u32,
            0x94 => high(self.cmdq_base),
            0x98 => self.cmdq_prod,
            0x9c => self.cmdq_cons,
            0xa0 => self.eventq_base as u32,
            0xa4 => high(self.eventq_base),
            0xb0 => self.message[3] as u32,
            0xb4 => high(self.message[3]),
            0xb8 => self.message[4] as u32,
            0xbc => self.message[5] as u32,
            0x1_00a8 => self.eventq_prod,
            0x1_00ac => self.eventq_cons,
            0xa8 | 0xac => panic!("read at {offset:#x}: the index is on page 1 (6.2)"),
            _ => panic!("read of no register, at {offset:#x}"),
        }
    }

    const fn finish_gbpa(&mut self) {
        self.ack_reads[1] = 0;
        self.gbpa &= !GBPA_UPDATE;
        self.gbpa_in_force = self.gbpa;
    }

    /// Stores `value`, having judged it.
    fn write(&mut self, config: &Config, faults: &Faults, offset: u32, value: u32) {
        match offset {
            0x20 => self.write_cr0(value),
            0x28 => {
                assert_eq!(value & !0xfff, 0, "CR1 {value:#x}: reserved bits set (6.3.11)");
                let queues = self.any(CMDQEN | EVENTQEN) && (value ^ self.cr1) & 0x3f != 0;
                let tables = self.any(SMMUEN) && (value ^ self.cr1) & 0xfc0 != 0;
                assert!(!queues && !tables, "CR1: attributes changed while in use (6.3.11)");
                self.cr1 = value;
                self.table[0] = true;
            }
            0x2c => {
                let defined = if config.hypervisor { 0b11 } else { 0b10 };
                assert_eq!(value & !defined, 0, "CR2 {value:#x}: reserved bits set (6.3.12)");
                assert!(!self.any(SMMUEN), "CR2 written while SMMUEN (6.3.12)");
                self.cr2 = value;
                self.table[1] = true;
            }
            0x44 => self.write_gbpa(config, faults, value),
            0x50 => {
                assert_eq!(value & !0b101, 0, "IRQ_CTRL {value:#x}: reserved bits set (6.3.16)");
                let moving = self.irq_ctrl ^ self.irq_ctrl_ack;
                assert_eq!((value ^ self.irq_ctrl) & moving, 0, "IRQ_CTRL: changed again before its Update");
                self.irq_ctrl = value;
                if faults.irq_ctrl_ack == super::Ack::AtOnce {
                    self.irq_ctrl_ack = value;
                }
            }
            0x64 => {
                assert_eq!(
                    (value ^ self.gerrorn) & !self.active_errors(),
                    0,
                    "GERRORN {value:#x}: acknowledges errors that are not active (6.3.20)"
                );
                self.gerrorn = value;
            }
            0x88 => self.write_table_shape(config, value),
            0x98 => self.write_command_producer(value),
            0x9c => {
                assert!(!self.any(CMDQEN), "CMDQ_CONS written while CMDQEN (6.3.28)");
                assert_eq!(value & !0x7f0f_ffff, 0, "CMDQ_CONS {value:#x}: reserved bits set (6.3.28)");
                assert!(self.cmdq.base, "CMDQ_CONS written before CMDQ_BASE (6.3.26)");
                self.cmdq_cons = value;
                self.cmdq.consumed = true;
            }
            0x1_00a8 => {
                assert!(!self.any(EVENTQEN), "EVENTQ_PROD written while EVENTQEN (6.3.29)");
                assert_eq!(value & 0x7ff0_0000, 0, "EVENTQ_PROD {value:#x}: reserved bits set");
                assert!(self.eventq.base, "EVENTQ_PROD written before EVENTQ_BASE (6.3.26)");
                self.eventq_prod = value;
                self.eventq.produced = true;
            }
            0x1_00ac => self.write_event_consumer(value),
            0x68 | 0x6c | 0x70 | 0x74 | 0xb0 | 0xb4 | 0xb8 | 0xbc => {
                self.write_message(config, offset, value)
            }
            0xa8 | 0xac => panic!("write at {offset:#x}: the index is on page 1 (6.2)"),
            0x80 | 0x84 | 0x90 | 0x94 | 0xa0 | 0xa4 => {
                let half = 32 * (offset & 4 != 0) as u32;
                let base = offset & !4;
                let old = match base {
                    0x80 => self.strtab_base,
                    0x90 => self.cmdq_base,
                    _ => self.eventq_base,
                };
                self.write_base(config, base, old & !(0xffff_ffff << half) | u64::from(value) << half);
            }
            _ => panic!("write of {value:#x} to no writable register, at {offset:#x}"),
        }
    }

    fn write_base(&mut self, config: &Config, offset: u32, value: u64) {
        let reserved = mask(63, 63) | mask(56, 61) | output_beyond(config, 5, 55);
        assert_eq!(value & reserved, 0, "base register at {offset:#x}: reserved bits set in {value:#x}");
        let size_lg2 = (value & 0x1f) as u32;
        match offset {
            0x80 => {
                assert!(!self.any(SMMUEN), "STRTAB_BASE written while SMMUEN (6.3.24)");
                assert_eq!(value & 0x3f, 0, "STRTAB_BASE {value:#x}: reserved bits set (6.3.24)");
                self.strtab_base = value;
                self.table[2] = true;
            }
            0x90 => {
                assert!(!self.any(CMDQEN), "CMDQ_BASE written while CMDQEN (6.3.26)");
                assert!(
                    size_lg2 <= config.command_queue_lg2,
                    "CMDQ_BASE: 2^{size_lg2} commands exceed IDR1.CMDQS"
                );
                self.cmdq_base = value;
                self.cmdq = Written { base: true, ..Written::default() };
            }
            0xa0 => {
                assert!(!self.any(EVENTQEN), "EVENTQ_BASE written while EVENTQEN (6.3.29)");
                assert!(
                    size_lg2 <= config.event_queue_lg2,
                    "EVENTQ_BASE: 2^{size_lg2} events exceed IDR1.EVENTQS"
                );
                self.eventq_base = value;
                self.eventq = Written { base: true, ..Written::default() };
            }
            _ => panic!("64-bit write to {offset:#x}, which is no 64-bit register (6.2)"),
        }
    }

    fn write_cr0(&mut self, value: u32) {
        assert_eq!(value & !(SMMUEN | EVENTQEN | CMDQEN), 0, "CR0 {value:#x}: reserved bits set (6.3.9)");
        let moving = self.cr0 ^ self.cr0_ack;
        assert_eq!(
            (value ^ self.cr0) & moving,
            0,
            "CR0 {value:#x}: a field changed again before its Update (6.3.9)"
        );
        let on = value & !self.cr0;
        let written = |queue: Written| queue.base && queue.produced && queue.consumed;
        if on & CMDQEN != 0 {
            assert!(written(self.cmdq), "CMDQEN before CMDQ_BASE, then PROD and CONS (6.3.26)");
            self.check_queue("CMDQ", self.cmdq_base, 16);
            self.command_queue().check_consistent("CMDQ");
        }
        if on & EVENTQEN != 0 {
            assert!(written(self.eventq), "EVENTQEN before EVENTQ_BASE, then PROD and CONS (6.3.26)");
            self.check_queue("EVENTQ", self.eventq_base, 32);
            self.event_queue().check_consistent("EVENTQ");
        }
        if on & (CMDQEN | EVENTQEN) != 0 {
            assert!(self.table[0], "a queue enabled before CR1 was written (6.3.11)");
        }
        if on & SMMUEN != 0 {
            assert_eq!(self.table, [true; 4], "SMMUEN before CR1, CR2, STRTAB_BASE and its CFG (3.11)");
            let table = self.stream_table();
            let bytes = table.bytes().max(64);
            assert!(
                table.base.is_multiple_of(bytes),
                "STRTAB_BASE {:#x}: not aligned to {bytes}",
                table.base
            );
        }
        self.cr0 = value;
    }

    fn check_queue(&self, name: &str, register: u64, entry_bytes: u64) {
        let (base, bytes) = (register & mask(5, 55), (entry_bytes << (register & 0x1f)).max(32));
        assert!(
            base.is_multiple_of(bytes),
            "{name}_BASE {base:#x}: not aligned to its {bytes} bytes (6.3.26)"
        );
    }

    fn write_gbpa(&mut self, config: &Config, faults: &Faults, value: u32) {
        assert_eq!(self.gbpa & GBPA_UPDATE, 0, "GBPA written before its Update was done (6.3.14.1)");
        assert_ne!(value & GBPA_UPDATE, 0, "GBPA written without Update (6.3.14.1)");
        assert_eq!(value & 0x7fe0_c0e0, 0, "GBPA {value:#x}: reserved bits set (6.3.14)");
        let fixed = if config.overrides_types { 0 } else { 0x0f1f }
            | if config.overrides_permissions { 0 } else { 0xf_0000 };
        assert_eq!((value ^ self.gbpa) & fixed, 0, "GBPA {value:#x}: overrides that the unit lacks (6.3.14)");
        self.gbpa = value;
        if faults.gbpa_update == super::Ack::AtOnce {
            self.finish_gbpa();
        }
    }

    fn write_table_shape(&mut self, config: &Config, value: u32) {
        assert!(!self.any(SMMUEN), "STRTAB_BASE_CFG written while SMMUEN (6.3.25)");
        assert_eq!(value & !0x3_07ff, 0, "STRTAB_BASE_CFG {value:#x}: reserved bits set (6.3.25)");
        let (format, split) = (value >> 16, value >> 6 & 0x1f);
        assert!(
            format == 0 || (format == 1 && config.two_level),
            "STRTAB_BASE_CFG: FMT {format} is not implemented"
        );
        assert!(
            config.two_level || split == 0,
            "STRTAB_BASE_CFG: SPLIT is reserved without two levels (6.3.25)"
        );
        assert!(
            format == 0 || [6, 8, 10].contains(&split),
            "STRTAB_BASE_CFG: reserved SPLIT {split} (6.3.25)"
        );
        self.strtab_shape = value;
        self.table[3] = true;
    }

    fn write_command_producer(&mut self, value: u32) {
        assert!(self.cmdq.base || self.any(CMDQEN), "CMDQ_PROD written before CMDQ_BASE (6.3.26)");
        let queue = self.command_queue();
        assert_eq!(value & !queue.wrap_mask(), 0, "CMDQ_PROD {value:#x}: beyond index and wrap bit (6.3.27)");
        if self.any(CMDQEN) {
            let occupied = queue.distance(queue.consumed, value);
            assert!(
                occupied <= 1 << queue.size_lg2,
                "CMDQ_PROD {value:#x}: overruns the commands not yet consumed"
            );
            // Commands may be taken back only while an error stops the queue (7.1).
            let forward = occupied >= queue.distance(queue.consumed, queue.produced);
            let stopped = self.active_errors() & 1 != 0;
            assert!(forward || stopped, "CMDQ_PROD {value:#x}: moved backwards (3.21.2)");
        }
        self.cmdq_prod = value;
        self.cmdq.produced = true;
    }

    fn write_event_consumer(&mut self, value: u32) {
        assert!(self.eventq.base || self.any(EVENTQEN), "EVENTQ_CONS written before EVENTQ_BASE (6.3.26)");
        let queue = self.event_queue();
        let index = value & !(1 << 31);
        assert_eq!(index & !queue.wrap_mask(), 0, "EVENTQ_CONS {value:#x}: beyond index and wrap bit");
        if self.any(EVENTQEN) {
            let taken = queue.distance(queue.consumed, index);
            let filled = queue.distance(queue.consumed, queue.produced);
            assert!(taken <= filled, "EVENTQ_CONS {value:#x}: passes records that are not there (3.21.2)");
            let acknowledged = (value ^ self.eventq_cons) >> 31 == 0 || (value ^ self.eventq_prod) >> 31 == 0;
            assert!(acknowledged, "EVENTQ_CONS: OVACKFLG acknowledges an overflow that is not there (7.4)");
        }
        self.eventq_cons = value;
        self.eventq.consumed = true;
    }

    fn write_message(&mut self, config: &Config, offset: u32, value: u32) {
        assert!(config.msi, "interrupt configuration at {offset:#x}: reserved without MSIs (6.3.21)");
        let enable = if offset < 0x80 { GERROR_IRQEN } else { EVENTQ_IRQEN };
        let enabled = (self.irq_ctrl | self.irq_ctrl_ack) & enable != 0;
        assert!(!enabled, "interrupt configuration at {offset:#x} written while enabled (6.3.21)");
        let first = if offset < 0x80 { 0 } else { 3 };
        match offset & 0xf {
            0x8 | 0x0 if matches!(offset, 0x68 | 0xb0) => {
                assert_eq!(value & 0b11, 0, "message address {value:#x}: misaligned (6.3.21)");
                self.message[first] = self.message[first] & !0xffff_ffff | u64::from(value);
            }
            _ if matches!(offset, 0x6c | 0xb4) => {
                assert_eq!(value >> 24, 0, "message address: reserved bits set (6.3.21)");
                self.message[first] = self.message[first] & 0xffff_ffff | u64::from(value) << 32;
            }
            _ if matches!(offset, 0x70 | 0xb8) => self.message[first + 1] = u64::from(value),
            _ => {
                assert_eq!(value & !0x3f, 0, "interrupt attributes {value:#x}: reserved bits set (6.3.23)");
                self.message[first + 2] = u64::from(value);
            }
        }
    }
}

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
        if offset == 0x20 && self.faults.cr0_ack == super::Ack::AtOnce {
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
