//! The supervisor as a protection domain: the library wired to its children, the server's channel and its policy.
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
use sel4::UserContext;
use sel4_microkit::{
    Channel, ChannelSet, Child, Handler, Infallible, MessageInfo, memory_region_symbol, pd_name,
    protection_domain, var, with_msg_regs, with_msg_regs_mut,
};
use serial::{PrintRing, Writer};
use supervisor::{Fault, Machine, Supervisor, policy};

/// The registers that a restart writes: the program counter alone.
const RESTART_REGISTERS: u64 = 1;

#[protection_domain]
fn init() -> impl Handler {
    let at = memory_region_symbol!(policy: *mut u8);
    let bytes = *var!(policy_bytes: usize = 0);
    // SAFETY: the region is mapped here read-only, for this many bytes, and nobody writes it.
    let blob = unsafe { slice::from_raw_parts(at.as_ptr().cast_const(), bytes) };
    let server = *var!(channel_iommu: usize = usize::MAX);
    let channel = (server != usize::MAX).then(|| Channel::new(server));
    let server = channel.map(Server);
    let mut machine = Microkit { output: output() };
    let started = match policy::parse(blob) {
        Ok(children) => Supervisor::new(machine, server, children).map_err(|(mut machine, error)| {
            machine.report(format_args!("nobody is supervised: {error}"));
        }),
        Err(error) => {
            machine.report(format_args!("nobody is supervised: its policy is refused: {error}"));
            Err(())
        }
    };
    Parent { supervisor: started.ok(), server: channel }
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

struct Parent {
    supervisor: Option<Supervisor<Microkit, Server>>,
    server: Option<Channel>,
}

impl Handler for Parent {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        if let Some(supervisor) = &mut self.supervisor {
            if self.server.is_some_and(|server| channels.contains(server)) {
                supervisor.unclaimed();
            }
            supervisor.signalled(|id| channels.contains(Channel::new(id.into())));
        }
        Ok(())
    }

    fn fault(&mut self, child: Child, info: MessageInfo) -> Result<Option<MessageInfo>, Self::Error> {
        let words = with_msg_regs(|registers| {
            core::array::from_fn(|index| if index < info.count() { registers[index] } else { 0 })
        });
        // Ids are at most 61.
        if let (Some(supervisor), Ok(id)) = (&mut self.supervisor, u8::try_from(child.index())) {
            supervisor.died(id, Fault { label: info.label(), words });
        }
        // No reply: it would let the child go on where it died.
        Ok(None)
    }
}

/// The children's threads, and printing.
struct Microkit {
    output: Writer<PrintRing>,
}

impl Machine for Microkit {
    type Error = sel4::Error;

    fn stop(&mut self, child: u8) -> Result<(), Self::Error> {
        Child::new(child.into()).tcb().tcb_suspend()
    }

    fn restart(&mut self, child: u8, entry: u64) -> Result<(), Self::Error> {
        let mut registers = UserContext::default();
        *registers.pc_mut() = entry;
        Child::new(child.into()).tcb().tcb_write_registers(true, RESTART_REGISTERS, &mut registers)
    }

    fn report(&mut self, line: fmt::Arguments<'_>) {
        // Writing does not fail.
        _ = writeln!(self.output, "{}: {line}", pd_name().unwrap_or("supervisor"));
    }
}

/// The channel to the IOMMU server.
struct Server(Channel);

impl Call for Server {
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let count = with_msg_regs_mut(|registers| words.store(registers));
        let reply = self.0.pp_call(MessageInfo::new(label, count));
        (reply.label(), with_msg_regs(|registers| Words::load(reply.count(), registers)))
    }
}
