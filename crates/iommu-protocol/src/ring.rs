//! The fault ring: how a client learns what the hardware stopped.
//!
//! One page, written by the server alone and mapped read-only by the client, so that neither can harm the other
//! through it. A [`Header`], then [`CAPACITY`] [`Record`]s. Record number n (from 0) lies at index n modulo
//! the capacity; the server overwrites the oldest. `Header::written` counts the records written so far.
//!
//! The server writes a record so: `sequence` = 0; the other fields; `sequence` = n + 1; then, in the header,
//! `written` = n + 1. A reader that finds `sequence` = n + 1 before and after it copied the fields has record
//! n; any other value means that the record was overwritten and is lost. Every word is 8 bytes, little-endian
//! and stored in one access, release for `sequence` and `written`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the ring.
pub const BYTES: usize = 4096;

/// Records in the ring.
pub const CAPACITY: u64 = 63;

/// [`Header::magic`]: "uKtFLT01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"uKtFLT01");

/// The head of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`], once the server is up.
    pub magic: u64,
    /// Records written so far.
    pub written: u64,
    /// Fault records of the hardware that never became records here because its queue was full. Every client
    /// of the unit is told, as nobody knows whose they were.
    pub lost_by_hardware: u64,
    /// Bit n: the device with index n on this channel is stopped after a fault storm, until ENABLE or DETACH.
    pub stopped: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// One record: `count` faults alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Record {
    /// The record's number plus one; 0 while it is being written.
    pub sequence: u64,
    /// The address of the first of them; zero without [`HAS_IOVA`].
    pub iova: u64,
    /// How many: same device, reason and access, in one page.
    pub count: u64,
    /// Bits 15:0 the device's index on this channel, where those whose faults alone the channel receives come
    /// after its own, in the policy's order; 31:16 [`reason`]; 39:32 [`access`]; bit 40 [`HAS_IOVA`].
    pub what: u64,
    /// The stream id.
    pub stream: u64,
    /// When the server read the first of them, nanoseconds of its clock.
    pub time_ns: u64,
    /// First and second word of the hardware's own record of the first of them.
    pub raw: [u64; 2],
}

const _: () = {
    assert!(size_of::<Header>() == 64);
    assert!(size_of::<Record>() == 64);
    assert!(size_of::<Header>() + CAPACITY as usize * size_of::<Record>() == BYTES);
};

/// Bit of [`Record::what`]: `iova` is an address.
pub const HAS_IOVA: u64 = 1 << 40;

/// Why the hardware stopped an access.
pub mod reason {
    /// No mapping at the address.
    pub const NOT_MAPPED: u16 = 1;
    /// The mapping does not allow the access.
    pub const PERMISSION: u16 = 2;
    /// The address is wider than the unit or the tables allow.
    pub const ADDRESS_SIZE: u16 = 3;
    /// A table walk met a bus error.
    pub const WALK_ABORT: u16 = 4;
    /// The device is not attached.
    pub const STREAM_ABORTED: u16 = 5;
    /// Not of the hardware: there were more faults than the policy allows, `count` in the last second, so that
    /// the server stopped the device; the last record of it until
    /// [`Request::Enable`](crate::Request::Enable).
    pub const STORM: u16 = 6;
    /// Another rule; bits 7:0 the architecture's own code.
    pub const OTHER: u16 = 0x100;
}

/// What the access wanted.
pub mod access {
    /// Not told.
    pub const UNKNOWN: u8 = 0;
    /// A read.
    pub const READ: u8 = 1;
    /// A write.
    pub const WRITE: u8 = 2;
}

impl Record {
    /// The device's index on this channel.
    pub const fn device(&self) -> u16 {
        self.what as u16
    }

    /// The [`reason`].
    pub const fn reason(&self) -> u16 {
        (self.what >> 16) as u16
    }

    /// The [`access`].
    pub const fn access(&self) -> u8 {
        (self.what >> 32) as u8
    }

    /// The address of the first fault, where the hardware told it.
    pub const fn iova(&self) -> Option<u64> {
        if self.what & HAS_IOVA != 0 { Some(self.iova) } else { None }
    }

    /// [`Record::what`] of its parts.
    pub const fn pack(device: u16, reason: u16, access: u8, has_iova: bool) -> u64 {
        device as u64 | (reason as u64) << 16 | (access as u64) << 32 | if has_iova { HAS_IOVA } else { 0 }
    }
}
