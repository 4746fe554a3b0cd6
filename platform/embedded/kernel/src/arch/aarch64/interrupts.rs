//! The interrupt controller, a GICv2, and the timer.
#![allow(unsafe_code, reason = "the interrupt controller's registers")]

use core::fmt;

use aarch64_cpu::asm::{barrier, wfi};
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable};
use arm_gic::gicv2::GicV2;
use arm_gic::{IntId, InterruptGroup, Trigger};
use embedded_image::{Irq, source};

use super::memory::{GIC_CPU, GIC_DISTRIBUTOR, kernel_address};
use crate::arch::Taken;

/// The kernel's own interrupt: the virtual timer.
const TIMER: u32 = 27;

/// First interrupt of the peripherals, and first that is not for software.
const FIRST_SHARED: u32 = 32;
const FIRST_PRIVATE: u32 = 16;

/// The group of all interrupts on a GIC without security extensions.
const GROUP: InterruptGroup = InterruptGroup::Group0;

/// An interrupt, by number, that this board does not have or give to PDs.
#[derive(Debug)]
pub(crate) struct BadIrq(u32);

impl fmt::Display for BadIrq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupt {} is not there, or not for protection domains", self.0)
    }
}

/// The interrupt controller and the timer.
pub(crate) struct Interrupts {
    gic: GicV2<'static>,
}

impl Interrupts {
    /// All interrupts off but the timer's.
    pub(crate) fn new() -> Result<Self, BadIrq> {
        let distributor = core::ptr::with_exposed_provenance_mut(kernel_address(GIC_DISTRIBUTOR));
        let cpu = core::ptr::with_exposed_provenance_mut(kernel_address(GIC_CPU));
        // SAFETY: the GIC's two register frames, mapped as device memory, and nobody else's.
        let mut gic = unsafe { GicV2::new(distributor, cpu) };
        gic.enable_all_interrupts(false);
        gic.setup();
        let mut new = Self { gic };
        new.let_through(TIMER, Trigger::Level)?;
        Ok(new)
    }

    /// Lets an interrupt of the image come.
    pub(crate) fn enable(&mut self, irq: &Irq) -> Result<(), BadIrq> {
        if irq.number == TIMER || irq.source != source::LINE {
            return Err(BadIrq(irq.number));
        }
        self.let_through(irq.number, if irq.edge != 0 { Trigger::Edge } else { Trigger::Level })
    }

    fn let_through(&mut self, number: u32, trigger: Trigger) -> Result<(), BadIrq> {
        let id = irq_id(number).filter(|_| number < self.gic.typer().num_irqs()).ok_or(BadIrq(number))?;
        self.gic.set_trigger(id, trigger);
        self.gic.enable_interrupt(id, true).map_err(|_| BadIrq(number))
    }

    /// Lets an interrupt through or holds it back.
    pub(crate) fn mask(&mut self, number: u32, masked: bool) {
        if let Some(id) = irq_id(number) {
            // `enable` has tried that it can be enabled.
            let _ = self.gic.enable_interrupt(id, !masked);
        }
    }

    /// Takes the interrupt that is pending, if any.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let id = u32::from(self.gic.get_and_acknowledge_interrupt(GROUP)?);
        Some(if id == TIMER { Taken::Timer } else { Taken::Irq(id) })
    }

    /// Ends what [`Interrupts::take`] began.
    pub(crate) fn end(&mut self, taken: Taken) {
        let number = match taken {
            Taken::Timer => TIMER,
            Taken::Irq(number) => number,
            Taken::Nothing => return,
        };
        if let Some(id) = irq_id(number) {
            self.gic.end_interrupt(id, GROUP);
        }
    }

    /// Waits until an interrupt is pending, although it is masked.
    pub(crate) fn wait(&mut self) {
        wfi();
    }

    /// Ticks of the counter in a second.
    pub(crate) fn ticks_per_second(&self) -> u64 {
        CNTFRQ_EL0.get()
    }

    /// Ticks of the counter.
    pub(crate) fn now(&self) -> u64 {
        barrier::isb(barrier::SY);
        CNTVCT_EL0.get()
    }

    /// Lets the timer's interrupt come when the counter is at `at`, or no more.
    pub(crate) fn arm(&mut self, at: Option<u64>) {
        match at {
            Some(at) => {
                CNTV_CVAL_EL0.set(at);
                CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
            }
            None => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR),
        }
        barrier::isb(barrier::SY);
    }
}

fn irq_id(number: u32) -> Option<IntId> {
    match number {
        FIRST_PRIVATE..FIRST_SHARED => Some(IntId::ppi(number - FIRST_PRIVATE)),
        _ => number.checked_sub(FIRST_SHARED).filter(|&shared| shared < IntId::MAX_SPI_COUNT).map(IntId::spi),
    }
}
