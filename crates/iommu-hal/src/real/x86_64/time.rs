//! The clock and the alarm.

use super::tsc;
use crate::{
    Clock,
    hpet::{Hpet, HpetAlarm},
    real::{MmioRegisters, TimeError, TimerRegisters},
};

/// The time stamp counter.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock {
    /// Nanoseconds of a tick, times 2^32.
    tick_ns: u64,
}

impl CpuClock {
    /// The counter, with the frequency that CPUID says; where it says none, compared with the HPET behind `timer` for some
    /// milliseconds. That is only read, unless it stands still.
    ///
    /// # Errors
    /// [`TimeError`]: nobody knows the frequency.
    pub fn new(timer: Option<&mut TimerRegisters>) -> Result<Self, TimeError> {
        let hz = match (tsc::told_hz(), timer) {
            (Some(hz), _) => hz,
            (None, Some(timer)) => {
                let mut hpet = Hpet::open(&mut timer.0).map_err(TimeError::Hpet)?;
                hpet.measure(tsc::counter).ok_or(TimeError::CounterStands)?
            }
            (None, None) => return Err(TimeError::NoFrequency),
        };
        // At least 10 kHz, so that it fits 64 bits.
        Ok(Self { tick_ns: ((1_000_000_000_u128 << 32) / u128::from(hz)) as u64 })
    }
}

impl Clock for CpuClock {
    fn now_ns(&self) -> u64 {
        ((u128::from(tsc::counter()) * u128::from(self.tick_ns)) >> 32) as u64
    }
}

/// A comparator of the HPET.
#[derive(Debug)]
pub struct Alarm(Option<HpetAlarm<MmioRegisters>>);

impl Alarm {
    /// An alarm that raises pin `line` of the I/O APIC, by the HPET behind `timer`; none that fires without a line.
    ///
    /// # Errors
    /// [`TimeError`]: there is no such HPET.
    pub fn new(timer: Option<TimerRegisters>, line: Option<u32>) -> Result<Self, TimeError> {
        let Some(line) = line else { return Ok(Self(None)) };
        let timer = timer.ok_or(TimeError::NoTimer)?;
        let hpet = Hpet::open(timer.0).map_err(TimeError::Hpet)?;
        hpet.into_alarm(line).map(|alarm| Self(Some(alarm))).map_err(TimeError::Hpet)
    }

    /// Fires once, `after_ns` nanoseconds from now, at most some seconds; replaces an earlier setting.
    pub fn set(&mut self, after_ns: u64) {
        if let Some(alarm) = &mut self.0 {
            alarm.set(after_ns);
        }
    }

    /// Does not fire any more.
    pub fn stop(&mut self) {
        if let Some(alarm) = &mut self.0 {
            alarm.stop();
        }
    }
}
