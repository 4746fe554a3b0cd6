//! The device driver as a protection domain: the library wired to its regions and channels.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{
    fmt::{self, Write},
    ptr::NonNull,
};

use device_driver::{CONSTANTS_SLOT, MEMORY_SLOT, Machine, MappedNotes, Parts, Signal, Signals, Task, start};
use edu::{Edu, MappedRegisters};
use iommu_client::{Call, DmaBuffer, MappedRing};
use iommu_protocol::Words;
use pd_restart as _;
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, memory_region_symbol, pd_name, protection_domain,
    var, with_msg_regs, with_msg_regs_mut,
};
use serial::{PrintRing, Writer};

/// An address in the page of the null pointer, in which nothing is ever mapped.
const NOWHERE: usize = 8;

static SIGNALS: Signals = Signals::new();

#[protection_domain]
fn init() -> impl Handler {
    let iommu = Channel::new(*var!(channel_iommu: usize = usize::MAX));
    let peer = Channel::new(*var!(channel_peer: usize = usize::MAX));
    let parent = *var!(channel_parent: usize = usize::MAX);
    let parent = (parent != usize::MAX).then(|| Channel::new(parent));
    let notes = NonNull::new(*var!(notes: usize = 0) as *mut u64);
    // SAFETY: the region is mapped readable and writable, a page, and named nowhere else.
    let notes = notes.map(|at| unsafe { MappedNotes::new(at) });
    let interrupt = Channel::new(*var!(irq_edu: usize = usize::MAX));
    // SAFETY: the region is mapped as device memory and named nowhere else.
    let registers = unsafe { MappedRegisters::new(memory_region_symbol!(edu_registers: *mut u64)) };
    // SAFETY: the region is mapped read-only, and one page.
    let ring = unsafe { MappedRing::new(memory_region_symbol!(fault_ring: *mut u64)) };
    let memory = memory_region_symbol!(dma_memory: *mut u64);
    // SAFETY: the region is mapped for this many bytes, and named nowhere else.
    let memory = unsafe { DmaBuffer::new(memory, *var!(dma_bytes: usize = 0), MEMORY_SLOT, 0, 0) };
    let constants = memory_region_symbol!(constants: *mut u64);
    // SAFETY: the region is mapped for this many bytes, and named nowhere else.
    let constants =
        unsafe { DmaBuffer::new(constants, *var!(constants_bytes: usize = 0), CONSTANTS_SLOT, 0, 0) };
    let parts = Parts {
        name: pd_name().unwrap_or("driver"),
        machine: Microkit { output: output(), interrupt, peer, parent },
        iommu: Server(iommu),
        pci_host: Server(Channel::new(*var!(channel_pci_host: usize = usize::MAX))),
        edu: Edu::new(registers),
        ring,
        memory,
        constants,
        peer_memory: *var!(peer_dma_paddr: u64 = 0),
        notes: notes.filter(|_| parent.is_some()),
    };
    Driver {
        task: start(parts, &SIGNALS),
        signals: [(interrupt, Signal::Device), (iommu, Signal::Server), (peer, Signal::Peer)],
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

struct Driver<F> {
    task: Task<F>,
    signals: [(Channel, Signal); 3],
}

impl<F: Future<Output = ()>> Handler for Driver<F> {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        for (channel, signal) in self.signals {
            if channels.contains(channel) {
                SIGNALS.raise(signal);
            }
        }
        self.task.step();
        Ok(())
    }
}

/// Printing, the device's interrupt, the peer, the parent.
struct Microkit {
    output: Writer<PrintRing>,
    interrupt: Channel,
    peer: Channel,
    parent: Option<Channel>,
}

impl Machine for Microkit {
    type Iommu = Server;
    type PciHost = Server;
    type Registers = MappedRegisters;
    type Ring = MappedRing;
    type Notes = MappedNotes;

    fn report(&mut self, line: fmt::Arguments<'_>) {
        // Writing does not fail.
        _ = writeln!(self.output, "{line}");
    }

    fn acknowledge_interrupt(&mut self) {
        if let Err(error) = self.interrupt.irq_ack() {
            panic!("{error}");
        }
    }

    fn notify_peer(&mut self) {
        self.peer.notify();
    }

    fn ask_to_be_replaced(&mut self) {
        if let Some(parent) = self.parent {
            parent.notify();
        }
    }

    fn die(&mut self) {
        let nowhere = core::ptr::without_provenance_mut::<u64>(NOWHERE);
        // SAFETY: no memory is there, so that the access faults and nothing is written.
        unsafe { nowhere.write_volatile(0) };
    }
}

/// The channel to a server.
struct Server(Channel);

impl Call for Server {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let count = with_msg_regs_mut(|registers| words.store(registers));
        let reply = self.0.pp_call(MessageInfo::new(label, count));
        (reply.label(), with_msg_regs(|registers| Words::load(reply.count(), registers)))
    }
}
