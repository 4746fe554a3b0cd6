//! Waiting for the hardware, never without end.

use iommu_hal::{Clock, Deadline, UnitError};

/// The longest wait for a control register to take effect (CR0ACK, IRQ_CTRLACK, GBPA.Update), in nanoseconds.
pub const REGISTER_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a CMD_SYNC to complete, in nanoseconds. Units take microseconds; without ATS nothing
/// that a device does delays it.
pub const SYNC_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a free entry of the command queue, in nanoseconds.
pub const QUEUE_SPACE_LIMIT_NS: u64 = 100_000_000;

/// Polls `done` until it holds.
///
/// # Errors
/// [`UnitError::Timeout`] when `limit_ns` has passed.
pub(crate) fn poll(
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
