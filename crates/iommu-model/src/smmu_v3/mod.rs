//! Arm's SMMUv3 (IHI 0070), the Non-secure programming interface.
//!
//! Stage 1, stage 2, bypass and abort; linear and two-level Stream tables; VMSAv8-64 tables of every granule
//! through TTB0. Not modelled, and refused with a panic where software asks for them: nested translation,
//! TTB1, VMSAv8-32, EL2 contexts, substreams, ATS, PRI, stalls.
//!
//! ```
//! use iommu_hal::{Registers, StreamId};
//! use iommu_model::smmu_v3::{Bench, Config};
//!
//! let bench = Bench::new(Config { stage1: false, ..Config::default() });
//! let (mut registers, _memory, _clock) = bench.ports();
//! assert_eq!(registers.read32(0) & 0b11, 0b01);
//! // Nothing is on: everything passes, until GBPA says otherwise.
//! assert!(bench.dma_write(StreamId(8), 0x8000_0000, &[1, 2, 3]).is_ok());
//! registers.write32(0x44, 1 << 31 | 1 << 20);
//! assert!(bench.dma_write(StreamId(8), 0x8000_0000, &[1, 2, 3]).is_err());
//! ```

mod access;
mod board;
mod boot;
mod command_queue;
mod commands;
mod config;
mod config_cache;
mod context;
mod descriptor;
mod events;
mod faults;
mod queue;
mod registers;
mod stream_table;
mod tlb;
mod translate;
mod walk;
mod watch;
mod writes;

use std::{
    cell::{RefCell, RefMut},
    fmt,
    rc::Rc,
};

use iommu_hal::{PhysAddr, Registers, StreamId, TableMemory};

pub use boot::LeftOn;
pub use config::Config;
pub use faults::{Ack, Faults};

use events::{Event, Why};
use translate::Stop;
use walk::Access;

use crate::{SystemMemory, VirtualClock, fields::split_pages, meanwhile::Meanwhile, memory::Change};

/// What has been invalidated since reset (3.11).
#[derive(Debug, Default)]
struct Cleared {
    configuration: bool,
    translations: bool,
    hypervisor: bool,
}

/// What the unit did that only a test can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// Commands consumed.
    pub commands_consumed: u64,
    /// CMD_SYNCs completed.
    pub syncs_completed: u64,
    /// Events written to the queue.
    pub events_recorded: u64,
    /// Events that found no place or no queue.
    pub events_lost: u64,
    /// Interrupts of the Event queue.
    pub event_interrupts: u64,
    /// Interrupts of the global errors.
    pub error_interrupts: u64,
    /// Interrupts of CMD_SYNC.
    pub sync_interrupts: u64,
    /// Moments since the start at which everything began to bypass the unit: SMMUEN and GBPA.ABORT both 0.
    pub global_bypasses: u64,
}

/// The unit.
#[derive(Debug, Default)]
struct Smmu {
    config: Config,
    faults: Faults,
    registers: registers::RegisterFile,
    cache: config_cache::ConfigCache,
    tlb: tlb::Tlb,
    /// Invalidations consumed and not completed.
    pending: Vec<command_queue::Pending>,
    /// Invalidations consumed.
    invalidations: u64,
    cleared: Cleared,
    watch: watch::Watch,
    observed: Observed,
    reads_since_command: u32,
    service_failure: bool,
    was_reachable: bool,
    was_open: bool,
}

struct Machine {
    memory: SystemMemory,
    unit: Smmu,
    /// See [`Bench::meanwhile`].
    meanwhile: Option<Meanwhile>,
}

/// A unit with its memory, its clock and its devices.
#[derive(Clone)]
pub struct Bench {
    machine: Rc<RefCell<Machine>>,
    clock: VirtualClock,
}

/// The unit's registers, for a driver.
#[derive(Clone)]
pub struct RegisterPort(Rc<RefCell<Machine>>);

/// The table region, for a driver.
#[derive(Clone)]
pub struct MemoryPort(Rc<RefCell<Machine>>);

/// Why a device's access did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// The first address that was refused; what lies below was done.
    pub iova: u64,
    /// The event number (7.3), if the access caused an event, recorded or not.
    pub event: Option<u8>,
    /// The device was told. Else the read was answered with zeros or the write dropped (CD.A).
    pub aborted: bool,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("observed", &self.observed()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RegisterPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegisterPort")
    }
}

impl fmt::Debug for MemoryPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryPort")
    }
}

impl Bench {
    /// A unit just reset: off, its caches not to be relied on, its registers full of nothing in particular.
    pub fn new(config: Config) -> Self {
        let memory = SystemMemory::new(config.table_base, config.table_bytes, config.coherent);
        let clock = VirtualClock::new(config.clock_step_ns);
        let registers = registers::RegisterFile::at_reset(&config);
        let was_open = !registers.aborts_globally();
        let unit = Smmu { config, registers, was_open, ..Smmu::default() };
        Self { machine: Rc::new(RefCell::new(Machine { memory, unit, meanwhile: None })), clock }
    }

    /// The ports that a driver takes. All handles share the one machine.
    pub fn ports(&self) -> (RegisterPort, MemoryPort, VirtualClock) {
        (RegisterPort(Rc::clone(&self.machine)), MemoryPort(Rc::clone(&self.machine)), self.clock.clone())
    }

    /// Reads `buffer.len()` bytes from `iova` on behalf of the device `stream`.
    ///
    /// # Errors
    /// [`Blocked`] at the first page that the unit refuses.
    pub fn dma_read(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked> {
        let mut machine = self.machine.borrow_mut();
        let mut at = iova;
        for part in split_pages(iova, buffer.len()) {
            let piece = &mut buffer[part];
            match machine.access(stream, at, false) {
                Ok(physical) => machine.memory.peek(physical, piece),
                Err(blocked) => {
                    piece.fill(0);
                    return Err(blocked);
                }
            }
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Writes `bytes` to `iova` on behalf of the device `stream`.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn dma_write(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        let mut machine = self.machine.borrow_mut();
        let mut at = iova;
        for part in split_pages(iova, bytes.len()) {
            let piece = &bytes[part];
            let physical = machine.access(stream, at, true)?;
            machine.memory.poke(physical, piece);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Where an access of the device `stream` to `iova` leads. The unit does as for an access, caches included, but
    /// nothing is read, written or recorded.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn translate(&self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked> {
        let machine = &mut *self.machine.borrow_mut();
        machine.unit.translate(&machine.memory, stream.0, iova, write).map_err(|stop| stop.blocked(iova))
    }

    /// Has `happens` called before each register access of the driver, each moment at which it shows the unit what it
    /// stored: what devices do while the driver works. Replaces what happened so far.
    pub fn meanwhile(&self, happens: impl FnMut() + 'static) {
        self.machine.borrow_mut().meanwhile = Some(Meanwhile::new(happens));
    }

    /// Ends [`Bench::meanwhile`].
    pub fn meanwhile_nothing(&self) {
        self.machine.borrow_mut().meanwhile = None;
    }

    /// A transaction of a kind that the unit does not support (F_UUT, 7.3.2).
    pub fn dma_unsupported(&self, stream: StreamId, iova: u64) {
        let access = Access { write: true, privileged: false, instruction: false };
        let event = Event { why: Why::UnsupportedUpstream, stream: stream.0, input: iova, access };
        let machine = &mut *self.machine.borrow_mut();
        machine.unit.record(&mut machine.memory, &event);
    }

    /// Puts a record of the test's own making into the Event queue, if it is writable.
    pub fn inject_event(&self, record: [u64; 4]) {
        let machine = &mut *self.machine.borrow_mut();
        machine.unit.record_words(&mut machine.memory, record);
    }

    /// The machine's memory, as the bus sees it.
    pub fn memory(&self) -> RefMut<'_, SystemMemory> {
        RefMut::map(self.machine.borrow_mut(), |machine| &mut machine.memory)
    }

    /// How the unit misbehaves from now on.
    pub fn faults(&self) -> RefMut<'_, Faults> {
        RefMut::map(self.machine.borrow_mut(), |machine| &mut machine.unit.faults)
    }

    /// Activates global errors: the bits of `errors` that are not active, as GERROR numbers them (6.3.19).
    pub fn raise_errors(&self, errors: u32) {
        self.machine.borrow_mut().unit.raise_errors(errors);
    }

    /// Global errors that are active.
    pub fn active_errors(&self) -> u32 {
        self.machine.borrow().unit.registers.active_errors()
    }

    /// What the unit did so far.
    pub fn observed(&self) -> Observed {
        self.machine.borrow().unit.observed
    }

    /// Entries in the TLB.
    pub fn cached_translations(&self) -> usize {
        self.machine.borrow().unit.tlb.len()
    }

    /// Every state of `stream`'s Stream Table Entry since the first store to it while it was reachable, one
    /// more at each store, the state before that store first.
    pub fn entry_history(&self, stream: StreamId) -> Vec<[u64; 8]> {
        self.machine.borrow().unit.watch.history(stream.0)
    }
}

impl Machine {
    fn access(&mut self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked> {
        self.unit.translate(&self.memory, stream.0, iova, write).map_err(|stop| {
            if let Stop::Event(event) | Stop::Translation { event, recorded: true, .. } = stop {
                self.unit.record(&mut self.memory, &event);
            }
            stop.blocked(iova)
        })
    }

    fn changed(&mut self, changes: &[Change]) {
        for change in changes {
            self.unit.read_ahead(&self.memory, change.at, change.old);
        }
    }
}

fn meanwhile(machine: &RefCell<Machine>) {
    Meanwhile::happen(machine, |machine| &mut machine.meanwhile);
}

impl Registers for RegisterPort {
    fn read32(&mut self, offset: u32) -> u32 {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.read32(&mut machine.memory, offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.write32(&mut machine.memory, offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.read64(&mut machine.memory, offset)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        machine.unit.write64(&mut machine.memory, offset, value);
    }
}

impl TableMemory for MemoryPort {
    fn base(&self) -> PhysAddr {
        PhysAddr(self.0.borrow().memory.base())
    }

    fn bytes(&self) -> u64 {
        self.0.borrow().memory.bytes()
    }

    fn read(&self, at: PhysAddr) -> u64 {
        self.0.borrow().memory.load(at.0)
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        let machine = &mut *self.0.borrow_mut();
        machine.unit.check_command_store(at.0);
        let old = machine.memory.store(at.0, value);
        machine.unit.watch.stored(&machine.memory, &machine.unit.config, at.0, old);
    }

    fn publish(&mut self) {
        meanwhile(&self.0);
        let machine = &mut *self.0.borrow_mut();
        let changes = machine.memory.publish();
        machine.changed(&changes);
    }

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        let machine = &mut *self.0.borrow_mut();
        let changes = machine.memory.clean(at.0, bytes);
        machine.changed(&changes);
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        self.0.borrow_mut().memory.invalidate(at.0, bytes);
    }
}
