//! The PCI host as a protection domain: the library wired to its regions and channels.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{
    fmt::{self, Write},
    ptr::NonNull,
    slice,
};

use iommu_client::Call;
use iommu_protocol::Words;
use pci_host::{Ecam, Host, policy::PciPolicy};
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, memory_region_symbol, pd_name, protection_domain,
    var, with_msg_regs, with_msg_regs_mut,
};
use serial::{PrintRing, Writer};

#[protection_domain]
fn init() -> impl Handler {
    let policy = memory_region_symbol!(policy: *mut u8);
    // SAFETY: the region is mapped read-only for this many bytes, and nothing writes it.
    let policy = unsafe { slice::from_raw_parts(policy.as_ptr(), *var!(policy_bytes: usize = 0)) };
    // SAFETY: the region is mapped as device memory for this many bytes, and named nowhere else.
    let ecam = unsafe { Ecam::new(memory_region_symbol!(ecam: *mut u32), *var!(ecam_bytes: usize = 0)) };
    let policy = PciPolicy::parse(policy).unwrap_or_else(|error| panic!("{error}"));
    let mut output = output();
    // Writing does not fail.
    let mut report = |line: fmt::Arguments<'_>| _ = writeln!(output, "{line}");
    PciHost {
        host: Host::bring_up(ecam, policy, &mut report),
        server: Server(Channel::new(*var!(channel_iommu: usize = usize::MAX))),
    }
}

/// What this protection domain prints into: the ring that the system description gives it, if any.
fn output() -> Writer<PrintRing> {
    let ring = NonNull::new(*var!(serial_ring: usize = 0) as *mut u64);
    // SAFETY: mapped readable and writable for a whole ring, and this is its one owner.
    let ring = ring.map(|at| unsafe { PrintRing::new(at) });
    Writer::new(ring, pd_name().unwrap_or_default(), || {
        Channel::new(*var!(channel_serial: usize = usize::MAX)).notify();
    })
}

struct PciHost {
    host: Host<'static, Ecam>,
    server: Server,
}

impl Handler for PciHost {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        if channels.contains(self.server.0) {
            self.host.settle(&mut self.server);
        }
        Ok(())
    }

    fn protected(&mut self, channel: Channel, message: MessageInfo) -> Result<MessageInfo, Self::Error> {
        let words = received(&message);
        let (label, words) =
            self.host.request(&mut self.server, channel.index() as u8, message.label(), &words);
        Ok(to_send(label, &words))
    }
}

/// The channel to the IOMMU server.
struct Server(Channel);

impl Call for Server {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let reply = self.0.pp_call(to_send(label, words));
        (reply.label(), received(&reply))
    }
}

fn received(message: &MessageInfo) -> Words {
    with_msg_regs(|registers| Words::load(message.count(), registers))
}

fn to_send(label: u64, words: &Words) -> MessageInfo {
    let count = with_msg_regs_mut(|registers| words.store(registers));
    MessageInfo::new(label, count)
}
