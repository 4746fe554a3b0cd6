//! What clock and alarm have of the board on every architecture.

use core::{fmt, ptr::NonNull};

use super::MmioRegisters;
use crate::hpet::{HpetError, spec};

/// The registers of the board's timer, where that is a device: an HPET. Arm's is the CPU's own.
#[derive(Debug)]
pub struct TimerRegisters(#[cfg_attr(target_arch = "aarch64", allow(dead_code))] pub(super) MmioRegisters);

impl TimerRegisters {
    /// The registers at `at`.
    ///
    /// # Safety
    /// 1. `at` is page-aligned and mapped as device memory, readable, for one page, for as long as the value lives; it is
    ///    writable if an alarm is made of it, or if nobody else has started the timer.
    /// 2. Nothing else in this program accesses it.
    pub const unsafe fn new(at: NonNull<u8>) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { MmioRegisters::new(at, spec::REGISTER_BYTES) })
    }
}

/// Why there is no clock, or no alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeError {
    /// CPUID does not say how fast the time stamp counter is, and there is no HPET to compare it with.
    NoFrequency,
    /// The HPET's counter stands still.
    CounterStands,
    /// An alarm was asked for, but the registers of its timer are not mapped.
    NoTimer,
    /// What is wrong with the HPET.
    Hpet(HpetError),
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFrequency => f.write_str(
                "CPUID does not say how fast the time stamp counter is: map the HPET's registers, with \
                 setvar_vaddr=\"timer_registers\", to compare it with",
            ),
            Self::CounterStands => f.write_str("the HPET's counter does not run"),
            Self::NoTimer => {
                f.write_str("the HPET's registers are not mapped: give them setvar_vaddr=\"timer_registers\"")
            }
            Self::Hpet(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TimeError {}
