//! The driver of ../one-driver-before behind the IOMMU server: edu copies a page to itself and back through mapped IOVAs, and is
//! stopped where nothing is mapped any more.
//!
//! docs/microkit.md quotes it.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{fmt::Write, mem, ptr::NonNull};

use edu::{BUFFER_BYTES, Direction, Edu, MappedRegisters};
use iommu_client::{
    Call, DmaBuffer, Event, FaultRing, Iommu, Mapped, MappedRing, PciHost, Placement, Rights, Space,
};
use iommu_protocol::{
    DeviceIndex, RegionSlot, Words,
    ring::{access, reason},
};
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, memory_region_symbol, protection_domain, var,
    with_msg_regs, with_msg_regs_mut,
};
use serial::{PrintRing, Writer};

use crate::failure::Failure;

mod failure;

/// What a channel's symbol says where the system description has no such channel.
const NONE: usize = usize::MAX;

#[protection_domain]
fn init() -> impl Handler {
    let mut example = Example { report: Report { output: output(), checks: 0 }, driver: None };
    match Driver::begin() {
        Ok(driver) => {
            example.report.ok("attached, the device becomes bus master");
            example.driver = Some(driver);
        }
        Err(failure) => example.report.fail(&failure),
    }
    example
}

/// What this protection domain prints into: the ring that the system description gives it, if any.
fn output() -> Writer<PrintRing> {
    let ring = NonNull::new(*var!(serial_ring: usize = 0) as *mut u64);
    // SAFETY: mapped readable and writable for a whole ring, and this is its one owner.
    let ring = ring.map(|at| unsafe { PrintRing::new(at) });
    Writer::new(ring, "driver", || Channel::new(*var!(channel_serial: usize = NONE)).notify())
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

/// What the device is doing.
enum Step {
    /// It reads this; the other page comes next.
    Sending(Mapped, DmaBuffer),
    /// It writes this.
    Receiving(Mapped),
    /// It writes where this was mapped.
    Straying(DmaBuffer),
    /// Nothing.
    Over,
}

struct Driver {
    iommu: Iommu<Server>,
    space: Space,
    faults: FaultRing<MappedRing>,
    edu: Edu<MappedRegisters>,
    step: Step,
    /// Where the device writes although nothing is mapped there.
    stray: Option<u64>,
}

fn pattern(index: usize) -> u64 {
    0xed00_0000_0000_0000 | index as u64
}

impl Driver {
    fn begin() -> Result<Self, Failure> {
        let channel_iommu = Channel::new(*var!(channel_iommu: usize = NONE));
        let channel_pci_host = Channel::new(*var!(channel_pci_host: usize = NONE));
        let mut iommu = Iommu::connect(Server(channel_iommu))?;
        let space = iommu.alloc_space()?;
        iommu.attach(&space, DeviceIndex(0))?;
        PciHost::new(Server(channel_pci_host)).enable(DeviceIndex(0))?;

        // SAFETY: the region is mapped as device memory and named nowhere else.
        let registers = unsafe { MappedRegisters::new(memory_region_symbol!(edu_registers: *mut u64)) };
        let mut edu = Edu::new(registers);
        let fault_ring = memory_region_symbol!(fault_ring: *mut u64);
        // SAFETY: the region is mapped read-only, and one page.
        let faults = FaultRing::new(unsafe { MappedRing::new(fault_ring) });

        let (dma_memory, bytes) = (memory_region_symbol!(dma_memory: *mut u64), *var!(dma_bytes: usize = 0));
        let granted = iommu.region_info(RegionSlot(0))?;
        // SAFETY: the region is mapped readable and writable for this many bytes, and named nowhere else.
        let memory = unsafe { DmaBuffer::new(dma_memory, bytes, RegionSlot(0), granted.generation, 0) };
        let (mut page, rest) = memory.split(BUFFER_BYTES as usize);

        page.fill(pattern);
        let mapped = iommu.map(&space, page, Rights::READ, Placement::Any)?;
        edu.start(Direction::In, mapped.iova(), BUFFER_BYTES)?;
        Ok(Self { iommu, space, faults, edu, step: Step::Sending(mapped, rest), stray: None })
    }

    /// The device is done with what it was doing.
    fn go_on(&mut self, report: &mut Report) -> Result<(), Failure> {
        match mem::replace(&mut self.step, Step::Over) {
            Step::Sending(mapped, page) => {
                self.iommu.unmap(mapped)?;
                let mapped = self.iommu.map(&self.space, page, Rights::WRITE, Placement::Any)?;
                self.edu.start(Direction::Out, mapped.iova(), BUFFER_BYTES)?;
                self.step = Step::Receiving(mapped);
            }
            Step::Receiving(mapped) => {
                let iova = mapped.iova();
                let mut page = self.iommu.unmap(mapped)?;
                if page.find_difference(pattern).is_some() {
                    return Err(Failure::Unexpected("the page came back changed"));
                }
                report.ok("4096 bytes from memory to the device to memory, through mapped IOVAs");
                page.fill(|_| 0);
                self.stray = Some(iova);
                self.edu.start(Direction::Out, iova, BUFFER_BYTES)?;
                self.step = Step::Straying(page);
            }
            Step::Straying(page) => {
                if page.find_difference(|_| 0).is_some() {
                    return Err(Failure::Unexpected("the device wrote to a page after UNMAP"));
                }
                report.ok("after UNMAP a write to where the page was does not arrive");
            }
            Step::Over => {}
        }
        Ok(())
    }

    /// The fault ring may have news.
    fn look_for_faults(&mut self, report: &mut Report) -> Result<(), Failure> {
        while let Some(event) = self.faults.poll() {
            let Event::Fault(record) = event else { continue };
            let Some(iova) = self.stray.take() else { continue };
            let what = (record.reason(), record.access(), record.iova());
            if what != (reason::NOT_MAPPED, access::WRITE, Some(iova)) {
                return Err(Failure::Unexpected(
                    "another fault is reported than a write where nothing is mapped",
                ));
            }
            report.ok("and is reported: a write, not mapped");
        }
        Ok(())
    }
}

/// The driver, and how far it came.
struct Example {
    report: Report,
    driver: Option<Driver>,
}

impl Handler for Example {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let interrupt = Channel::new(*var!(irq_edu: usize = NONE));
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let mut outcome = Ok(());
        if channels.contains(interrupt) {
            driver.edu.take_interrupt();
            outcome = driver.go_on(&mut self.report);
            if interrupt.irq_ack().is_err() {
                outcome = Err(Failure::Unexpected("the interrupt cannot be acknowledged"));
            }
        }
        // The server's signal; a look more does no harm.
        let outcome = outcome.and_then(|()| driver.look_for_faults(&mut self.report));
        if let Err(failure) = outcome {
            self.report.fail(&failure);
            self.driver = None;
        } else if self.report.checks == Report::ALL {
            self.report.done();
            self.driver = None;
        }
        Ok(())
    }
}

/// Lines that `cargo xtask run` counts.
struct Report {
    output: Writer<PrintRing>,
    checks: u32,
}

impl Report {
    const ALL: u32 = 4;

    fn ok(&mut self, what: &str) {
        self.checks += 1;
        // A ring takes everything.
        _ = writeln!(self.output, "ok driver: {what}");
    }

    fn fail(&mut self, failure: &Failure) {
        self.checks += 1;
        _ = writeln!(self.output, "FAIL driver: {failure}");
        self.done();
    }

    fn done(&mut self) {
        _ = writeln!(self.output, "done driver: {} checks", self.checks);
    }
}
