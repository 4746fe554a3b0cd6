//! What the layers above a backend know of an IOMMU.

use core::fmt;

use crate::{Clock, IovaRange, PhysAddr, TableMemory};

/// A device as the IOMMU tells it apart: an SMMU StreamID, a PCI requester id under VT-d.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What tags cached translations of one address space: ASID, VMID or domain id. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainTag(pub u16);

/// A translation table format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// VMSAv8-64 stage 1, 4 KiB granule (Arm DDI 0487, D8.3).
    ArmStage1,
    /// VMSAv8-64 stage 2, 4 KiB granule (Arm DDI 0487, D8.3).
    ArmStage2,
    /// VT-d second stage (Intel VT-d specification, 9.8).
    VtdSecondStage,
}

/// Where VT-d takes a write for an interrupt, whatever tables say (Intel VT-d specification, 3.14).
const VTD_INTERRUPTS: IovaRange = match IovaRange::new(0xfee0_0000, 0xfeef_ffff) {
    Some(range) => range,
    None => unreachable!(),
};

impl Format {
    /// The addresses that units which walk this format never translate: nothing may be mapped there.
    pub const fn untranslated(self) -> Option<IovaRange> {
        match self {
            Self::ArmStage1 | Self::ArmStage2 => None,
            Self::VtdSecondStage => Some(VTD_INTERRUPTS),
        }
    }
}

/// The shape of one address space's tables, fixed when the space is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// The format of every entry.
    pub format: Format,
    /// Bits of an IO virtual address: the aperture is `0..2^input_bits`. 21 to 48.
    pub input_bits: u8,
    /// Bits of a physical address that the tables can name. At most 48.
    pub output_bits: u8,
    /// Page and block sizes that may be used, as a bit mask of bytes; bit 12 (4 KiB) is always set.
    pub page_sizes: u64,
}

impl Geometry {
    /// Base-2 logarithm of the smallest page.
    pub const GRANULE_LG2: u32 = 12;
    /// Bits that one table level resolves: 512 entries of 8 bytes.
    pub const LEVEL_BITS: u32 = 9;

    /// The number of table levels that the input size needs. The root is one frame: where the architecture
    /// could start lower with concatenated roots, the input size is chosen so that it need not.
    pub const fn levels(&self) -> u32 {
        (self.input_bits as u32 - Self::GRANULE_LG2).div_ceil(Self::LEVEL_BITS)
    }

    /// The addresses that the tables can translate.
    pub const fn aperture(&self) -> IovaRange {
        match IovaRange::new(0, (1 << self.input_bits) - 1) {
            Some(range) => range,
            None => unreachable!(),
        }
    }
}

/// What a stream is attached to: an address space's root table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The tag of the address space.
    pub tag: DomainTag,
    /// The shape of the tables.
    pub geometry: Geometry,
    /// The root table's frame.
    pub root: PhysAddr,
}

/// Proof that every invalidation queued before it was made has completed: only then may what was unmapped be
/// used again.
#[derive(Debug)]
#[must_use]
pub struct Completed(());

impl Completed {
    /// Says that the hardware has completed all invalidations queued so far. For a backend's
    /// [`Unit::sync`] alone (and for tests of the layers above).
    pub const fn by_hardware() -> Self {
        Self(())
    }
}

/// Why the hardware stopped an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultReason {
    /// No mapping at the address.
    NotMapped,
    /// The mapping does not allow the access.
    Permission,
    /// The address, or one in a table, is wider than the unit or the tables allow.
    AddressSize,
    /// A table walk met a bus error.
    WalkAbort,
    /// The device has no entry, or one that the unit holds invalid: its stream is aborted.
    StreamAborted,
    /// A request that the unit refuses for another reason; the raw code of its architecture.
    Other(u8),
}

/// What the stopped access wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A read.
    Read,
    /// A write.
    Write,
    /// Not told by this kind of record.
    Unknown,
}

/// One fault record, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The device.
    pub stream: StreamId,
    /// The rule that stopped it.
    pub reason: FaultReason,
    /// The address that it asked for, where the record has one; under VT-d the first of its page.
    pub iova: Option<u64>,
    /// What it wanted.
    pub access: Access,
    /// The record as the hardware wrote it.
    pub raw: [u64; 4],
}

/// Why a unit could not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitError {
    /// The hardware did not answer in time.
    Timeout {
        /// What was waited for, in words.
        waiting_for: &'static str,
        /// The deadline, in nanoseconds.
        limit_ns: u64,
    },
    /// The stream was not named at bring-up, or the unit has no such stream.
    UnknownStream(StreamId),
    /// The unit cannot walk tables of this shape.
    Unsupported,
    /// The hardware refused a command; its architecture's error code.
    CommandRejected(u8),
    /// An earlier error left the unit unusable; every stream is aborted as far as the hardware still obeys.
    OutOfOrder,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { waiting_for, limit_ns } => {
                write!(f, "waited {limit_ns} ns in vain for {waiting_for}")
            }
            Self::UnknownStream(stream) => write!(f, "there is no stream {:#x}", stream.0),
            Self::Unsupported => f.write_str("the unit cannot walk tables of this shape"),
            Self::CommandRejected(error) => write!(f, "the unit refused a command, error {error}"),
            Self::OutOfOrder => f.write_str("the unit is out of order"),
        }
    }
}

/// One IOMMU, brought up: every stream that is not attached aborts.
///
/// Calls only queue invalidations; [`Unit::sync`] completes them. No call waits without a deadline. A stream's
/// entry is changed so that the hardware sees the old one, the new one, or abort, at any store.
pub trait Unit {
    /// The shape of tables that this unit prefers for new address spaces.
    fn geometry(&self) -> Geometry;

    /// Whether this unit can walk tables of shape `geometry`.
    fn supports(&self, geometry: &Geometry) -> bool;

    /// Whether stores to tables need [`TableMemory::clean`] before this unit sees them.
    fn needs_clean(&self) -> bool;

    /// Whether new mappings need [`Unit::invalidate`] and [`Unit::sync`] too before this unit sees them: it may
    /// have cached that there was none, or hold back stores to tables.
    fn caches_absence(&self) -> bool;

    /// Points `stream` at `binding`'s tables, in place of whatever it had; complete when it returns.
    ///
    /// # Errors
    /// [`UnitError::UnknownStream`], [`UnitError::Unsupported`]: nothing changed. Others: the stream aborts.
    fn attach<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
        binding: &Binding,
    ) -> Result<(), UnitError>;

    /// Aborts all of `stream`'s accesses; complete when it returns.
    ///
    /// # Errors
    /// [`UnitError::UnknownStream`]: nothing to abort. Others: the entry in memory says abort, but the hardware
    /// did not confirm that it has seen it.
    fn block<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
    ) -> Result<(), UnitError>;

    /// Queues the invalidation of cached translations of `range` under `tag`. `tables`: table entries above
    /// the leaves were taken out too.
    ///
    /// # Errors
    /// [`UnitError::Timeout`] when the queue stays full past its deadline; [`UnitError::OutOfOrder`].
    fn invalidate<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
        tables: bool,
    ) -> Result<(), UnitError>;

    /// Queues the invalidation of every cached translation under `tag`.
    ///
    /// # Errors
    /// As [`Unit::invalidate`].
    fn invalidate_all<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
    ) -> Result<(), UnitError>;

    /// Completes everything queued: when it returns, no access uses what was invalidated before.
    ///
    /// # Errors
    /// [`UnitError::Timeout`], [`UnitError::CommandRejected`], [`UnitError::OutOfOrder`]: not known to be
    /// complete; what was unmapped stays out of use.
    fn sync<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<Completed, UnitError>;

    /// [`Unit::invalidate`] of leaves and [`Unit::sync`] together, for a unit that can do both at less.
    ///
    /// # Errors
    /// As these.
    #[inline]
    fn invalidate_leaves<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
    ) -> Result<Completed, UnitError> {
        self.invalidate(memory, clock, tag, geometry, range, false)?;
        self.sync(memory, clock)
    }

    /// Takes the next fault record out of the hardware, if there is one. Bounded; the caller bounds how often.
    fn next_fault<M: TableMemory>(&mut self, memory: &mut M) -> Option<Fault>;
}
