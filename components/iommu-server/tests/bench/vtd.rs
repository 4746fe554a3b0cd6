//! The model of a VT-d unit under the server.

use std::cell::RefMut;

use intel_vtd::{COMPLETION_LIMIT_NS, MAX_INVALIDATE_DESCRIPTORS, REGISTER_LIMIT_NS};
use iommu_hal::StreamId;
use iommu_model::{
    SystemMemory, VirtualClock,
    intel_vtd::{self as model, Ack, Bench, Config},
};
use iommu_protocol::ring::reason;
use iommu_server::policy::KIND_INTEL_VTD;

use super::board::{AnyMemory, AnyRegisters, Blocked, Board, Facts, Observed, any};

/// The interrupt range (3.14): writes there are interrupts.
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

/// As many fault records as a page of registers has room for, and one for each fault: tests count them.
fn counting(config: Config) -> Config {
    Config { fault_records: 192, fault_offset: 0x400, iotlb_offset: 0xf0, collapses_faults: false, ..config }
}

pub fn usual() -> Config {
    counting(Config::default())
}

pub fn caching() -> Config {
    counting(Config::caching_mode())
}

pub fn scalable() -> Config {
    counting(Config::server())
}

pub fn others() -> [(&'static str, Config); 6] {
    [
        ("QEMU's", Config::default()),
        ("caching mode", Config::caching_mode()),
        ("three levels", Config::narrow()),
        ("scalable mode", Config::scalable()),
        ("a server's", Config::server()),
        ("old, with a queue", Config { queued_invalidation: true, ..Config::old() }),
    ]
}

pub fn facts(config: &Config) -> Facts {
    let large = |lg2| u64::from(config.large_pages.contains(&lg2)) << lg2;
    Facts {
        kind: KIND_INTEL_VTD,
        format: 3,
        input_bits: config.widths.iter().copied().max().unwrap_or(0).min(config.guest_bits),
        // A unit does not say how far physical addresses reach (only the DMAR table does).
        output_bits: 48,
        page_sizes: 1 << 12 | large(21) | large(30),
        // ECAP.C, in scalable mode ECAP.SMPWCS.
        needs_clean: !config.coherent,
        registers: [config.cap(), config.ecap(), config.version.into(), 0],
        reserved: &[INTERRUPTS],
        write_only: true,
        // Stores that a write buffer holds back are flushed by a command too (6.8).
        caches_absence: config.caching_mode || config.write_buffer,
        // An entry that was absent is not cached (6.1), but in caching mode.
        attach_waits: config.caching_mode,
        fault_room: config.fault_records.into(),
        // 04h, in scalable mode 84h: beyond MGAW or the tables.
        beyond: reason::ADDRESS_SIZE,
        fault_granule: 0x1000,
        // CAP.ESRTPS: a new root table pointer forgets everything cached.
        forgets_when_given_up: config.pointer_invalidates,
        wait_limit_ns: COMPLETION_LIMIT_NS,
        register_limit_ns: REGISTER_LIMIT_NS,
        commands_in_a_call: MAX_INVALIDATE_DESCRIPTORS + 1,
    }
}

impl From<model::Blocked> for Blocked {
    fn from(blocked: model::Blocked) -> Self {
        // There is nothing else that a unit could do without page requests.
        Self { iova: blocked.iova, aborted: true }
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
            commands_consumed: observed.descriptors_taken,
            waits_completed: observed.waits_completed,
            faults_recorded: observed.faults_recorded,
            faults_lost: observed.faults_lost + observed.faults_collapsed,
            passed_everything: observed.translation_ended,
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
        (faults.wait_never_completes, faults.waits_before_standstill) = (true, after);
    }

    fn ignore_the_last_resort(&self) {
        self.faults().root_pointer = Ack::Never;
    }

    fn refuse_command(&self, after: u32) {
        let mut faults = self.faults();
        (faults.next_descriptor_fails, faults.descriptors_before_failure) = (true, after);
    }

    fn refuse_nothing(&self) -> bool {
        std::mem::take(&mut self.faults().next_descriptor_fails)
    }

    fn will_refuse(&self) -> bool {
        self.faults().next_descriptor_fails
    }

    fn slow(&self, looks: u32) {
        self.faults().reads_per_descriptor = looks;
    }
}
