//! Models of IOMMU hardware, for tests on the host.
//!
//! A model plays the hardware behind the ports of [`iommu_hal`]: registers, the memory that holds tables and
//! queues, and time; and the devices whose accesses it translates. It is written from the architecture
//! documents alone, with constants of its own, and shares nothing with the drivers that it judges.
//!
//! It is an oracle, so it is as unhelpful as the architecture allows: it caches all that may be cached, forgets
//! only what a completed invalidation names, and shows stores as late as it may. What software must never do,
//! it answers with a panic that names the rule and its section.

mod ack;
pub mod board;
mod clock;
mod fields;
pub mod intel_vtd;
mod meanwhile;
mod memory;
pub mod smmu_v3;

pub use ack::Ack;
pub use clock::VirtualClock;
pub use memory::{LINE_BYTES, SystemMemory};
