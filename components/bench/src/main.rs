//! The benchmark as a protection domain: wiring only.
#![no_std]
#![no_main]

use core::fmt;

use bench::{Report, Time, run};
use iommu_client::Call;
use iommu_hal::{Clock, real::CpuClock};
use iommu_protocol::Words;
use sel4_microkit::{
    Channel, Handler, MessageInfo, NullHandler, debug_println, protection_domain, var, with_msg_regs,
    with_msg_regs_mut,
};

#[protection_domain]
fn init() -> impl Handler {
    let server = Server(Channel::new(*var!(channel_iommu: usize = usize::MAX)));
    run(server, Counter(CpuClock::new()), "bench", &mut Console);
    NullHandler::new()
}

struct Counter(CpuClock);

impl Time for Counter {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

struct Console;

impl Report for Console {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        debug_println!("{line}");
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
