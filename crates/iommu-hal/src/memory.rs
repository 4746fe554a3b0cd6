//! Memory that the unit walks: tables and queues.

use crate::PhysAddr;

/// Base-2 logarithm of [`FRAME_BYTES`].
pub const FRAME_LG2: u32 = 12;

/// Bytes of the unit in which table memory is handed out.
pub const FRAME_BYTES: u64 = 1 << FRAME_LG2;

/// A contiguous piece of memory that only the server and its IOMMUs reach.
///
/// Addresses are physical, as the tables hold them; all are 8-byte aligned.
///
/// # Contract
/// - An access outside `base..base + bytes`, or misaligned, is a bug of the caller: implementations panic.
///   Nothing that a client or a device writes may decide such an address unchecked.
/// - A [`write`](TableMemory::write) is one 64-bit store: a unit sees the old value or the new one.
/// - Stores become visible to a unit that snoops in the order of [`publish`](TableMemory::publish) calls; to a
///   unit that does not snoop only after [`clean`](TableMemory::clean) of their bytes.
pub trait TableMemory {
    /// The physical address of the first byte, aligned to [`FRAME_BYTES`].
    fn base(&self) -> PhysAddr;

    /// The size in bytes, a multiple of [`FRAME_BYTES`].
    fn bytes(&self) -> u64;

    /// Loads the 64-bit little-endian word at `at`.
    fn read(&self, at: PhysAddr) -> u64;

    /// Stores the 64-bit little-endian word at `at`, in one access.
    fn write(&mut self, at: PhysAddr, value: u64);

    /// Stores zero to `bytes` bytes from `at`; both multiples of 8.
    fn zero(&mut self, at: PhysAddr, bytes: u64) {
        for word in 0..bytes / 8 {
            self.write(PhysAddr(at.0 + 8 * word), 0);
        }
    }

    /// Orders every earlier store before every later store or register write, as any observer sees them.
    fn publish(&mut self);

    /// Cleans the cache lines of `bytes` bytes from `at` to the point of coherency. Needed before a unit that
    /// does not snoop reads what was stored.
    fn clean(&mut self, at: PhysAddr, bytes: u64);

    /// Drops the cache lines of `bytes` bytes from `at`, so that the next load sees what a unit that does not
    /// snoop has stored. The range holds no unpublished store of ours.
    fn invalidate(&mut self, at: PhysAddr, bytes: u64);
}
