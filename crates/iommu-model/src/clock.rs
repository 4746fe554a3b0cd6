//! Time that passes only when it is looked at.

use std::{cell::Cell, rc::Rc};

use iommu_hal::Clock;

/// A clock that moves on by a fixed step at each reading, so that a wait without end meets its deadline.
#[derive(Debug, Clone)]
pub struct VirtualClock(Rc<Hands>);

#[derive(Debug)]
struct Hands {
    now_ns: Cell<u64>,
    step_ns: u64,
}

impl VirtualClock {
    /// A clock at 0 that moves on by `step_ns` nanoseconds at each reading.
    pub fn new(step_ns: u64) -> Self {
        Self(Rc::new(Hands { now_ns: Cell::new(0), step_ns }))
    }

    /// The time, in nanoseconds, without moving the clock.
    pub fn elapsed_ns(&self) -> u64 {
        self.0.now_ns.get()
    }

    /// Moves the clock on by `ns` nanoseconds.
    pub fn advance(&self, ns: u64) {
        self.0.now_ns.set(self.0.now_ns.get() + ns);
    }
}

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        self.advance(self.0.step_ns);
        self.elapsed_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iommu_hal::Deadline;

    #[test]
    fn a_wait_that_only_looks_at_the_clock_ends() {
        let clock = VirtualClock::new(100);
        let deadline = Deadline::after(&clock, 1_000);
        let mut looks = 0;
        while !deadline.expired(&clock) {
            looks += 1;
        }
        assert_eq!((looks, clock.elapsed_ns()), (9, 1_100));
    }
}
