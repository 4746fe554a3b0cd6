//! AArch64: barriers, cache maintenance, the physical counter and its timer.

use core::{arch::asm, ops::Range};

use super::{TimeError, TimerRegisters, lines::for_each_line};
use crate::Clock;

/// Bytes of the smallest data cache line (CTR_EL0.DminLine, Arm DDI 0487 D19.2.34).
fn line_bytes() -> usize {
    let ctr: u64;
    // SAFETY: reads an identification register that the kernel leaves readable (UCT, set with UCI).
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    4 << ((ctr >> 16) & 0xf)
}

pub(super) fn barrier_stores() {
    // SAFETY: a barrier has no effect but order.
    unsafe { asm!("dmb oshst", options(nostack, preserves_flags)) };
}

pub(super) fn barrier_before_device_write() {
    barrier_stores();
}

pub(super) fn barrier_after_device_read() {
    // SAFETY: a barrier has no effect but order.
    unsafe { asm!("dmb oshld", options(nostack, preserves_flags)) };
}

pub(super) fn clean_lines(range: Range<usize>) {
    for_each_line(range, line_bytes(), |at| {
        // SAFETY: cleaning a line writes back what is there; the address is mapped.
        unsafe { asm!("dc cvac, {}", in(reg) at, options(nostack, preserves_flags)) };
    });
    // SAFETY: a barrier has no effect but order.
    unsafe { asm!("dsb osh", options(nostack, preserves_flags)) };
}

pub(super) fn invalidate_lines(range: Range<usize>) {
    for_each_line(range, line_bytes(), |at| {
        // SAFETY: clean and invalidate (EL0 has no pure invalidate); nothing of ours is dirty in the range.
        unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
    });
    // SAFETY: a barrier has no effect but order.
    unsafe { asm!("dsb osh", options(nostack, preserves_flags)) };
}

/// The physical counter: the virtual one is not readable at EL0 on seL4.
fn counter() -> u64 {
    let ticks: u64;
    // SAFETY: reads a counter that the kernel leaves readable at EL0; `isb` keeps it in program order.
    unsafe { asm!("isb", "mrs {}, cntpct_el0", out(reg) ticks, options(nostack, preserves_flags)) };
    ticks
}

/// Makes the physical timer fire `ticks` from now, or stops it (Arm DDI 0487, D24.10: CNTP_TVAL, CNTP_CTL).
fn set_timer(ticks: Option<u32>) {
    let control = u64::from(ticks.is_some());
    let ticks = u64::from(ticks.unwrap_or(0));
    // SAFETY: the board gives this timer to the server alone and leaves it accessible at EL0.
    unsafe { asm!("msr cntp_tval_el0, {}", in(reg) ticks, options(nomem, nostack, preserves_flags)) };
    // SAFETY: as above. Bit 0 enables, bit 1 (mask) is clear.
    unsafe { asm!("msr cntp_ctl_el0, {}", "isb", in(reg) control, options(nomem, nostack, preserves_flags)) };
}

fn counter_hz() -> u64 {
    let hz: u64;
    // SAFETY: reads an identification register, readable wherever the counter is.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    // The boot loader announces it; 1 MHz where it did not.
    hz.max(1_000_000)
}

/// The CPU's own counter.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock {
    hz: u64,
}

impl CpuClock {
    /// The counter. It needs no other timer.
    ///
    /// # Errors
    /// None.
    pub fn new(_: Option<&mut TimerRegisters>) -> Result<Self, TimeError> {
        Ok(Self { hz: counter_hz() })
    }
}

impl Clock for CpuClock {
    fn now_ns(&self) -> u64 {
        let ticks = counter();
        let seconds = ticks / self.hz;
        seconds * 1_000_000_000 + (ticks % self.hz) * 1_000_000_000 / self.hz
    }
}

/// The CPU's one-shot timer: interrupt 30.
#[derive(Debug)]
pub struct Alarm {
    hz: u64,
}

impl Alarm {
    /// The timer, stopped. It has registers and a line of its own.
    ///
    /// # Errors
    /// None.
    pub fn new(_: Option<TimerRegisters>, _: Option<u32>) -> Result<Self, TimeError> {
        set_timer(None);
        Ok(Self { hz: counter_hz() })
    }

    /// Fires once, `after_ns` nanoseconds from now, at most some seconds; replaces an earlier setting.
    pub fn set(&mut self, after_ns: u64) {
        let (seconds, rest) = (after_ns / 1_000_000_000, after_ns % 1_000_000_000);
        let ticks = seconds.saturating_mul(self.hz).saturating_add(rest * self.hz / 1_000_000_000);
        set_timer(Some(ticks.clamp(1, i32::MAX as u64) as u32));
    }

    /// Stops it: its interrupt line goes low.
    pub fn stop(&mut self) {
        set_timer(None);
    }
}
