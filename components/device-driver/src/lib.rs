//! The first client: a driver of QEMU's edu device that shows what the IOMMU lets through and what it stops.
//!
//! [`start`] makes the driver: a future that runs the checks one after the other, prints a line for each, and
//! waits only for signals ([`Signals`]) of its device, of the IOMMU server and of its peer, the same program in
//! another protection domain with another device. [`Task`] drives it from `main.rs`. The library knows no
//! Microkit.
//!
//! Where a supervisor restarts the driver, the checks go on over many lives of it; what they need of the last
//! one is in its [`Notes`].
//!
//! A driver has no clock. Where something may fail to come, a fault record say, it waits as long as an empty
//! transfer of its device takes; whether the device itself and the peer ever answer is for the run's own time
//! limit to say.
#![no_std]

mod checks;
mod driver;
mod failure;
#[cfg(feature = "real")]
mod mapped;
mod marks;
mod notes;
mod signals;
mod task;

pub use checks::start;
pub use driver::{CONSTANTS_SLOT, MEMORY_SLOT, Machine, Parts};
#[cfg(feature = "real")]
pub use mapped::MappedNotes;
pub use notes::{NOTES_WORDS, Notes};
pub use signals::{Signal, Signals};
pub use task::Task;
