//! National Semiconductor's 16550 (PC16550D), as PCs have it, behind I/O ports.
#![allow(unsafe_code)] // The driver's backend is declared so; it reaches registers by calls alone.

use core::fmt;

use uart_16550::{
    BaudRate, Config, Uart16550,
    backend::Backend,
    spec::{
        FIFO_SIZE,
        registers::{IER, LSR, offsets},
    },
};

use crate::printer::Uart;

/// How often the line's status is read at start, to see the UART send what it was left with: at 9600 baud some 16 ms, of which
/// a reading takes a microsecond at least. One that is not done then is used all the same.
pub const MAX_DRAIN_READS: u32 = 65_536;

/// How a program reaches the UART's eight ports.
pub trait Ports {
    /// Reads the port at `offset` from the first.
    fn read(&mut self, offset: u8) -> u8;

    /// Writes the port at `offset` from the first.
    fn write(&mut self, offset: u8, value: u8);
}

/// The ports, with a bound on how long the driver waits at start.
struct Bounded<P> {
    ports: P,
    status_reads: u32,
}

impl<P: Ports> Backend for Bounded<P> {
    unsafe fn read(&mut self, register: u8) -> u8 {
        let value = self.ports.read(register);
        if usize::from(register) != offsets::LSR || self.status_reads == 0 {
            return value;
        }
        self.status_reads -= 1;
        if self.status_reads > 0 { value } else { value | LSR::TRANSMITTER_EMPTY.bits() }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        self.ports.write(register, value);
    }
}

/// There is no such UART.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoUart;

impl fmt::Display for NoUart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no 16550 answers at the I/O ports: are they the UART's?")
    }
}

/// The UART, for output.
pub struct Ns16550<P: Ports> {
    uart: Uart16550<Bounded<P>>,
    /// Bytes that the FIFO still takes, as far as is known.
    room: usize,
    wakes: bool,
}

impl<P: Ports> Ns16550<P> {
    /// The UART behind `ports`, its line set up: 115200 baud, 8 data bits, 1 stop bit.
    ///
    /// # Errors
    /// Nothing answers as one does.
    pub fn new(ports: P) -> Result<Self, NoUart> {
        let ports = Bounded { ports, status_reads: MAX_DRAIN_READS };
        // SAFETY: the backend's registers are reached by calls, which are safe for every offset.
        let mut uart = unsafe { Uart16550::new_with_backend(ports) };
        let config = Config { interrupts: IER::empty(), baud_rate: BaudRate::Baud115200, ..Config::DEFAULT };
        uart.init(config).map_err(|_| NoUart)?;
        uart.backend_mut().status_reads = 0;
        Ok(Self { uart, room: 0, wakes: false })
    }

    /// Takes back the interrupt of earlier bytes.
    pub fn acknowledge(&mut self) {
        // Reading which one it is does that.
        _ = self.uart.isr();
    }

    /// Whether to interrupt when bytes sent since [`Ns16550::acknowledge`] have left room for more.
    pub fn wake_when_room(&mut self, wake: bool) {
        if self.wakes != wake {
            self.wakes = wake;
            if wake {
                self.uart.enable_interrupts(IER::THR_EMPTY);
            } else {
                self.uart.disable_interrupts(IER::THR_EMPTY);
            }
        }
    }
}

impl<P: Ports> Uart for Ns16550<P> {
    fn put(&mut self, byte: u8) -> bool {
        if self.room == 0 {
            if !self.uart.lsr().contains(LSR::THR_EMPTY) {
                return false;
            }
            // The bit says that the whole FIFO is empty.
            self.room = FIFO_SIZE;
        }
        self.uart.backend_mut().ports.write(offsets::DATA as u8, byte);
        self.room -= 1;
        true
    }
}
