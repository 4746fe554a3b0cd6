//! Arm's PL011 (Arm DDI 0183).
#![allow(unsafe_code)] // The registers are mapped, not allocated: only their address is known.

use core::ptr::NonNull;

use arm_pl011_uart::{DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, UniqueMmioPointer};

use crate::printer::Uart;

const BAUD: u32 = 115_200;
/// UARTCLK of QEMU's `virt` machine.
const CLOCK_HZ: u32 = 24_000_000;
const LINE: LineConfig =
    LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };

/// The UART, for output.
pub struct Pl011(arm_pl011_uart::Uart<'static>);

impl Pl011 {
    /// The UART whose registers are at `at`, its line set up.
    ///
    /// # Safety
    /// 1. `at` is page-aligned and mapped as device memory, readable and writable, for one page, for as long as
    ///    the program runs.
    /// 2. Nothing else in this program accesses it.
    pub unsafe fn new(at: NonNull<u8>) -> Self {
        // SAFETY: mapped, aligned, and this program's one accessor of it (`new`).
        let registers = unsafe { UniqueMmioPointer::new(at.cast::<PL011Registers>()) };
        let mut uart = arm_pl011_uart::Uart::new(registers);
        // The parameters are constants that the driver can set.
        _ = uart.enable(LINE, BAUD, CLOCK_HZ);
        Self(uart)
    }

    /// Takes back the interrupt of earlier bytes.
    pub fn acknowledge(&mut self) {
        self.0.clear_interrupts(Interrupts::TXI);
    }

    /// Whether to interrupt when bytes sent since [`Pl011::acknowledge`] have left room for more.
    pub fn wake_when_room(&mut self, wake: bool) {
        self.0.set_interrupt_masks(if wake { Interrupts::TXI } else { Interrupts::empty() });
    }
}

impl Uart for Pl011 {
    fn put(&mut self, byte: u8) -> bool {
        let room = !self.0.is_tx_fifo_full();
        if room {
            self.0.write_word(byte);
        }
        room
    }
}
