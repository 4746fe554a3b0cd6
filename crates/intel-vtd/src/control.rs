//! Global commands.

use iommu_hal::{Clock, PhysAddr, REGISTER_LIMIT_NS, Registers, UnitError, poll};

use crate::{
    features::Features,
    spec::registers::{Gcmd, RootAddress, TableMode, offset},
};

/// What of GSTS is switched; the rest is done once, or tells of it.
const SWITCHES: Gcmd = Gcmd::new().with_te(true).with_eafl(true).with_qie(true).with_ire(true).with_cfi(true);

/// The global command register, which takes every switch anew at each write, and one change at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control {
    on: Gcmd,
    /// Write buffers hold back stores to tables.
    flushes: bool,
    /// A command was not acknowledged in time: there must be no other.
    stuck: bool,
}

impl Control {
    /// With the switches as they are.
    pub fn found(status: u32, features: &Features) -> Self {
        Self { on: Gcmd::from(status & u32::from(SWITCHES)), flushes: features.cap().rwbf(), stuck: false }
    }

    /// What is on.
    pub const fn on(&self) -> Gcmd {
        self.on
    }

    /// Whether the unit owes an acknowledgement.
    pub const fn is_stuck(&self) -> bool {
        self.stuck
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
        self.on = on;
        let done = |status| status & u32::from(SWITCHES) == u32::from(on);
        self.command(regs, clock, on, waiting_for, done)
    }

    /// Writes `command` and waits until GSTS says that it is done.
    fn command<R: Registers>(
        &mut self,
        regs: &mut R,
        clock: &impl Clock,
        command: Gcmd,
        waiting_for: &'static str,
        done: impl Fn(u32) -> bool,
    ) -> Result<(), UnitError> {
        if self.stuck {
            return Err(UnitError::OutOfOrder);
        }
        regs.write32(offset::GCMD, command.into());
        let waited = poll(clock, REGISTER_LIMIT_NS, waiting_for, || done(regs.read32(offset::GSTS)));
        self.stuck = waited.is_err();
        waited
    }

    /// Turns translation on.
    pub fn translate<R: Registers>(&mut self, regs: &mut R, clock: &impl Clock) -> Result<(), UnitError> {
        if self.on.te() {
            return Ok(());
        }
        self.flush(regs, clock)?;
        self.switch(regs, clock, self.on.with_te(true), "GSTS.TES to say that translation is on")
    }

    /// Turns translation on, even in a unit that does not answer as it should: with an absent root table in place, that
    /// is still better than to let everything pass.
    #[cold]
    pub fn force_translation<R: Registers>(&mut self, regs: &mut R, clock: &impl Clock) {
        if !self.on.te() {
            self.stuck = false;
            let on = self.on.with_te(true);
            // Nothing is left to be done where this fails too.
            let _ = self.switch(regs, clock, on, "GSTS.TES to say that translation is on");
        }
    }

    /// Has the unit take the root table at `table`. While translation is on, `mode` is the one in use.
    pub fn set_root<R: Registers>(
        &mut self,
        regs: &mut R,
        clock: &impl Clock,
        table: PhysAddr,
        mode: TableMode,
    ) -> Result<(), UnitError> {
        self.flush(regs, clock)?;
        let address = RootAddress::new().with_mode(mode).with_address_12(table.0 >> 12);
        regs.write64(offset::RTADDR, address.into());
        let what = "GSTS.RTPS to say that the root table is taken";
        self.command(regs, clock, self.on.with_srtp(true), what, |status| Gcmd::from(status).srtp())
    }

    /// Flushes the write buffers of a unit that has them (6.8).
    pub fn flush<R: Registers>(&mut self, regs: &mut R, clock: &impl Clock) -> Result<(), UnitError> {
        if !self.flushes {
            return Ok(());
        }
        let what = "GSTS.WBFS to say that the write buffers are flushed";
        self.command(regs, clock, self.on.with_wbf(true), what, |status| !Gcmd::from(status).wbf())
    }
}
