//! Life and death of clients: what a supervisor asks for, what a successor claims, and what the server does by itself.

use core::fmt;

use iommu_core::{ClientId, MAX_UNITS, Progress, Refusal};
use iommu_hal::{Clock, Registers, SharedPage, TableMemory};
use iommu_protocol::{ClientIndex, Request, Status, VERSION, Words};

use crate::{
    requests::only_asks,
    seat::Peer,
    server::{Answer, Channels, Server, Step},
    status,
};

/// How long the server waits before it tries again what the hardware did not confirm.
pub const RETRY_NS: u64 = 100_000_000;

/// How often it tries in a row. After that a supervisor may have it try again.
pub const MAX_TRIES: u8 = 8;

/// A call that is under way and does not take the short way.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) client: ClientId,
    begin_ns: u64,
    /// Where the units' command queues stood.
    positions: [u32; MAX_UNITS],
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    /// Looks at a call that does not take the short way: that of a client which goes on, or the answer.
    #[cold]
    #[inline(never)]
    pub(crate) fn admit(&mut self, channel: u8, label: u64, words: &Words) -> Result<Aside, Answer> {
        let request =
            Request::decode(label, words).map_err(|error| Answer::refuse(status::of_message(error)))?;
        Err(match self.peers.get(usize::from(channel)) {
            Some(&Peer::Aside(client)) => return self.begin_aside(client, &request),
            Some(Peer::PciHost) => match request {
                Request::Version => Answer::ok([VERSION]),
                Request::IsAttached { stream } => {
                    Answer::ok([self.core.is_attached(iommu_hal::StreamId(stream)).into()])
                }
                Request::NextWithdrawn => {
                    let next = self.core.next_withdrawn();
                    Answer::ok(next.map_or([0, 0], |(stream, more)| [1 + u64::from(more), stream.0.into()]))
                }
                _ => Answer::refuse(Status::NotAllowed),
            },
            Some(&Peer::Supervisor(number)) => self.supervisor_call(number, request),
            _ => Answer::refuse(Status::NotAllowed),
        })
    }

    /// The call of a client that is held or being ended, or whose calls are measured.
    fn begin_aside(&mut self, client: ClientId, request: &Request) -> Result<Aside, Answer> {
        let seat = &self.roll.seats[client.number()];
        let claims = *request == Request::Claim && !seat.chores.ending;
        if seat.is_busy() && !only_asks(request) && !claims {
            return Err(Answer::refuse(Status::Busy));
        }
        let (begin_ns, positions) = (self.core.now_ns(), self.command_positions());
        Ok(Aside { client, begin_ns, positions })
    }

    /// Counts what was begun, and sees anew which way the client's calls take.
    #[cold]
    #[inline(never)]
    pub(crate) fn end_aside(&mut self, begun: &Aside, opcode: u64, status: Status) {
        if self.roll.seats[begun.client.number()].measured {
            let ns = self.core.now_ns().saturating_sub(begun.begin_ns);
            let commands = self.commands_since(begun.positions);
            self.roll.seats[begun.client.number()].counts.request(opcode, status, ns, commands);
        }
        self.refresh_peer(begun.client);
    }

    /// Sees anew which way `client`'s calls take.
    pub(crate) fn refresh_peer(&mut self, client: ClientId) {
        let seat = &self.roll.seats[client.number()];
        self.peers[usize::from(seat.channel)] =
            if seat.is_aside() { Peer::Aside(client) } else { Peer::Client(client) };
    }

    fn supervisor_call(&mut self, number: u8, request: Request) -> Answer {
        let answer = match request {
            Request::Version => Ok(Answer::ok([VERSION])),
            Request::Teardown { client } => self.ward(number, client, Self::teardown),
            Request::Hold { client, deadline_ms } => {
                self.ward(number, client, |server, client| server.hold(client, deadline_ms))
            }
            Request::Revoke { client, slot } => {
                self.ward(number, client, |server, client| server.revoke(client, slot.0))
            }
            Request::Regrant { client, slot } => self.ward(number, client, |server, client| {
                Ok(Answer::ok([server.core.regrant(client, slot.0)?.into()]))
            }),
            Request::Stats { group, client: Some(client) } => {
                self.ward(number, client, |server, client| server.stats(client, group))
            }
            _ => Ok(Answer::refuse(Status::NotAllowed)),
        };
        answer.unwrap_or_else(|refusal| Answer::refused(&refusal))
    }

    /// Does `step` for the client that the supervisor calls `index`.
    fn ward(
        &mut self,
        supervisor: u8,
        index: ClientIndex,
        step: impl FnOnce(&mut Self, ClientId) -> Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        let mut wards = self.roll.wards.iter().filter(|(of, _)| *of == supervisor);
        let client = wards.nth(index.0.into()).and_then(|(_, client)| ClientId::new((*client).into()));
        match client {
            Some(client) => step(self, client),
            None => Ok(Answer::refuse(Status::NoSuchClient)),
        }
    }

    fn teardown(&mut self, client: ClientId) -> Result<Answer, Refusal> {
        self.begin_ending(client);
        let result = self.step(client).map(|progress| {
            let more = self.roll.seats[client.number()].chores.ending;
            Answer::progress(Progress { more, ..progress })
        });
        let mut answer = self.tell_pci_host(result);
        self.wake_for(client, &mut answer.notify);
        Ok(answer)
    }

    fn hold(&mut self, client: ClientId, deadline_ms: u32) -> Result<Answer, Refusal> {
        let until = self.core.now_ns().saturating_add(u64::from(deadline_ms) * 1_000_000);
        let seat = &mut self.roll.seats[client.number()];
        if seat.chores.ending {
            return Err(Refusal::Busy);
        }
        seat.held_until_ns = Some(until);
        seat.chores.sweeping = true;
        (seat.chores.next_ns, seat.chores.failures) = (0, 0);
        self.core.begin_sweep(client);
        self.refresh_peer(client);
        let mut answer = Answer::ok([]);
        answer.notify.wake();
        Ok(answer)
    }

    fn revoke(&mut self, client: ClientId, slot: u16) -> Result<Answer, Refusal> {
        let result = self.core.revoke(client, slot);
        let unfinished =
            !matches!(&result, Ok((_, Progress { more: false, .. })) | Err(Refusal::NoSuchRegion(_)));
        let chores = &mut self.roll.seats[client.number()].chores;
        if unfinished {
            chores.revoking = true;
            (chores.next_ns, chores.failures) = (0, 0);
        }
        let mut answer = match result {
            Ok((generation, progress)) => Answer::progress(Progress { iova: generation.into(), ..progress }),
            Err(refusal) => Answer::refused(&refusal),
        };
        self.wake_for(client, &mut answer.notify);
        Ok(answer)
    }

    /// Takes over what is held for `client`, or for its partner.
    pub(crate) fn claim(&mut self, client: ClientId) -> Result<Answer, Refusal> {
        let held = |client: &ClientId| self.roll.seats[client.number()].held_until_ns.is_some();
        let partner = self.roll.seats[client.number()].partner;
        let Some(from) = [Some(client), partner].into_iter().flatten().find(held) else {
            return Ok(Answer::refuse(Status::NothingHeld));
        };
        // First what was left half done, so that all that is claimed is what it seems.
        let progress = match self.core.finish_revoking(from)? {
            Progress { more: false, .. } => self.core.sweep(from)?,
            progress => progress,
        };
        if progress.more {
            return Ok(Answer::progress(Progress { bytes: 0, ..progress }));
        }
        if from != client {
            self.core.hand_over(from, client)?;
        }
        let seat = &mut self.roll.seats[from.number()];
        seat.held_until_ns = None;
        seat.chores.sweeping = false;
        self.refresh_peer(from);
        self.show_stopped(client);
        let (spaces, devices) = self.core.holdings(client);
        Ok(Answer::ok([spaces, devices]))
    }

    /// Does one bounded step of what is to be done about clients, for one of them; says when there is more.
    pub(crate) fn chores(&mut self, step: &mut Step, log: &mut impl fmt::Write) {
        let now = self.core.now_ns();
        let count = self.roll.seats.len();
        let mut clients = (0..count).map(|turn| (self.turn + turn) % count).filter_map(ClientId::new);
        if let Some(client) = clients.find(|client| self.due(*client).is_some_and(|due| due <= now)) {
            self.turn = client.number() + 1;
            self.chore(client, now, &mut step.notify, log);
        }
        let now = self.core.now_ns();
        match (0..count).filter_map(ClientId::new).filter_map(|client| self.due(client)).min() {
            Some(due) if due <= now => step.more = true,
            Some(due) => step.deadline_ns = Some(due - now),
            None => {}
        }
    }

    /// When something is to be done about `client`.
    fn due(&self, client: ClientId) -> Option<u64> {
        let seat = &self.roll.seats[client.number()];
        let chores = seat.chores.any().then_some(seat.chores.next_ns).filter(|next| *next != u64::MAX);
        match (chores, seat.held_until_ns) {
            (Some(chores), Some(until)) => Some(chores.min(until)),
            (chores, until) => chores.or(until),
        }
    }

    fn chore(&mut self, client: ClientId, now: u64, notify: &mut Channels, log: &mut impl fmt::Write) {
        let number = client.number();
        let seat = &self.roll.seats[number];
        let supervisor = seat.supervisor;
        if seat.held_until_ns.is_some_and(|until| until <= now) {
            _ = writeln!(log, "client {number} was not claimed in time: what it has is ended");
            self.begin_ending(client);
        }
        let ended = self.roll.seats[number].chores.ending;
        match self.step(client) {
            Ok(_) if ended && !self.roll.seats[number].chores.ending => {
                supervisor.into_iter().for_each(|channel| notify.insert(channel));
            }
            Err(_) if self.roll.seats[number].chores.next_ns == u64::MAX => {
                _ = writeln!(
                    log,
                    "client {number}: the hardware does not confirm that its memory is out of reach, after {MAX_TRIES} tries; \
                     its devices stay aborted; a supervisor's teardown tries again"
                );
            }
            _ => {}
        }
        if let (true, Some(channel)) = (ended, self.pci_host) {
            notify.insert(channel);
        }
    }

    fn begin_ending(&mut self, client: ClientId) {
        let seat = &mut self.roll.seats[client.number()];
        seat.held_until_ns = None;
        seat.chores.ending = true;
        (seat.chores.next_ns, seat.chores.failures) = (0, 0);
        self.refresh_peer(client);
    }

    /// One bounded step of the first thing that is to be done about `client`.
    fn step(&mut self, client: ClientId) -> Result<Progress, Refusal> {
        let chores = self.roll.seats[client.number()].chores;
        let result = if chores.ending {
            let progress = self.core.reset(client);
            self.show_stopped(client);
            progress
        } else if chores.revoking {
            self.core.finish_revoking(client)
        } else {
            self.core.sweep(client)
        };
        let retry = self.core.now_ns().saturating_add(RETRY_NS);
        let after = &mut self.roll.seats[client.number()].chores;
        match &result {
            Ok(progress) => {
                (after.next_ns, after.failures) = (0, 0);
                if !progress.more {
                    match (chores.ending, chores.revoking) {
                        // Nothing is left of what was half done or withdrawn either.
                        (true, _) => (after.ending, after.sweeping, after.revoking) = (false, false, false),
                        (false, true) => after.revoking = false,
                        (false, false) => after.sweeping = false,
                    }
                }
            }
            Err(_) => {
                after.failures += 1;
                after.next_ns = if after.failures < MAX_TRIES { retry } else { u64::MAX };
            }
        }
        self.refresh_peer(client);
        result
    }

    /// Has the server called again where there is more to do about `client`.
    fn wake_for(&self, client: ClientId, notify: &mut Channels) {
        if self.due(client).is_some() {
            notify.wake();
        }
    }
}
