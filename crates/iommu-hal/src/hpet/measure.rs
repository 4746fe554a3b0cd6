//! How fast another counter is, measured by the main counter.

use super::Hpet;
use crate::Registers;

/// How long both are compared, in nanoseconds: longer than what disturbs a reading, shorter than a user notices.
pub const COMPARED_NS: u64 = 10_000_000;

/// When the comparison is given up, in ticks of the other counter: as many as one of 10 GHz has in a hundred times as long.
pub const GIVEN_UP_TICKS: u64 = 10 * 100 * COMPARED_NS;

/// A reading is the best of so many: the one between whose ends the least passed.
const READINGS: u32 = 8;

/// What a measured frequency is rounded to: the HPET itself may be wrong by more (IA-PC HPET 1.0a, 2.2: 500 ppm).
const ROUNDED_HZ: u64 = 10_000;

impl<R: Registers> Hpet<R> {
    /// The frequency of `counter` in hertz, measured for [`COMPARED_NS`]; `None` if the main counter stands still while
    /// `counter` runs [`GIVEN_UP_TICKS`].
    pub fn measure(&mut self, mut counter: impl FnMut() -> u64) -> Option<u64> {
        let (first_ticks, first) = self.reading(&mut counter);
        loop {
            let (ticks, now) = self.reading(&mut counter);
            let (passed, passed_ns) = (ticks.wrapping_sub(first_ticks), self.ns(now.wrapping_sub(first)));
            if passed_ns >= COMPARED_NS {
                let hz = u128::from(passed) * 1_000_000_000 / u128::from(passed_ns);
                let hz = u64::try_from(hz).unwrap_or(u64::MAX);
                return Some((hz.saturating_add(ROUNDED_HZ / 2) / ROUNDED_HZ * ROUNDED_HZ).max(ROUNDED_HZ));
            }
            if passed > GIVEN_UP_TICKS {
                return None;
            }
        }
    }

    /// Both counters at one moment.
    fn reading(&mut self, counter: &mut impl FnMut() -> u64) -> (u64, u32) {
        let mut best = (u64::MAX, 0, 0);
        for _ in 0..READINGS {
            let before = counter();
            let other = self.counter();
            let took = counter().wrapping_sub(before);
            if took < best.0 {
                best = (took, before.wrapping_add(took / 2), other);
            }
        }
        (best.1, best.2)
    }
}
