//! I/O ports of a protection domain, which rust-sel4's `sel4-microkit` lacks: what libmicrokit calls
//! `microkit_x86_ioport_read_8` and so on.
//!
//! platform/embedded has a crate of this name for the embedded runtime.
#![no_std]

use sel4::{Error, Result};

/// A range of I/O ports, by the id that the system description gives it in this PD.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct IoPorts {
    id: u8,
}

impl IoPorts {
    /// The range with this id; `None` if there can be none.
    pub fn new(id: usize) -> Option<Self> {
        u8::try_from(id).ok().filter(|&id| id < 64).map(|id| Self { id })
    }

    /// Reads the byte at `port`.
    ///
    /// # Errors
    /// The kernel's refusal: the port is outside the range, or the PD has none of this id.
    pub fn read_8(&self, port: u16) -> Result<u8> {
        arch::read_8(self.id, port)
    }

    /// Writes `value` to `port`.
    ///
    /// # Errors
    /// As [`IoPorts::read_8`].
    pub fn write_8(&self, port: u16, value: u8) -> Result<()> {
        arch::write_8(self.id, port, value)
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Error, Result};

    /// Where Microkit puts a PD's capabilities to I/O ports.
    const IOPORT_SLOT: u64 = 394;

    pub fn read_8(id: u8, port: u16) -> Result<u8> {
        let read = sel4::with_ipc_buffer_mut(|buffer| buffer.inner_mut().seL4_X86_IOPort_In8(slot(id), port));
        Error::from_sys(read.error as _).map_or(Ok(read.result), Err)
    }

    pub fn write_8(id: u8, port: u16, value: u8) -> Result<()> {
        let error = sel4::with_ipc_buffer_mut(|buffer| {
            buffer.inner_mut().seL4_X86_IOPort_Out8(slot(id), port.into(), value.into())
        });
        Error::from_sys(error as _).map_or(Ok(()), Err)
    }

    fn slot(id: u8) -> u64 {
        IOPORT_SLOT + u64::from(id)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod arch {
    use super::{Error, Result};

    pub fn read_8(_: u8, _: u16) -> Result<u8> {
        Err(Error::InvalidCapability)
    }

    pub fn write_8(_: u8, _: u16, _: u8) -> Result<()> {
        Err(Error::InvalidCapability)
    }
}
