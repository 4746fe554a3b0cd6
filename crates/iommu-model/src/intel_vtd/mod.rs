//! Intel's VT-d (Virtualization Technology for Directed I/O, Architecture Specification, revision 4.1).
//!
//! Legacy mode and scalable mode with second-stage tables of 3 and 4 levels; queued invalidation and invalidation
//! through registers; fault recording; interrupt remapping. Not modelled: first-stage and nested translation,
//! accessed and dirty flags, device TLBs, page requests, posted interrupts, advanced fault logging, performance
//! counters. A unit here says in CAP and ECAP that it has none of them.
//!
//! ```
//! use iommu_hal::{Registers, StreamId};
//! use iommu_model::intel_vtd::{Bench, Config};
//!
//! let bench = Bench::new(Config::default());
//! let (mut registers, _memory, _clock) = bench.ports();
//! assert_eq!(registers.read64(0x08), 0xd2_008c_222f_0606);
//! // Nothing is on: everything passes.
//! assert!(bench.dma_write(StreamId(0x18), 0x8000_0000, &[1, 2, 3]).is_ok());
//! ```

mod access;
mod board;
mod boot;
mod config;
mod descriptors;
mod entries;
mod fault_recording;
mod faults;
mod global_command;
mod interrupts;
mod invalidate;
mod ports;
mod protected_memory;
mod queue;
mod read_ahead;
mod reason;
mod register_invalidation;
mod registers;
mod tlb;
mod translate;
mod walk;
mod watch;

use std::{
    cell::{RefCell, RefMut},
    collections::HashMap,
    fmt,
    rc::Rc,
};

use iommu_hal::StreamId;

pub use boot::LeftOn;
pub use config::Config;
pub use faults::{Ack, Faults};
pub use interrupts::Interrupt;
pub use ports::{MemoryPort, RegisterPort};

use fault_recording::{Fate, Record};
use interrupts::is_interrupt;
use translate::Stop;

use crate::{SystemMemory, VirtualClock, fields::split_pages, meanwhile::Meanwhile};

/// What the unit did that only a test can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// Descriptors taken out of the queue.
    pub descriptors_taken: u64,
    /// Wait descriptors completed.
    pub waits_completed: u64,
    /// Faults recorded.
    pub faults_recorded: u64,
    /// Faults of a device that had a record pending.
    pub faults_collapsed: u64,
    /// Faults that found no free record.
    pub faults_lost: u64,
    /// Messages of the fault event.
    pub fault_interrupts: u64,
    /// Messages of the invalidation completion event.
    pub completion_interrupts: u64,
    /// Interrupts of devices delivered.
    pub interrupts_delivered: u64,
    /// Explicit write-buffer flushes.
    pub write_buffer_flushes: u64,
    /// Times that translation was turned off, so that everything passed.
    pub translation_ended: u64,
}

/// Cache maintenance that a write buffer holds up.
#[derive(Debug, Clone, Copy)]
enum Buffered {
    Publish,
    Clean { at: u64, bytes: u64 },
}

/// The unit.
#[derive(Debug, Default)]
struct Vtd {
    config: Config,
    faults: Faults,
    registers: registers::RegisterFile,
    contexts: HashMap<u16, translate::Context>,
    pasids: HashMap<(u16, u32), translate::PasidEntry>,
    interrupts: HashMap<u16, interrupts::CachedInterrupt>,
    tlb: tlb::Tlb,
    /// Invalidations taken and not completed.
    pending: Vec<invalidate::Pending>,
    /// Invalidations taken.
    invalidations: u64,
    owed: invalidate::Owed,
    watch: watch::Watch,
    observed: Observed,
    reads_since_descriptor: u32,
    /// Times that the queue was found standing still at the wait at its head.
    looks_at_standstill: u32,
    /// Reads of CCMD and IOTLB since the command that each of them shows under way.
    looks_at_commands: [u32; 2],
    buffered: Vec<Buffered>,
}

struct Machine {
    memory: SystemMemory,
    unit: Vtd,
    /// See [`Bench::meanwhile`].
    meanwhile: Option<Meanwhile>,
}

/// A unit with its memory, its clock and its devices.
#[derive(Clone)]
pub struct Bench {
    machine: Rc<RefCell<Machine>>,
    clock: VirtualClock,
}

/// Why a device's access did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// The first address that was refused; what lies below was done.
    pub iova: u64,
    /// The fault reason (7.1.3); `None`: the request was aborted without a fault.
    pub reason: Option<u8>,
    /// A record was written. Else there was none free, the device had one pending, or FPD was set.
    pub recorded: bool,
}

/// A request that was refused and not yet recorded.
struct Refused {
    blocked: Blocked,
    /// It is not to be.
    quiet: bool,
}

/// One access of a device.
#[derive(Debug, Clone, Copy)]
struct Request {
    source: u16,
    pasid: Option<u32>,
    write: bool,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("observed", &self.observed()).finish_non_exhaustive()
    }
}

impl Request {
    fn new(stream: StreamId, pasid: Option<u32>, write: bool) -> Self {
        let source = u16::try_from(stream.0).expect("a PCI requester id has 16 bits");
        Self { source, pasid, write }
    }
}

impl Bench {
    /// A unit just reset: off, nothing cached.
    pub fn new(config: Config) -> Self {
        config.check();
        let memory = SystemMemory::new(config.table_base, config.table_bytes, config.coherent);
        let clock = VirtualClock::new(config.clock_step_ns);
        let registers = registers::RegisterFile {
            faults: fault_recording::FaultRegisters::new(config.fault_records),
            ..registers::RegisterFile::default()
        };
        let unit = Vtd { config, registers, ..Vtd::default() };
        Self { machine: Rc::new(RefCell::new(Machine { memory, unit, meanwhile: None })), clock }
    }

    /// The ports that a driver takes. All handles share the one machine.
    pub fn ports(&self) -> (RegisterPort, MemoryPort, VirtualClock) {
        (RegisterPort(Rc::clone(&self.machine)), MemoryPort(Rc::clone(&self.machine)), self.clock.clone())
    }

    /// Reads `buffer.len()` bytes from `iova` on behalf of the device with requester id `stream`.
    ///
    /// # Errors
    /// [`Blocked`] at the first page that the unit refuses.
    pub fn dma_read(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked> {
        self.read(Request::new(stream, None, false), iova, buffer)
    }

    /// As [`Bench::dma_read`], with a PASID.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn dma_read_with_pasid(
        &self,
        stream: StreamId,
        pasid: u32,
        iova: u64,
        buffer: &mut [u8],
    ) -> Result<(), Blocked> {
        self.read(Request::new(stream, Some(pasid), false), iova, buffer)
    }

    /// Writes `bytes` to `iova` on behalf of the device with requester id `stream`. Four bytes to the interrupt
    /// range are an interrupt.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn dma_write(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        self.write(Request::new(stream, None, true), iova, bytes)
    }

    /// As [`Bench::dma_write`], with a PASID.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn dma_write_with_pasid(
        &self,
        stream: StreamId,
        pasid: u32,
        iova: u64,
        bytes: &[u8],
    ) -> Result<(), Blocked> {
        self.write(Request::new(stream, Some(pasid), true), iova, bytes)
    }

    /// Writes `data` to `address` in the interrupt range on behalf of the device `stream`.
    ///
    /// # Errors
    /// [`Blocked`] with the reason (7.1.2) where interrupt remapping refuses it.
    pub fn interrupt(&self, stream: StreamId, address: u64, data: u32) -> Result<Interrupt, Blocked> {
        assert!(is_interrupt(address) && address.is_multiple_of(4), "no interrupt address: {address:#x}");
        let request = Request::new(stream, None, true);
        self.machine.borrow_mut().interrupt(request.source, address, data)
    }

    fn read(&self, request: Request, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked> {
        let mut machine = self.machine.borrow_mut();
        let mut at = iova;
        for part in split_pages(iova, buffer.len()) {
            let piece = &mut buffer[part];
            match machine.access(request, at) {
                Ok(physical) => machine.memory.peek(physical, piece),
                Err(blocked) => {
                    piece.fill(0xff);
                    return Err(blocked);
                }
            }
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    fn write(&self, request: Request, iova: u64, bytes: &[u8]) -> Result<(), Blocked> {
        let mut machine = self.machine.borrow_mut();
        if request.pasid.is_none()
            && is_interrupt(iova)
            && iova.is_multiple_of(4)
            && let Ok(data) = <[u8; 4]>::try_from(bytes)
        {
            return machine.interrupt(request.source, iova, u32::from_le_bytes(data)).map(|_| ());
        }
        let mut at = iova;
        for part in split_pages(iova, bytes.len()) {
            let piece = &bytes[part];
            let physical = machine.access(request, at)?;
            machine.memory.poke(physical, piece);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Where an access of the device with requester id `stream` to `iova` leads. The unit does as for an access, caches
    /// included, but nothing is read, written or recorded.
    ///
    /// # Errors
    /// As [`Bench::dma_read`].
    pub fn translate(&self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked> {
        let request = Request::new(stream, None, write);
        let found = self.machine.borrow_mut().look(request, iova);
        found.map_err(|refused| refused.blocked)
    }

    /// Has `happens` called before each register access of the driver, and at each moment at which it shows the unit what
    /// it stored: what devices do while the driver works. Replaces what happened so far.
    pub fn meanwhile(&self, happens: impl FnMut() + 'static) {
        self.machine.borrow_mut().meanwhile = Some(Meanwhile::new(happens));
    }

    /// Ends [`Bench::meanwhile`].
    pub fn meanwhile_nothing(&self) {
        self.machine.borrow_mut().meanwhile = None;
    }

    /// The machine's memory, as the bus sees it.
    pub fn memory(&self) -> RefMut<'_, SystemMemory> {
        RefMut::map(self.machine.borrow_mut(), |machine| &mut machine.memory)
    }

    /// How the unit misbehaves from now on.
    pub fn faults(&self) -> RefMut<'_, Faults> {
        RefMut::map(self.machine.borrow_mut(), |machine| &mut machine.unit.faults)
    }

    /// Sets error bits of FSTS: PFO 0, IQE 4, ICE 5, ITE 6.
    pub fn raise_errors(&self, errors: u32) {
        self.machine.borrow_mut().unit.registers.faults.raise(errors);
    }

    /// Records a fault of the test's own making, with any reason.
    pub fn inject_fault(&self, stream: StreamId, pasid: Option<u32>, iova: u64, write: bool, reason: u8) {
        let request = Request::new(stream, pasid, write);
        let record = Record { source: request.source, pasid, information: iova, write, code: reason };
        self.machine.borrow_mut().unit.record(&record);
    }

    /// What the unit did so far.
    pub fn observed(&self) -> Observed {
        let unit = &self.machine.borrow().unit;
        Observed {
            fault_interrupts: unit.registers.faults.event.sent,
            completion_interrupts: unit.registers.completion_event.sent,
            ..unit.observed
        }
    }

    /// Whether requests are translated.
    pub fn is_translating(&self) -> bool {
        self.machine.borrow().unit.registers.is_translating()
    }

    /// Entries in the IOTLB and the paging-structure caches.
    pub fn cached_translations(&self) -> usize {
        self.machine.borrow().unit.tlb.len()
    }

    /// Entries in the context cache and the PASID cache.
    pub fn cached_contexts(&self) -> (usize, usize) {
        let unit = &self.machine.borrow().unit;
        (unit.contexts.len(), unit.pasids.len())
    }
}

impl Vtd {
    /// Records a fault; whether a record was written.
    fn record(&mut self, record: &Record) -> bool {
        let fate = self.registers.faults.record(record, self.config.collapses_faults);
        let count = match fate {
            Fate::Recorded => &mut self.observed.faults_recorded,
            Fate::Collapsed => &mut self.observed.faults_collapsed,
            Fate::Lost => &mut self.observed.faults_lost,
        };
        *count += 1;
        fate == Fate::Recorded
    }

    /// Cache maintenance reaches memory at once, or in a while.
    fn maintain(&mut self, memory: &mut SystemMemory, what: Buffered) {
        self.buffered.push(what);
        if !self.config.write_buffer {
            self.flush(memory);
        }
    }

    /// Empties the write buffer (6.8).
    fn flush(&mut self, memory: &mut SystemMemory) {
        for what in std::mem::take(&mut self.buffered) {
            let changes = match what {
                Buffered::Publish => memory.publish(),
                Buffered::Clean { at, bytes } => memory.clean(at, bytes),
            };
            self.changed(memory, &changes);
        }
    }
}

impl Machine {
    /// Where a request goes. Nothing is recorded.
    fn look(&mut self, request: Request, iova: u64) -> Result<u64, Refused> {
        let Request { source, pasid, write } = request;
        let silent = Refused { blocked: Blocked { iova, reason: None, recorded: false }, quiet: true };
        if pasid.is_none() && is_interrupt(iova) {
            // Neither memory nor an interrupt (3.14).
            return Err(silent);
        }
        match self.unit.translate(&self.memory, source, pasid, iova, write) {
            Ok(physical) if self.unit.registers.protected.covers(physical) => Err(silent),
            Ok(physical) => Ok(physical),
            Err(Stop::Silent) => Err(silent),
            Err(Stop::Fault { reason, quiet }) => {
                let code = reason.code(self.unit.is_scalable(), write);
                Err(Refused { blocked: Blocked { iova, reason: Some(code), recorded: false }, quiet })
            }
        }
    }

    fn access(&mut self, request: Request, iova: u64) -> Result<u64, Blocked> {
        let Request { source, pasid, write } = request;
        self.look(request, iova).map_err(|Refused { mut blocked, quiet }| {
            if let (Some(code), false) = (blocked.reason, quiet) {
                blocked.recorded =
                    self.unit.record(&Record { source, pasid, information: iova, write, code });
            }
            blocked
        })
    }

    fn interrupt(&mut self, source: u16, address: u64, data: u32) -> Result<Interrupt, Blocked> {
        let delivered = self.unit.interrupt(&self.memory, source, address, data);
        match delivered {
            Ok(interrupt) => {
                self.unit.observed.interrupts_delivered += 1;
                Ok(interrupt)
            }
            Err(code) => {
                let quiet = self.unit.interrupt_is_quiet(&self.memory, address, data, code);
                let record = Vtd::interrupt_record(source, address, data, code);
                let recorded = !quiet && self.unit.record(&record);
                Err(Blocked { iova: address, reason: Some(code), recorded })
            }
        }
    }
}
