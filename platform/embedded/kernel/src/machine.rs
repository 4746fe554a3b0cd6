//! What the core asks of the processor and the board.

use core::ops::Range;

use crate::abi::Abi;

/// A register of a stopped PD that a system call reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Capability on the way in, badge on the way out.
    Capability,
    /// Message info.
    Info,
    /// Message word 0 to 3.
    Word(usize),
    /// Capability of the reply object.
    Reply,
    /// Destination of a send that is joined with a receive.
    Destination,
    /// Word of `seL4_UserContext`, below [`Abi::context_words`]. Of what a PD may not set, writing
    /// sets nothing.
    Context(usize),
}

/// What the processor says of the exception that it took last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    /// Memory that is not there or not for that.
    Memory {
        /// The address.
        address: u64,
        /// An instruction was fetched from there.
        fetch: bool,
        /// AArch64: the fault status; x86-64: the error code.
        status: u64,
    },
    /// Any other, as seL4 numbers it.
    Other {
        /// AArch64: the syndrome register; x86-64: the vector.
        number: u64,
        /// AArch64: zero; x86-64: the error code.
        code: u64,
    },
}

/// Why a PD stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It used a capability that it does not have.
    NoCapability {
        /// The slot.
        slot: u64,
        /// To receive from it or to reply through it, not to send to it.
        receiving: bool,
    },
    /// A system call that this kernel does not know.
    UnknownSystemCall(i64),
    /// An exception of the processor, which the machine describes.
    Exception,
}

/// How much is read from an I/O port, or written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortWidth {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Double,
}

impl PortWidth {
    /// The bytes, each of which is a port of its own.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Double => 4,
        }
    }
}

/// A set of PDs: bit i is the PD of index i.
pub type PdSet = u64;

/// The machine below the core. A PD is named by its index in the image.
pub trait Machine {
    /// The architecture's part of the ABI.
    const ABI: &'static Abi;
    /// Reads a register of `pd`.
    fn register(&self, pd: usize, register: Register) -> u64;
    /// Writes a register of `pd`.
    fn set_register(&mut self, pd: usize, register: Register, value: u64);
    /// Copies message words, all at most [`MAX_WORDS`](crate::MAX_WORDS), between IPC buffers.
    fn copy_words(&mut self, from: usize, to: usize, words: Range<usize>);
    /// Reads a message word, past those in registers, from the IPC buffer of `pd`.
    fn buffer_word(&self, pd: usize, index: usize) -> u64;
    /// Writes a message word, past those in registers, to the IPC buffer of `pd`.
    fn set_buffer_word(&mut self, pd: usize, index: usize, value: u64);
    /// What the exception is that `pd` has just made.
    fn exception(&self, pd: usize) -> Exception;
    /// Ticks of the counter.
    fn now(&mut self) -> u64;
    /// Lets [`Kernel::tick`](crate::Kernel::tick) be called when the counter is at `at`, or no more.
    fn arm(&mut self, at: Option<u64>);
    /// Lets an interrupt through or holds it back.
    fn mask(&mut self, irq: u32, masked: bool);
    /// Reads an I/O port. A machine without ports boots no image that names some.
    fn read_port(&mut self, port: u16, width: PortWidth) -> u32;
    /// Writes `value`, or as much of it as `width` says, to an I/O port.
    fn write_port(&mut self, port: u16, width: PortWidth, value: u32);
    /// Prints one byte of the output of `pd`.
    fn put_char(&mut self, pd: usize, byte: u8);
    /// Reports that `pd` has stopped for good, and who waits for its reply for ever.
    fn report(&mut self, pd: usize, cause: Cause, waiting: PdSet);
}
