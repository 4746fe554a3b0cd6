//! From whatever a boot loader left to a unit that aborts everything under its own tables.

use core::fmt;

use iommu_hal::{
    Carver, Clock, Format, OutOfTableMemory, PhysAddr, REGISTER_LIMIT_NS, Registers, StreamId,
    StreamListError, TableMemory, UnitError, poll,
};

use crate::{
    entries::ABORT,
    errors::ErrorCounts,
    events::EventQueue,
    features::Features,
    queue::CommandQueue,
    report::{Report, SelfTest},
    spec::{
        commands::{COMMAND_BYTES, Command},
        events::EVENT_BYTES,
        registers::{Base, Cr0, Cr1, Cr2, Gbpa, IrqCtrl, offset},
    },
    stream_table::StreamTable,
    unit::SmmuV3,
};

/// Base-2 logarithm of the entries of the command queue, where the unit allows as many: one frame.
const COMMANDS_LOG2: u8 = 8;
/// Base-2 logarithm of the records of the event queue, where the unit allows as many: two full DMAs of QEMU's
/// edu, which makes a record of every 4 bytes.
const EVENTS_LOG2: u8 = 11;

/// A translation stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Stage 1: address spaces are told apart by ASID.
    One,
    /// Stage 2: address spaces are told apart by VMID.
    Two,
}

/// What bring-up is told.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    /// The streams that can be attached later; each gets its entry now. At most [`MAX_STREAMS`](iommu_hal::MAX_STREAMS).
    pub streams: &'a [StreamId],
    /// The stage to prefer for new address spaces; `None` for stage 2 where the unit has it, else stage 1.
    pub stage: Option<Stage>,
    /// Whether accesses of streams that are not named are recorded. For finding a wrong StreamID; such a
    /// device can fill the event queue.
    pub record_unknown: bool,
}

/// Why a unit was not brought up. It aborts everything, as far as it obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BringUpError {
    /// The hardware did not answer in time.
    Timeout {
        /// What was waited for, in words.
        waiting_for: &'static str,
        /// The deadline, in nanoseconds.
        limit_ns: u64,
    },
    /// The unit refused a command that every unit has; CMDQ_CONS.ERR.
    CommandRejected(u8),
    /// The unit accepted SMMU_GBPA without ABORT.
    NoAbort,
    /// This driver cannot use such a unit; why, in words.
    Unsupported(&'static str),
    /// The configured stage is not there.
    NoSuchStage(Stage),
    /// The table memory is too small.
    OutOfTableMemory(OutOfTableMemory),
    /// The streams that were named.
    Streams(StreamListError),
    /// A stream's entry did not read back as abort.
    EntryNotKept(StreamId),
}

impl From<UnitError> for BringUpError {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::Timeout { waiting_for, limit_ns } => Self::Timeout { waiting_for, limit_ns },
            UnitError::CommandRejected(error) => Self::CommandRejected(error),
            UnitError::UnknownStream(_) | UnitError::Unsupported | UnitError::OutOfOrder => {
                unreachable!("bring-up attaches nothing and stops at the first error")
            }
        }
    }
}

impl From<OutOfTableMemory> for BringUpError {
    fn from(error: OutOfTableMemory) -> Self {
        Self::OutOfTableMemory(error)
    }
}

impl From<StreamListError> for BringUpError {
    fn from(error: StreamListError) -> Self {
        Self::Streams(error)
    }
}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout { waiting_for, limit_ns } => {
                write!(f, "the SMMU did not answer: waited {} ms for {waiting_for}", limit_ns / 1_000_000)
            }
            Self::CommandRejected(error) => write!(f, "the SMMU refused a command (CMDQ_CONS.ERR {error})"),
            Self::NoAbort => f.write_str("the SMMU did not take GBPA.ABORT"),
            Self::Unsupported(why) => write!(f, "this SMMU cannot be used: {why}"),
            Self::NoSuchStage(Stage::One) => f.write_str("the SMMU has no stage 1, which is configured"),
            Self::NoSuchStage(Stage::Two) => f.write_str("the SMMU has no stage 2, which is configured"),
            Self::OutOfTableMemory(OutOfTableMemory { asked, left }) => {
                write!(f, "the table memory is too small: {asked:#x} bytes needed, {left:#x} left")
            }
            Self::Streams(error) => error.fmt(f),
            Self::EntryNotKept(stream) => {
                write!(f, "the entry of stream {:#x} does not read back: is the table memory RAM?", stream.0)
            }
        }
    }
}

impl core::error::Error for BringUpError {}

impl<R: Registers> SmmuV3<R> {
    /// Takes over the unit behind `regs`: everything aborts first, then what was on is turned off, everything
    /// cached is invalidated, and the unit is turned on with tables that abort every stream.
    ///
    /// Tables and queues come out of `carver`, whose pieces lie in `memory`. Attaching needs no more later.
    ///
    /// # Errors
    /// [`BringUpError`] at the first thing that is not as it must be. The unit then aborts everything as far
    /// as it obeys.
    pub fn bring_up<M: TableMemory>(
        mut regs: R,
        memory: &mut M,
        clock: &impl Clock,
        carver: &mut Carver,
        config: &Config<'_>,
    ) -> Result<Self, BringUpError> {
        // Before anything can fail for a lesser reason.
        let (gbpa_found, cr0_found) = abort_and_turn_off(&mut regs, clock)?;
        let raised = regs.read32(offset::GERROR);
        let errors_found = raised ^ regs.read32(offset::GERRORN);
        regs.write32(offset::GERRORN, raised);

        let features = Features::read(&mut regs);
        if let Some(why) = features.obstacle() {
            return Err(BringUpError::Unsupported(why));
        }
        let format = choose_format(&features, config.stage)?;

        let snoops = features.idr0().cohacc();
        let commands_log2 = features.idr1().cmdqs().min(COMMANDS_LOG2);
        let events_log2 = features.idr1().eventqs().min(EVENTS_LOG2);
        let events_at = carver.take_zeroed(memory, EVENT_BYTES << events_log2, true)?;
        let table = StreamTable::carve(&features, memory, carver, config.streams, config.record_unknown)?;
        let commands_at = carver.take_zeroed(memory, COMMAND_BYTES << commands_log2, true)?;
        memory.publish();

        let report = Report {
            features,
            cr0_found,
            gbpa_found,
            errors_found,
            geometry: features.geometry(format),
            stage_configured: config.stage.is_some(),
            two_level: table.config.fmt() != 0,
            stream_bits: table.config.log2size(),
            streams: table.streams.len(),
            commands: 1 << commands_log2,
            events: 1 << events_log2,
            record_unknown: config.record_unknown,
            self_test: SelfTest {
                queue_round_trip_ns: 0,
                invalidation_round_trip_ns: 0,
                aborting_streams: 0,
            },
        };
        let mut unit = Self {
            regs,
            features,
            commands: CommandQueue::new(commands_at, commands_log2, !snoops),
            events: EventQueue::new(events_at, events_log2, snoops),
            table,
            report,
            counts: ErrorCounts::default(),
            rejected: None,
            pending: false,
            out_of_order: false,
        };
        unit.point_at_tables(commands_at, commands_log2, events_at, events_log2);

        // The check of accesses that claim to be translated: without it any device could make that claim.
        let mut on = Cr0::new().with_cmdqen(true).with_atschk(features.idr0().ats());
        unit.switch(clock, on, "CR0ACK to say that the command queue is on")?;
        unit.report.self_test.queue_round_trip_ns = unit.time(memory, clock, &[])?;
        if features.idr0().hyp() && features.idr0().s1p() {
            unit.push(memory, clock, Command::TLBI_EL2_ALL)?;
        }
        unit.report.self_test.invalidation_round_trip_ns =
            unit.time(memory, clock, &[Command::CFGI_ALL, Command::TLBI_NSNH_ALL])?;

        on = on.with_eventqen(true);
        unit.switch(clock, on, "CR0ACK to say that the event queue is on")?;
        let interrupts = IrqCtrl::new().with_gerror(true).with_eventq(true);
        set_interrupts(&mut unit.regs, clock, interrupts)?;

        unit.report.self_test.aborting_streams = unit.check_entries(memory)?;
        unit.switch(clock, on.with_smmuen(true), "CR0ACK to say that the unit is on")?;
        Ok(unit)
    }

    /// Tells a unit that is off where tables and queues are, and that it has no other source of either.
    fn point_at_tables(&mut self, commands: PhysAddr, commands_log2: u8, events: PhysAddr, events_log2: u8) {
        const WRITE_BACK: u8 = 1;
        const INNER_SHAREABLE: u8 = 3;
        let attributes = Cr1::new()
            .with_queue_ic(WRITE_BACK)
            .with_queue_oc(WRITE_BACK)
            .with_queue_sh(INNER_SHAREABLE)
            .with_table_ic(WRITE_BACK)
            .with_table_oc(WRITE_BACK)
            .with_table_sh(INNER_SHAREABLE);
        let base = |at: PhysAddr, log2| {
            u64::from(Base::new().with_addr_5(at.0 >> 5).with_log2size(log2).with_allocate(true))
        };
        // The tables are nobody else's, so no CPU's TLB maintenance concerns this unit; RES0 without BTM.
        let private = self.features.idr0().btm();
        let behaviour = Cr2::new().with_ptm(private).with_recinvsid(self.report.record_unknown);
        let regs = &mut self.regs;
        regs.write32(offset::CR1, attributes.into());
        regs.write32(offset::CR2, behaviour.into());
        regs.write64(offset::STRTAB_BASE, base(self.table.base, 0));
        regs.write32(offset::STRTAB_BASE_CFG, self.table.config.into());
        regs.write64(offset::CMDQ_BASE, base(commands, commands_log2));
        regs.write32(offset::CMDQ_PROD, 0);
        regs.write32(offset::CMDQ_CONS, 0);
        regs.write64(offset::EVENTQ_BASE, base(events, events_log2));
        regs.write32(offset::EVENTQ_PROD, 0);
        regs.write32(offset::EVENTQ_CONS, 0);
        if self.features.idr0().msi() {
            // Address 0: wired interrupts, no messages (IHI 0070, 3.18.1).
            regs.write64(offset::GERROR_IRQ_CFG0, 0);
            regs.write64(offset::EVENTQ_IRQ_CFG0, 0);
        }
    }

    fn switch(&mut self, clock: &impl Clock, on: Cr0, waiting_for: &'static str) -> Result<(), UnitError> {
        self.regs.write32(offset::CR0, on.into());
        poll(clock, REGISTER_LIMIT_NS, waiting_for, || self.regs.read32(offset::CR0ACK) == on.into())
    }

    /// Nanoseconds that `commands` and a CMD_SYNC take.
    fn time<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        commands: &[Command],
    ) -> Result<u64, UnitError> {
        let started = clock.now_ns();
        for &command in commands {
            self.push(memory, clock, command)?;
        }
        self.push(memory, clock, Command::SYNC)?;
        self.drain(memory, clock)?;
        if let Some(error) = self.rejected {
            return Err(UnitError::CommandRejected(error));
        }
        self.pending = false;
        Ok(clock.now_ns().saturating_sub(started))
    }

    /// Reads back the entries of all streams; every one must abort.
    fn check_entries<M: TableMemory>(&self, memory: &mut M) -> Result<usize, BringUpError> {
        for stream in &self.table.streams {
            if memory.read(stream.entry) != u64::from(ABORT) {
                return Err(BringUpError::EntryNotKept(stream.id));
            }
        }
        Ok(self.table.streams.len())
    }
}

/// Makes the unit abort what reaches it while it is off, then turns it off. Gives GBPA and CR0 as they were.
fn abort_and_turn_off<R: Registers>(regs: &mut R, clock: &impl Clock) -> Result<(u32, u32), BringUpError> {
    let what = "GBPA.Update to read 0";
    let settled = |regs: &mut R| !Gbpa::from(regs.read32(offset::GBPA)).update();
    poll(clock, REGISTER_LIMIT_NS, what, || settled(regs))?;
    let gbpa_found = regs.read32(offset::GBPA);
    let abort = Gbpa::from(gbpa_found).with_abort(true).with_update(true);
    regs.write32(offset::GBPA, abort.into());
    poll(clock, REGISTER_LIMIT_NS, what, || settled(regs))?;
    if !Gbpa::from(regs.read32(offset::GBPA)).abort() {
        return Err(BringUpError::NoAbort);
    }

    let cr0_found = regs.read32(offset::CR0);
    if cr0_found != 0 || regs.read32(offset::CR0ACK) != 0 {
        regs.write32(offset::CR0, 0);
        let what = "CR0ACK to say that everything is off";
        poll(clock, REGISTER_LIMIT_NS, what, || regs.read32(offset::CR0ACK) == 0)?;
    }
    set_interrupts(regs, clock, IrqCtrl::new())?;
    Ok((gbpa_found, cr0_found))
}

fn set_interrupts<R: Registers>(regs: &mut R, clock: &impl Clock, on: IrqCtrl) -> Result<(), UnitError> {
    regs.write32(offset::IRQ_CTRL, on.into());
    poll(clock, REGISTER_LIMIT_NS, "IRQ_CTRLACK to follow IRQ_CTRL", || {
        regs.read32(offset::IRQ_CTRLACK) == on.into()
    })
}

/// The format for new address spaces: as configured, else stage 2 where the unit has it.
fn choose_format(features: &Features, stage: Option<Stage>) -> Result<Format, BringUpError> {
    let format = match stage {
        Some(Stage::One) => Format::ArmStage1,
        Some(Stage::Two) => Format::ArmStage2,
        None if features.has(Format::ArmStage2) => Format::ArmStage2,
        None => Format::ArmStage1,
    };
    match stage {
        Some(stage) if !features.has(format) => Err(BringUpError::NoSuchStage(stage)),
        _ => Ok(format),
    }
}
