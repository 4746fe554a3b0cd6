//! Printing: protection domains write text into rings of their own, and one of them owns the UART and prints it, in
//! whole lines.
//!
//! A writer ([`Writer`]) never waits and never reads its ring; the printer ([`Printer`]) maps every ring read-only.
//! So neither can harm the other: a writer that is too fast overwrites its own oldest text, and the printer says
//! how much was lost. The library knows no Microkit.
#![no_std]

#[cfg(feature = "real")]
mod any;
#[cfg(feature = "real")]
mod mapped;
mod named;
mod ns16550;
#[cfg(feature = "real")]
mod pl011;
mod printer;
mod reader;
pub mod ring;
mod writer;

#[cfg(feature = "real")]
pub use any::AnyUart;
#[cfg(feature = "real")]
pub use mapped::PrintRing;
pub use named::Named;
pub use ns16550::{MAX_DRAIN_READS, NoUart, Ns16550, Ports};
#[cfg(feature = "real")]
pub use pl011::Pl011;
pub use printer::{LINES_PER_STEP, LINES_PER_TURN, Printer, Uart};
pub use reader::{LINE_BYTES, Line, Reader};
pub use writer::Writer;
