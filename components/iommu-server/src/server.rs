//! The server: dispatch of requests, and the work that interrupts bring.

use core::fmt;

use heapless::Vec;
use iommu_core::{ClientId, Core, MapRequest, Progress, Refusal, SpaceId};
use iommu_hal::{Clock, Registers, Rights, SharedPage, TableMemory};
use iommu_protocol::{Request, Status, Words};

use crate::{
    backend::AnyUnit,
    faults::{Burst, RingWriter},
    policy::{MAX_CHANNEL, MAX_CLIENTS},
    seat::{Peer, Roll},
    status,
};

/// Fault records that one [`Server::work`] reads of one unit at most; what is left is for the next.
pub const MAX_FAULTS_PER_STEP: usize = 256;

/// A set of channels, as a bit mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels(u64);

impl Channels {
    /// No channel.
    pub const NONE: Self = Self(0);

    /// What [`Channels`] yields in the place of a channel where [`Server::work`] is to be called, soon: a request
    /// left something to be done. It needs no timer of its own: see [`Step`].
    pub const WAKE: u8 = 63;

    /// Adds [`Channels::WAKE`].
    pub const fn wake(&mut self) {
        self.0 |= 1 << Self::WAKE;
    }

    /// Adds `channel`.
    pub const fn insert(&mut self, channel: u8) {
        assert!(channel <= MAX_CHANNEL);
        self.0 |= 1 << channel;
    }
}

impl Iterator for Channels {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let channel = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (channel < 64).then_some(channel as u8)
    }
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The reply's label.
    pub status: Status,
    /// The reply's words.
    pub words: Words,
    /// Whom to signal.
    pub notify: Channels,
}

impl Answer {
    #[inline]
    pub(crate) fn ok<const N: usize>(words: [u64; N]) -> Self {
        Self { status: Status::Ok, words: Words::new(words), notify: Channels::NONE }
    }

    pub(crate) fn refuse(status: Status) -> Self {
        Self { status, words: Words::new([]), notify: Channels::NONE }
    }

    /// The answer to what the core refuses. Of hardware that failed a person should hear: [`Server::work`] says so.
    #[cold]
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        let mut answer = Self::refuse(status::of_refusal(refusal));
        if matches!(refusal, Refusal::HardwareTimeout { .. } | Refusal::HardwareFailed(_)) {
            answer.notify.wake();
        }
        answer
    }

    #[inline]
    pub(crate) fn progress(progress: Progress) -> Self {
        let status = if progress.more { Status::Again } else { Status::Ok };
        Self { status, ..Self::ok([progress.iova, progress.bytes]) }
    }
}

/// What [`Server::work`] leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whom to signal.
    pub notify: Channels,
    /// There may be more: call again, soon but after others had their turn.
    pub more: bool,
    /// Call again after as many nanoseconds; earlier does no harm.
    pub deadline_ns: Option<u64>,
}

/// The IOMMU server over registers `R`, table memory `M`, clock `C` and fault ring pages `P`.
#[derive(Debug)]
pub struct Server<'a, R, M, C, P> {
    pub(crate) core: Core<'a, AnyUnit<R>, M, C>,
    pub(crate) units: usize,
    /// The clients' fault rings.
    pub(crate) rings: Vec<Option<RingWriter<P>>, MAX_CLIENTS>,
    pub(crate) roll: &'a mut Roll,
    pub(crate) peers: [Peer; MAX_CHANNEL as usize + 1],
    pub(crate) pci_host: Option<u8>,
    /// Fault records of devices that nobody owns.
    pub(crate) unowned: u64,
    /// Fault records that the hardware dropped, as last told to the clients.
    pub(crate) lost: u64,
    /// Global errors as last seen.
    pub(crate) errors_told: u64,
    /// Units that are known to be out of order, as a bit mask.
    pub(crate) given_up: u8,
    /// The client whose turn it is.
    pub(crate) turn: usize,
    pub(crate) timer_line: Option<u32>,
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    /// Answers the call with `label` and `words` that came in on `channel`.
    #[inline(always)] // Into its one caller: handing words and answer over costs as much as a tenth of a MAP.
    pub fn call(&mut self, channel: u8, label: u64, words: &Words) -> Answer {
        let mut aside = None;
        let client = match self.peers.get(usize::from(channel)) {
            Some(&Peer::Client(client)) => client,
            _ => match self.admit(channel, label, words) {
                Ok(begun) => aside.insert(begun).client,
                Err(answer) => return answer,
            },
        };
        let answer = match Request::decode(label, words) {
            Ok(request) => self.request(client, request),
            Err(error) => Answer::refuse(status::of_message(error)),
        };
        if let Some(begun) = aside {
            self.end_aside(&begun, label, answer.status);
        }
        answer
    }

    #[inline(always)]
    fn request(&mut self, client: ClientId, request: Request) -> Answer {
        let progress = match request {
            Request::Map { space, slot, generation, flags, iova, offset, length } => self.core.map(
                client,
                &MapRequest {
                    space: SpaceId(space.0),
                    slot: slot.0,
                    generation,
                    rights: Rights { read: flags.read, write: flags.write },
                    fixed: flags.fixed,
                    resume: flags.resume,
                    iova,
                    offset,
                    length,
                },
            ),
            Request::Unmap { space, first, last } => self.core.unmap(client, SpaceId(space.0), first, last),
            other => {
                let answer = self.rare_request(client, other);
                return answer.unwrap_or_else(|refusal| Answer::refused(&refusal));
            }
        };
        match progress {
            Ok(progress) => Answer::progress(progress),
            Err(refusal) => Answer::refused(&refusal),
        }
    }

    /// The interrupt line that the timer is to raise, if there is a choice.
    pub const fn timer_line(&self) -> Option<u32> {
        self.timer_line
    }

    /// How many table frames there are, and how many of them are free.
    pub fn frame_counts(&self) -> (u32, u32) {
        self.core.frame_counts()
    }

    /// Does what an interrupt of a unit, or the timer, asks for: acknowledges global errors, brings fault records
    /// to their owners, and does one bounded step of what is to be done about clients: those that are ended, held,
    /// or have a grant withdrawn. Bounded by [`MAX_FAULTS_PER_STEP`] for each unit and by what one request may
    /// do. What a person should know goes to `log`.
    pub fn work(&mut self, log: &mut impl fmt::Write) -> Step {
        let mut step = Step { notify: Channels::NONE, more: false, deadline_ns: None };
        let mut lost = 0;
        for unit in 0..self.units {
            if let Some((backend, memory, clock)) = self.core.unit(unit)
                && backend.service_errors(memory, clock)
                && self.given_up & 1 << unit == 0
            {
                self.given_up |= 1 << unit;
                // Nothing is left to try when the log fails.
                _ = writeln!(
                    log,
                    "unit {unit} is out of order: it failed, or did not answer within its deadline; all its \
                     devices are aborted, as far as it still obeys, until the system is started anew"
                );
            }
            step.more |= self.deliver_faults(unit, &mut step.notify, log);
            // A unit may say so only once its records are out.
            lost += self.core.unit(unit).map_or(0, |(backend, ..)| backend.faults_lost());
        }
        let errors = self.errors().iter().sum::<u64>();
        // One line for the first, then at every doubling.
        if errors.leading_zeros() != self.errors_told.leading_zeros() {
            let now = if self.given_up == 0 { "they are repaired" } else { "not all could be repaired" };
            _ = writeln!(log, "the units reported {errors} errors so far; {now}, and STATS has them by kind");
        }
        self.errors_told = errors;
        if lost != self.lost {
            self.lost = lost;
            for (seat, ring) in self.roll.seats.iter().zip(&mut self.rings) {
                if let Some(ring) = ring {
                    ring.set_lost(lost);
                    step.notify.insert(seat.channel);
                }
            }
        }
        self.chores(&mut step, log);
        step
    }

    /// Whether there may be more.
    fn deliver_faults(&mut self, unit: usize, notify: &mut Channels, log: &mut impl fmt::Write) -> bool {
        let mut burst: Option<Burst> = None;
        for _ in 0..MAX_FAULTS_PER_STEP {
            let Some(fault) = self.core.next_fault(unit) else {
                self.deliver(unit, burst, notify, log);
                return false;
            };
            if burst.as_mut().is_some_and(|burst| burst.absorb(&fault)) {
                continue;
            }
            let time_ns = self.core.unit(unit).map_or(0, |(_, _, clock)| clock.now_ns());
            self.deliver(unit, burst.replace(Burst::new(fault, time_ns)), notify, log);
        }
        self.deliver(unit, burst, notify, log);
        true
    }
}
