//! Memory shared with a client.

/// One page that the server writes and a client reads.
///
/// The server never reads it: nothing that a client does there can reach the server.
pub trait SharedPage {
    /// Stores the 64-bit little-endian word at `index` (in words), in one access. An index past the page is a
    /// bug of the caller: implementations panic.
    fn write(&mut self, index: usize, value: u64);
}
