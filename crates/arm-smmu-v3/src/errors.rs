//! Global errors (IHI 0070, 7.5): every one acknowledged, counted, repaired where that can be done.

use iommu_hal::{Clock, Registers, TableMemory};

use crate::{
    spec::{
        commands::{Command, CommandError},
        registers::{CmdqCons, GlobalErrors, offset},
    },
    unit::SmmuV3,
};

/// What one look at the global errors found. All of it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorReport {
    /// SMMU_GERROR bits that were active.
    pub active: u32,
    /// The command queue had stopped, for this reason. The command was replaced and the queue runs on; the
    /// next [`iommu_hal::Unit::sync`] invalidates everything in its stead.
    pub command: Option<CommandError>,
    /// Writing the event queue aborted: event records are lost.
    pub event_queue_abort: bool,
    /// Writing the queue of page requests aborted; it is not in use.
    pub page_request_abort: bool,
    /// Writing an interrupt message aborted, by kind: bit 0 command, 1 event, 2 page request, 3 global error
    /// interrupt. None of them is in use.
    pub message_abort: u8,
    /// The unit has stopped working. It was turned off; everything aborts.
    pub service_failure: bool,
    /// The unit is out of order, now or since earlier.
    pub out_of_order: bool,
}

/// How often each kind of trouble was met since bring-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorCounts {
    /// Commands that the unit refused.
    pub commands: u64,
    /// Aborted writes of the event queue.
    pub event_queue_aborts: u64,
    /// Overflows of the event queue.
    pub event_overflows: u64,
    /// Other global errors.
    pub others: u64,
    /// Waits that passed their deadline.
    pub timeouts: u64,
}

impl<R: Registers> SmmuV3<R> {
    /// Acknowledges every active global error, repairs what can be repaired, and says what there was. For the
    /// global error interrupt, and cheap enough to be called whenever the event queue is looked at.
    pub fn service_errors<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> ErrorReport {
        let mut report = ErrorReport::default();
        let active = self.active_errors();
        report.active = active.into();
        if active.cmdq() {
            report.command = Some(self.repair_command(memory));
        }
        report.event_queue_abort = active.eventq_abt();
        report.page_request_abort = active.priq_abt();
        report.message_abort = active.msi_abt();
        report.service_failure = active.sfm();

        let others = active.with_cmdq(false).with_eventq_abt(false);
        self.counts.event_queue_aborts += u64::from(active.eventq_abt());
        self.counts.others += u64::from(u32::from(others).count_ones());
        self.acknowledge(active.with_cmdq(false));
        if active.sfm() {
            self.give_up(memory, clock);
        }
        report.out_of_order = self.out_of_order;
        report
    }

    /// How often each kind of trouble was met since bring-up.
    pub fn error_counts(&self) -> ErrorCounts {
        ErrorCounts { event_overflows: self.events.overflows, ..self.counts }
    }

    /// The errors that are active: bits of GERROR that differ from GERRORN.
    pub(crate) fn active_errors(&mut self) -> GlobalErrors {
        let raised = self.regs.read32(offset::GERROR);
        GlobalErrors::from(raised ^ self.regs.read32(offset::GERRORN))
    }

    /// Puts a CMD_SYNC in the place of the command at which the queue has stopped, then acknowledges: the
    /// other way round the same command would stop it again.
    pub(crate) fn repair_command<M: TableMemory>(&mut self, memory: &mut M) -> CommandError {
        let cons = CmdqCons::from(self.regs.read32(offset::CMDQ_CONS));
        self.commands.overwrite(memory, cons.rd(), Command::SYNC);
        self.counts.commands += 1;
        self.rejected = Some(cons.err());
        self.acknowledge(GlobalErrors::new().with_cmdq(true));
        CommandError(cons.err())
    }

    fn acknowledge(&mut self, errors: GlobalErrors) {
        if u32::from(errors) != 0 {
            let acknowledged = self.regs.read32(offset::GERRORN);
            self.regs.write32(offset::GERRORN, acknowledged ^ u32::from(errors));
        }
    }
}
