//! Driver of the Arm SMMUv3 (Arm IHI 0070).
//!
//! [`SmmuV3::bring_up`] takes a unit in whatever state a boot loader left it, makes it abort everything, and
//! turns it on with a stream table in which every stream aborts. From then on it is an [`iommu_hal::Unit`].
//!
//! What it relies on, and what it leaves alone: translation tables of 4 KiB granule at stage 1 or stage 2, no
//! SubstreamIDs, no ATS, no page requests, no stalling faults. A device that tries one of these is refused by
//! the hardware.
#![no_std]
#![forbid(unsafe_code)]

mod bring_up;
mod entries;
mod errors;
mod events;
mod features;
mod invalidate;
mod queue;
mod report;
pub mod spec;
mod stream_table;
mod unit;

pub use bring_up::{BringUpError, Config, Stage};
pub use errors::{ErrorCounts, ErrorReport};
pub use events::decode;
pub use features::Features;
pub use invalidate::{MAX_INVALIDATE_COMMANDS, MAX_PAGE_COMMANDS};
pub use report::{Report, SelfTest};
pub use unit::SmmuV3;
