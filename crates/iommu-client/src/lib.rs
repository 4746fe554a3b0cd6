//! What a driver links to talk to the IOMMU server and to the PCI host.
//!
//! [`Iommu`] has a typed call for each request and continues by itself what the server answers in steps.
//! [`DmaBuffer`] is memory that a device may be given: mapping it moves it into a [`Mapped`], so that the
//! program cannot touch it until it is unmapped; [`Copied`] is one that is mapped twice. [`FaultRing`] tells what the hardware stopped. [`PciHost`]
//! asks for bus mastering. [`Supervisor`] is for the one that restarts drivers.
//!
//! The crate knows no kernel: a protected procedure call is the port [`Call`].
#![no_std]

mod ask;
mod buffer;
mod copied;
mod error;
mod fault_ring;
mod iommu;
mod mapping;
mod pci_host;

pub use ask::{Claimed, IovaRange, Mapping, Supervisor};
pub use buffer::DmaBuffer;
pub use copied::{Copied, Source};
pub use error::{ClientError, CopyFailed, MapFailed, UncopyFailed, UnmapFailed};
pub use fault_ring::{Event, FaultRing, MappedRing, RingMemory};
pub use iommu::{DeviceInfo, Iommu, MAX_CALLS, RegionInfo, Reply, Rights, Space};
pub use mapping::{Mapped, Placement};
pub use pci_host::PciHost;

use iommu_protocol::Words;

/// A protected procedure call to one server.
pub trait Call {
    /// Sends a message with `label` and `words`, waits, and returns the reply's label and words.
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words);
}

impl<T: Call + ?Sized> Call for &mut T {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        (**self).call(label, words)
    }
}
