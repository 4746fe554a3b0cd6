//! The driver: what it reaches, and the steps that checks are made of.

use core::fmt;

use edu::{BUFFER_BYTES, Direction, Edu, FINISHED, Registers};
use iommu_client::{
    Call, ClientError, DmaBuffer, Event, FaultRing, Iommu, Mapped, PciHost, Placement, Rights, RingMemory,
    Space,
};
use iommu_protocol::{
    DeviceIndex, RegionSlot,
    ring::{CAPACITY, Record, access},
};

use crate::{
    Notes, Signal, Signals,
    failure::{DONE, Failure, Fault, Value, same},
    notes::Note,
};

/// The slot of the region that the driver and its device share.
pub const MEMORY_SLOT: RegionSlot = RegionSlot(0);

/// The slot of the region that the device may only read.
pub const CONSTANTS_SLOT: RegionSlot = RegionSlot(1);

/// The driver's one device.
pub(crate) const DEVICE: DeviceIndex = DeviceIndex(0);

/// Bytes of a page, and of a whole transfer.
pub(crate) const PAGE: u64 = BUFFER_BYTES as u64;

/// How often a transfer that is to be stopped is tried at most. A unit with one fault record, as QEMU's VT-d, has none for a
/// device whose neighbour is stopped at the same time.
pub const MOST_ATTACKS: u32 = 8;

/// Where [`Driver::load`] maps its page.
pub(crate) const SOURCE_AT: u64 = 0x0100_0000;

/// Where [`Driver::dump`] maps its page.
const DESTINATION_AT: u64 = 0x0110_0000;

/// What the driver reaches of the machine.
pub trait Machine {
    /// Calls to the IOMMU server.
    type Iommu: Call;
    /// Calls to the PCI host.
    type PciHost: Call;
    /// The device's registers.
    type Registers: Registers;
    /// The fault ring.
    type Ring: RingMemory;
    /// What stays over restarts.
    type Notes: Notes;

    /// Prints a line.
    fn report(&mut self, line: fmt::Arguments<'_>);

    /// Lets the device's interrupt come again.
    fn acknowledge_interrupt(&mut self);

    /// Signals the peer.
    fn notify_peer(&mut self);

    /// Asks whoever restarts the driver to replace it.
    fn ask_to_be_replaced(&mut self);

    /// Does what kills the driver.
    fn die(&mut self);
}

/// What a driver is made of.
#[derive(Debug)]
pub struct Parts<M: Machine> {
    /// Its name in every line.
    pub name: &'static str,
    /// Printing and signals.
    pub machine: M,
    /// The IOMMU server.
    pub iommu: M::Iommu,
    /// The PCI host.
    pub pci_host: M::PciHost,
    /// The device.
    pub edu: Edu<M::Registers>,
    /// The fault ring.
    pub ring: M::Ring,
    /// All of the region at [`MEMORY_SLOT`]: at least eight pages.
    pub memory: DmaBuffer,
    /// All of the region at [`CONSTANTS_SLOT`]: a page.
    pub constants: DmaBuffer,
    /// The physical address of the peer's memory.
    pub peer_memory: u64,
    /// What stays over restarts; without it the driver is not restarted.
    pub notes: Option<M::Notes>,
}

/// Pieces of memory that checks use, a page each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    /// What the device reads.
    Source,
    /// What the device writes.
    Destination,
    /// A page with [`Piece::High`] right behind it.
    Low,
    /// The page behind [`Piece::Low`].
    High,
    /// The region that the device may only read.
    Constants,
}

/// Number of [`Piece`]s.
const PIECES: usize = 5;

/// Offset in the region of the memory that no check gives to the device.
pub(crate) const REST_OFFSET: u64 = 4 * PAGE;

/// The content of a page: every word tells which page of which driver it was made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// The pattern that had `seed`.
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// What tells it from others.
    pub(crate) const fn seed(self) -> u64 {
        self.0
    }

    /// The word at `index`.
    pub(crate) const fn word(self, index: usize) -> u64 {
        self.0 << 32 | index as u64
    }
}

/// A driver at work.
pub(crate) struct Driver<'s, M: Machine> {
    pub(crate) name: &'static str,
    pub(crate) machine: M,
    pub(crate) iommu: Iommu<M::Iommu>,
    pub(crate) pci_host: PciHost<M::PciHost>,
    pub(crate) edu: Edu<M::Registers>,
    pub(crate) peer_memory: u64,
    /// The device's stream, once it is known.
    pub(crate) stream: u64,
    pub(crate) signals: &'s Signals,
    ring: FaultRing<M::Ring>,
    pub(crate) notes: Option<M::Notes>,
    /// The number of the last record that was taken from the ring.
    seen: u64,
    /// The first record of the burst that was last expected.
    burst: Option<Record>,
    /// The hardware has dropped fault records of whomever since this was last looked at.
    dropped: bool,
    pieces: [Option<DmaBuffer>; PIECES],
    rest: DmaBuffer,
    rest_pattern: Pattern,
    patterns: u64,
    checks: u32,
}

impl<'s, M: Machine> Driver<'s, M> {
    /// The driver made of `parts`, connected to the server.
    ///
    /// # Errors
    /// What to report with, and why there is no connection.
    pub(crate) fn connect(parts: Parts<M>, signals: &'s Signals) -> Result<Self, (M, ClientError)> {
        let Parts { name, machine, iommu, pci_host, edu, ring, memory, constants, peer_memory, notes } =
            parts;
        let iommu = match Iommu::connect(iommu) {
            Ok(iommu) => iommu,
            Err(error) => return Err((machine, error)),
        };
        let (source, memory) = memory.split(PAGE as usize);
        let (destination, memory) = memory.split(PAGE as usize);
        let (low, memory) = memory.split(PAGE as usize);
        let (high, rest) = memory.split(PAGE as usize);
        let noted = |note: Note| notes.as_ref().map_or(0, |notes| notes.load(note as usize));
        let (checks, patterns) = (noted(Note::Checks) as u32, noted(Note::Patterns));
        let mut driver = Self {
            name,
            machine,
            iommu,
            pci_host: PciHost::new(pci_host),
            edu,
            peer_memory,
            stream: 0,
            signals,
            ring: FaultRing::new(ring),
            notes,
            seen: 0,
            burst: None,
            dropped: false,
            pieces: [source, destination, low, high, constants].map(Some),
            rest,
            rest_pattern: Pattern(0),
            patterns,
            checks,
        };
        driver.skip_faults();
        Ok(driver)
    }

    /// Takes out of the ring what a predecessor has seen or not.
    fn skip_faults(&mut self) {
        for _ in 0..2 * CAPACITY {
            match self.ring.poll() {
                None => return,
                Some(Event::Fault(record)) => self.seen = record.sequence,
                Some(Event::Lost(_) | Event::LostByHardware(_)) => {}
            }
        }
    }

    /// The number of the last fault record that was taken from the ring.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// What was noted, in this life or before; zero at first.
    pub(crate) fn noted(&self, note: Note) -> u64 {
        self.notes.as_ref().map_or(0, |notes| notes.load(note as usize))
    }

    /// Notes something for this life and those after.
    pub(crate) fn note(&mut self, note: Note, value: u64) {
        if let Some(notes) = &mut self.notes {
            notes.store(note as usize, value);
        }
    }

    /// A digest of what the builder has patched into the program.
    pub(crate) fn symbols(&self) -> u64 {
        let bytes = self.name.bytes().chain(self.peer_memory.to_le_bytes());
        bytes.fold(1, |sum: u64, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte))
    }

    /// Prints how a check ended: that it showed `what`, or what was found instead.
    pub(crate) fn tell(&mut self, what: fmt::Arguments<'_>, outcome: Result<(), Failure>) {
        self.checks += 1;
        self.note(Note::Checks, self.checks.into());
        let name = self.name;
        match outcome {
            Ok(()) => self.machine.report(format_args!("ok {name}: {what}")),
            Err(failure) => self.machine.report(format_args!("FAIL {name}: {what}: {failure}")),
        }
    }

    /// Prints that the checks are over.
    pub(crate) fn done(&mut self) {
        let (name, checks) = (self.name, self.checks);
        self.machine.report(format_args!("done {name}: {checks} checks"));
    }

    /// A pattern that no memory of this system has yet.
    pub(crate) fn fresh(&mut self) -> Pattern {
        self.patterns += 1;
        self.note(Note::Patterns, self.patterns);
        Pattern(self.stream << 16 | self.patterns)
    }

    /// Takes these generations as those of the grants of both regions.
    pub(crate) fn with_generations(&mut self, memory: u16, constants: u16) {
        for (index, piece) in self.pieces.iter_mut().enumerate() {
            let generation = if index == Piece::Constants as usize { constants } else { memory };
            *piece = piece.take().map(|buffer| buffer.with_generation(generation));
        }
    }

    /// Takes these generations as those of the grants of both regions, and fills the memory that no device is given.
    pub(crate) fn adopt(&mut self, memory: u16, constants: u16) {
        self.with_generations(memory, constants);
        self.rest_pattern = self.fresh();
        self.rest.fill(|index| self.rest_pattern.word(index));
    }

    /// The bytes of both regions.
    pub(crate) fn region_bytes(&self) -> (u64, u64) {
        let constants = &self.pieces[Piece::Constants as usize];
        (REST_OFFSET + self.rest.bytes() as u64, constants.as_ref().map_or(0, |page| page.bytes() as u64))
    }

    /// `piece`, filled with `pattern`.
    pub(crate) fn take(&mut self, piece: Piece, pattern: Pattern) -> Result<DmaBuffer, Failure> {
        let mut page = self.take_as_is(piece)?;
        page.fill(|index| pattern.word(index));
        Ok(page)
    }

    /// `piece` with what is in it.
    pub(crate) fn take_as_is(&mut self, piece: Piece) -> Result<DmaBuffer, Failure> {
        let taken = self.pieces[piece as usize].take();
        taken.ok_or(Failure::new("a page of memory", "ours", "lost by a check before"))
    }

    /// Gives `page` back as `piece`.
    pub(crate) fn put(&mut self, piece: Piece, page: DmaBuffer) {
        self.pieces[piece as usize] = Some(page);
    }

    /// Maps `page` at `iova`.
    pub(crate) fn map(
        &mut self,
        space: &Space,
        page: DmaBuffer,
        rights: Rights,
        iova: u64,
    ) -> Result<Mapped, Failure> {
        let mapped = self.iommu.map(space, page, rights, Placement::At(iova));
        mapped.map_err(|failed| Failure::new("mapping a page", DONE, failed.error))
    }

    /// Takes `mapped` back.
    pub(crate) fn unmap(&mut self, mapped: Mapped) -> Result<DmaBuffer, Failure> {
        let page = self.iommu.unmap(mapped);
        page.map_err(|failed| Failure::new("unmapping a page", DONE, failed.error))
    }

    /// Waits for the device's interrupt and takes its status.
    pub(crate) async fn interrupt(&mut self) -> u32 {
        self.signals.wait(Signal::Device).await;
        let bits = self.edu.take_interrupt();
        self.machine.acknowledge_interrupt();
        bits
    }

    /// Lets the device transfer `bytes` bytes between its buffer and `iova`, and waits until it says that it is
    /// done.
    pub(crate) async fn transfer(
        &mut self,
        direction: Direction,
        iova: u64,
        bytes: u64,
    ) -> Result<(), Failure> {
        let started = self.edu.start(direction, iova, bytes as u32);
        started.map_err(|error| Failure::new("a transfer", "started", error))?;
        while self.interrupt().await & FINISHED == 0 {}
        same("the device busy after its interrupt", false, self.edu.is_busy())
    }

    /// Brings `pattern` into the device's buffer, through a mapping.
    pub(crate) async fn load(&mut self, space: &Space, pattern: Pattern) -> Result<(), Failure> {
        let page = self.take(Piece::Source, pattern)?;
        let mapped = self.map(space, page, Rights::READ, SOURCE_AT)?;
        self.transfer(Direction::In, mapped.iova(), PAGE).await?;
        let page = self.unmap(mapped)?;
        unchanged("the memory that the device read", &page, pattern)?;
        self.put(Piece::Source, page);
        Ok(())
    }

    /// Brings the device's buffer into [`Piece::Destination`], through a mapping, and expects `word` there.
    pub(crate) async fn dump(&mut self, space: &Space, word: impl Fn(usize) -> u64) -> Result<(), Failure> {
        let before = self.fresh();
        let page = self.take(Piece::Destination, before)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, DESTINATION_AT)?;
        self.transfer(Direction::Out, mapped.iova(), PAGE).await?;
        let page = self.unmap(mapped)?;
        content("the memory that the device wrote", &page, word)?;
        self.put(Piece::Destination, page);
        Ok(())
    }

    /// Lets the device transfer a page's bytes at `iova`, which is to be stopped from one of `stopped_at` on:
    /// the server signals, and the ring has a record of just that. Returns where it was stopped. Where there is no record
    /// but word that the hardware dropped some, the device tries again.
    pub(crate) async fn attack(
        &mut self,
        direction: Direction,
        iova: u64,
        reason: u16,
        stopped_at: &[u64],
    ) -> Result<u64, Failure> {
        let access = match direction {
            Direction::In => access::READ,
            Direction::Out => access::WRITE,
        };
        let first = stopped_at.first().copied();
        let mut expected = Fault { reason, access, iova: first, device: DEVICE.0, stream: self.stream };
        let mut record = None;
        for _ in 0..MOST_ATTACKS {
            self.signals.take(Signal::Server);
            self.take_dropped();
            self.transfer(direction, iova, PAGE).await?;
            record = self.next_fault()?;
            if record.is_none() {
                // The server has the time of an empty transfer.
                self.transfer(Direction::In, iova, 0).await?;
                record = self.next_fault()?;
            }
            if record.is_some() || !self.take_dropped() {
                break;
            }
        }
        let record = record.ok_or(Failure::new("the fault record", expected, "none"))?;
        self.burst = Some(record);
        if stopped_at.contains(&record.iova) {
            expected.iova = Some(record.iova);
        }
        same("the fault record", expected, Fault::from(&record))?;
        self.signals.wait(Signal::Server).await;
        self.no_fault()?;
        self.rest_unchanged()?;
        Ok(record.iova)
    }

    /// The next record in the ring that is no rest of a burst seen before.
    pub(crate) fn next_fault(&mut self) -> Result<Option<Record>, Failure> {
        for _ in 0..2 * CAPACITY {
            match self.ring.poll() {
                None => return Ok(None),
                Some(Event::Fault(record)) => {
                    self.seen = record.sequence;
                    if !self.is_rest(&record) {
                        return Ok(Some(record));
                    }
                }
                Some(Event::Lost(count)) => return Err(Failure::new("records overwritten", 0_u64, count)),
                // Whose they were, nobody knows.
                Some(Event::LostByHardware(_)) => self.dropped = true,
            }
        }
        Err(Failure::new("the fault ring", "an end", "none"))
    }

    /// Whether [`Driver::next_fault`] was told that the hardware had dropped records, since this was asked last.
    pub(crate) fn take_dropped(&mut self) -> bool {
        core::mem::take(&mut self.dropped)
    }

    /// Whether `record` tells of the burst whose first record was expected: further on in the same page.
    fn is_rest(&self, record: &Record) -> bool {
        self.burst.is_some_and(|first| {
            let page = |record: &Record| record.iova / PAGE;
            first.what == record.what
                && first.stream == record.stream
                && page(&first) == page(record)
                && first.iova != record.iova
        })
    }

    /// Holds when the ring has no news.
    pub(crate) fn no_fault(&mut self) -> Result<(), Failure> {
        match self.next_fault()? {
            None => Ok(()),
            Some(record) => Err(Failure::new("the fault ring", "nothing new", Fault::from(&record))),
        }
    }

    /// Holds when the memory that no device is given is as it was.
    pub(crate) fn rest_unchanged(&self) -> Result<(), Failure> {
        unchanged("the memory that no device was given", &self.rest, self.rest_pattern)
    }
}

/// Holds when `buffer` is filled with `pattern`.
pub(crate) fn unchanged(what: &'static str, buffer: &DmaBuffer, pattern: Pattern) -> Result<(), Failure> {
    content(what, buffer, |index| pattern.word(index))
}

/// Holds when every word of `buffer` is what `word` says for its index.
pub(crate) fn content(
    what: &'static str,
    buffer: &DmaBuffer,
    word: impl Fn(usize) -> u64,
) -> Result<(), Failure> {
    match buffer.find_difference(&word) {
        None => Ok(()),
        Some((index, found)) => {
            Err(Failure::new(what, Value::Word(index, word(index)), Value::Word(index, found)))
        }
    }
}
