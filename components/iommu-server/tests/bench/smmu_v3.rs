//! The model of an SMMUv3 under the server.

use std::cell::RefMut;

use arm_smmu_v3::{REGISTER_LIMIT_NS, SYNC_LIMIT_NS};
use iommu_hal::StreamId;
use iommu_model::{
    SystemMemory, VirtualClock,
    smmu_v3::{self as model, Ack, Bench, Config},
};
use iommu_protocol::ring::reason;
use iommu_server::policy::KIND_ARM_SMMU_V3;

use super::board::{AnyMemory, AnyRegisters, Blocked, Board, Facts, Observed, any};

/// Records of the event queue that the driver makes.
const EVENTS: u64 = 1 << 11;
/// IIDR of the model, of no implementer (6.3.7).
const IIDR: u64 = 0x0043_b000;
/// CMDQ_CONS.ERR: an illegal command (IHI 0070, 7.1).
const ILLEGAL: u8 = 1;

pub fn usual() -> Config {
    Config::default()
}

pub fn others() -> [(&'static str, Config); 4] {
    [
        ("stage 1 alone", Config { stage2: false, ..usual() }),
        ("stage 2 alone", Config { stage1: false, ..usual() }),
        ("not coherent", Config { coherent: false, ..usual() }),
        ("no range invalidation", Config { range_invalidation: false, ..usual() }),
    ]
}

pub fn facts(config: &Config) -> Facts {
    let bits = |shift: u32, on: bool| u64::from(on) << shift;
    // IDR0, as 6.3.1 numbers its fields; IDR1, 6.3.2; IDR3 and IDR5, 6.3.4 and 6.3.6. No stalls, little-endian tables.
    let idr0 = bits(0, config.stage2)
        | bits(1, config.stage1)
        | u64::from(config.formats) << 2
        | bits(4, config.coherent)
        | bits(12, config.asid16)
        | bits(18, config.vmid16)
        | 0b10 << 21
        | 0b01 << 24
        | bits(26, config.always_aborts)
        | bits(27, config.two_level);
    let idr1 = config.stream_bits | config.event_queue_lg2 << 16 | config.command_queue_lg2 << 21;
    let idr3 = bits(2, config.hierarchy_disable)
        | bits(10, config.range_invalidation)
        | u64::from(config.block_change_level) << 11;
    // 44 bits of output, and all three granules.
    let idr5 = 4 | 0b111 << 4;
    assert!(config.output_bits == 44 && config.granules.len() == 3 && !config.hypervisor && !config.msi);
    Facts {
        kind: KIND_ARM_SMMU_V3,
        format: if config.stage2 { 2 } else { 1 },
        input_bits: 44,
        output_bits: 44,
        page_sizes: 1 << 12 | 1 << 21 | 1 << 30,
        needs_clean: !config.coherent,
        registers: [
            idr0 | u64::from(idr1) << 32,
            idr3 << 32,
            idr5 << 32,
            IIDR | u64::from(config.minor_version) << 32,
        ],
        reserved: &[],
        write_only: config.stage2,
        caches_absence: false,
        attach_waits: true,
        fault_room: EVENTS,
        // Where stage 1 is bypassed, what passes the output size is its F_ADDR_SIZE (3.4); else F_TRANSLATION.
        beyond: if config.stage2 { reason::ADDRESS_SIZE } else { reason::NOT_MAPPED },
        fault_granule: 1,
        forgets_when_given_up: true,
        wait_limit_ns: SYNC_LIMIT_NS,
        register_limit_ns: REGISTER_LIMIT_NS,
        commands_in_a_call: 16,
    }
}

impl From<model::Blocked> for Blocked {
    fn from(blocked: model::Blocked) -> Self {
        Self { iova: blocked.iova, aborted: blocked.aborted }
    }
}

impl Board for Bench {
    fn ports(&self) -> (AnyRegisters, AnyMemory, VirtualClock) {
        any(self.ports())
    }

    fn dma_read(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked> {
        Ok(self.dma_read(stream, iova, buffer)?)
    }

    fn dma_write(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        Ok(self.dma_write(stream, iova, bytes)?)
    }

    fn translate(&self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked> {
        Ok(self.translate(stream, iova, write)?)
    }

    fn memory(&self) -> RefMut<'_, SystemMemory> {
        self.memory()
    }

    fn observed(&self) -> Observed {
        let observed = self.observed();
        Observed {
            commands_consumed: observed.commands_consumed,
            waits_completed: observed.syncs_completed,
            faults_recorded: observed.events_recorded,
            faults_lost: observed.events_lost,
            passed_everything: observed.global_bypasses,
        }
    }

    fn meanwhile_boxed(&self, happens: Box<dyn FnMut()>) {
        self.meanwhile(happens);
    }

    fn meanwhile_nothing(&self) {
        self.meanwhile_nothing();
    }

    fn stand_still(&self, after: u32) {
        let mut faults = self.faults();
        (faults.sync_never_completes, faults.syncs_before_standstill) = (true, after);
    }

    fn ignore_the_last_resort(&self) {
        self.faults().cr0_ack = Ack::Never;
    }

    fn refuse_command(&self, after: u32) {
        let mut faults = self.faults();
        (faults.next_command_fails, faults.commands_before_failure) = (Some(ILLEGAL), after);
    }

    fn refuse_nothing(&self) -> bool {
        self.faults().next_command_fails.take().is_some()
    }

    fn will_refuse(&self) -> bool {
        self.faults().next_command_fails.is_some()
    }

    fn slow(&self, looks: u32) {
        self.faults().reads_per_command = looks;
    }
}
