//! The ports between the IOMMU drivers and the machine.
//!
//! A backend reaches its registers through [`Registers`], the memory that holds tables and queues through
//! [`TableMemory`], and time through [`Clock`]; what the layers above reach of a backend is [`Unit`]. On a
//! board these are the few lines of `real`, where all the `unsafe` lives; in tests they are a model of the
//! hardware or QEMU's device models.
#![no_std]

mod addr;
mod carve;
mod clock;
pub mod hpet;
mod memory;
mod poll;
#[cfg(feature = "real")]
pub mod real;
mod registers;
mod ring;
mod shared;
mod unit;

pub use addr::{IovaRange, PhysAddr, Rights};
pub use carve::{Carver, OutOfTableMemory};
pub use clock::{Clock, Deadline};
pub use memory::{FRAME_BYTES, FRAME_LG2, TableMemory};
pub use poll::poll;
pub use registers::Registers;
pub use ring::Ring;
pub use shared::SharedPage;
pub use unit::{
    Access, Binding, Completed, DomainTag, Fault, FaultReason, Format, Geometry, StreamId, Unit, UnitError,
};
