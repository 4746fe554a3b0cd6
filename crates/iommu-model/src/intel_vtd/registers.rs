//! The register file (11.4): what is where, and what may be written when.

use super::{
    config::Config,
    fault_recording::{EventRegisters, FaultRegisters},
    global_command::{IRES, QIES, TES},
};
use crate::fields::{bits, mask};

/// A register, by what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Register {
    Version,
    Capabilities,
    ExtendedCapabilities,
    GlobalCommand,
    GlobalStatus,
    RootTable,
    ContextCommand,
    FaultStatus,
    FaultEvent(u32),
    ProtectedMemory,
    /// A base or limit of the protected regions.
    ProtectedBound(usize),
    QueueHead,
    QueueTail,
    QueueAddress,
    CompletionStatus,
    CompletionEvent(u32),
    QueueErrorRecord,
    InterruptTable,
    InvalidateAddress,
    Iotlb,
    /// A 64-bit word of the fault recording registers.
    FaultRecord(usize),
}

use Register::{
    Capabilities, CompletionEvent, CompletionStatus, ContextCommand, ExtendedCapabilities, FaultEvent,
    FaultRecord, FaultStatus, GlobalCommand, GlobalStatus, InterruptTable, InvalidateAddress, Iotlb,
    ProtectedBound, ProtectedMemory, QueueAddress, QueueErrorRecord, QueueHead, QueueTail, RootTable,
    Version,
};

impl Register {
    /// The register that holds the four bytes at `offset`.
    ///
    /// # Panics
    /// Where the unit has none.
    pub fn at(config: &Config, offset: u32) -> Self {
        let records = config.fault_offset..config.fault_offset + 16 * config.fault_records;
        match offset {
            0x00 => Version,
            0x08 | 0x0c => Capabilities,
            0x10 | 0x14 => ExtendedCapabilities,
            0x18 => GlobalCommand,
            0x1c => GlobalStatus,
            0x20 | 0x24 => RootTable,
            0x28 | 0x2c => ContextCommand,
            0x34 => FaultStatus,
            0x38..=0x44 => FaultEvent((offset - 0x38) / 4),
            0x64 => ProtectedMemory,
            0x68 | 0x6c if config.protected_memory => ProtectedBound((offset as usize - 0x68) / 4),
            0x70..=0x7c if config.protected_memory => ProtectedBound(2 + (offset as usize - 0x70) / 8),
            0x80 | 0x84 if config.queued_invalidation => QueueHead,
            0x88 | 0x8c if config.queued_invalidation => QueueTail,
            0x90 | 0x94 if config.queued_invalidation => QueueAddress,
            0x9c if config.queued_invalidation => CompletionStatus,
            0xa0..=0xac if config.queued_invalidation => CompletionEvent((offset - 0xa0) / 4),
            0xb0 | 0xb4 if config.queued_invalidation => QueueErrorRecord,
            0xb8 | 0xbc if config.interrupt_remapping => InterruptTable,
            _ if offset & !7 == config.iotlb_offset => InvalidateAddress,
            _ if offset & !7 == config.iotlb_offset + 8 => Iotlb,
            _ if records.contains(&offset) => FaultRecord(((offset - config.fault_offset) / 8) as usize),
            _ => panic!("access to {offset:#x}, where this unit has no register (11.4)"),
        }
    }

    /// Whether it has 64 bits.
    pub const fn is_wide(self) -> bool {
        !matches!(
            self,
            Version
                | GlobalCommand
                | GlobalStatus
                | FaultStatus
                | FaultEvent(_)
                | ProtectedMemory
                | ProtectedBound(0 | 1)
                | CompletionStatus
                | CompletionEvent(_)
        )
    }
}

/// ICS.IWC: a wait descriptor with an interrupt has completed.
pub(super) const IWC: u32 = 1;

/// The registers that hold something.
#[derive(Debug, Default)]
pub(super) struct RegisterFile {
    /// RTADDR as written.
    pub root: u64,
    /// RTADDR as SRTP took it.
    pub latched_root: u64,
    pub status: super::global_command::GlobalStatus,
    pub context_command: u64,
    pub invalidate_address: u64,
    pub iotlb: u64,
    /// Reads of CCMD and of IOTLB that a command has waited for.
    pub command_reads: [u32; 2],
    pub faults: FaultRegisters,
    pub protected: super::protected_memory::ProtectedMemory,
    pub queue_address: u64,
    pub queue_tail: u64,
    pub queue_head: u64,
    pub completion: u32,
    pub completion_event: EventRegisters,
    /// IRTA as written, and as SIRTP took it.
    pub interrupt_table: u64,
    pub latched_interrupt_table: u64,
}

impl RegisterFile {
    /// Whether requests are translated.
    pub const fn is_translating(&self) -> bool {
        self.status.is(TES)
    }

    /// The root table in use.
    pub const fn root_table(&self) -> u64 {
        self.latched_root & mask(12, 63)
    }

    /// What a register holds that no read changes.
    pub fn value(&self, config: &Config, register: Register) -> u64 {
        match register {
            Version => u64::from(config.version),
            Capabilities => config.cap(),
            ExtendedCapabilities => config.ecap(),
            GlobalCommand => panic!("GCMD is write-only (11.4.4.1)"),
            GlobalStatus => u64::from(self.status.value()),
            RootTable => self.root,
            ContextCommand => self.context_command,
            FaultStatus => u64::from(self.faults.status()),
            FaultEvent(place) => u64::from(event_value(&self.faults.event, place)),
            ProtectedMemory => u64::from(self.protected.value()),
            ProtectedBound(place) => self.protected.bound(place),
            QueueErrorRecord => 0,
            QueueHead => self.queue_head,
            QueueTail => self.queue_tail,
            QueueAddress => self.queue_address,
            CompletionStatus => u64::from(self.completion),
            CompletionEvent(place) => u64::from(event_value(&self.completion_event, place)),
            InterruptTable => self.interrupt_table,
            InvalidateAddress => panic!("IVA is write-only (11.4.6)"),
            Iotlb => self.iotlb,
            FaultRecord(word) => self.faults.word(word),
        }
    }

    /// Stores a value that has no effect at once, having judged it; `written` are the bits of this access.
    pub fn store(&mut self, config: &Config, register: Register, value: u64, written: u64) {
        match register {
            RootTable => {
                let beyond = if config.host_bits < 64 { mask(config.host_bits, 63) } else { 0 };
                assert_eq!(value & (mask(0, 9) | beyond), 0, "RTADDR {value:#x}: reserved bits set (11.4.5)");
                match bits(value, 10, 11) {
                    0b00 => {}
                    0b01 => assert!(config.scalable, "RTADDR.TTM: no scalable mode (ECAP.SMTS)"),
                    0b11 => assert!(config.abort_mode, "RTADDR.TTM: no abort mode (ECAP.ADMS)"),
                    _ => panic!("RTADDR.TTM {value:#x}: reserved (11.4.5)"),
                }
                self.root = value;
            }
            FaultStatus => self.faults.write_status(value as u32),
            FaultEvent(0) => self.faults.event.write_control("FECTL", value as u32),
            FaultEvent(place) => {
                self.faults.event.write_message(config.extended_interrupts, place, value as u32);
            }
            CompletionStatus => {
                assert_eq!(value & !u64::from(IWC), 0, "ICS {value:#x}: reserved bits set (11.4.9.4)");
                self.completion &= !(value as u32);
                if self.completion == 0 {
                    self.completion_event.pending = false;
                }
            }
            CompletionEvent(0) => self.completion_event.write_control("IECTL", value as u32),
            CompletionEvent(place) => {
                self.completion_event.write_message(config.extended_interrupts, place, value as u32);
            }
            QueueAddress => {
                let wide = if config.scalable { 0 } else { mask(11, 11) };
                assert_eq!(value & (mask(3, 10) | wide), 0, "IQA {value:#x}: reserved bits set (11.4.9.3)");
                assert!(!self.status.is(QIES), "IQA written while queued invalidation is on (6.5.2)");
                self.queue_address = value;
            }
            InterruptTable => {
                let extended = if config.extended_interrupts { 0 } else { mask(11, 11) };
                assert_eq!(
                    value & (mask(4, 10) | extended),
                    0,
                    "IRTA {value:#x}: reserved bits set (11.4.10)"
                );
                self.interrupt_table = value;
            }
            InvalidateAddress => {
                assert_eq!(value & mask(7, 11), 0, "IVA {value:#x}: reserved bits set (11.4.6)");
                self.invalidate_address = value;
            }
            FaultRecord(word) => self.faults.write_word(word, value & written),
            ProtectedBound(place) => self.protected.write_bound(place, value),
            Version | Capabilities | ExtendedCapabilities | GlobalStatus | QueueHead | QueueErrorRecord => {
                panic!("{register:?} is read-only (11.4)")
            }
            GlobalCommand | ContextCommand | ProtectedMemory | QueueTail | Iotlb => {
                unreachable!("{register:?} has effects")
            }
        }
    }

    /// Whether interrupts are remapped.
    pub const fn is_remapping(&self) -> bool {
        self.status.is(IRES)
    }
}

fn event_value(event: &EventRegisters, place: u32) -> u32 {
    match place {
        0 => event.control(),
        1 => event.data,
        2 => event.address,
        _ => event.upper,
    }
}
