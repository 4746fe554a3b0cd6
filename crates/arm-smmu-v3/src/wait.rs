//! Waiting for the hardware, never without end.

/// The longest wait for a control register to take effect (CR0ACK, IRQ_CTRLACK, GBPA.Update), in nanoseconds.
pub const REGISTER_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a CMD_SYNC to complete, in nanoseconds. Units take microseconds; without ATS nothing
/// that a device does delays it.
pub const SYNC_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a free entry of the command queue, in nanoseconds.
pub const QUEUE_SPACE_LIMIT_NS: u64 = 100_000_000;
