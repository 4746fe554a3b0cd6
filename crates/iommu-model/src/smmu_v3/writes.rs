//! Writes to registers (IHI 0070, 6.3): what may be written when.

use super::{
    config::Config,
    faults::{Ack, Faults},
    registers::{CMDQEN, EVENTQ_IRQEN, EVENTQEN, GBPA_UPDATE, GERROR_IRQEN, RegisterFile, SMMUEN, Written},
    stream_table::{check_snooped, mask, output_beyond},
};

impl RegisterFile {
    /// Stores `value`, having judged it.
    pub fn write(&mut self, config: &Config, faults: &Faults, offset: u32, value: u32) {
        match offset {
            0x20 => self.write_cr0(config, value),
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
            0x44 => self.write_gbpa(faults, value),
            0x50 => {
                assert_eq!(value & !0b101, 0, "IRQ_CTRL {value:#x}: reserved bits set (6.3.16)");
                let moving = self.irq_ctrl ^ self.irq_ctrl_ack;
                assert_eq!((value ^ self.irq_ctrl) & moving, 0, "IRQ_CTRL: changed again before its Update");
                self.irq_ctrl = value;
                if faults.irq_ctrl_ack == Ack::AtOnce {
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

    pub fn write_base(&mut self, config: &Config, offset: u32, value: u64) {
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

    fn write_cr0(&mut self, config: &Config, value: u32) {
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
            self.check_attributes(config, 0, "CR1.QUEUE_*");
        }
        if on & SMMUEN != 0 {
            assert_eq!(self.table, [true; 4], "SMMUEN before CR1, CR2, STRTAB_BASE and its CFG (3.11)");
            self.check_attributes(config, 6, "CR1.TABLE_*");
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

    /// Judges the attributes in CR1 from bit `first` on; 0b11 is a reserved cacheability there.
    fn check_attributes(&self, config: &Config, first: u32, field: &str) {
        let fields = u64::from(self.cr1) >> first;
        assert!(
            fields & 0b11 != 0b11 && fields & 0b1100 != 0b1100,
            "{field}: reserved cacheability (6.3.11)"
        );
        check_snooped(config, fields, field);
    }

    fn check_queue(&self, name: &str, register: u64, entry_bytes: u64) {
        let (base, bytes) = (register & mask(5, 55), (entry_bytes << (register & 0x1f)).max(32));
        assert!(
            base.is_multiple_of(bytes),
            "{name}_BASE {base:#x}: not aligned to its {bytes} bytes (6.3.26)"
        );
    }

    fn write_gbpa(&mut self, faults: &Faults, value: u32) {
        assert_eq!(self.gbpa & GBPA_UPDATE, 0, "GBPA written before its Update was done (6.3.14.1)");
        assert_ne!(value & GBPA_UPDATE, 0, "GBPA written without Update (6.3.14.1)");
        assert_eq!(value & 0x7fe0_c0e0, 0, "GBPA {value:#x}: reserved bits set (6.3.14)");
        self.gbpa = value;
        if faults.gbpa_update == Ack::AtOnce {
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
        if !config.msi {
            assert_eq!(value, 0, "interrupt configuration at {offset:#x}: reserved without MSIs (6.3.21)");
            return;
        }
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
