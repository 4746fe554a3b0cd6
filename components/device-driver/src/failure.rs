//! What a check found instead of what it expected.

use core::fmt;

use edu::TransferError;
use iommu_client::{ClientError, Reply};
use iommu_protocol::{
    Status, pci,
    ring::{Record, access, reason},
};

/// A check that did not hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Failure {
    what: &'static str,
    expected: Value,
    found: Value,
}

impl Failure {
    /// `what` was `found` instead of `expected`.
    pub(crate) fn new(what: &'static str, expected: impl Into<Value>, found: impl Into<Value>) -> Self {
        Self { what, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// Holds when `found` is `expected`.
pub(crate) fn same<T: Into<Value>>(what: &'static str, expected: T, found: T) -> Result<(), Failure> {
    let failure = Failure::new(what, expected, found);
    if failure.expected == failure.found { Ok(()) } else { Err(failure) }
}

/// Something that is expected or found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    Text(&'static str),
    Number(u64),
    Server(ClientError),
    PciHost(ClientError<pci::Status>),
    Transfer(TransferError),
    Fault(Fault),
    /// A word of memory: its index and value.
    Word(usize, u64),
}

/// What a driver looks at in a fault record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: u16,
    pub(crate) access: u8,
    pub(crate) iova: Option<u64>,
    pub(crate) device: u16,
    pub(crate) stream: u64,
}

impl From<&Record> for Fault {
    fn from(record: &Record) -> Self {
        Self {
            reason: record.reason(),
            access: record.access(),
            iova: record.iova(),
            device: record.device(),
            stream: record.stream,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.access {
            access::READ => f.write_str("a read")?,
            access::WRITE => f.write_str("a write")?,
            _ => f.write_str("an access")?,
        }
        match self.iova {
            Some(iova) => write!(f, " at {iova:#x}")?,
            None => f.write_str(" at no address")?,
        }
        write!(f, " by device {} (stream {:#x}), ", self.device, self.stream)?;
        match self.reason {
            reason::NOT_MAPPED => f.write_str("not mapped"),
            reason::PERMISSION => f.write_str("not permitted"),
            reason::STREAM_ABORTED => f.write_str("stream aborted"),
            other => write!(f, "reason {other:#x}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Server(error) => error.fmt(f),
            Self::PciHost(error) => error.fmt(f),
            Self::Transfer(error) => error.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Word(index, value) => write!(f, "{value:#018x} in word {index}"),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Text(if yes { "yes" } else { "no" })
    }
}

impl From<Fault> for Value {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TransferError> for Value {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<Status> for Value {
    fn from(status: Status) -> Self {
        Self::Server(ClientError::Refused(status))
    }
}

impl From<ClientError> for Value {
    fn from(error: ClientError) -> Self {
        Self::Server(error)
    }
}

impl From<pci::Status> for Value {
    fn from(status: pci::Status) -> Self {
        Self::PciHost(ClientError::Refused(status))
    }
}

impl From<ClientError<pci::Status>> for Value {
    fn from(error: ClientError<pci::Status>) -> Self {
        Self::PciHost(error)
    }
}

impl From<Result<Reply, ClientError>> for Value {
    fn from(outcome: Result<Reply, ClientError>) -> Self {
        outcome.map_or_else(Self::Server, |_| Self::Text(DONE))
    }
}

/// How a request that was not refused is called.
pub(crate) const DONE: &str = "Ok";
