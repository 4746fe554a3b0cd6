//! The register file (IHI 0070, chapter 6): what is in force, and what reads tell.

use super::{config::Config, faults::Faults, queue::Queue, stream_table::StreamTable};

/// CR0 and CR0ACK (6.3.9).
pub(super) const SMMUEN: u32 = 1 << 0;
pub(super) const EVENTQEN: u32 = 1 << 2;
pub(super) const CMDQEN: u32 = 1 << 3;

/// GBPA (6.3.14).
pub(super) const GBPA_UPDATE: u32 = 1 << 31;
pub(super) const GBPA_ABORT: u32 = 1 << 20;

/// IRQ_CTRL (6.3.16).
pub(super) const GERROR_IRQEN: u32 = 1 << 0;
pub(super) const EVENTQ_IRQEN: u32 = 1 << 2;

/// Which registers of unknown content at reset have been written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    pub base: bool,
    pub produced: bool,
    pub consumed: bool,
}

/// The registers that software can write, and their acknowledgements.
#[derive(Debug, Default)]
pub(super) struct RegisterFile {
    pub(super) cr0: u32,
    pub(super) cr0_ack: u32,
    pub(super) cr1: u32,
    pub(super) cr2: u32,
    pub(super) gbpa: u32,
    pub(super) gbpa_in_force: u32,
    pub(super) irq_ctrl: u32,
    pub(super) irq_ctrl_ack: u32,
    pub(super) gerror: u32,
    pub(super) gerrorn: u32,
    pub(super) strtab_base: u64,
    pub(super) strtab_shape: u32,
    pub(super) cmdq_base: u64,
    pub(super) cmdq_prod: u32,
    pub(super) cmdq_cons: u32,
    pub(super) eventq_base: u64,
    pub(super) eventq_prod: u32,
    pub(super) eventq_cons: u32,
    /// GERROR_IRQ_CFG0 to 2 and EVENTQ_IRQ_CFG0 to 2.
    pub(super) message: [u64; 6],
    pub(super) cmdq: Written,
    pub(super) eventq: Written,
    pub(super) table: [bool; 4],
    pub(super) ack_reads: [u32; 3],
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

    pub const fn any(&self, enable: u32) -> bool {
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

    pub const fn finish_gbpa(&mut self) {
        self.ack_reads[1] = 0;
        self.gbpa &= !GBPA_UPDATE;
        self.gbpa_in_force = self.gbpa;
    }
}
