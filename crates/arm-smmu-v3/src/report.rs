//! What bring-up found, chose and tried, for a person.

use core::fmt;

use iommu_hal::{Format, Geometry};

use crate::features::Features;

/// Results of the tests at the end of bring-up. A test that fails is a bring-up error, so these all passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTest {
    /// Nanoseconds from ringing for a lone CMD_SYNC to its completion.
    pub queue_round_trip_ns: u64,
    /// Nanoseconds from ringing for an invalidation of everything and CMD_SYNC to their completion.
    pub invalidation_round_trip_ns: u64,
    /// Streams whose entries were read back and abort.
    pub aborting_streams: usize,
}

/// The bring-up report. `Display` prints it in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The identification registers.
    pub features: Features,
    /// SMMU_CR0 as it was found; not 0 when a boot loader left something on.
    pub cr0_found: u32,
    /// SMMU_GBPA as it was found.
    pub gbpa_found: u32,
    /// SMMU_GERROR bits that were active when found.
    pub errors_found: u32,
    /// The shape of tables preferred for new address spaces.
    pub geometry: Geometry,
    /// Whether the configuration, not the unit, decided the stage.
    pub stage_configured: bool,
    /// Whether the stream table has two levels.
    pub two_level: bool,
    /// Base-2 logarithm of the number of streams that the stream table reaches.
    pub stream_bits: u8,
    /// The streams that can be attached.
    pub streams: usize,
    /// Commands that the command queue holds.
    pub commands: u32,
    /// Records that the event queue holds.
    pub events: u32,
    /// Whether accesses of streams without entry are recorded.
    pub record_unknown: bool,
    /// The self test.
    pub self_test: SelfTest,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = &self.features;
        let (idr0, idr1, idr3) = (features.idr0(), features.idr1(), features.idr3());
        writeln!(f, "SMMUv3.{} (AIDR {:#x}, IIDR {:#x})", features.aidr & 0xf, features.aidr, features.iidr)?;
        write!(f, "  registers: ")?;
        for (number, idr) in features.idr.iter().enumerate() {
            write!(f, "{}IDR{number} {idr:#010x}", if number == 0 { "" } else { ", " })?;
        }
        writeln!(f)?;
        let stages = match (idr0.s1p(), idr0.s2p()) {
            (true, true) => "stages 1 and 2",
            (true, false) => "stage 1 alone",
            (false, _) => "stage 2 alone",
        };
        writeln!(
            f,
            "  unit: {stages}, {}-bit addresses, {}-bit StreamIDs, ASIDs of {} and VMIDs of {} bits",
            crate::spec::registers::oas_bits(features.idr5().oas()).unwrap_or(0),
            idr1.sidsize(),
            if idr0.asid16() { 16 } else { 8 },
            if idr0.vmid16() { 16 } else { 8 },
        )?;
        writeln!(
            f,
            "  found: CR0 {:#x} ({}), GBPA {:#x} ({}), errors {:#x}",
            self.cr0_found,
            if self.cr0_found & 1 != 0 { "left on" } else { "off" },
            self.gbpa_found,
            if self.gbpa_found & 1 << 20 != 0 { "abort" } else { "bypass" },
            self.errors_found,
        )?;
        let stage = match self.geometry.format {
            Format::ArmStage1 => "stage 1",
            _ => "stage 2",
        };
        let why = match (self.stage_configured, self.geometry.format) {
            (true, _) => "configured",
            (false, Format::ArmStage1) => "the unit has no stage 2",
            (false, _) => "the unit has it",
        };
        writeln!(
            f,
            "  tables: {stage} ({why}), {} levels, {}-bit addresses in, {}-bit out; walks {}",
            self.geometry.levels(),
            self.geometry.input_bits,
            self.geometry.output_bits,
            if idr0.cohacc() { "snoop (COHACC 1)" } else { "do not snoop, stores are cleaned (COHACC 0)" },
        )?;
        writeln!(
            f,
            "  streams: {} of {} have entries; table {}; others {}",
            self.streams,
            1u64 << self.stream_bits,
            match (self.two_level, idr0.st_level()) {
                (true, _) => "of two levels (StreamIDs pass 8 bits)",
                (false, 0) => "linear (the unit has no two levels)",
                (false, _) => "linear (StreamIDs fit 8 bits)",
            },
            if self.record_unknown { "abort and are recorded" } else { "abort silently" },
        )?;
        writeln!(
            f,
            "  queues: {} commands, {} events; invalidation {}",
            self.commands,
            self.events,
            if idr3.ril() { "by range (RIL)" } else { "by page, many pages by tag (no RIL)" },
        )?;
        write!(
            f,
            "  self test: command queue {} ns, invalidation {} ns, {} streams abort",
            self.self_test.queue_round_trip_ns,
            self.self_test.invalidation_round_trip_ns,
            self.self_test.aborting_streams,
        )
    }
}
