//! QEMU's edu device (its documentation: docs/specs/edu.rst).

use core::fmt;

/// Bits of an address that edu puts on the bus, unless it was made with another `dma_mask`.
pub const DMA_MASK: u64 = (1 << 28) - 1;

/// Bytes of edu's buffer, hence most of a transfer. QEMU does not enforce it: a longer one damages QEMU.
pub const BUFFER_BYTES: u32 = 4096;

/// The interrupt status of a finished transfer.
pub const FINISHED: u32 = 0x100;

/// What the identification register says: version 1.0 of edu.
pub const IDENTITY: u32 = 0x0100_00ed;

/// Where the buffer lies in edu's own addresses.
const BUFFER_AT: u64 = 0x4_0000;

/// Bit of the command register: a transfer runs. Reads as one until it is finished.
const RUN: u64 = 1 << 0;
/// Bit of the command register: out of the buffer, into memory.
const OUT: u64 = 1 << 1;
/// Bit of the command register: interrupt at the end.
const INTERRUPT: u64 = 1 << 2;

/// Register numbers: bytes from the start of BAR 0.
pub mod register {
    /// What device it is.
    pub const IDENTIFICATION: u32 = 0x00;
    /// Reads as the complement of what was written.
    pub const LIVENESS: u32 = 0x04;
    /// Why it interrupts.
    pub const INTERRUPT_STATUS: u32 = 0x24;
    /// Raises the interrupt; the value is added to the status.
    pub const INTERRUPT_RAISE: u32 = 0x60;
    /// Clears bits of the status; the interrupt ends with the last.
    pub const INTERRUPT_ACKNOWLEDGE: u32 = 0x64;
    /// Where a transfer takes from; 64 bits.
    pub const SOURCE: u32 = 0x80;
    /// Where a transfer brings to; 64 bits.
    pub const DESTINATION: u32 = 0x88;
    /// How many bytes; 64 bits.
    pub const COUNT: u32 = 0x90;
    /// Starts a transfer; 64 bits.
    pub const COMMAND: u32 = 0x98;
}

/// edu's registers. Numbers are those of [`register`]; reads may have side effects.
pub trait Registers {
    /// Reads 32 bits.
    fn read32(&mut self, register: u32) -> u32;
    /// Writes 32 bits.
    fn write32(&mut self, register: u32, value: u32);
    /// Reads 64 bits.
    fn read64(&mut self, register: u32) -> u64;
    /// Writes 64 bits.
    fn write64(&mut self, register: u32, value: u64);
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From memory into the buffer.
    In,
    /// From the buffer into memory.
    Out,
}

/// Why a transfer was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferError {
    /// Another one runs.
    Busy,
    /// It is longer than the buffer.
    TooLong,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the device is still busy",
            Self::TooLong => "longer than the device's buffer",
        })
    }
}

/// The address that edu puts on the bus for `address`: it drops the bits above its mask without a word.
pub const fn bus_address(address: u64) -> u64 {
    address & DMA_MASK
}

/// An edu device.
///
/// A transfer takes about 100 ms and then interrupts. It never fails: a read that was stopped brings zeros, and
/// a write that was stopped is forgotten.
#[derive(Debug)]
pub struct Edu<R> {
    registers: R,
}

impl<R: Registers> Edu<R> {
    /// The device with these registers.
    pub const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// What the identification register says.
    pub fn identity(&mut self) -> u32 {
        self.registers.read32(register::IDENTIFICATION)
    }

    /// What the liveness register makes of `value`: its complement.
    pub fn liveness(&mut self, value: u32) -> u32 {
        self.registers.write32(register::LIVENESS, value);
        self.registers.read32(register::LIVENESS)
    }

    /// Makes the device interrupt with the status `bits`.
    pub fn raise_interrupt(&mut self, bits: u32) {
        self.registers.write32(register::INTERRUPT_RAISE, bits);
    }

    /// Why the device interrupts; it no longer does afterwards.
    pub fn take_interrupt(&mut self) -> u32 {
        let bits = self.registers.read32(register::INTERRUPT_STATUS);
        self.registers.write32(register::INTERRUPT_ACKNOWLEDGE, bits);
        bits
    }

    /// Whether a transfer runs.
    pub fn is_busy(&mut self) -> bool {
        self.registers.read64(register::COMMAND) & RUN != 0
    }

    /// Starts to transfer `bytes` bytes between the start of the buffer and `address` (see [`bus_address`]);
    /// the device interrupts with [`FINISHED`], also after no bytes.
    ///
    /// # Errors
    /// [`TransferError`]; nothing is started.
    pub fn start(&mut self, direction: Direction, address: u64, bytes: u32) -> Result<(), TransferError> {
        if bytes > BUFFER_BYTES {
            return Err(TransferError::TooLong);
        }
        if self.is_busy() {
            return Err(TransferError::Busy);
        }
        let (source, destination, way) = match direction {
            Direction::In => (address, BUFFER_AT, 0),
            Direction::Out => (BUFFER_AT, address, OUT),
        };
        self.registers.write64(register::SOURCE, source);
        self.registers.write64(register::DESTINATION, destination);
        self.registers.write64(register::COUNT, bytes.into());
        self.registers.write64(register::COMMAND, RUN | way | INTERRUPT);
        Ok(())
    }
}
