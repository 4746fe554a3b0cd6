//! Driver of Intel VT-d (Intel D51397).
//!
//! [`IntelVtd::bring_up`] takes a unit in whatever state firmware left it, makes it abort everything, and leaves it on
//! with tables in which every device aborts. From then on it is an [`iommu_hal::Unit`].
//!
//! What it relies on, and what it leaves alone: second-stage tables of three or four levels, in legacy mode or in
//! scalable mode without requests with PASID; queued invalidation; no device TLBs, no page requests, no first stage, no
//! interrupt remapping. A device that tries one of these is refused by the hardware.
#![no_std]
#![forbid(unsafe_code)]

mod bring_up;
mod by_registers;
mod control;
mod entries;
mod errors;
mod fault_log;
mod features;
mod interrupt;
mod invalidate;
mod queue;
mod report;
mod root_table;
pub mod spec;
mod unit;
mod wait;

pub use bring_up::{BringUpError, Config, MAX_STREAMS};
pub use errors::{ErrorCounts, ErrorReport};
pub use fault_log::decode;
pub use features::{Features, Mode};
pub use interrupt::InterruptMessage;
pub use invalidate::{MAX_INVALIDATE_DESCRIPTORS, MAX_PAGE_DESCRIPTORS};
pub use report::{ModeReason, Report, SelfTest};
pub use unit::IntelVtd;
pub use wait::{COMPLETION_LIMIT_NS, QUEUE_SPACE_LIMIT_NS, REGISTER_LIMIT_NS};
