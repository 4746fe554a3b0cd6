//! The server: dispatch of requests, and the work that interrupts bring.

use core::fmt;

use heapless::Vec;
use iommu_core::{ClientId, Core, MapRequest, Progress, Refusal, SpaceId};
use iommu_hal::{Clock, Registers, Rights, SharedPage, StreamId, TableMemory};
use iommu_protocol::{DeviceIndex, RegionSlot, Request, Status, VERSION, Words};

use crate::{
    backend::AnyUnit,
    faults::{Burst, RingWriter},
    policy::{MAX_CHANNEL, MAX_CLIENTS},
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
    fn ok<const N: usize>(words: [u64; N]) -> Self {
        Self { status: Status::Ok, words: Words::new(words), notify: Channels::NONE }
    }

    fn refuse(status: Status) -> Self {
        Self { status, words: Words::new([]), notify: Channels::NONE }
    }

    #[inline]
    fn progress(progress: Progress) -> Self {
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
}

/// One client, as the server sees it: a channel and a ring.
#[derive(Debug)]
pub(crate) struct Seat<P> {
    pub(crate) channel: u8,
    pub(crate) ring: Option<RingWriter<P>>,
}

/// Who is behind a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Nobody,
    Client(ClientId),
    PciHost,
}

/// The IOMMU server over registers `R`, table memory `M`, clock `C` and fault ring pages `P`.
#[derive(Debug)]
pub struct Server<'a, R, M, C, P> {
    pub(crate) core: Core<'a, AnyUnit<R>, M, C>,
    pub(crate) units: usize,
    pub(crate) seats: Vec<Seat<P>, MAX_CLIENTS>,
    pub(crate) peers: [Peer; MAX_CHANNEL as usize + 1],
    pub(crate) pci_host: Option<u8>,
    /// Fault records of devices that nobody owns.
    pub(crate) unowned: u64,
    /// Fault records that the hardware dropped, as last told to the clients.
    pub(crate) lost: u64,
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    /// Answers the call with `label` and `words` that came in on `channel`.
    #[inline]
    pub fn call(&mut self, channel: u8, label: u64, words: &Words) -> Answer {
        let request = match Request::decode(label, words) {
            Ok(request) => request,
            Err(error) => return Answer::refuse(status::of_message(error)),
        };
        match self.peers.get(usize::from(channel)) {
            Some(&Peer::Client(client)) => match self.request(client, request) {
                Ok(answer) => answer,
                Err(refusal) => Answer::refuse(status::of_refusal(&refusal)),
            },
            Some(Peer::PciHost) => match request {
                Request::Version => Answer::ok([VERSION]),
                Request::IsAttached { stream } => {
                    Answer::ok([self.core.is_attached(StreamId(stream)).into()])
                }
                _ => Answer::refuse(Status::NotAllowed),
            },
            Some(Peer::Nobody) | None => Answer::refuse(Status::NotAllowed),
        }
    }

    #[inline]
    fn request(&mut self, client: ClientId, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Map { space, slot, generation, flags, iova, offset, length } => self
                .core
                .map(
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
                )
                .map(Answer::progress),
            Request::Unmap { space, first, last } => {
                self.core.unmap(client, SpaceId(space.0), first, last).map(Answer::progress)
            }
            other => self.rare_request(client, other),
        }
    }

    /// The requests that are not on the hot path.
    #[inline(never)]
    fn rare_request(&mut self, client: ClientId, request: Request) -> Result<Answer, Refusal> {
        let core = &mut self.core;
        Ok(match request {
            Request::Version => Answer::ok([VERSION]),
            Request::IoasAlloc => {
                let (space, geometry) = core.ioas_alloc(client)?;
                Answer::ok([space.0.into(), geometry.aperture().last(), geometry.page_sizes])
            }
            Request::IoasDestroy { space } => Answer::progress(core.ioas_destroy(client, SpaceId(space.0))?),
            Request::Attach { space, device } => {
                core.attach(client, SpaceId(space.0), device.0)?;
                Answer::ok([])
            }
            Request::Replace { space, device } => {
                core.replace(client, SpaceId(space.0), device.0)?;
                Answer::ok([])
            }
            Request::Detach { device: DeviceIndex(device) } => {
                let detached = core.detach(client, device).map(|()| Answer::ok([]));
                self.tell_pci_host(detached)
            }
            Request::Reset => {
                let progress = core.reset(client).map(Answer::progress);
                self.tell_pci_host(progress)
            }
            Request::RegionInfo { slot: RegionSlot(slot) } => {
                let info = core.region_info(client, slot)?;
                let rights = u64::from(info.rights.read) | u64::from(info.rights.write) << 1;
                Answer::ok([rights | u64::from(info.generation) << 16, info.bytes])
            }
            Request::DeviceInfo { device: DeviceIndex(device) } => {
                let info = core.device_info(client, device)?;
                let space = info.space.map_or(0, |space| space.0);
                Answer::ok([info.stream.0.into(), info.space.is_some().into(), space.into()])
            }
            // The PCI host's alone; MAP and UNMAP do not come here.
            _ => Answer::refuse(Status::NotAllowed),
        })
    }

    /// The PCI host withdraws bus mastering from what is no longer attached; most of all where the hardware did
    /// not confirm that it stops the device.
    fn tell_pci_host(&self, result: Result<Answer, Refusal>) -> Answer {
        let mut answer = result.unwrap_or_else(|refusal| Answer::refuse(status::of_refusal(&refusal)));
        let changed = matches!(
            answer.status,
            Status::Ok | Status::Again | Status::HardwareTimeout | Status::HardwareFailed
        );
        if let (true, Some(channel)) = (changed, self.pci_host) {
            answer.notify.insert(channel);
        }
        answer
    }

    /// Does what an interrupt of a unit, or the timer, asks for: acknowledges global errors, brings fault records
    /// to their owners. Bounded by [`MAX_FAULTS_PER_STEP`] for each unit. What a person should know goes to
    /// `log`.
    pub fn work(&mut self, log: &mut impl fmt::Write) -> Step {
        let mut step = Step { notify: Channels::NONE, more: false };
        let mut lost = 0;
        for unit in 0..self.units {
            if let Some((backend, memory, clock)) = self.core.unit(unit) {
                let trouble = backend.service_errors(memory, clock);
                lost += trouble.faults_lost;
                if trouble.out_of_order && trouble.any {
                    // Nothing is left to try when the log fails.
                    _ = writeln!(log, "unit {unit} is out of order: all its devices are aborted");
                }
            }
            step.more |= self.deliver_faults(unit, &mut step.notify, log);
        }
        if lost != self.lost {
            self.lost = lost;
            for seat in &mut self.seats {
                if let Some(ring) = &mut seat.ring {
                    ring.set_lost(lost);
                    step.notify.insert(seat.channel);
                }
            }
        }
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

    fn deliver(
        &mut self,
        unit: usize,
        burst: Option<Burst>,
        notify: &mut Channels,
        log: &mut impl fmt::Write,
    ) {
        let Some(burst) = burst else { return };
        let owner = self.core.owner_of(unit, burst.stream());
        let seat = owner.and_then(|(client, device)| Some((self.seats.get_mut(client.number())?, device)));
        match seat {
            Some((Seat { channel, ring: Some(ring) }, device)) => {
                ring.push(&burst.record(device));
                notify.insert(*channel);
            }
            _ => {
                let before = self.unowned;
                self.unowned += burst.count();
                // One line for the first, then at every doubling: a device that nobody owns cannot flood the log.
                if before.leading_zeros() != self.unowned.leading_zeros() {
                    let (stream, count) = (burst.stream().0, self.unowned);
                    _ = writeln!(
                        log,
                        "stopped {count} accesses that nobody reads of, last of stream {stream:#x}"
                    );
                }
            }
        }
    }
}
