//! The objects of the IOMMU server: who owns what, what is mapped where, and what that costs, without messages.
//!
//! [`Core`] answers requests of clients. A client has a fixed table of regions that it was granted and of devices,
//! and makes IO address spaces. A space is a set of areas in a [tree](tree::Tree) beside the tables that tell
//! the hardware the same. Three rules hold throughout:
//!
//! - **Reserve, then fill.** A refused request has changed nothing, and an accepted one cannot fail half way
//!   for lack of memory. Taking out needs no memory.
//! - **Clear, invalidate, wait, free.** Areas and table frames are used again only when every unit that may have
//!   cached them has confirmed that it has forgotten them.
//! - **Bounded.** A request does work up to named bounds, then says how far it came; what is half done has no
//!   owner, and whichever request meets it goes on with it or takes it out.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod area;
mod attach;
mod client;
mod copy;
mod device;
mod engine;
mod handover;
mod hardware;
mod limits;
mod map;
mod quota;
mod ranges;
mod refusal;
mod region;
mod remove;
mod space;
#[cfg(test)]
mod tests;
pub mod tree;
mod unmap;
mod withdrawn;

pub use client::ClientId;
pub use copy::CopyRequest;
pub use device::DeviceInfo;
pub use engine::{ConfigError, Core, Progress, Storage};
pub use limits::{
    MAX_ALLOWED, MAX_AREAS_PER_REQUEST, MAX_CLIENTS, MAX_COMMANDS, MAX_COPIED, MAX_COPIED_AT_ONCE,
    MAX_DEVICES, MAX_GRANTS, MAX_RESERVED, MAX_SPACES, MAX_SPACES_PER_CLIENT, MAX_STREAMS, MAX_TABLE_WRITES,
    MAX_UNITS,
};
pub use map::MapRequest;
pub use quota::Quota;
pub use ranges::Usable;
pub use refusal::{Refusal, Resource};
pub use region::RegionInfo;
pub use space::SpaceId;
