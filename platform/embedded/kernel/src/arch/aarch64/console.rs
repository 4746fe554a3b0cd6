//! The kernel's lines on the board's PL011.
#![allow(unsafe_code, reason = "the UART's registers")]

use core::fmt;
use core::ptr::NonNull;

use arm_gic::UniqueMmioPointer;
use arm_pl011_uart::{DataBits, LineConfig, PL011Registers, Parity, StopBits, Uart};

use super::memory::{UART, kernel_address};

/// How often the transmitter is asked for room before a byte is dropped.
const PATIENCE: u32 = 1_000_000;

const BAUD: u32 = 115_200;
/// The UART's clock on this board.
const CLOCK_HZ: u32 = 24_000_000;
const LINE: LineConfig =
    LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };

/// The UART, for output.
pub(crate) struct Console(Uart<'static>);

impl Console {
    /// The UART as it is.
    pub(crate) fn new() -> Self {
        let registers = core::ptr::with_exposed_provenance_mut::<PL011Registers>(kernel_address(UART));
        let registers = NonNull::new(registers).expect("the kernel's addresses are not zero");
        // SAFETY: the UART's registers, mapped as device memory in the boot table and in the kernel's. Another
        // instance (of a dying kernel, or a PD's driver) only interleaves output.
        Self(Uart::new(unsafe { UniqueMmioPointer::new(registers) }))
    }

    /// Sets the line up.
    pub(crate) fn enable(&mut self) {
        // The parameters are constants that the driver can set.
        let _ = self.0.enable(LINE, BAUD, CLOCK_HZ);
    }

    /// Prints one byte.
    pub(crate) fn put(&mut self, byte: u8) {
        if (0..PATIENCE).any(|_| !self.0.is_tx_fifo_full()) {
            self.0.write_word(byte);
        }
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}
