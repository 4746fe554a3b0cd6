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
//!
//! # Who may ask what
//!
//! A client asks for what is its own. A supervisor, a channel that the policy names as one, asks for its clients: it
//! ends, holds, revokes, and reads their counters; it has nothing of its own. The PCI host asks what is attached.
//! Anything else is [`Status::NotAllowed`].
//!
//! While a client is held or being ended, its requests that would change something are [`Status::Busy`]; those that only
//! ask are answered.
//!
//! # Statuses elsewhere
//!
//! A POSIX personality returns the errno that [`Status`] names. A virtio-iommu device answers `OK` for
//! [`Status::Ok`]; `NOENT` where the errno is ENOENT; `RANGE` for [`Status::Misaligned`],
//! [`Status::OutOfRegion`], [`Status::Overflow`], [`Status::Reserved`] and [`Status::WouldSplit`]; `NOMEM` for
//! ENOMEM and ENOSPC; `UNSUPP` for [`Status::UnknownRequest`], [`Status::NotExpressible`] and
//! [`Status::Incompatible`]; `DEVERR` for [`Status::HardwareTimeout`], [`Status::HardwareFailed`] and
//! [`Status::Stopped`]; `INVAL` for the rest. It continues [`Status::Again`] itself.
#![no_std]
#![forbid(unsafe_code)]

pub mod pci;
mod request;
pub mod ring;
pub mod stats;
mod status;

pub use request::{
    AllowStep, ClientIndex, DeviceIndex, MapFlags, MessageError, Opcode, RegionSlot, Request, SpaceId, WORDS,
    Words,
};
pub use status::Status;

/// Version of this protocol; [`Request::Version`] returns the server's.
pub const VERSION: u64 = 1;

/// Most mappings that one [`Request::Copy`] takes from.
pub const MAX_COPIED: u32 = 64;

/// Most ranges in a list of [`Request::AllowIovas`].
pub const MAX_ALLOWED: usize = 8;
