//! Invalidation through registers (6.5.1): for units without a queue, which are only made to abort.

use iommu_hal::{Clock, REGISTER_LIMIT_NS, Registers, UnitError, poll};

use crate::{
    features::Features,
    spec::registers::{ContextCommand, FIXED_REGISTERS_END, IotlbCommand, REGISTER_BYTES, offset},
};

/// Forgets everything. The invalidation queue is off.
pub(crate) fn forget_all<R: Registers>(
    regs: &mut R,
    clock: &impl Clock,
    features: &Features,
) -> Result<(), UnitError> {
    let contexts = ContextCommand::new().with_granularity(1).with_invalidate(true);
    regs.write64(offset::CCMD, contexts.into());
    poll(clock, REGISTER_LIMIT_NS, "CCMD.ICC to say that context entries are forgotten", || {
        !ContextCommand::from(regs.read64(offset::CCMD)).invalidate()
    })?;
    let at = 16 * u32::from(features.ecap().iro()) + 8;
    if !(FIXED_REGISTERS_END..=REGISTER_BYTES - 8).contains(&at) {
        // Out of reach; such a unit has a queue. Or where other registers are, GCMD among them; no unit has it there.
        return Ok(());
    }
    let cap = features.cap();
    let translations = IotlbCommand::new()
        .with_drain_reads(cap.drd())
        .with_drain_writes(cap.dwd())
        .with_granularity(1)
        .with_invalidate(true);
    regs.write64(at, translations.into());
    poll(clock, REGISTER_LIMIT_NS, "IOTLB.IVT to say that translations are forgotten", || {
        !IotlbCommand::from(regs.read64(at)).invalidate()
    })
}
