//! The IOMMU server as a protection domain: wiring only.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Hands the mapped regions, each once, to the ports that own them.

use core::{
    fmt::{self, Write},
    ptr::NonNull,
};

use heapless::Vec;
use iommu_core::Storage;
use iommu_hal::real::{Alarm, CpuClock, MappedMemory, MappedPage, MmioRegisters, TimeError, TimerRegisters};
use iommu_pgtable::FrameMeta;
use iommu_protocol::{Status, Words};
use iommu_server::{
    Roll,
    policy::{MAX_AREAS, MAX_UNITS},
    server::{Channels, Server},
    start::{Parts, StartError},
};
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, memory_region_symbol, pd_name, protection_domain,
    var, with_msg_regs, with_msg_regs_mut,
};
use serial::{Named, PrintRing, Writer};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Mappings of all clients, and one that is never used.
const AREAS: usize = MAX_AREAS + 1;
/// Table frames that can be kept track of: 64 MiB of them.
const FRAMES: usize = 16_384;
/// How long others run before the next step of work that one step did not finish.
const STEP_PAUSE_NS: u64 = 50_000;

type IommuServer = Server<'static, MmioRegisters, MappedMemory, CpuClock, MappedPage>;

static STORAGE: SpinMutex<Storage<AREAS>> = SpinMutex::new(Storage::NEW);
static ROLL: SpinMutex<Roll> = SpinMutex::new(Roll::NEW);
static FRAME_META: SpinMutex<[FrameMeta; FRAMES]> = SpinMutex::new([FrameMeta::NEW; FRAMES]);

struct HandlerImpl {
    /// `None`: it did not start, and every request is refused.
    started: Option<Started>,
    output: Writer<PrintRing>,
    timer: usize,
}

struct Started {
    server: IommuServer,
    alarm: Alarm,
}

/// Why it did not start.
enum Failure {
    Clock(TimeError),
    Server(StartError),
    Alarm(TimeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(error) => write!(f, "cannot protect anything: no deadline can be kept: {error}"),
            Self::Server(error) => write!(f, "cannot protect anything: {error}"),
            Self::Alarm(error) => write!(f, "aborts every device: nothing would wake the server: {error}"),
        }
    }
}

/// The values of `u64` symbols that the tool patches.
macro_rules! patched {
    ($($symbol:ident)*) => {
        [$(*var!($symbol: u64 = 0)),*]
    };
}

#[protection_domain]
fn init() -> HandlerImpl {
    let mut output = output();
    let started = start(&mut output);
    // Writing does not fail.
    _ = match &started {
        Ok(_) => writeln!(log(&mut output), "protected: every device that is not attached is aborted"),
        Err(failure) => writeln!(output, "FAIL {}: {failure}", name()),
    };
    HandlerImpl { started: started.ok(), output, timer: *var!(irq_timer: usize = 0) }
}

fn name() -> &'static str {
    pd_name().unwrap_or_default()
}

/// What this protection domain prints into: the ring that the system description gives it, if any.
fn output() -> Writer<PrintRing> {
    let ring = NonNull::new(*var!(serial_ring: usize = 0) as *mut u64);
    // SAFETY: mapped readable and writable for a whole ring, and this is its one owner.
    let ring = ring.map(|at| unsafe { PrintRing::new(at) });
    Writer::new(ring, name(), || {
        Channel::new(*var!(channel_serial: usize = usize::MAX)).notify();
    })
}

/// The output, for lines that do not say whose they are.
fn log(output: &mut Writer<PrintRing>) -> Named<'_, Writer<PrintRing>> {
    Named::new(output, name())
}

/// The registers of the board's timer, where the system description maps them.
fn timer() -> Option<TimerRegisters> {
    let at = NonNull::new(*var!(timer_registers: usize = 0) as *mut u8)?;
    // SAFETY: the system description maps the registers here, as device memory, writable; this is their one owner.
    Some(unsafe { TimerRegisters::new(at) })
}

fn start(output: &mut Writer<PrintRing>) -> Result<Started, Failure> {
    let mut timer = timer();
    let clock = CpuClock::new(timer.as_mut()).map_err(Failure::Clock)?;
    let server = start_server(clock, output).map_err(Failure::Server)?;
    let alarm = Alarm::new(timer, server.timer_line()).map_err(Failure::Alarm)?;
    Ok(Started { server, alarm })
}

fn start_server(clock: CpuClock, output: &mut Writer<PrintRing>) -> Result<IommuServer, StartError> {
    let [tables_paddr, tables_bytes] = patched!(tables_paddr tables_bytes);
    let tables = memory_region_symbol!(tables: *mut u64);
    // SAFETY: the system description maps the region here, contiguous in physical memory from the address that
    // the tool patched in, and this is its one owner.
    let memory = unsafe { MappedMemory::new(tables, iommu_hal::PhysAddr(tables_paddr), tables_bytes) };
    let policy = memory_region_symbol!(policy: *mut [u8], n = *var!(policy_bytes: usize = 0));
    // SAFETY: mapped read-only for as long as the PD runs, and written by nobody.
    let policy = unsafe { policy.as_ref() };
    let parts = Parts {
        registers: registers(),
        memory,
        clock,
        region_paddrs: patched! {
            region_paddr_00 region_paddr_01 region_paddr_02 region_paddr_03
            region_paddr_04 region_paddr_05 region_paddr_06 region_paddr_07
            region_paddr_08 region_paddr_09 region_paddr_10 region_paddr_11
            region_paddr_12 region_paddr_13 region_paddr_14 region_paddr_15
            region_paddr_16 region_paddr_17 region_paddr_18 region_paddr_19
            region_paddr_20 region_paddr_21 region_paddr_22 region_paddr_23
            region_paddr_24 region_paddr_25 region_paddr_26 region_paddr_27
            region_paddr_28 region_paddr_29 region_paddr_30 region_paddr_31
        },
    };
    let storage = SpinMutexGuard::leak(STORAGE.lock());
    let frames = SpinMutexGuard::leak(FRAME_META.lock());
    let roll = SpinMutexGuard::leak(ROLL.lock());
    Server::start(policy, parts, storage, frames, roll, fault_ring, &mut log(output))
}

/// The units' registers, in the policy's order.
fn registers() -> Vec<MmioRegisters, MAX_UNITS> {
    let at: [u64; MAX_UNITS] = patched!(unit_registers_0 unit_registers_1 unit_registers_2 unit_registers_3);
    let bytes: [u64; MAX_UNITS] = patched! {
        unit_registers_bytes_0 unit_registers_bytes_1 unit_registers_bytes_2 unit_registers_bytes_3
    };
    let unit = |(at, bytes)| {
        let at = NonNull::new(at as *mut u8)?;
        // SAFETY: the system description maps the registers here, as device memory, and this is their one owner.
        Some(unsafe { MmioRegisters::new(at, bytes as u32) })
    };
    at.into_iter().zip(bytes).filter_map(unit).collect()
}

/// The page of a fault ring, mapped where the policy says.
fn fault_ring(vaddr: u64) -> MappedPage {
    let at = NonNull::new(vaddr as *mut u64).expect("the policy has no ring at 0");
    // SAFETY: the policy compiler takes the address from the server's own map of the region, and no two clients
    // share a ring.
    unsafe { MappedPage::new(at) }
}

impl Started {
    fn work(&mut self, log: &mut impl Write) {
        let step = self.server.work(log);
        self.notify(step.notify);
        if let Some(after_ns) = if step.more { Some(STEP_PAUSE_NS) } else { step.deadline_ns } {
            self.alarm.set(after_ns);
        }
    }

    fn notify(&mut self, channels: Channels) {
        for channel in channels {
            match channel {
                Channels::WAKE => self.alarm.set(STEP_PAUSE_NS),
                channel => Channel::new(channel.into()).notify(),
            }
        }
    }
}

impl Handler for HandlerImpl {
    type Error = Infallible;

    fn protected(&mut self, channel: Channel, message: MessageInfo) -> Result<MessageInfo, Infallible> {
        let Some(started) = &mut self.started else {
            return Ok(MessageInfo::new(Status::HardwareFailed.label(), 0));
        };
        let words = with_msg_regs(|registers| Words::load(message.count(), registers));
        let answer = started.server.call(channel.index() as u8, message.label(), &words);
        let count = with_msg_regs_mut(|registers| answer.words.store(registers));
        started.notify(answer.notify);
        Ok(MessageInfo::new(answer.status.label(), count))
    }

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        for channel in channels.iter() {
            if channel.index() == self.timer
                && let Some(started) = &mut self.started
            {
                started.alarm.stop();
            }
            // Before the work: an edge that comes while the kernel still masks the interrupt is lost, and the alarm that
            // the work sets may be over soon.
            if channel.irq_ack().is_err() {
                let channel = channel.index();
                // Writing does not fail.
                _ = writeln!(log(&mut self.output), "interrupt of channel {channel} cannot be acknowledged");
            }
            if let Some(started) = &mut self.started {
                started.work(&mut log(&mut self.output));
            }
        }
        Ok(())
    }
}
