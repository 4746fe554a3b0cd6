//! How long the hardware is waited for.

/// The longest wait for a bit of GSTS or PMEN to follow, in nanoseconds.
pub const REGISTER_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for an invalidation wait descriptor to complete, in nanoseconds. Units take microseconds; without
/// device TLBs nothing that a device does delays it.
pub const COMPLETION_LIMIT_NS: u64 = 100_000_000;

/// The longest wait for a free entry of the invalidation queue, in nanoseconds.
pub const QUEUE_SPACE_LIMIT_NS: u64 = 100_000_000;
