//! What bring-up found, chose and tried, for a person.

use core::fmt;

use iommu_hal::Geometry;

use crate::{
    features::{Features, Mode},
    interrupt::InterruptMessage,
    spec::registers::{Gcmd, TableMode},
};

/// Results of the tests at the end of bring-up. A test that fails is a bring-up error, so these all passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTest {
    /// Nanoseconds from ringing for a lone wait to its completion.
    pub queue_round_trip_ns: u64,
    /// Nanoseconds from ringing for an invalidation of everything to its completion.
    pub invalidation_round_trip_ns: u64,
    /// Streams whose entries were read back and abort.
    pub aborting_streams: usize,
}

/// Why the unit runs in its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeReason {
    /// Scalable: the unit has it. Legacy: it has no scalable mode, or none with a second stage.
    Unit,
    /// It was found translating in this mode, which cannot be changed without a moment of translating nothing.
    LeftOn,
}

/// The bring-up report. `Display` prints it in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The identification registers.
    pub features: Features,
    /// GSTS_REG as it was found.
    pub status_found: u32,
    /// FSTS_REG as it was found.
    pub faults_found: u32,
    /// RTADDR_REG's mode as it was found.
    pub mode_found: TableMode,
    /// Whether memory was protected by PMEN_REG, which is off now that tables do that.
    pub protection_found: bool,
    /// The mode.
    pub mode: Mode,
    /// Why.
    pub mode_reason: ModeReason,
    /// The shape of tables preferred for new address spaces.
    pub geometry: Geometry,
    /// The streams that can be attached.
    pub streams: usize,
    /// Descriptors that the invalidation queue holds.
    pub descriptors: u32,
    /// Whether faults of streams that are not named are recorded.
    pub record_unknown: bool,
    /// By what message the unit tells of faults.
    pub fault_message: Option<InterruptMessage>,
    /// The self test.
    pub self_test: SelfTest,
}

const fn yes(yes: bool, name: &'static str, no: &'static str) -> &'static str {
    if yes { name } else { no }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features = &self.features;
        let (cap, ecap) = (features.cap(), features.ecap());
        let version = features.version;
        writeln!(
            f,
            "VT-d {}.{} (CAP {:#018x}, ECAP {:#018x})",
            version >> 4 & 0xf,
            version & 0xf,
            features.cap,
            features.ecap
        )?;
        writeln!(
            f,
            "  unit: {}-bit addresses, levels{}{}, {}-bit domain ids, {}, {} fault records",
            features.input_bits(),
            yes(cap.sagaw() & 2 != 0, " 3", ""),
            yes(cap.sagaw() & 4 != 0, " 4", ""),
            features.domain_bits(),
            yes(cap.cm(), "caches absent entries (CM 1)", "caches no absent entries (CM 0)"),
            features.fault_records().0,
        )?;
        let found = Gcmd::from(self.status_found);
        writeln!(
            f,
            "  found: GSTS {:#x} (translation {}, invalidation queue {}, interrupt remapping {}), FSTS {:#x}{}",
            self.status_found,
            yes(found.te(), "left on", "off"),
            yes(found.qie(), "left on", "off"),
            yes(found.ire(), "left on, now off", "off"),
            self.faults_found,
            yes(self.protection_found, ", protected memory regions on, now off", ""),
        )?;
        let mode = match self.mode {
            Mode::Legacy => "legacy",
            Mode::Scalable => "scalable",
        };
        let why = match (self.mode_reason, self.mode) {
            (ModeReason::LeftOn, _) => "it was left on in it",
            (ModeReason::Unit, Mode::Scalable) => "the unit has it",
            (ModeReason::Unit, Mode::Legacy) => "the unit has no scalable mode with a second stage",
        };
        writeln!(
            f,
            "  tables: {mode} mode ({why}), {} levels, {}-bit addresses in, {}-bit out{}{}; walks {}, entries {}",
            self.geometry.levels(),
            self.geometry.input_bits,
            self.geometry.output_bits,
            yes(self.geometry.page_sizes & 1 << 21 != 0, ", 2 MiB pages", ""),
            yes(self.geometry.page_sizes & 1 << 30 != 0, ", 1 GiB pages", ""),
            yes(features.walks_snoop(self.mode), "snoop", "do not snoop, stores are cleaned"),
            yes(ecap.c(), "too (ECAP.C 1)", "are cleaned (ECAP.C 0)"),
        )?;
        writeln!(
            f,
            "  streams: {} have entries; others {}",
            self.streams,
            yes(self.record_unknown, "abort and are recorded", "abort silently"),
        )?;
        match self.fault_message {
            Some(InterruptMessage { address, data }) => {
                writeln!(f, "  faults: told by message {data:#x} to {address:#x}")?;
            }
            None => writeln!(f, "  faults: found when asked for (no interrupt)")?,
        }
        write!(f, "  queue: {} descriptors; invalidation ", self.descriptors)?;
        if cap.psi() {
            write!(f, "of up to 2^{} pages", cap.mamv())?;
        } else {
            write!(f, "by domain (no PSI)")?;
        }
        writeln!(
            f,
            ", {}{}",
            match (cap.drd(), cap.dwd()) {
                (true, true) => "drains reads and writes",
                (true, false) => "drains reads alone",
                (false, true) => "drains writes alone",
                (false, false) => "does not drain what is under way",
            },
            yes(cap.rwbf(), "; write buffers are flushed (RWBF 1)", ""),
        )?;
        write!(
            f,
            "  self test: invalidation queue {} ns, invalidation {} ns, {} streams abort",
            self.self_test.queue_round_trip_ns,
            self.self_test.invalidation_round_trip_ns,
            self.self_test.aborting_streams,
        )
    }
}
