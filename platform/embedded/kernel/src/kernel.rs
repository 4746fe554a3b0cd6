//! The state of the system, and what happens to it from outside.

use embedded_image::{Image, MAX_PDS, config};

use crate::caps::{Caps, Routes, SetupError};
use crate::domain::{Domain, State};
use crate::machine::{Cause, Machine, PdSet};
use crate::ports::{self, Ranges};
use crate::schedule::Scheduler;

/// Highest priority of a PD, as in Microkit.
pub const MAX_PRIORITY: u8 = 254;

/// Label of an interrupt's acknowledgement in a debug kernel and in the others (seL4 16.0.0).
const ACKNOWLEDGE_DEBUG: u64 = 31;
const ACKNOWLEDGE_RELEASE: u64 = 27;

/// The time slice that the machine's timer is armed for.
#[derive(Debug, Clone, Copy)]
struct Slice {
    context: usize,
    end: u64,
}

/// The neutral core of the kernel: all PDs and what they do to each other.
///
/// The machine calls [`Kernel::start`] once, then [`Kernel::system_call`], [`Kernel::interrupt`], [`Kernel::tick`] or [`Kernel::stop`] when it
/// takes an exception, and then runs [`Kernel::current`].
#[derive(Debug)]
pub struct Kernel {
    /// By index in the image; behind the last, domains that never run.
    pub(crate) domains: [Domain; MAX_PDS],
    pub(crate) caps: heapless::Vec<Caps, MAX_PDS>,
    pub(crate) scheduler: Scheduler,
    pub(crate) routes: Routes,
    current: Option<usize>,
    slice: Option<Slice>,
    pub(crate) acknowledge_label: u64,
    /// The I/O ports that PDs use.
    pub(crate) ports: Ranges,
    /// The first label of their invocations.
    pub(crate) ports_label: u64,
    pub(crate) prints: bool,
}

impl Kernel {
    /// The system that `image` describes, before [`Kernel::start`]; `ticks_per_second` is the machine's counter frequency.
    ///
    /// # Errors
    /// [`SetupError`] names the first contradiction in the image's tables.
    pub fn new(image: &Image<'_>, ticks_per_second: u64) -> Result<Self, SetupError> {
        let debug = match image.header.config {
            config::DEBUG => true,
            config::RELEASE | config::BENCHMARK => false,
            other => return Err(SetupError::UnknownConfig(other)),
        };
        let ports = ports::ranges(image)?;
        let (caps, routes) = Caps::of_image(image)?;
        let (scheduler, ranks) = Scheduler::new(image.pds);
        let mut domains = [const { Domain::absent() }; MAX_PDS];
        for (index, (domain, pd)) in domains.iter_mut().zip(image.pds).enumerate() {
            if pd.priority > MAX_PRIORITY {
                return Err(SetupError::PriorityTooHigh { pd: index, priority: pd.priority });
            }
            let ticks = u128::from(pd.budget_us) * u128::from(ticks_per_second) / 1_000_000;
            let budget = u64::try_from(ticks).unwrap_or(u64::MAX).max(1);
            let takes_calls = caps[index].takes_calls;
            *domain = Domain::new(index, ranks[index], pd.priority, budget, takes_calls);
        }
        Ok(Self {
            domains,
            caps,
            scheduler,
            routes,
            current: None,
            slice: None,
            acknowledge_label: if debug { ACKNOWLEDGE_DEBUG } else { ACKNOWLEDGE_RELEASE },
            ports,
            ports_label: if debug { ports::FIRST_LABEL_DEBUG } else { ports::FIRST_LABEL_RELEASE },
            prints: debug,
        })
    }

    /// Lets the PDs run.
    pub fn start<M: Machine>(&mut self, machine: &mut M) {
        self.settle(machine);
    }

    /// The PD that is to run now; none: all are blocked.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// An interrupt has come: the machine holds it back until its PD has acknowledged it.
    pub fn interrupt<M: Machine>(&mut self, machine: &mut M, number: u32) {
        machine.mask(number, true);
        if let Some(route) = self.routes.iter().find(|route| route.number == number).copied() {
            self.signal(machine, route.pd, route.badge);
        }
        self.settle(machine);
    }

    /// The time that the machine was armed for has come.
    pub fn tick<M: Machine>(&mut self, machine: &mut M) {
        if let (Some(slice), Some(current)) = (self.slice, self.current)
            && machine.now() >= slice.end
        {
            self.end_turn(current);
        }
        if self.slice.is_none() {
            machine.arm(None);
        }
        self.settle(machine);
    }

    /// Stops the PD that runs: until its parent lets it go on, or for good if it has none.
    pub fn stop<M: Machine>(&mut self, machine: &mut M, cause: Cause) {
        if let Some(current) = self.current {
            self.stop_pd(machine, current, cause);
        }
        self.settle(machine);
    }

    pub(crate) fn stop_pd<M: Machine>(&mut self, machine: &mut M, pd: usize, cause: Cause) {
        if let Some((parent, badge)) = self.caps[pd].parent {
            self.note_fault(machine, pd, cause);
            self.send_fault(machine, pd, parent, badge);
            return;
        }
        self.set_state(pd, State::Stopped);
        let waiting = self.domains.iter().enumerate().filter(|(_, other)| match other.state {
            State::AwaitingReply { from } => from == pd,
            State::Sending { to, .. } => to == pd,
            _ => false,
        });
        let waiting = waiting.fold(0, |set: PdSet, (other, _)| set | 1 << other);
        machine.report(pd, cause, waiting);
    }

    /// Ends the turn of `pd`, which runs, and gives its scheduling context a whole budget again.
    pub(crate) fn end_turn(&mut self, pd: usize) {
        self.scheduler.end_turn(self.domains[pd].rank);
        if let Some(context) = self.domains[pd].runs_on {
            self.domains[context].left = self.domains[context].budget;
            self.slice = self.slice.filter(|slice| slice.context != context);
        }
    }

    /// Chooses who runs, and measures its time if others wait for it to end.
    pub(crate) fn settle<M: Machine>(&mut self, machine: &mut M) {
        let choice = self.scheduler.choose();
        self.current = choice.map(|(pd, _)| pd);
        let measured = match choice {
            Some((pd, true)) => self.domains[pd].runs_on,
            _ => None,
        };
        if self.slice.map(|slice| slice.context) == measured {
            return;
        }
        let now = machine.now();
        if let Some(slice) = self.slice.take() {
            self.domains[slice.context].left = slice.end.saturating_sub(now);
        }
        self.slice = measured.map(|context| {
            let domain = &mut self.domains[context];
            if domain.left == 0 {
                domain.left = domain.budget;
            }
            Slice { context, end: now.saturating_add(domain.left) }
        });
        machine.arm(self.slice.map(|slice| slice.end));
    }

    /// Lets `pd` do something else.
    #[inline(always)]
    pub(crate) fn set_state(&mut self, pd: usize, state: State) {
        let domain = &mut self.domains[pd];
        domain.state = state;
        if state == State::Running {
            self.scheduler.running |= domain.bit();
        } else {
            self.scheduler.running &= !domain.bit();
        }
    }

    /// Lets `pd` run on another scheduling context or on none.
    #[inline(always)]
    pub(crate) fn set_context(&mut self, pd: usize, context: Option<usize>) {
        let domain = &mut self.domains[pd];
        domain.runs_on = context;
        if context.is_some() {
            self.scheduler.funded |= domain.bit();
        } else {
            self.scheduler.funded &= !domain.bit();
        }
    }
}
