//! Runs one future, without a heap.
#![allow(unsafe_code)] // A future that was begun must not move; the type has no other way to say that it stays.

use core::{
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, Poll, Waker},
};

/// One future, made to go on by [`Task::step`].
///
/// The task may move until its first step, so that a constructor can return it. The future is never dropped.
#[derive(Debug)]
pub struct Task<F> {
    future: ManuallyDrop<F>,
    /// Where the task was when the future was begun.
    begun_at: Option<usize>,
    finished: bool,
}

impl<F: Future<Output = ()>> Task<F> {
    /// `future`, not yet begun. It must let no one else keep its address: the task may be overwritten without
    /// dropping it.
    pub(crate) const fn new(future: F) -> Self {
        Self { future: ManuallyDrop::new(future), begun_at: None, finished: false }
    }

    /// Lets the future run until it waits or ends.
    ///
    /// # Panics
    /// When the task was moved since its first step.
    pub fn step(&mut self) {
        if self.finished {
            return;
        }
        let here = ptr::from_ref(self).addr();
        assert_eq!(*self.begun_at.get_or_insert(here), here, "a task that was begun stays where it is");
        // SAFETY: 1. the assertion keeps a future that was begun from being polled anywhere else; 2. the task
        // gives no other access to it; 3. it is never dropped, and nobody else keeps its address (`new`).
        let future = unsafe { Pin::new_unchecked(&mut *self.future) };
        let mut context = Context::from_waker(Waker::noop());
        self.finished = future.poll(&mut context) == Poll::Ready(());
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;

    use super::*;
    use crate::{Signal, Signals};

    #[test]
    fn a_task_goes_on_with_each_signal_and_ends() {
        let signals = Signals::new();
        let passed = core::cell::Cell::new(0);
        let mut task = Task::new(async {
            for _ in 0..2 {
                signals.wait(Signal::Device).await;
                passed.set(passed.get() + 1);
            }
        });
        task.step();
        signals.raise(Signal::Peer);
        task.step();
        assert_eq!(passed.get(), 0, "another signal");
        for expected in [1, 2, 2] {
            signals.raise(Signal::Device);
            task.step();
            assert_eq!(passed.get(), expected);
        }
        assert!(signals.take(Signal::Device), "an ended task takes nothing");
    }

    #[test]
    fn a_task_moves_before_its_first_step() {
        let task = Task::new(async {});
        let mut task = Box::new(task);
        task.step();
        assert!(task.finished);
    }

    #[test]
    #[should_panic(expected = "stays where it is")]
    fn a_task_does_not_move_after_it() {
        let signals = Signals::new();
        let mut task = Task::new(async { signals.wait(Signal::Device).await });
        task.step();
        let mut elsewhere = Box::new(task);
        elsewhere.step();
    }
}
