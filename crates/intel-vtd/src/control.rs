//! Global commands.

use iommu_hal::{Clock, PhysAddr, Registers, UnitError, poll};

use crate::{
    features::Features,
    spec::registers::{Gcmd, RootAddress, TableMode, offset},
    wait::REGISTER_LIMIT_NS,
};

/// What of GSTS is switched; the rest is done once, or tells of it.
const SWITCHES: Gcmd = Gcmd::new().with_te(true).with_eafl(true).with_qie(true).with_ire(true).with_cfi(true);

/// The global command register, which takes every switch anew at each write, and one change at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control {
    on: Gcmd,
    /// Write buffers hold back stores to tables.
    flushes: bool,
}

impl Control {
    /// With the switches as they are.
    pub fn found<R: Registers>(regs: &mut R, features: &Features) -> Self {
        let status = regs.read32(offset::GSTS);
        Self { on: Gcmd::from(status & u32::from(SWITCHES)), flushes: features.cap().rwbf() }
    }

    /// What is on.
    pub const fn on(&self) -> Gcmd {
        self.on
    }

    /// Changes one switch and waits until it has happened.
    pub fn switch<R: Registers>(
        &mut self,
        regs: &mut R,
        clock: &impl Clock,
        on: Gcmd,
        waiting_for: &'static str,
    ) -> Result<(), UnitError> {
        debug_assert_eq!((u32::from(on) ^ u32::from(self.on)).count_ones(), 1);
        regs.write32(offset::GCMD, on.into());
        let done = || regs.read32(offset::GSTS) & u32::from(SWITCHES) == u32::from(on);
        poll(clock, REGISTER_LIMIT_NS, waiting_for, done)?;
        self.on = on;
        Ok(())
    }

    /// Turns translation on, whatever else is the matter: nothing passes untranslated any more.
    pub fn translate<R: Registers>(&mut self, regs: &mut R, clock: &impl Clock) -> Result<(), UnitError> {
        if self.on.te() {
            return Ok(());
        }
        self.flush(regs, clock)?;
        self.switch(regs, clock, self.on.with_te(true), "GSTS.TES to say that translation is on")
    }

    /// Has the unit take the root table at `table`. While translation is on, `mode` is the one in use.
    pub fn set_root<R: Registers>(
        &self,
        regs: &mut R,
        clock: &impl Clock,
        table: PhysAddr,
        mode: TableMode,
    ) -> Result<(), UnitError> {
        self.flush(regs, clock)?;
        let address = RootAddress::new().with_mode(mode).with_address_12(table.0 >> 12);
        regs.write64(offset::RTADDR, address.into());
        regs.write32(offset::GCMD, self.on.with_srtp(true).into());
        let done = || Gcmd::from(regs.read32(offset::GSTS)).srtp();
        poll(clock, REGISTER_LIMIT_NS, "GSTS.RTPS to say that the root table is taken", done)
    }

    /// Flushes the write buffers of a unit that has them (6.8).
    pub fn flush<R: Registers>(&self, regs: &mut R, clock: &impl Clock) -> Result<(), UnitError> {
        if !self.flushes {
            return Ok(());
        }
        regs.write32(offset::GCMD, self.on.with_wbf(true).into());
        let done = || !Gcmd::from(regs.read32(offset::GSTS)).wbf();
        poll(clock, REGISTER_LIMIT_NS, "GSTS.WBFS to say that the write buffers are flushed", done)
    }
}
