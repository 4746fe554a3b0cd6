//! High Precision Event Timers: the main counter, and a one-shot alarm (IA-PC HPET Specification 1.0a).
//!
//! Only the lower 32 bits of the counter and of a comparator are used: they can be read and written at once.

use core::fmt;

use crate::Registers;

mod measure;
pub mod spec;

pub use measure::{COMPARED_NS, GIVEN_UP_TICKS};

use spec::{Capabilities, Configuration, MAX_PERIOD_FS, MAX_TIMERS, TimerConfiguration, offset};

/// Femtoseconds of a nanosecond.
const FS_PER_NS: u64 = 1_000_000;

/// The furthest alarm, in ticks of the main counter: half a round of 32 bits, 21 s at 100 MHz.
pub const MAX_TICKS: u32 = i32::MAX as u32;

/// How often an alarm that was over before it was set is set anew, each time twice as far off.
pub const MAX_TRIES: u32 = 16;

/// What is wrong with the timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HpetError {
    /// Nothing answers there, or what does is no HPET: the capabilities, and the period.
    NotThere(u32, u32),
    /// No comparator can raise this pin of the I/O APIC; the pins that some can raise, a bit each.
    NoRoute {
        /// The pin.
        line: u32,
        /// The possible ones.
        possible: u32,
    },
}

impl fmt::Display for HpetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere(capabilities, period) => write!(
                f,
                "no HPET answers (capabilities {capabilities:#x}, period {period:#x}): are its registers mapped at its \
                 address?"
            ),
            Self::NoRoute { line, possible } => write!(
                f,
                "no comparator of the HPET can raise pin {line} of the I/O APIC: name one of the bits of {possible:#x} \
                 in the system description"
            ),
        }
    }
}

impl core::error::Error for HpetError {}

/// The timers behind registers `R`.
#[derive(Debug)]
pub struct Hpet<R> {
    regs: R,
    timers: u32,
    period_fs: u32,
}

impl<R: Registers> Hpet<R> {
    /// The timers behind `regs`; the counter is started if it stands still, else nothing is written.
    ///
    /// # Errors
    /// [`HpetError::NotThere`].
    pub fn open(mut regs: R) -> Result<Self, HpetError> {
        let capabilities = regs.read32(offset::CAPABILITIES);
        let period_fs = regs.read32(offset::PERIOD);
        let of = Capabilities::from(capabilities);
        if of.revision() == 0 || capabilities == u32::MAX || !(1..=MAX_PERIOD_FS).contains(&period_fs) {
            return Err(HpetError::NotThere(capabilities, period_fs));
        }
        let configuration = Configuration::from(regs.read32(offset::CONFIGURATION));
        if !configuration.enable() {
            regs.write32(offset::CONFIGURATION, configuration.with_enable(true).into());
        }
        Ok(Self { regs, timers: (of.last_timer() + 1).min(MAX_TIMERS), period_fs })
    }

    /// The main counter.
    pub fn counter(&mut self) -> u32 {
        self.regs.read32(offset::COUNTER)
    }

    /// Nanoseconds that `ticks` of the main counter take.
    pub const fn ns(&self, ticks: u32) -> u64 {
        // Less than 2^32 * 10^8.
        ticks as u64 * self.period_fs as u64 / FS_PER_NS
    }

    /// Ticks of the main counter in `ns` nanoseconds, rounded up; [`MAX_TICKS`] at most, and one at least.
    fn ticks(&self, ns: u64) -> u32 {
        let ticks = ns.saturating_mul(FS_PER_NS).div_ceil(self.period_fs.into());
        ticks.clamp(1, MAX_TICKS.into()) as u32
    }

    /// Makes these timers an alarm that raises pin `line` of the I/O APIC, as an edge. No other comparator interrupts
    /// from then on, and none stands in for a legacy timer.
    ///
    /// # Errors
    /// [`HpetError::NoRoute`].
    pub fn into_alarm(mut self, line: u32) -> Result<HpetAlarm<R>, HpetError> {
        let mut possible = 0;
        let mut found = None;
        for timer in 0..self.timers {
            let routes = self.regs.read32(offset::timer_routes(timer));
            possible |= routes;
            if found.is_none() && 1_u32.checked_shl(line).is_some_and(|bit| routes & bit != 0) {
                found = Some(timer);
            }
        }
        let timer = found.ok_or(HpetError::NoRoute { line, possible })?;
        for timer in 0..self.timers {
            let at = offset::timer_configuration(timer);
            let quiet = TimerConfiguration::from(self.regs.read32(at)).with_interrupt(false);
            self.regs.write32(at, quiet.into());
        }
        let at = offset::CONFIGURATION;
        let configuration = Configuration::from(self.regs.read32(at)).with_legacy(false).with_enable(true);
        self.regs.write32(at, configuration.into());
        let mut alarm = HpetAlarm { hpet: self, timer, line };
        alarm.stop();
        Ok(alarm)
    }
}

/// A comparator that interrupts once.
#[derive(Debug)]
pub struct HpetAlarm<R> {
    hpet: Hpet<R>,
    timer: u32,
    line: u32,
}

impl<R: Registers> HpetAlarm<R> {
    /// Fires once, `after_ns` nanoseconds from now, at most some seconds; replaces an earlier setting.
    pub fn set(&mut self, after_ns: u64) {
        let mut ticks = self.hpet.ticks(after_ns);
        for _ in 0..MAX_TRIES {
            let now = self.hpet.counter();
            self.hpet.regs.write32(offset::timer_comparator(self.timer), now.wrapping_add(ticks));
            self.configure(true);
            // A comparator that was passed before it was written would fire a round later.
            if self.hpet.counter().wrapping_sub(now) < ticks {
                return;
            }
            ticks = ticks.saturating_mul(2).min(MAX_TICKS);
        }
    }

    /// Does not fire any more.
    pub fn stop(&mut self) {
        self.configure(false);
    }

    fn configure(&mut self, interrupt: bool) {
        let configuration =
            TimerConfiguration::new().with_narrow(true).with_route(self.line).with_interrupt(interrupt);
        self.hpet.regs.write32(offset::timer_configuration(self.timer), configuration.into());
    }
}

#[cfg(test)]
mod tests;
