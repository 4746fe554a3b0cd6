//! Counters: the groups of [`Request::Stats`](crate::Request::Stats), four words each.
//!
//! Counts begin at the server's start and never go back, save those that say what is in use. Times are nanoseconds of
//! the server's clock. A group past [`GROUPS`] is [`Status::NoSuchEntry`](crate::Status::NoSuchEntry).

/// Word 0 areas in use, 1 the most allowed; 2 table frames in use, 3 the most allowed.
pub const MEMORY: u16 = 0;

/// Faults of this channel's devices, or that the policy has it receive: word 0 accesses that were stopped, 1 records
/// written to its ring, 2 times that a device was stopped after a storm; 3 fault records that the hardware lost, of
/// whichever device.
pub const FAULTS: u16 = 1;

/// Requests, of a channel whose policy says `statistics = true`; zero of others: word 0 answered, 1 of these refused,
/// 2 of these with Again; 3 invalidation commands and waits that the hardware did for them.
pub const REQUESTS: u16 = 2;

/// Worst times, as [`REQUESTS`]: word 0 of a MAP, 1 of an UNMAP, 2 of another request, 3 their sum over all requests.
pub const TIMES: u16 = 3;

/// Global errors of all units: word 0 refused commands, 1 aborted writes of fault records, 2 waits that passed their
/// deadline, 3 others.
pub const ERRORS: u16 = 4;

/// How many groups there are.
pub const GROUPS: u16 = 5;
