//! What is under the server in the target `server`: the model of a unit of either kind, and how it is disturbed.

use std::cell::RefMut;

use iommu_hal::{Registers, StreamId, TableMemory};
use iommu_model::{SystemMemory, VirtualClock, intel_vtd, smmu_v3};
use iommu_server::policy::{KIND_ARM_SMMU_V3, KIND_INTEL_VTD};

use crate::input::Input;

const TABLE_BYTES: u64 = 0x3_0000;

/// What the clock moves on by at each look: a wait in vain is a few hundred.
const STEP_NS: u64 = 500_000;

/// A model with its devices.
pub trait Board {
    /// KIND of the policy.
    const KIND: u32;
    type Registers: Registers;
    type Memory: TableMemory;

    /// The unit that the three low bits of `choice` name.
    fn new(choice: u8) -> Self;
    fn ports(&self) -> (Self::Registers, Self::Memory, VirtualClock);
    fn memory(&self) -> RefMut<'_, SystemMemory>;
    /// Whether the device reads; writes.
    fn reads(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> bool;
    fn writes(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> bool;
    /// Puts a fault record of the input's making where the driver finds it; of `stream`, unless it is any record.
    fn record(&self, input: &mut Input<'_>, stream: Option<StreamId>);
    /// Errors that are repaired.
    fn raise_errors(&self, errors: u8);
    /// Breaks the unit in one of some ways.
    fn misbehave(&self, kind: u8, much: u8);
    /// Takes back [`Board::misbehave`].
    fn behave(&self);
}

impl Board for smmu_v3::Bench {
    const KIND: u32 = KIND_ARM_SMMU_V3;
    type Registers = smmu_v3::RegisterPort;
    type Memory = smmu_v3::MemoryPort;

    fn new(choice: u8) -> Self {
        use smmu_v3::Config;
        let usual = Config {
            table_bytes: TABLE_BYTES,
            event_queue_lg2: 4,
            clock_step_ns: STEP_NS,
            ..Config::default()
        };
        Self::new(match choice & 7 {
            0 => usual,
            1 => Config { stage2: false, ..usual },
            2 => Config { stage1: false, ..usual },
            3 => Config { coherent: false, ..usual },
            4 => Config { range_invalidation: false, command_queue_lg2: 3, ..usual },
            5 => Config { command_queue_lg2: 0, event_queue_lg2: 0, ..usual },
            6 => Config { stage2: false, coherent: false, two_level: false, ..usual },
            _ => Config { output_bits: 32, hypervisor: true, asid16: false, vmid16: false, ..usual },
        })
    }

    fn ports(&self) -> (Self::Registers, Self::Memory, VirtualClock) {
        self.ports()
    }

    fn memory(&self) -> RefMut<'_, SystemMemory> {
        self.memory()
    }

    fn reads(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> bool {
        self.dma_read(stream, iova, buffer).is_ok()
    }

    fn writes(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> bool {
        self.dma_write(stream, iova, bytes).is_ok()
    }

    fn record(&self, input: &mut Input<'_>, stream: Option<StreamId>) {
        let record = [input.number(), input.number(), input.number(), input.number()];
        let first = stream.map_or(record[0], |stream| record[0] & 0xff | u64::from(stream.0) << 32);
        self.inject_event([first, record[1], record[2], record[3]]);
    }

    fn raise_errors(&self, errors: u8) {
        // Aborts of the event queue, of page requests, of messages.
        self.raise_errors(u32::from(errors) & 0xfc);
    }

    fn misbehave(&self, kind: u8, much: u8) {
        match kind % 6 {
            0 => self.faults().sync_never_completes = true,
            1 => {
                let mut faults = self.faults();
                faults.next_command_fails = Some(much & 0x7f);
                faults.commands_before_failure = u32::from(much >> 4);
            }
            2 => self.faults().reads_per_command = u32::from(much),
            3 => self.faults().cr0_ack = smmu_v3::Ack::Never,
            4 => self.raise_errors(1 << 8),
            _ => self.behave(),
        }
    }

    fn behave(&self) {
        *self.faults() = Default::default();
    }
}

impl Board for intel_vtd::Bench {
    const KIND: u32 = KIND_INTEL_VTD;
    type Registers = intel_vtd::RegisterPort;
    type Memory = intel_vtd::MemoryPort;

    fn new(choice: u8) -> Self {
        use intel_vtd::Config;
        let kind = match choice & 7 {
            0 => Config::default(),
            1 => Config::caching_mode(),
            2 => Config::scalable(),
            3 => Config::server(),
            4 => Config::narrow(),
            5 => Config { queued_invalidation: true, ..Config::old() },
            6 => Config { fault_records: 4, collapses_faults: false, ..Config::coherent() },
            _ => Config { page_selective: false, domain_bits: 8, large_pages: vec![], ..Config::default() },
        };
        Self::new(Config { table_bytes: TABLE_BYTES, clock_step_ns: STEP_NS, ..kind })
    }

    fn ports(&self) -> (Self::Registers, Self::Memory, VirtualClock) {
        self.ports()
    }

    fn memory(&self) -> RefMut<'_, SystemMemory> {
        self.memory()
    }

    fn reads(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> bool {
        self.dma_read(stream, iova, buffer).is_ok()
    }

    fn writes(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> bool {
        self.dma_write(stream, iova, bytes).is_ok()
    }

    fn record(&self, input: &mut Input<'_>, stream: Option<StreamId>) {
        let (iova, what, reason) = (input.number(), input.number(), input.byte());
        let stream = stream.unwrap_or(StreamId(what as u16 as u32));
        let pasid = (what & 1 << 16 != 0).then_some((what >> 20) as u32 & 0xf_ffff);
        self.inject_fault(stream, pasid, iova, what & 1 << 17 != 0, reason);
    }

    fn raise_errors(&self, errors: u8) {
        // PFO, IQE, ICE, ITE.
        self.raise_errors(u32::from(errors) & 0x71);
    }

    fn misbehave(&self, kind: u8, much: u8) {
        match kind % 6 {
            0 => {
                let mut faults = self.faults();
                (faults.wait_never_completes, faults.waits_before_standstill) = (true, u32::from(much >> 4));
            }
            1 => {
                let mut faults = self.faults();
                (faults.next_descriptor_fails, faults.descriptors_before_failure) = (true, u32::from(much));
            }
            2 => self.faults().reads_per_descriptor = u32::from(much),
            3 => self.faults().root_pointer = intel_vtd::Ack::Never,
            4 => self.faults().next_wait_times_out = true,
            _ => self.behave(),
        }
    }

    fn behave(&self) {
        *self.faults() = Default::default();
    }
}
