//! From whatever firmware left to a unit that aborts everything under its own tables.

use core::fmt;

use iommu_hal::{Carver, Clock, OutOfTableMemory, Registers, StreamId, TableMemory, UnitError, poll};

use crate::{
    by_registers,
    control::Control,
    entries::ABORT,
    errors::ErrorCounts,
    fault_log::FaultLog,
    features::{Features, Mode},
    interrupt::{self, InterruptMessage},
    invalidate::Iotlb,
    queue::InvalidationQueue,
    report::{ModeReason, Report, SelfTest},
    root_table::{RootTable, take_frame},
    spec::registers::{EventControl, FaultStatus, Gcmd, ProtectedMemory, RootAddress, TableMode, offset},
    unit::IntelVtd,
    wait::REGISTER_LIMIT_NS,
};

/// The most streams that can be attached.
pub const MAX_STREAMS: usize = 64;

/// What bring-up is told.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    /// The requester ids that can be attached later; each gets its entry now. At most [`MAX_STREAMS`].
    pub streams: &'a [StreamId],
    /// Whether faults of streams that are not named are recorded. For finding a wrong requester id; such a device can
    /// keep the fault records full.
    pub record_unknown: bool,
    /// By what message the unit tells of faults; without one, it is to be asked.
    pub fault_message: Option<InterruptMessage>,
}

/// Why a unit was not brought up. It aborts everything, as far as it obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BringUpError {
    /// No unit answers: the registers read as all ones or all zeroes.
    NoUnit,
    /// The hardware did not answer in time.
    Timeout {
        /// What was waited for, in words.
        waiting_for: &'static str,
        /// The deadline, in nanoseconds.
        limit_ns: u64,
    },
    /// The unit refused a descriptor that every unit has; IQERCD's reason, 0 where it does not tell.
    DescriptorRejected(u8),
    /// This driver cannot use such a unit; why, in words.
    Unsupported(&'static str),
    /// The unit was left translating in a mode that it has no use for here, and a change of mode would let everything
    /// pass for a moment.
    LeftOnIn(TableMode),
    /// The table memory is too small.
    OutOfTableMemory(OutOfTableMemory),
    /// More streams were named than [`MAX_STREAMS`].
    TooManyStreams,
    /// A stream was named twice.
    StreamTwice(StreamId),
    /// A stream was named that is no requester id: they have 16 bits.
    StreamTooLarge(StreamId),
    /// A stream's entry did not read back as abort.
    EntryNotKept(StreamId),
}

impl From<UnitError> for BringUpError {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::Timeout { waiting_for, limit_ns } => Self::Timeout { waiting_for, limit_ns },
            UnitError::CommandRejected(reason) => Self::DescriptorRejected(reason),
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

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUnit => f.write_str("no VT-d unit answers: are the registers mapped at its address?"),
            Self::Timeout { waiting_for, limit_ns } => {
                write!(
                    f,
                    "the VT-d unit did not answer: waited {} ms for {waiting_for}",
                    limit_ns / 1_000_000
                )
            }
            Self::DescriptorRejected(reason) => {
                write!(f, "the VT-d unit refused an invalidation (IQERCD.IQEI {reason})")
            }
            Self::Unsupported(why) => write!(f, "this VT-d unit cannot be used: {why}"),
            Self::LeftOnIn(mode) => write!(
                f,
                "firmware left the VT-d unit translating in mode {} (RTADDR.TTM), which cannot be changed without \
                 letting everything pass: turn its DMA protection off in the firmware's setup",
                mode.0
            ),
            Self::OutOfTableMemory(OutOfTableMemory { asked, left }) => {
                write!(f, "the table memory is too small: {asked:#x} bytes needed, {left:#x} left")
            }
            Self::TooManyStreams => write!(f, "more than {MAX_STREAMS} streams are configured"),
            Self::StreamTwice(stream) => write!(f, "stream {:#x} is configured twice", stream.0),
            Self::StreamTooLarge(stream) => {
                write!(f, "stream {:#x} is configured, but requester ids have 16 bits", stream.0)
            }
            Self::EntryNotKept(stream) => {
                write!(f, "the entry of stream {:#x} does not read back: is the table memory RAM?", stream.0)
            }
        }
    }
}

impl core::error::Error for BringUpError {}

impl<R: Registers> IntelVtd<R> {
    /// Takes over the unit behind `regs`: its root table is replaced by one in which everything is absent, what else
    /// was on is turned off, everything cached is invalidated, and translation is on with tables that abort every
    /// stream. A unit that translates is never turned off meanwhile: everything would pass.
    ///
    /// Tables and queue come out of `carver`, whose pieces lie in `memory`. Attaching needs no more later.
    ///
    /// # Errors
    /// [`BringUpError`] at the first thing that is not as it must be. The unit then aborts everything as far as it
    /// obeys.
    pub fn bring_up<M: TableMemory>(
        mut regs: R,
        memory: &mut M,
        clock: &impl Clock,
        carver: &mut Carver,
        config: &Config<'_>,
    ) -> Result<Self, BringUpError> {
        let features = Features::read(&mut regs);
        if features.is_absent() {
            return Err(BringUpError::NoUnit);
        }
        let status_found = regs.read32(offset::GSTS);
        let faults_found = regs.read32(offset::FSTS);
        let mode_found = RootAddress::from(regs.read64(offset::RTADDR)).mode();
        let mut control = Control::found(status_found, &features);
        let left_on = control.on().te();

        // Before anything can fail for a lesser reason. All zeroes are absent entries in either mode.
        let clean = !features.ecap().c();
        let barren = take_frame(memory, carver, clean)?;
        memory.publish();
        let table_mode = match (left_on, features.has_scalable()) {
            (true, _) => mode_found,
            (false, true) => TableMode::SCALABLE,
            (false, false) => TableMode::LEGACY,
        };
        control.set_root(&mut regs, clock, barren, table_mode)?;

        let prepared = choose_mode(&features, left_on, table_mode).and_then(|mode| {
            Ok((mode, take_frame(memory, carver, clean)?, take_frame(memory, carver, clean)?))
        });
        let ((mode, mode_reason), queue_at, status_at) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                // The first error is the one to tell.
                let _ = forget_early(&mut regs, clock, &features, control.on());
                control.force_translation(&mut regs, clock);
                return Err(error);
            }
        };
        memory.publish();
        let queue = InvalidationQueue::new(queue_at, status_at, mode == Mode::Scalable);
        let report = Report {
            features,
            status_found,
            faults_found,
            mode_found,
            protection_found: false,
            mode,
            mode_reason,
            geometry: features.geometry(),
            streams: 0,
            descriptors: queue.capacity(),
            record_unknown: config.record_unknown,
            fault_message: config.fault_message,
            self_test: SelfTest {
                queue_round_trip_ns: 0,
                invalidation_round_trip_ns: 0,
                aborting_streams: 0,
            },
        };
        let mut unit = Self {
            regs,
            features,
            mode,
            control,
            queue,
            iotlb: Iotlb::new(&features),
            faults: FaultLog::new(&features),
            table: RootTable::barren(barren),
            barren,
            report,
            counts: ErrorCounts::default(),
            rejected: None,
            wait_lost: false,
            pending: false,
            out_of_order: false,
        };
        let started = unit
            .abort_everything(memory, clock)
            .and_then(|()| unit.give_entries(memory, clock, carver, config.streams));
        if started.is_err() {
            unit.abort_all_the_same(memory, clock);
        }
        started?;
        if let Some(message) = config.fault_message {
            interrupt::tell(&mut unit.regs, message);
        }
        Ok(unit)
    }

    /// From a root table in which everything is absent to a unit that aborts everything.
    fn abort_everything<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), BringUpError> {
        self.turn_off_what_was_left(clock)?;
        self.regs.write64(offset::IQT, 0);
        self.regs.write64(offset::IQA, self.queue.address().into());
        let on = self.control.on();
        self.switch(clock, on.with_qie(true), "GSTS.QIES to say that the invalidation queue is on")?;
        self.report.self_test.queue_round_trip_ns = self.time(memory, clock, false)?;
        self.time(memory, clock, true)?;
        self.control.translate(&mut self.regs, clock)?;
        Ok(())
    }

    /// From a unit that aborts everything to one that knows its streams.
    fn give_entries<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        carver: &mut Carver,
        streams: &[StreamId],
    ) -> Result<(), BringUpError> {
        let features = self.features;
        if let Some(why) = features.obstacle() {
            return Err(BringUpError::Unsupported(why));
        }
        self.faults.clear(&mut self.regs);
        // Everything that is cleared by writing 1.
        let all = FaultStatus::new().with_pfo(true).with_afo(true).with_apf(true);
        self.regs.write32(offset::FSTS, all.into());
        let masked = EventControl::new().with_mask(true);
        interrupt::mask(&mut self.regs);
        self.regs.write32(offset::IECTL, masked.into());

        let (clean, record_unknown) = (!features.ecap().c(), self.report.record_unknown);
        self.table = RootTable::carve(memory, carver, clean, self.mode, streams, record_unknown)?;
        self.report.streams = self.table.streams.len();
        self.report.self_test.aborting_streams = self.check_entries(memory)?;
        memory.publish();
        let mode = self.table_mode();
        self.control.set_root(&mut self.regs, clock, self.table.base, mode)?;
        self.report.self_test.invalidation_round_trip_ns = self.time(memory, clock, true)?;
        self.turn_off_protection(clock)
    }

    /// Sees to it that translation is on, whatever went wrong.
    #[cold]
    fn abort_all_the_same<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) {
        if self.control.on().te() {
            return;
        }
        if self.control.on().qie() && !self.control.is_stuck() && !self.out_of_order {
            self.rejected = None;
            let _ = self.time(memory, clock, true);
        }
        self.control.force_translation(&mut self.regs, clock);
    }

    fn switch(&mut self, clock: &impl Clock, on: Gcmd, waiting_for: &'static str) -> Result<(), UnitError> {
        self.control.switch(&mut self.regs, clock, on, waiting_for)
    }

    /// Turns off all but translation, one by one: the advanced fault log, interrupt remapping, the invalidation queue.
    fn turn_off_what_was_left(&mut self, clock: &impl Clock) -> Result<(), BringUpError> {
        let on = self.control.on();
        if on.eafl() {
            self.switch(clock, on.with_eafl(false), "GSTS.AFLS to say that the advanced fault log is off")?;
        }
        let on = self.control.on();
        if on.ire() {
            self.switch(clock, on.with_ire(false), "GSTS.IRES to say that interrupt remapping is off")?;
        }
        let on = self.control.on();
        if on.cfi() {
            self.switch(clock, on.with_cfi(false), "GSTS.CFIS to follow")?;
        }
        let on = self.control.on();
        if on.qie() {
            // What is in the queue ends first; what a queue that has stopped still holds is dropped.
            let regs = &mut self.regs;
            poll(clock, REGISTER_LIMIT_NS, "the invalidation queue that was left on to be empty", || {
                let head = regs.read64(offset::IQH);
                if FaultStatus::from(regs.read32(offset::FSTS)).iqe() {
                    regs.write64(offset::IQT, head);
                }
                head == regs.read64(offset::IQT)
            })?;
            self.switch(clock, on.with_qie(false), "GSTS.QIES to say that the invalidation queue is off")?;
        }
        let errors = self.queue_errors();
        self.regs.write32(offset::FSTS, errors.into());
        Ok(())
    }

    /// Turns off the protection of memory regions by PMEN_REG, which tables take over: where both are on, units may
    /// block what tables allow.
    fn turn_off_protection(&mut self, clock: &impl Clock) -> Result<(), BringUpError> {
        let cap = self.features.cap();
        if !cap.plmr() && !cap.phmr() {
            return Ok(());
        }
        let found = ProtectedMemory::from(self.regs.read32(offset::PMEN));
        self.report.protection_found = found.enable() || found.status();
        if self.report.protection_found {
            self.regs.write32(offset::PMEN, ProtectedMemory::new().into());
            let regs = &mut self.regs;
            poll(clock, REGISTER_LIMIT_NS, "PMEN.PRS to say that protected memory regions are off", || {
                !ProtectedMemory::from(regs.read32(offset::PMEN)).status()
            })?;
        }
        Ok(())
    }

    /// Nanoseconds that a wait takes, with or without the invalidation of everything before it.
    fn time<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        forget: bool,
    ) -> Result<u64, UnitError> {
        let started = clock.now_ns();
        if forget {
            self.push_forget_all(memory, clock)?;
        }
        self.push_wait(memory, clock)?;
        self.drain(memory, clock)?;
        if let Some(reason) = self.rejected {
            return Err(UnitError::CommandRejected(reason));
        }
        self.pending = false;
        Ok(clock.now_ns().saturating_sub(started))
    }

    /// Reads back the entries of all streams; every one must abort.
    fn check_entries<M: TableMemory>(&self, memory: &mut M) -> Result<usize, BringUpError> {
        for stream in &self.table.streams {
            if memory.read(stream.context) != ABORT || memory.read(stream.entry) != ABORT {
                return Err(BringUpError::EntryNotKept(stream.id));
            }
        }
        Ok(self.table.streams.len())
    }
}

/// The mode for a unit whose root table is one of `table_mode`, and why.
fn choose_mode(
    features: &Features,
    left_on: bool,
    table_mode: TableMode,
) -> Result<(Mode, ModeReason), BringUpError> {
    if !features.ecap().qi() {
        return Err(BringUpError::Unsupported("it has no queued invalidation (ECAP.QI)"));
    }
    match table_mode {
        TableMode::LEGACY if left_on && features.has_scalable() => Ok((Mode::Legacy, ModeReason::LeftOn)),
        TableMode::LEGACY => Ok((Mode::Legacy, ModeReason::Unit)),
        TableMode::SCALABLE if features.has_scalable() => Ok((Mode::Scalable, ModeReason::Unit)),
        other => Err(BringUpError::LeftOnIn(other)),
    }
}

/// Forgets everything in a unit whose own queue is not to be had.
fn forget_early<R: Registers>(
    regs: &mut R,
    clock: &impl Clock,
    features: &Features,
    on: Gcmd,
) -> Result<(), UnitError> {
    // With a queue that is on, the registers are not to be used.
    if on.qie() { Err(UnitError::OutOfOrder) } else { by_registers::forget_all(regs, clock, features) }
}
