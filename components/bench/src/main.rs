//! The benchmark as a protection domain: wiring only. Its channels say what it is: the client that is measured, alone
//! or among neighbours, one of those, or the supervisor.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{
    fmt::{self, Write},
    ptr::NonNull,
};

use bench::{Neighbour, Neighbours, Report, Supervisor, Time, run, run_among};
use iommu_client::Call;
use iommu_hal::{
    Clock,
    real::{CpuClock, TimerRegisters},
};
use iommu_protocol::{Status, Words};
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, pd_name, protection_domain, var, with_msg_regs,
    with_msg_regs_mut,
};
use serial::{PrintRing, Writer};

/// What a channel's symbol says where the system description has no such channel.
const NONE: usize = usize::MAX;

#[protection_domain]
fn init() -> impl Handler {
    let server = Server(Channel::new(*var!(channel_iommu: usize = NONE)));
    if *var!(channel_bench: usize = NONE) != NONE {
        return Neighbour::connect(server).map_or(Bench::Done, Bench::Neighbour);
    }
    let timer = NonNull::new(*var!(timer_registers: usize = 0) as *mut u8);
    // SAFETY: the region is mapped as device memory, read-only, and named nowhere else; the server, which has the higher
    // priority, has started the timer.
    let mut timer = timer.map(|at| unsafe { TimerRegisters::new(at) });
    let time = match CpuClock::new(timer.as_mut()) {
        Ok(clock) => Counter(clock),
        Err(error) => {
            // A ring takes everything.
            _ = writeln!(output(), "FAIL bench: there is nothing to measure by: {error}");
            return Bench::Done;
        }
    };
    if *var!(channel_client: usize = NONE) != NONE {
        return Supervisor::connect(server, time).map_or(Bench::Done, Bench::Supervisor);
    }
    let supervisor = Server(Channel::new(*var!(channel_supervisor: usize = NONE)));
    let mut console = Console(output());
    let (first, last) = (*var!(first_neighbour: usize = NONE), *var!(last_neighbour: usize = NONE));
    if first == NONE {
        run(server, time, supervisor, "bench", &mut console);
    } else {
        run_among(server, time, supervisor, Channels { first, last }, "bench", &mut console);
    }
    Bench::Done
}

/// What is left to do once it has begun: a neighbour's turns, or what the client says to its supervisor.
enum Bench {
    Neighbour(Neighbour<Server>),
    Supervisor(Supervisor<Server, Counter>),
    Done,
}

impl Handler for Bench {
    type Error = Infallible;

    fn protected(&mut self, _: Channel, message: MessageInfo) -> Result<MessageInfo, Self::Error> {
        Ok(match self {
            Self::Neighbour(neighbour) => MessageInfo::new(neighbour.answer(), 0),
            Self::Supervisor(supervisor) => {
                let words = with_msg_regs(|registers| Words::load(message.count(), registers));
                let (label, words) = supervisor.answer(message.label(), &words);
                MessageInfo::new(label, with_msg_regs_mut(|registers| words.store(registers)))
            }
            Self::Done => MessageInfo::new(Status::NotAllowed.label(), 0),
        })
    }

    /// The server says when it has ended a client by itself; who waits for that asks.
    fn notified(&mut self, _: ChannelSet) -> Result<(), Self::Error> {
        Ok(())
    }
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
        Channel::new(*var!(channel_serial: usize = NONE)).notify();
    })
}

struct Console(Writer<PrintRing>);

impl Report for Console {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // A ring takes everything.
        _ = writeln!(self.0, "{line}");
    }
}

/// The channels to the neighbours, one after the other.
struct Channels {
    first: usize,
    last: usize,
}

impl Neighbours for Channels {
    fn count(&self) -> usize {
        self.last + 1 - self.first
    }

    fn turn(&mut self, index: usize) -> u64 {
        Channel::new(self.first + index).pp_call(MessageInfo::new(0, 0)).label()
    }
}

/// The channel to the server, or to the supervisor.
struct Server(Channel);

impl Call for Server {
    #[inline]
    fn call(&mut self, label: u64, words: &Words) -> (u64, Words) {
        let count = with_msg_regs_mut(|registers| words.store(registers));
        let reply = self.0.pp_call(MessageInfo::new(label, count));
        (reply.label(), with_msg_regs(|registers| Words::load(reply.count(), registers)))
    }
}
