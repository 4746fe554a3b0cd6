//! The words between a driver and the IOMMU server.
//!
//! A request is a protected procedure call: the message label is an [`Opcode`], its words are what [`Request`]
//! says. The reply's label is a [`Status`]; on [`Status::Ok`] and [`Status::Again`] its words are what
//! [`Request`] says, on a refusal there are none. Who asks is the channel that the call comes in on, never a
//! word of it; every id is the channel's own, so that another client's ids are unknown, not forbidden.
//!
//! MAP, UNMAP and their replies use at most four words, so that seL4's IPC fast path carries them.
//!
//! Faults go the other way without a call: the server writes them into a [`ring`] that the client maps
//! read-only, and signals the client.
#![no_std]
#![forbid(unsafe_code)]

pub mod pci;
mod request;
pub mod ring;
mod status;

pub use request::{DeviceIndex, MapFlags, MessageError, Opcode, RegionSlot, Request, SpaceId, WORDS, Words};
pub use status::Status;

/// Version of this protocol; [`Request::Version`] returns the server's.
pub const VERSION: u64 = 1;
