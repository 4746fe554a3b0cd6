//! Why the driver gave up.

use core::fmt;

use edu::TransferError;
use iommu_client::{ClientError, MapFailed, UnmapFailed};
use iommu_protocol::pci;

/// What went wrong. A buffer that was not mapped or unmapped is lost to this driver.
#[derive(Debug)]
pub enum Failure {
    /// The IOMMU server refused.
    Iommu(ClientError),
    /// The PCI host refused.
    PciHost(ClientError<pci::Status>),
    /// The device did.
    Device(TransferError),
    /// Something else was expected.
    Unexpected(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iommu(error) => write!(f, "the IOMMU server: {error}"),
            Self::PciHost(error) => write!(f, "the PCI host: {error}"),
            Self::Device(error) => error.fmt(f),
            Self::Unexpected(what) => f.write_str(what),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Iommu(error)
    }
}

impl From<MapFailed> for Failure {
    fn from(failed: MapFailed) -> Self {
        Self::Iommu(failed.error)
    }
}

impl From<UnmapFailed> for Failure {
    fn from(failed: UnmapFailed) -> Self {
        Self::Iommu(failed.error)
    }
}

impl From<ClientError<pci::Status>> for Failure {
    fn from(error: ClientError<pci::Status>) -> Self {
        Self::PciHost(error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Self::Device(error)
    }
}
