//! Time, for deadlines.

/// A clock that never goes back.
pub trait Clock {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

impl<T: Clock + ?Sized> Clock for &T {
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }
}

/// The moment at which a wait for the hardware is given up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started_ns: u64,
    limit_ns: u64,
}

impl Deadline {
    /// A deadline `limit_ns` nanoseconds from now.
    pub fn after(clock: &impl Clock, limit_ns: u64) -> Self {
        Self { started_ns: clock.now_ns(), limit_ns }
    }

    /// Whether the time is up.
    pub fn expired(&self, clock: &impl Clock) -> bool {
        clock.now_ns().saturating_sub(self.started_ns) >= self.limit_ns
    }

    /// The length of the wait that was allowed, in nanoseconds.
    pub const fn limit_ns(&self) -> u64 {
        self.limit_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    struct Hand(Cell<u64>);

    impl Clock for Hand {
        fn now_ns(&self) -> u64 {
            self.0.get()
        }
    }

    #[test]
    fn a_deadline_expires_at_its_limit_and_not_before() {
        let clock = Hand(Cell::new(u64::MAX - 5));
        let deadline = Deadline::after(&clock, 5);
        clock.0.set(u64::MAX - 1);
        assert!(!deadline.expired(&clock));
        clock.0.set(u64::MAX);
        assert!(deadline.expired(&clock));
    }
}
