//! The board as the core sees it.
#![allow(unsafe_code, reason = "IPC buffers and the interrupt controller's registers")]

use core::fmt::{self, Write};
use core::ops::Range;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, TPIDR_EL0, TTBR0_EL1, Writeable,
};
use arm_gic::gicv2::GicV2;
use arm_gic::{IntId, InterruptGroup, Trigger};
use embedded_image::{Image, Irq, MAX_PDS};
use embedded_kernel::{Cause, Exception, Lines, MAX_WORDS, Machine, PdSet, Register};

use super::console::Console;
use super::fault;
use super::float::Float;
use super::memory::{GIC_CPU, GIC_DISTRIBUTOR, ipc_buffer, kernel_address};
use super::vectors::Frame;

/// The kernel's own interrupt: the virtual timer.
const TIMER: u32 = 27;

/// First interrupt of the peripherals, and first that is not for software.
const FIRST_SHARED: u32 = 32;
const FIRST_PRIVATE: u32 = 16;

/// The group of all interrupts on a GIC without security extensions.
const GROUP: InterruptGroup = InterruptGroup::Group0;

/// Bytes of an SVC instruction, behind which its PD continues.
const INSTRUCTION_BYTES: u64 = 4;

/// An interrupt, by number, that this board does not have or give to PDs.
#[derive(Debug)]
pub(super) struct BadIrq(u32);

impl fmt::Display for BadIrq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupt {} is not there, or not for protection domains", self.0)
    }
}

/// The machine below the core.
pub(super) struct Board {
    image: Image<'static>,
    frames: [Frame; MAX_PDS],
    /// TTBR0_EL1 of each PD.
    spaces: [u64; MAX_PDS],
    /// Whose address space, thread pointer and floating-point trap are set.
    present: Option<usize>,
    float: Float,
    gic: GicV2<'static>,
    pub(super) console: Console,
    lines: Lines,
}

impl Board {
    /// The board, its PDs at their entries in the address spaces `spaces`, all interrupts off.
    pub(super) fn new(image: Image<'static>, spaces: [u64; MAX_PDS], console: Console) -> Self {
        let distributor = core::ptr::with_exposed_provenance_mut(kernel_address(GIC_DISTRIBUTOR));
        let cpu = core::ptr::with_exposed_provenance_mut(kernel_address(GIC_CPU));
        // SAFETY: the GIC's two register frames, mapped as device memory, and nobody else's.
        let mut gic = unsafe { GicV2::new(distributor, cpu) };
        gic.enable_all_interrupts(false);
        gic.setup();
        let frames = core::array::from_fn(|pd| {
            image.pds.get(pd).map_or(Frame::new(0, 0), |pd| Frame::new(pd.entry, pd.stack_top))
        });
        Self { image, frames, spaces, present: None, float: Float::new(), gic, console, lines: Lines::NEW }
    }

    /// Lets the PDs' interrupts and the timer's come.
    pub(super) fn enable_irqs(&mut self) -> Result<(), BadIrq> {
        let own = Irq { pd: 0, number: TIMER, id: 0, edge: 0, reserved: [0; 6] };
        if self.image.irqs.iter().any(|irq| irq.number == TIMER) {
            return Err(BadIrq(TIMER));
        }
        for irq in self.image.irqs.iter().chain([&own]) {
            let id = irq_id(irq.number).filter(|_| irq.number < self.gic.typer().num_irqs());
            let id = id.ok_or(BadIrq(irq.number))?;
            self.gic.set_trigger(id, if irq.edge != 0 { Trigger::Edge } else { Trigger::Level });
            self.gic.enable_interrupt(id, true).map_err(|_| BadIrq(irq.number))?;
        }
        Ok(())
    }

    /// Takes the interrupt that is pending, if any.
    pub(super) fn take_irq(&mut self) -> Option<IntId> {
        self.gic.get_and_acknowledge_interrupt(GROUP)
    }

    /// Ends what [`Board::take_irq`] began.
    pub(super) fn end_irq(&mut self, id: IntId) {
        self.gic.end_interrupt(id, GROUP);
    }

    /// Makes everything but the registers in its frame that of `pd`, and returns the frame.
    pub(super) fn prepare(&mut self, pd: usize) -> *mut Frame {
        if self.present != Some(pd) {
            if let Some(last) = self.present.replace(pd) {
                self.frames[last].thread_pointer = TPIDR_EL0.get();
            }
            TPIDR_EL0.set(self.frames[pd].thread_pointer);
            TTBR0_EL1.set(self.spaces[pd]);
            self.float.about_to_run(pd);
            barrier::isb(barrier::SY);
        }
        &raw mut self.frames[pd]
    }

    /// `pd` used floating-point registers that are not its own.
    pub(super) fn hand_over_float(&mut self, pd: usize) {
        self.float.hand_over(pd);
    }

    /// The system call number in the registers of `pd`.
    pub(super) fn system_call_number(&self, pd: usize) -> i64 {
        self.frames[pd].x[7] as i64
    }

    fn name(&self, pd: usize) -> &'static str {
        self.image.pds.get(pd).map_or("", |pd| pd.name())
    }
}

/// Whether `id` is the kernel's timer.
pub(super) fn is_timer(id: IntId) -> bool {
    u32::from(id) == TIMER
}

fn irq_id(number: u32) -> Option<IntId> {
    match number {
        FIRST_PRIVATE..FIRST_SHARED => Some(IntId::ppi(number - FIRST_PRIVATE)),
        _ => number.checked_sub(FIRST_SHARED).filter(|&shared| shared < IntId::MAX_SPI_COUNT).map(IntId::spi),
    }
}

/// Where a register is in a frame.
enum Place {
    /// x0 to x30, by number.
    X(usize),
    StackPointer,
    ProgramCounter,
    Status,
    ThreadPointer,
    /// Nothing that a PD has of its own.
    Nowhere,
}

/// Condition flags, all of SPSR_EL1 that is a PD's to choose.
const FLAGS: u64 = 0xf000_0000;

/// Where the ABI has a register; contexts are in the order of `seL4_UserContext`.
const fn place(register: Register) -> Place {
    match register {
        Register::Capability => Place::X(0),
        Register::Info => Place::X(1),
        Register::Word(word) => Place::X(2 + word),
        Register::Reply => Place::X(6),
        Register::Destination => Place::X(8),
        Register::Context(0) => Place::ProgramCounter,
        Register::Context(1) => Place::StackPointer,
        Register::Context(2) => Place::Status,
        Register::Context(word @ 3..=11) => Place::X(word - 3),
        Register::Context(word @ 12..=14) => Place::X(word + 4),
        Register::Context(word @ 15..=16) => Place::X(word + 14),
        Register::Context(word @ 17..=23) => Place::X(word - 8),
        Register::Context(word @ 24..=33) => Place::X(word - 5),
        Register::Context(34) => Place::ThreadPointer,
        Register::Context(_) => Place::Nowhere,
    }
}

impl Machine for Board {
    fn register(&self, pd: usize, register: Register) -> u64 {
        let frame = &self.frames[pd];
        match place(register) {
            Place::X(number) => frame.x[number],
            Place::StackPointer => frame.sp,
            Place::ProgramCounter => frame.pc,
            Place::Status => frame.pstate,
            Place::ThreadPointer => frame.thread_pointer,
            Place::Nowhere => 0,
        }
    }

    fn set_register(&mut self, pd: usize, register: Register, value: u64) {
        let frame = &mut self.frames[pd];
        match place(register) {
            Place::X(number) => frame.x[number] = value,
            Place::StackPointer => frame.sp = value,
            Place::ProgramCounter => frame.pc = value,
            Place::Status => frame.pstate = value & FLAGS,
            // Another PD runs, so that the frame's is the one that counts.
            Place::ThreadPointer => frame.thread_pointer = value,
            Place::Nowhere => {}
        }
    }

    fn buffer_word(&self, pd: usize, index: usize) -> u64 {
        if index >= MAX_WORDS {
            return 0;
        }
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let word = unsafe { ipc_buffer(pd).add(index + 1) };
        // SAFETY: in the page, which no reference points to.
        unsafe { word.read_volatile() }
    }

    fn set_buffer_word(&mut self, pd: usize, index: usize, value: u64) {
        if index >= MAX_WORDS {
            return;
        }
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let word = unsafe { ipc_buffer(pd).add(index + 1) };
        // SAFETY: in the page, which no reference points to.
        unsafe { word.write_volatile(value) };
    }

    fn exception(&self, _: usize) -> Exception {
        fault::exception()
    }

    fn copy_words(&mut self, from: usize, to: usize, words: Range<usize>) {
        let count = words.len().min(MAX_WORDS - words.start);
        // SAFETY: message word i is at word i + 1 of the IPC buffer's page.
        let source = unsafe { ipc_buffer(from).add(words.start + 1) };
        // SAFETY: as above.
        let target = unsafe { ipc_buffer(to).add(words.start + 1) };
        // SAFETY: both ranges lie in the pages of two PDs' IPC buffers, which no reference points to.
        unsafe { target.copy_from(source, count) };
    }

    fn now(&mut self) -> u64 {
        barrier::isb(barrier::SY);
        CNTVCT_EL0.get()
    }

    fn arm(&mut self, at: Option<u64>) {
        match at {
            Some(at) => {
                CNTV_CVAL_EL0.set(at);
                CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
            }
            None => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR),
        }
        barrier::isb(barrier::SY);
    }

    fn mask(&mut self, irq: u32, masked: bool) {
        if let Some(id) = irq_id(irq) {
            // `enable_irqs` has tried that it can be enabled.
            let _ = self.gic.enable_interrupt(id, !masked);
        }
    }

    fn put_char(&mut self, pd: usize, byte: u8) {
        self.lines.put(pd, byte, |byte| self.console.put(byte));
    }

    fn report(&mut self, pd: usize, cause: Cause, waiting: PdSet) {
        let syndrome = fault::syndrome();
        let class = fault::class_of(syndrome);
        let after = if class == fault::class::SVC { INSTRUCTION_BYTES } else { 0 };
        let pc = self.frames[pd].pc.wrapping_sub(after);
        let address = fault::address_of(class).unwrap_or(pc);
        let names = waiting_names(&self.image, waiting);
        let name = self.name(pd);
        self.lines.end(pd, |byte| self.console.put(byte));
        let line = &mut self.console;
        // Writing to the console cannot fail.
        let _ = write!(line, "kernel: PD '{name}' stopped: ");
        let _ = match cause {
            Cause::NoCapability { slot, receiving: true } => {
                write!(line, "receive with capability {slot}, which is not for that")
            }
            Cause::NoCapability { slot, receiving: false } => {
                write!(line, "send to capability {slot}, outside the capability space")
            }
            Cause::UnknownSystemCall(number) => write!(line, "unknown system call {number}"),
            Cause::Exception => {
                let (what, how) = fault::describe(syndrome);
                write!(line, "{what}{how}")
            }
        };
        let _ = writeln!(line, " at address {address:#x}, pc {pc:#x}, esr {syndrome:#x}{names}");
    }
}

/// Names who waits for ever, if anybody.
fn waiting_names(image: &Image<'static>, waiting: PdSet) -> impl fmt::Display {
    let pds = image.pds;
    fmt::from_fn(move |f| {
        let names = pds.iter().enumerate().filter(|(pd, _)| waiting & 1 << pd != 0);
        for (index, (_, pd)) in names.enumerate() {
            let before = if index == 0 { "; waiting for it for ever: " } else { ", " };
            write!(f, "{before}'{}'", pd.name())?;
        }
        Ok(())
    })
}
