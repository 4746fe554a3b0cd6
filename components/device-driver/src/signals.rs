//! What the outside tells the driver.

use core::{
    future::{Future, poll_fn},
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

/// Who signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The device interrupts.
    Device,
    /// The IOMMU server has news in the fault ring.
    Server,
    /// The peer has come to a point that it waits at.
    Peer,
}

/// The signals that came and were not yet taken. Like notifications, they are not counted.
#[derive(Debug, Default)]
pub struct Signals {
    device: AtomicBool,
    server: AtomicBool,
    peer: AtomicBool,
}

impl Signals {
    /// No signals.
    pub const fn new() -> Self {
        Self { device: AtomicBool::new(false), server: AtomicBool::new(false), peer: AtomicBool::new(false) }
    }

    fn flag(&self, signal: Signal) -> &AtomicBool {
        match signal {
            Signal::Device => &self.device,
            Signal::Server => &self.server,
            Signal::Peer => &self.peer,
        }
    }

    /// Notes that `signal` came.
    pub fn raise(&self, signal: Signal) {
        self.flag(signal).store(true, Ordering::Release);
    }

    /// Whether `signal` came since it was last taken.
    pub fn take(&self, signal: Signal) -> bool {
        self.flag(signal).swap(false, Ordering::Acquire)
    }

    /// Waits until `signal` comes, and takes it. The task is to be stepped after every [`Signals::raise`].
    pub fn wait(&self, signal: Signal) -> impl Future<Output = ()> {
        poll_fn(move |_| if self.take(signal) { Poll::Ready(()) } else { Poll::Pending })
    }
}
