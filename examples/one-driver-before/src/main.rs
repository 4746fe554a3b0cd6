//! The driver before: edu copies a page to itself and back, by physical addresses. Nothing keeps it from any other.
//!
//! It prints through the kernel, which debug configurations alone do.
#![no_std]
#![no_main]
#![allow(unsafe_code)] // Regions are where the system description maps them.

use core::{mem, ptr::NonNull};

use edu::{BUFFER_BYTES, Direction, Edu, MappedRegisters, TransferError};
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, debug_println, memory_region_symbol, protection_domain, var,
};
use volatile::VolatilePtr;

const PAGE: u64 = BUFFER_BYTES as u64;
const PAGE_WORDS: usize = BUFFER_BYTES as usize / size_of::<u64>();

/// Words of a PCI function's configuration space: command and status, and BAR 0.
const COMMAND: usize = 1;
const BAR_0: usize = 4;
/// The command register's bits: decode memory accesses, master the bus.
const MEMORY: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;

#[protection_domain]
fn init() -> impl Handler {
    let config = memory_region_symbol!(edu_config: *mut u32);
    let write_config = |word: usize, value: u32| {
        // SAFETY: the region is a function's configuration space, so that the word is inside.
        let at = unsafe { config.add(word) };
        // SAFETY: mapped as device memory, aligned, and accessed here alone.
        unsafe { VolatilePtr::new(at) }.write(value);
    };
    write_config(BAR_0, *var!(bar_paddr: u64 = 0) as u32);
    write_config(COMMAND, MEMORY | BUS_MASTER);
    // SAFETY: the region is mapped as device memory and named nowhere else.
    let registers = unsafe { MappedRegisters::new(memory_region_symbol!(edu_registers: *mut u64)) };
    let page = memory_region_symbol!(dma_memory: *mut u64);
    // SAFETY: the region has two pages.
    let other = unsafe { page.add(PAGE_WORDS) };
    let mut driver = Driver {
        edu: Edu::new(registers),
        interrupt: Channel::new(*var!(irq_edu: usize = usize::MAX)),
        pages: [Page(page), Page(other)],
        paddr: *var!(dma_paddr: u64 = 0),
        step: Step::Sending,
    };
    let outcome = driver.begin();
    driver.tell(outcome);
    driver
}

/// A page that the driver maps.
struct Page(NonNull<u64>);

impl Page {
    fn word(&mut self, index: usize) -> VolatilePtr<'_, u64> {
        assert!(index < PAGE_WORDS);
        // SAFETY: the assertion keeps the word in the page.
        let at = unsafe { self.0.add(index) };
        // SAFETY: mapped, aligned, and accessed through this value alone.
        unsafe { VolatilePtr::new(at) }
    }

    fn fill(&mut self, pattern: impl Fn(usize) -> u64) {
        for index in 0..PAGE_WORDS {
            self.word(index).write(pattern(index));
        }
    }

    fn has(&mut self, pattern: impl Fn(usize) -> u64) -> bool {
        (0..PAGE_WORDS).all(|index| self.word(index).read() == pattern(index))
    }
}

/// What the device is doing.
enum Step {
    /// It reads the page.
    Sending,
    /// It writes the other one.
    Receiving,
    /// It writes that again, although the driver is done with it.
    Straying,
    /// Nothing.
    Over,
}

struct Driver {
    edu: Edu<MappedRegisters>,
    interrupt: Channel,
    pages: [Page; 2],
    paddr: u64,
    step: Step,
}

fn pattern(index: usize) -> u64 {
    0xed00_0000_0000_0000 | index as u64
}

impl Driver {
    fn begin(&mut self) -> Result<(), TransferError> {
        self.pages[0].fill(pattern);
        self.edu.start(Direction::In, self.paddr, BUFFER_BYTES)
    }

    /// The device is done with what it was doing.
    fn go_on(&mut self) -> Result<(), TransferError> {
        match mem::replace(&mut self.step, Step::Over) {
            Step::Sending => {
                self.edu.start(Direction::Out, self.paddr + PAGE, BUFFER_BYTES)?;
                self.step = Step::Receiving;
            }
            Step::Receiving => {
                let same = self.pages[1].has(pattern);
                check(same, "4096 bytes from memory to the device to memory, by physical addresses");
                self.pages[1].fill(|_| 0);
                self.edu.start(Direction::Out, self.paddr + PAGE, BUFFER_BYTES)?;
                self.step = Step::Straying;
            }
            Step::Straying => {
                let same = self.pages[1].has(pattern);
                check(same, "unprotected: a write that the driver no longer expects arrives all the same");
                debug_println!("done driver: 2 checks");
            }
            Step::Over => {}
        }
        Ok(())
    }

    fn tell(&mut self, outcome: Result<(), TransferError>) {
        if let Err(error) = outcome {
            self.step = Step::Over;
            debug_println!("FAIL driver: a transfer starts: {error}");
        }
    }
}

fn check(holds: bool, what: &str) {
    debug_println!("{} driver: {what}", if holds { "ok" } else { "FAIL" });
}

impl Handler for Driver {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        if channels.contains(self.interrupt) {
            self.edu.take_interrupt();
            let outcome = self.go_on();
            self.tell(outcome);
            if let Err(error) = self.interrupt.irq_ack() {
                debug_println!("FAIL driver: the interrupt is acknowledged: {error}");
            }
        }
        Ok(())
    }
}
