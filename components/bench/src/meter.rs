//! Counting the instructions of calls.

use iommu_client::Call;
use iommu_protocol::{Opcode, Words};

/// Virtual time. Under QEMU's `-icount shift=0` an instruction takes one nanosecond.
pub trait Time {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

/// Calls through `call`, each of which is timed.
#[derive(Debug)]
pub struct Meter<C, T> {
    call: C,
    time: T,
    /// What taking the time costs.
    overhead: u64,
    /// By opcode less one.
    worst: [u64; Opcode::ALL.len()],
    last: u64,
}

/// How often the cost of taking the time is taken.
const CALIBRATIONS: u64 = 1000;

impl<C: Call, T: Time> Meter<C, T> {
    /// A meter that knows what it costs itself.
    pub fn new(call: C, time: T) -> Self {
        let started = time.now_ns();
        for _ in 0..CALIBRATIONS {
            core::hint::black_box(time.now_ns());
        }
        let overhead = (time.now_ns() - started) / CALIBRATIONS;
        Self { call, time, overhead, worst: [0; Opcode::ALL.len()], last: 0 }
    }

    /// The time, for what is more than a message.
    pub fn now_ns(&self) -> u64 {
        self.time.now_ns()
    }

    /// The most that one message with `opcode` took so far.
    pub fn worst(&self, opcode: Opcode) -> u64 {
        self.worst[opcode as usize - 1]
    }

    /// What the last message took.
    pub const fn last(&self) -> u64 {
        self.last
    }
}

impl<C: Call, T: Time> Call for Meter<C, T> {
    #[inline]
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let started = self.time.now_ns();
        let reply = self.call.call(label, words);
        self.last = (self.time.now_ns() - started).saturating_sub(self.overhead);
        if let Some(worst) = label.checked_sub(1).and_then(|index| self.worst.get_mut(index as usize)) {
            *worst = (*worst).max(self.last);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use iommu_protocol::Request;

    use super::*;

    /// A clock on which reading takes 3 and a call 100.
    struct Hand(Cell<u64>);

    impl Time for &Hand {
        fn now_ns(&self) -> u64 {
            self.0.set(self.0.get() + 3);
            self.0.get()
        }
    }

    impl Call for &Hand {
        fn call(&mut self, _: u64, words: &Words) -> (u64, Words) {
            self.0.set(self.0.get() + 100);
            (0, *words)
        }
    }

    #[test]
    fn what_taking_the_time_costs_is_not_counted() {
        let hand = Hand(Cell::new(0));
        let mut meter = Meter::new(&hand, &hand);
        let (opcode, words) = Request::Version.encode();
        for _ in 0..5 {
            meter.call(opcode.label(), &words);
            assert_eq!(meter.last(), 100);
        }
        assert_eq!((meter.worst(opcode), meter.worst(Opcode::Map)), (100, 0));
    }
}
