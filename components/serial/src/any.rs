//! Whichever UART the board has.

use crate::{Ns16550, Pl011, Ports, Uart};

/// The board's UART.
pub enum AnyUart<P: Ports> {
    /// Arm's, behind registers.
    Pl011(Pl011),
    /// The PC's, behind I/O ports.
    Ns16550(Ns16550<P>),
}

impl<P: Ports> AnyUart<P> {
    /// Takes back the interrupt of earlier bytes.
    pub fn acknowledge(&mut self) {
        match self {
            Self::Pl011(uart) => uart.acknowledge(),
            Self::Ns16550(uart) => uart.acknowledge(),
        }
    }

    /// Whether to interrupt when bytes sent since [`AnyUart::acknowledge`] have left room for more.
    pub fn wake_when_room(&mut self, wake: bool) {
        match self {
            Self::Pl011(uart) => uart.wake_when_room(wake),
            Self::Ns16550(uart) => uart.wake_when_room(wake),
        }
    }
}

impl<P: Ports> Uart for AnyUart<P> {
    fn put(&mut self, byte: u8) -> bool {
        match self {
            Self::Pl011(uart) => uart.put(byte),
            Self::Ns16550(uart) => uart.put(byte),
        }
    }
}
