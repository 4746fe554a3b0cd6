//! Why a request was not done.

use core::fmt;

use iommu_protocol::{Status, VERSION};

use crate::{Copied, DmaBuffer, Mapped};

/// Why a request was not done. `S` is the server's vocabulary of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError<S = Status> {
    /// The server refused; the status names the broken rule.
    Refused(S),
    /// The server speaks another version of the protocol; its number.
    Version(u64),
    /// The reply's label is no status of this version.
    UnknownStatus(u64),
    /// The reply's words are not those of the request, or contradict it.
    BadReply,
    /// The server was not done after [`MAX_CALLS`](crate::MAX_CALLS) calls.
    Endless,
}

impl<S: fmt::Debug> fmt::Display for ClientError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "{status:?}"),
            Self::Version(found) => write!(f, "version {found} of the protocol instead of {VERSION}"),
            Self::UnknownStatus(label) => write!(f, "unknown status {label:#x}"),
            Self::BadReply => f.write_str("a reply that does not fit the request"),
            Self::Endless => f.write_str("no end of continued calls"),
        }
    }
}

/// A buffer was not mapped.
#[derive(Debug)]
pub struct MapFailed {
    /// Why.
    pub error: ClientError,
    /// The buffer; `None` where the server may have mapped some of it, so that it stays the device's.
    pub buffer: Option<DmaBuffer>,
}

/// A buffer was not unmapped, or not known to be.
#[derive(Debug)]
pub struct UnmapFailed {
    /// Why.
    pub error: ClientError,
    /// The buffer, still the device's.
    pub mapped: Mapped,
}

/// A mapping was not copied.
#[derive(Debug)]
pub struct CopyFailed<S> {
    /// Why.
    pub error: ClientError,
    /// What was to be copied; `None` where the server may have copied some of it, so that it stays the device's.
    pub source: Option<S>,
}

/// A copy was not taken out, or not known to be.
#[derive(Debug)]
pub struct UncopyFailed<S> {
    /// Why.
    pub error: ClientError,
    /// The copy, still the device's.
    pub copied: Copied<S>,
}
