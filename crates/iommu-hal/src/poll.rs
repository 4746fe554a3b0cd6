//! Waiting for the hardware, never without end.

use crate::{Clock, Deadline, UnitError};

/// The longest wait for a control register to take effect, in nanoseconds.
pub const REGISTER_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for what was queued to complete, in nanoseconds. Units take microseconds; without ATS nothing
/// that a device does delays it.
pub const COMPLETION_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a free entry of a queue, in nanoseconds.
pub const QUEUE_SPACE_LIMIT_NS: u64 = 100_000_000;

/// Polls `done` until it holds.
///
/// # Errors
/// [`UnitError::Timeout`] when `limit_ns` has passed.
pub fn poll(
    clock: &impl Clock,
    limit_ns: u64,
    waiting_for: &'static str,
    mut done: impl FnMut() -> bool,
) -> Result<(), UnitError> {
    if done() {
        return Ok(());
    }
    let deadline = Deadline::after(clock, limit_ns);
    loop {
        // Looked at once more after the deadline: the time may have passed without this code running.
        let expired = deadline.expired(clock);
        if done() {
            return Ok(());
        }
        if expired {
            return Err(UnitError::Timeout { waiting_for, limit_ns });
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    /// A clock that goes on by one each time it is read.
    struct Ticks(Cell<u64>);

    impl Clock for Ticks {
        fn now_ns(&self) -> u64 {
            self.0.replace(self.0.get() + 1)
        }
    }

    #[test]
    fn what_comes_late_is_waited_for_and_what_never_comes_is_not() {
        let clock = Ticks(Cell::new(0));
        let mut looks = 0;
        let late = || {
            looks += 1;
            looks == 7
        };
        assert_eq!(poll(&clock, 100, "the seventh look", late), Ok(()));
        let never = poll(&clock, 100, "nothing", || false);
        assert_eq!(never, Err(UnitError::Timeout { waiting_for: "nothing", limit_ns: 100 }));
        assert!(clock.0.get() < 120, "given up at the deadline");
    }

    #[test]
    fn what_was_done_at_the_deadline_counts() {
        struct Leap(Cell<u64>);
        impl Clock for Leap {
            fn now_ns(&self) -> u64 {
                self.0.replace(self.0.get() + 1000)
            }
        }
        let mut looks = 0;
        let second = || {
            looks += 1;
            looks == 2
        };
        assert_eq!(poll(&Leap(Cell::new(0)), 10, "the second look", second), Ok(()));
    }
}
