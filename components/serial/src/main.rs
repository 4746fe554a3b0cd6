//! The printer as a protection domain: the library wired to the rings, the UART and its interrupt.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::ptr::NonNull;

use heapless::Vec;
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, memory_region_symbol, protection_domain, var};
use serial::{Pl011, PrintRing, Printer};

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
        // SAFETY: the region is mapped as device memory and named nowhere else.
        uart: unsafe { Pl011::new(memory_region_symbol!(uart_registers: *mut u8)) },
        interrupt: Channel::new(*var!(irq_uart: usize = usize::MAX)),
    }
}

struct Serial {
    printer: Printer<PrintRing, RINGS>,
    uart: Pl011,
    interrupt: Channel,
}

impl Handler for Serial {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        self.uart.acknowledge();
        let more = self.printer.step(&mut self.uart);
        self.uart.wake_when_room(more);
        if channels.contains(self.interrupt) {
            // A refusal leaves the interrupt off; signals still print.
            _ = self.interrupt.irq_ack();
        }
        Ok(())
    }
}
