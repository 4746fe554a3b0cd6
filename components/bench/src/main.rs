//! The benchmark as a protection domain: wiring only.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{
    fmt::{self, Write},
    ptr::NonNull,
};

use bench::{Report, Time, run};
use iommu_client::Call;
use iommu_hal::{Clock, real::CpuClock};
use iommu_protocol::Words;
use sel4_microkit::{
    Channel, Handler, MessageInfo, NullHandler, pd_name, protection_domain, var, with_msg_regs,
    with_msg_regs_mut,
};
use serial::{PrintRing, Writer};

#[protection_domain]
fn init() -> impl Handler {
    let server = Server(Channel::new(*var!(channel_iommu: usize = usize::MAX)));
    run(server, Counter(CpuClock::new()), "bench", &mut Console(output()));
    NullHandler::new()
}

struct Counter(CpuClock);

impl Time for Counter {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

/// What the serial PD prints.
fn output() -> Writer<PrintRing> {
    let ring = NonNull::new(*var!(serial_ring: usize = 0) as *mut u64);
    // SAFETY: the region is a ring's size, mapped for writing, and named nowhere else.
    let ring = ring.map(|ring| unsafe { PrintRing::new(ring) });
    Writer::new(ring, pd_name().unwrap_or_default(), || {
        Channel::new(*var!(channel_serial: usize = usize::MAX)).notify();
    })
}

struct Console(Writer<PrintRing>);

impl Report for Console {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A ring takes everything.
        _ = writeln!(self.0, "{line}");
    }
}

/// The channel to the server.
struct Server(Channel);

impl Call for Server {
    #[inline]
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let count = with_msg_regs_mut(|registers| words.store(registers));
        let reply = self.0.pp_call(MessageInfo::new(label, count));
        (reply.label(), with_msg_regs(|registers| Words::load(reply.count(), registers)))
    }
}
