//! The printer as a protection domain: the library wired to the rings, the UART and its interrupt.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::ptr::NonNull;

use heapless::Vec;
use microkit_ioport::IoPorts;
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, protection_domain, var};
use serial::{AnyUart, Ns16550, Pl011, Ports, PrintRing, Printer};

/// Most writers.
const RINGS: usize = 8;

/// Where the rings are mapped; 0 without one.
macro_rules! rings {
    ($($symbol:ident)*) => {
        [$(*var!($symbol: usize = 0)),*]
    };
}

#[protection_domain]
fn init() -> impl Handler {
    let ring = |vaddr: usize| {
        let at = NonNull::new(vaddr as *mut u64)?;
        // SAFETY: the system description maps the ring here, readable, and each one once.
        Some(unsafe { PrintRing::new(at) })
    };
    let rings: [usize; RINGS] = rings!(ring_0 ring_1 ring_2 ring_3 ring_4 ring_5 ring_6 ring_7);
    let rings: Vec<PrintRing, RINGS> = rings.into_iter().filter_map(ring).collect();
    Serial {
        printer: Printer::new(rings),
        uart: uart(),
        interrupt: Channel::new(*var!(irq_uart: usize = usize::MAX)),
    }
}

/// The UART that the system description gives it: behind registers, or behind I/O ports.
fn uart() -> AnyUart<ComPort> {
    if let Some(at) = NonNull::new(*var!(uart_registers: usize = 0) as *mut u8) {
        // SAFETY: the region is mapped as device memory and named nowhere else.
        return AnyUart::Pl011(unsafe { Pl011::new(at) });
    }
    let ports = IoPorts::new(*var!(uart_ports: usize = usize::MAX));
    let Some(ports) = ports else { panic!("neither uart_registers nor uart_ports is set") };
    let first = *var!(uart_port: usize = 0) as u16;
    AnyUart::Ns16550(Ns16550::new(ComPort { ports, first }).unwrap_or_else(|error| panic!("{error}")))
}

/// The UART's ports.
struct ComPort {
    ports: IoPorts,
    first: u16,
}

impl Ports for ComPort {
    fn read(&mut self, offset: u8) -> u8 {
        // What is refused answers like a port that nobody has.
        self.ports.read_8(self.first.wrapping_add(offset.into())).unwrap_or(u8::MAX)
    }

    fn write(&mut self, offset: u8, value: u8) {
        // As above; the start has found that the UART answers.
        _ = self.ports.write_8(self.first.wrapping_add(offset.into()), value);
    }
}

struct Serial {
    printer: Printer<PrintRing, RINGS>,
    uart: AnyUart<ComPort>,
    interrupt: Channel,
}

impl Handler for Serial {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        self.uart.acknowledge();
        if channels.contains(self.interrupt) {
            // Before there is a new one: where it is an edge, one that comes while the kernel still masks it is lost. A
            // refusal leaves the interrupt off; signals still print.
            _ = self.interrupt.irq_ack();
        }
        let more = self.printer.step(&mut self.uart);
        self.uart.wake_when_room(more);
        Ok(())
    }
}
