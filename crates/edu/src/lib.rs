//! QEMU's edu, a PCI device that does DMA and interrupts when it has done it: what its drivers here share.
//!
//! [`Edu`] knows the device and nothing of who may reach what; its registers are the port [`Registers`].
#![no_std]

mod edu;
#[cfg(feature = "real")]
mod mapped;

pub use edu::{
    BUFFER_BYTES, DMA_MASK, Direction, Edu, FINISHED, IDENTITY, Registers, TransferError, bus_address,
    register,
};
#[cfg(feature = "real")]
pub use mapped::MappedRegisters;
