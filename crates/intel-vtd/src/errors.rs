//! Errors of the invalidation queue (6.5.2.10): every one acknowledged, counted, repaired.

use iommu_hal::{Clock, Registers, TableMemory};

use crate::{
    spec::registers::{FaultStatus, QueueError, offset},
    unit::IntelVtd,
};

/// What one look at the errors found. All of it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorReport {
    /// FSTS bits of the invalidation queue that were set.
    pub active: u32,
    /// The queue had stopped at a descriptor, with this reason (0 where the unit does not tell). The descriptor was
    /// replaced and the queue runs on; the next [`iommu_hal::Unit::sync`] invalidates everything in its stead.
    pub descriptor: Option<u8>,
    /// The unit is out of order, since earlier.
    pub out_of_order: bool,
}

/// How often each kind of trouble was met since bring-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorCounts {
    /// Descriptors that the unit refused.
    pub descriptors: u64,
    /// Overflows of the fault records.
    pub fault_overflows: u64,
    /// Errors of device TLBs, of which none is in use.
    pub others: u64,
    /// Waits that passed their deadline.
    pub timeouts: u64,
}

impl<R: Registers> IntelVtd<R> {
    /// Acknowledges every error of the invalidation queue, repairs what can be repaired, and says what there was.
    pub fn service_errors<M: TableMemory>(&mut self, memory: &mut M, _clock: &impl Clock) -> ErrorReport {
        let active = self.queue_errors();
        let descriptor = self.repair(memory, active);
        ErrorReport { active: active.into(), descriptor, out_of_order: self.out_of_order }
    }

    /// How often each kind of trouble was met since bring-up.
    pub fn error_counts(&self) -> ErrorCounts {
        ErrorCounts { fault_overflows: self.faults.overflows, ..self.counts }
    }

    /// The errors of the queue that stand.
    pub(crate) fn queue_errors(&mut self) -> FaultStatus {
        let status = FaultStatus::from(self.regs.read32(offset::FSTS));
        FaultStatus::new().with_iqe(status.iqe()).with_ice(status.ice()).with_ite(status.ite())
    }

    /// Acknowledges `errors`. A descriptor at which the queue has stopped is replaced first: the other way round it
    /// would stop there again. The reason of that, if there was one.
    pub(crate) fn repair<M: TableMemory>(&mut self, memory: &mut M, errors: FaultStatus) -> Option<u8> {
        if u32::from(errors) == 0 {
            return None;
        }
        let record = if self.features.ecap().smts() { self.regs.read64(offset::IQERCD) } else { 0 };
        let reason = QueueError::from(record).reason();
        if errors.iqe() {
            let head = self.regs.read64(offset::IQH);
            self.queue.overwrite(memory, head);
            self.counts.descriptors += 1;
        }
        self.counts.others += u64::from(errors.ice()) + u64::from(errors.ite());
        // What was dropped, and whether a wait was among it, the unit does not tell.
        self.rejected = Some(reason);
        self.wait_lost = true;
        self.regs.write32(offset::FSTS, errors.into());
        if errors.iqe() && !self.out_of_order {
            // Some units go on only when they are told again where the queue ends.
            self.regs.write64(offset::IQT, self.queue.rung_tail());
        }
        errors.iqe().then_some(reason)
    }
}
