//! The kernel's lines on COM1.
#![allow(unsafe_code, reason = "the UART's ports")]

use core::fmt;

use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

/// COM1.
const PORT: u16 = 0x3f8;

/// How often the transmitter is asked for room before a byte is dropped.
const PATIENCE: u32 = 1_000_000;

/// The UART, for output.
pub(crate) struct Console(Option<Uart16550<PioBackend>>);

impl Console {
    /// The UART as it is.
    pub(crate) fn new() -> Self {
        // SAFETY: the port is COM1's. Another instance (of a dying kernel, or a PD's driver) only interleaves output.
        Self(unsafe { Uart16550::new_port(PORT) }.ok())
    }

    /// Sets the line up.
    pub(crate) fn enable(&mut self) {
        if let Some(uart) = &mut self.0 {
            // The parameters are constants that the driver can set.
            let _ = uart.init(Config::default());
        }
    }

    /// Prints one byte.
    pub(crate) fn put(&mut self, byte: u8) {
        if let Some(uart) = &mut self.0 {
            let _ = (0..PATIENCE).any(|_| uart.try_send_byte(byte).is_ok());
        }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}
