//! The closed set of backends.

use core::fmt;

use arm_smmu_v3::SmmuV3;
use intel_vtd::{IntelVtd, InterruptMessage};
use iommu_hal::{
    Binding, Carver, Clock, Completed, DomainTag, Fault, Geometry, IovaRange, Registers, StreamId,
    TableMemory, Unit, UnitError,
};

use crate::policy::{KIND_ARM_SMMU_V3, KIND_INTEL_VTD, UnitEntry};

/// Any IOMMU that this server knows.
#[derive(Debug)]
pub enum AnyUnit<R> {
    /// An Arm SMMUv3.
    SmmuV3(SmmuV3<R>),
    /// An Intel VT-d unit.
    IntelVtd(IntelVtd<R>),
}

/// Calls the method of whichever backend it is.
macro_rules! each {
    ($unit:expr, $backend:ident => $call:expr) => {
        match $unit {
            AnyUnit::SmmuV3($backend) => $call,
            AnyUnit::IntelVtd($backend) => $call,
        }
    };
}

/// Why a unit was not brought up: the backend's own words.
#[derive(Debug)]
pub enum BringUpError {
    /// An Arm SMMUv3's.
    SmmuV3(arm_smmu_v3::BringUpError),
    /// A VT-d unit's.
    IntelVtd(intel_vtd::BringUpError),
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmmuV3(error) => error.fmt(f),
            Self::IntelVtd(error) => error.fmt(f),
        }
    }
}

impl<R: Registers> AnyUnit<R> {
    /// Brings up the unit that `entry` of the policy says, behind `registers`; every stream aborts, `streams` can be
    /// attached.
    ///
    /// # Errors
    /// [`BringUpError`] says which step the hardware did not follow.
    ///
    /// # Panics
    /// For a kind that no checked policy has.
    pub fn bring_up<M: TableMemory>(
        entry: &UnitEntry,
        registers: R,
        memory: &mut M,
        clock: &impl Clock,
        carver: &mut Carver,
        streams: &[StreamId],
    ) -> Result<Self, BringUpError> {
        match entry.kind {
            KIND_ARM_SMMU_V3 => {
                let config = arm_smmu_v3::Config { streams, stage: None, record_unknown: false };
                SmmuV3::bring_up(registers, memory, clock, carver, &config)
                    .map(Self::SmmuV3)
                    .map_err(BringUpError::SmmuV3)
            }
            KIND_INTEL_VTD => {
                let fault_message = (entry.fault_address != 0)
                    .then_some(InterruptMessage { address: entry.fault_address, data: entry.fault_data });
                let config = intel_vtd::Config { streams, record_unknown: false, fault_message };
                IntelVtd::bring_up(registers, memory, clock, carver, &config)
                    .map(Self::IntelVtd)
                    .map_err(BringUpError::IntelVtd)
            }
            _ => unreachable!("the policy was checked"),
        }
    }

    /// What bring-up found and chose, in lines.
    pub fn report(&self) -> impl fmt::Display {
        match self {
            Self::SmmuV3(unit) => AnyReport::SmmuV3(*unit.report()),
            Self::IntelVtd(unit) => AnyReport::IntelVtd(*unit.report()),
        }
    }

    /// The capability registers as read, four words at `index`, and how many such there are: see
    /// [`Request::HwInfo`](iommu_protocol::Request::HwInfo).
    pub fn capabilities(&self, index: usize) -> (Option<[u64; 4]>, usize) {
        let words = match self {
            Self::SmmuV3(unit) => {
                let features = &unit.report().features;
                let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
                let [idr0, idr1, idr2, idr3, idr4, idr5] = features.idr;
                [pair(idr0, idr1), pair(idr2, idr3), pair(idr4, idr5), pair(features.iidr, features.aidr)]
            }
            Self::IntelVtd(unit) => {
                let features = &unit.report().features;
                [features.cap, features.ecap, features.version.into(), 0]
            }
        };
        ((index == 0).then_some(words), 1)
    }

    /// What kind of unit it is, as the policy has it.
    pub fn kind(&self) -> u32 {
        match self {
            Self::SmmuV3(_) => KIND_ARM_SMMU_V3,
            Self::IntelVtd(_) => KIND_INTEL_VTD,
        }
    }

    /// Where the command queue stands, for [`AnyUnit::commands_since`].
    pub fn commands(&self) -> u32 {
        each!(self, unit => unit.commands())
    }

    /// How many commands were queued since `before`, as long as they are fewer than two laps of the queue.
    pub fn commands_since(&self, before: u32) -> u32 {
        each!(self, unit => unit.commands_since(before))
    }

    /// How often so far: refused commands, aborted writes of fault records, waits past their deadline, others.
    pub fn errors(&self) -> [u64; 4] {
        match self {
            Self::SmmuV3(unit) => {
                let counts = unit.error_counts();
                [counts.commands, counts.event_queue_aborts, counts.timeouts, counts.others]
            }
            // Its fault records are in registers.
            Self::IntelVtd(unit) => {
                let counts = unit.error_counts();
                [counts.descriptors, 0, counts.timeouts, counts.others]
            }
        }
    }

    /// Acknowledges and repairs the unit's global errors. Bounded. Whether the unit is out of order: it obeys no longer, and
    /// its streams abort as far as it did.
    pub fn service_errors<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> bool {
        each!(self, unit => unit.service_errors(memory, clock).out_of_order)
    }

    /// How often so far fault records were lost, as far as [`AnyUnit::service_errors`] and [`Unit::next_fault`] have met it.
    pub fn faults_lost(&self) -> u64 {
        match self {
            Self::SmmuV3(unit) => {
                let counts = unit.error_counts();
                counts.event_overflows + counts.event_queue_aborts
            }
            Self::IntelVtd(unit) => unit.error_counts().fault_overflows,
        }
    }
}

/// Any unit's report.
enum AnyReport {
    SmmuV3(arm_smmu_v3::Report),
    IntelVtd(intel_vtd::Report),
}

impl fmt::Display for AnyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmmuV3(report) => report.fmt(f),
            Self::IntelVtd(report) => report.fmt(f),
        }
    }
}

impl<R: Registers> Unit for AnyUnit<R> {
    fn geometry(&self) -> Geometry {
        each!(self, unit => unit.geometry())
    }

    fn supports(&self, geometry: &Geometry) -> bool {
        each!(self, unit => unit.supports(geometry))
    }

    fn needs_clean(&self) -> bool {
        each!(self, unit => unit.needs_clean())
    }

    fn caches_absence(&self) -> bool {
        each!(self, unit => unit.caches_absence())
    }

    fn attach<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
        binding: &Binding,
    ) -> Result<(), UnitError> {
        each!(self, unit => unit.attach(memory, clock, stream, binding))
    }

    fn block<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
    ) -> Result<(), UnitError> {
        each!(self, unit => unit.block(memory, clock, stream))
    }

    #[inline]
    fn invalidate<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
        tables: bool,
    ) -> Result<(), UnitError> {
        each!(self, unit => unit.invalidate(memory, clock, tag, geometry, range, tables))
    }

    fn invalidate_leaves<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
    ) -> Result<Completed, UnitError> {
        each!(self, unit => unit.invalidate_leaves(memory, clock, tag, geometry, range))
    }

    fn invalidate_all<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
    ) -> Result<(), UnitError> {
        each!(self, unit => unit.invalidate_all(memory, clock, tag, geometry))
    }

    #[inline]
    fn sync<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<Completed, UnitError> {
        each!(self, unit => unit.sync(memory, clock))
    }

    fn next_fault<M: TableMemory>(&mut self, memory: &mut M) -> Option<Fault> {
        each!(self, unit => unit.next_fault(memory))
    }
}
