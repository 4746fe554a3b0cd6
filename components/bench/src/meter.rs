//! Counting the instructions of calls.

use core::hint::black_box;

use iommu_client::Call;
use iommu_protocol::{Opcode, Words};

use crate::random::Random;

/// Virtual time. Under QEMU's `-icount shift=0` an instruction takes one nanosecond.
pub trait Time {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

/// What happens between two timed calls.
pub trait Between {
    /// Lets it happen.
    fn between(&mut self);
}

/// Nothing.
impl Between for () {
    #[inline]
    fn between(&mut self) {}
}

/// Calls through `call`, each of which is timed.
#[derive(Debug)]
pub struct Meter<C, T, B> {
    call: C,
    time: T,
    between: B,
    phase: Random,
    /// What taking the time costs.
    overhead: u64,
    /// By opcode less one.
    worst: [u64; Opcode::ALL.len()],
    spent: u64,
}

/// How often the cost of taking the time is taken.
const CALIBRATIONS: u64 = 1000;

/// Nanoseconds between two ticks of the counter of QEMU's CPUs, 62.5 MHz.
const TICK_NS: u64 = 16;

impl<C: Call, T: Time, B: Between> Meter<C, T, B> {
    /// A meter that knows what it costs itself.
    pub fn new(call: C, time: T, between: B) -> Self {
        let started = time.now_ns();
        for _ in 0..CALIBRATIONS {
            black_box(time.now_ns());
        }
        let overhead = (time.now_ns() - started) / CALIBRATIONS;
        let worst = [0; Opcode::ALL.len()];
        Self { call, time, between, phase: Random::NEW, overhead, worst, spent: 0 }
    }

    /// What happens between the calls.
    pub const fn others(&mut self) -> &mut B {
        &mut self.between
    }

    /// The clock.
    pub const fn time(&self) -> &T {
        &self.time
    }

    /// Calls that are neither timed nor counted.
    pub const fn uncounted(&mut self) -> &mut C {
        &mut self.call
    }

    /// The most that one message with `opcode` took so far; 0: there was none.
    pub fn worst(&self, opcode: Opcode) -> u64 {
        self.worst[opcode as usize - 1]
    }

    /// What all messages so far took together.
    pub const fn spent(&self) -> u64 {
        self.spent
    }
}

impl<C: Call, T: Time, B: Between> Call for Meter<C, T, B> {
    #[inline]
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        self.between.between();
        // Calls begin anywhere between two ticks, so that means are finer than a tick.
        for step in 0..self.phase.below(TICK_NS) {
            black_box(step);
        }
        let started = self.time.now_ns();
        let reply = self.call.call(label, words);
        let took = (self.time.now_ns() - started).saturating_sub(self.overhead);
        self.spent += took;
        if let Some(worst) = label.checked_sub(1).and_then(|index| self.worst.get_mut(index as usize)) {
            *worst = (*worst).max(took);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use iommu_protocol::Request;

    use super::*;

    /// A clock on which reading takes 3, a call 100 and what comes between 1000.
    struct Hand(Cell<u64>);

    impl Hand {
        fn turn(&self, by: u64) {
            self.0.set(self.0.get() + by);
        }
    }

    impl Time for &Hand {
        fn now_ns(&self) -> u64 {
            self.turn(3);
            self.0.get()
        }
    }

    impl Call for &Hand {
        fn call(&mut self, _: u64, words: &Words) -> (u64, Words) {
            self.turn(100);
            (0, *words)
        }
    }

    impl Between for &Hand {
        fn between(&mut self) {
            self.turn(1000);
        }
    }

    #[test]
    fn neither_taking_the_time_nor_what_comes_between_is_counted() {
        let hand = Hand(Cell::new(0));
        let mut meter = Meter::new(&hand, &hand, &hand);
        let (opcode, words) = Request::Version.encode();
        for calls in 1..=5 {
            meter.call(opcode.label(), &words);
            assert_eq!(meter.spent(), calls * 100);
        }
        assert_eq!((meter.worst(opcode), meter.worst(Opcode::Map)), (100, 0));
    }
}
