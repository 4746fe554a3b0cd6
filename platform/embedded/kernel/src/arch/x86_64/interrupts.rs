//! Interrupts by the I/O APIC and by message, and the local APIC with its timer.
#![allow(unsafe_code, reason = "the interrupt controllers' registers")]

use core::arch::asm;
use core::fmt;

use embedded_image::{Irq, source};
use x2apic::ioapic::{IoApic, IrqFlags, IrqMode, RedirectionTableEntry};
use x2apic::lapic::{LocalApic, LocalApicBuilder, TimerDivide, TimerMode};
use x86_64::instructions::port::Port;

use super::memory::{IO_APIC, LOCAL_APIC, device_address};
use crate::arch::Taken;

/// The vector of the image's interrupt 0; PDs that set messages up count on it (seL4 16.0.0, `int_irq_user_min`).
const FIRST_VECTOR: u8 = 0x30;
/// The last vector of the image's interrupts.
const LAST_VECTOR: u8 = 155;
/// The kernel's own: the timer, the local APIC's errors and its spurious interrupts.
const TIMER_VECTOR: u8 = 157;
const ERROR_VECTOR: u8 = 158;
const SPURIOUS_VECTOR: u8 = 255;

/// The task priority: the class of vectors, 16 each, up to which nothing comes. A message with the vector of an exception
/// would not be told from it.
const HELD_BACK: u64 = 1;

/// Entries of an I/O APIC's redirection table that are looked at: as many as interrupts can be.
const MAX_PINS: usize = 64;

/// Data ports of the two 8259A, and the value that masks all their lines.
const PIC_MASKS: [u16; 2] = [0x21, 0xa1];
const ALL_MASKED: u8 = 0xff;

/// The 8254: its command port, counter 2, the port that has its gate (bit 0, 1 is the speaker) and its output (5).
const PIT_COMMAND: u16 = 0x43;
const PIT_COUNTER: u16 = 0x42;
const PIT_GATE: u16 = 0x61;
const GATE_MASK: u8 = 0b11;
const GATE: u8 = 0b01;
const OUTPUT: u8 = 1 << 5;
/// Counter 2, both bytes, counts down once.
const ONE_SHOT: u8 = 0b1011_0000;
const PIT_HZ: u64 = 1_193_182;
/// What is counted to find out how fast the others are: 10 ms.
const PIT_COUNT: u16 = 11_932;
/// How often the counter's output is looked at. A port takes a microsecond on hardware.
const PATIENCE: u32 = 100_000_000;

/// What this board does not have or give to PDs.
#[derive(Debug)]
pub(crate) enum BadIrq {
    /// An interrupt, by number, that is no vector for PDs.
    Vector(u32),
    /// An interrupt, by number, whose pin is not there or has another interrupt.
    Pin(u32, u8),
    /// An interrupt, by number, that comes neither by a pin nor by message.
    Source(u32),
    /// The local APIC cannot be used, for this reason.
    LocalApic(&'static str),
    /// The 8254 does not count.
    NoTimer,
}

impl fmt::Display for BadIrq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = LAST_VECTOR - FIRST_VECTOR;
        match self {
            Self::Vector(number) => {
                write!(f, "interrupt {number} is not for protection domains: they go to {last}")
            }
            Self::Pin(number, pin) => {
                write!(f, "pin {pin} of interrupt {number} is not there, or has another interrupt")
            }
            Self::Source(number) => write!(f, "interrupt {number} is neither a pin's nor a message"),
            Self::LocalApic(why) => write!(f, "the local APIC cannot be used: {why}"),
            Self::NoTimer => f.write_str("the 8254 does not count, so that the timer's speed is unknown"),
        }
    }
}

/// The interrupt controllers and the timer.
pub(crate) struct Interrupts {
    local: LocalApic,
    io: IoApic,
    /// The pin of each interrupt that has one: number and pin.
    pins: heapless::Vec<(u32, u8), MAX_PINS>,
    /// The vector that came and is to be taken.
    came: Option<u8>,
    /// Ticks of the local APIC's timer and of the time-stamp counter in a second.
    timer_hz: u64,
    counter_hz: u64,
    /// When the timer's interrupt is to come.
    armed: Option<u64>,
}

impl Interrupts {
    /// All interrupts off but the timer's.
    pub(crate) fn new() -> Result<Self, BadIrq> {
        for port in PIC_MASKS {
            // SAFETY: nobody takes the 8259A's interrupts.
            unsafe { Port::new(port).write(ALL_MASKED) };
        }
        let mut local = LocalApicBuilder::new()
            .timer_vector(TIMER_VECTOR.into())
            .error_vector(ERROR_VECTOR.into())
            .spurious_vector(SPURIOUS_VECTOR.into())
            .timer_mode(TimerMode::OneShot)
            .timer_divide(TimerDivide::Div1)
            .timer_initial(0)
            .set_xapic_base(device_address(LOCAL_APIC))
            .build()
            .map_err(BadIrq::LocalApic)?;
        // SAFETY: the registers are the kernel's, and the vectors have stubs.
        unsafe { local.enable() };
        // SAFETY: no interrupt's vector that the kernel takes is in the class, or below.
        unsafe { asm!("mov cr8, {}", in(reg) HELD_BACK, options(nomem, nostack, preserves_flags)) };
        // SAFETY: the registers are mapped uncached, and nobody else's.
        let mut io = unsafe { IoApic::new(device_address(IO_APIC)) };
        // SAFETY: reading the table's size.
        let last = unsafe { io.max_table_entry() };
        for pin in 0..=last {
            // SAFETY: nothing is to come from the pin.
            unsafe { io.disable_irq(pin) };
        }
        let mut new = Self {
            local,
            io,
            pins: heapless::Vec::new(),
            came: None,
            timer_hz: 0,
            counter_hz: 0,
            armed: None,
        };
        new.measure()?;
        Ok(new)
    }

    /// Finds out how fast the timer and the counter are.
    fn measure(&mut self) -> Result<(), BadIrq> {
        let (mut command, mut counter, mut gate) =
            (Port::<u8>::new(PIT_COMMAND), Port::<u8>::new(PIT_COUNTER), Port::<u8>::new(PIT_GATE));
        // SAFETY: the 8254 is the kernel's while it boots.
        let rest = unsafe { gate.read() } & !GATE_MASK;
        // SAFETY: as above; the speaker stays off.
        unsafe { gate.write(rest | GATE) };
        // SAFETY: as above.
        unsafe { command.write(ONE_SHOT) };
        for byte in PIT_COUNT.to_le_bytes() {
            // SAFETY: as above.
            unsafe { counter.write(byte) };
        }
        // SAFETY: the timer counts down from there; its interrupt is far away, and off.
        unsafe { self.local.set_timer_initial(u32::MAX) };
        let before = self.now();
        // SAFETY: reading the output.
        let done = (0..PATIENCE).any(|_| unsafe { gate.read() } & OUTPUT != 0);
        let ticks = self.now().wrapping_sub(before);
        // SAFETY: reading the timer.
        let counted = u32::MAX - unsafe { self.local.timer_current() };
        // SAFETY: stopping the timer.
        unsafe { self.local.set_timer_initial(0) };
        // SAFETY: as above.
        unsafe { gate.write(rest) };
        let per_second = |ticks: u64| (u128::from(ticks) * u128::from(PIT_HZ) / u128::from(PIT_COUNT)) as u64;
        (self.timer_hz, self.counter_hz) = (per_second(counted.into()), per_second(ticks));
        if !done || self.timer_hz == 0 || self.counter_hz == 0 { Err(BadIrq::NoTimer) } else { Ok(()) }
    }

    /// Lets an interrupt of the image come.
    pub(crate) fn enable(&mut self, irq: &Irq) -> Result<(), BadIrq> {
        let number = irq.number;
        if number > u32::from(LAST_VECTOR - FIRST_VECTOR) {
            return Err(BadIrq::Vector(number));
        }
        match irq.source {
            // What sends it is its PD's to set up.
            source::MESSAGE => return Ok(()),
            source::IO_APIC => {}
            _ => return Err(BadIrq::Source(number)),
        }
        // SAFETY: reading the table's size.
        let last = unsafe { self.io.max_table_entry() };
        let bad = BadIrq::Pin(number, irq.pin);
        if irq.io_apic != 0 || irq.pin > last || self.pins.iter().any(|(_, pin)| *pin == irq.pin) {
            return Err(bad);
        }
        self.pins.push((number, irq.pin)).map_err(|_| bad)?;
        let mut flags = IrqFlags::empty();
        flags.set(IrqFlags::LEVEL_TRIGGERED, irq.edge == 0);
        flags.set(IrqFlags::LOW_ACTIVE, irq.low != 0);
        let mut entry = RedirectionTableEntry::default();
        entry.set_mode(IrqMode::Fixed);
        entry.set_flags(flags);
        // Checked above to be a vector.
        entry.set_vector(FIRST_VECTOR + number as u8);
        // SAFETY: reading the processor's number.
        entry.set_dest(unsafe { self.local.id() } as u8);
        // SAFETY: the vector has a stub, and the destination is this processor.
        unsafe { self.io.set_table_entry(irq.pin, entry) };
        Ok(())
    }

    /// Lets an interrupt through or holds it back. A message cannot be held back, as on seL4.
    pub(crate) fn mask(&mut self, number: u32, masked: bool) {
        let Some((_, pin)) = self.pins.iter().find(|(of, _)| *of == number) else { return };
        if masked {
            // SAFETY: nothing comes from the pin then.
            unsafe { self.io.disable_irq(*pin) };
        } else {
            // SAFETY: `enable` has set the pin's entry.
            unsafe { self.io.enable_irq(*pin) };
        }
    }

    /// The interrupt of `vector` has come, and is to be taken.
    pub(super) fn came(&mut self, vector: u8) {
        self.came = Some(vector);
    }

    /// Takes the interrupt that has come, if any.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        match self.came.take()? {
            TIMER_VECTOR => Some(self.time_has_come()),
            vector @ FIRST_VECTOR..=LAST_VECTOR => Some(Taken::Irq((vector - FIRST_VECTOR).into())),
            // A spurious one has nothing to be ended, but a message may have its vector; to end nothing does no harm.
            _ => Some(Taken::Nothing),
        }
    }

    /// The two clocks need not agree to the tick, and a long time comes in pieces.
    fn time_has_come(&mut self) -> Taken {
        match self.armed {
            Some(at) if self.now() < at => {
                self.arm(Some(at));
                Taken::Nothing
            }
            _ => Taken::Timer,
        }
    }

    /// Ends what [`Interrupts::take`] began.
    pub(crate) fn end(&mut self, _: Taken) {
        // SAFETY: an interrupt of this processor was taken and not ended yet.
        unsafe { self.local.end_of_interrupt() };
    }

    /// Waits until an interrupt has come.
    pub(crate) fn wait(&mut self) {
        let vector: u64;
        // SAFETY: the stub of an interrupt that comes here changes rax alone and masks the next. None can come between
        // the first two instructions.
        unsafe { asm!("sti", "hlt", "cli", out("rax") vector) };
        // An interrupt's vector is a byte.
        self.came = Some(vector as u8);
    }

    /// Ticks of the counter in a second.
    pub(crate) fn ticks_per_second(&self) -> u64 {
        self.counter_hz
    }

    /// Ticks of the counter.
    pub(crate) fn now(&self) -> u64 {
        // SAFETY: every processor with long mode has the counter.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// Lets the timer's interrupt come when the counter is at `at`, or no more.
    pub(crate) fn arm(&mut self, at: Option<u64>) {
        self.armed = at;
        let count = at.map_or(0, |at| {
            let left = u128::from(at.saturating_sub(self.now()));
            let count = left * u128::from(self.timer_hz) / u128::from(self.counter_hz) + 1;
            u32::try_from(count).unwrap_or(u32::MAX)
        });
        // SAFETY: the timer's vector has a stub; zero stops it.
        unsafe { self.local.set_timer_initial(count) };
    }
}
