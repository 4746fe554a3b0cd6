//! Lives of three clients under a supervisor, each request compared with what is expected; on hardware that may refuse
//! commands.

use std::{cell::Cell, rc::Rc};

use iommu_hal::StreamId;
use iommu_protocol::{MapFlags, RegionSlot, Request, SpaceId, Status};
use iommu_server::policy::{ClientEntry, GrantEntry, RIGHT_READ, RIGHT_WRITE, WardEntry};

use crate::{
    bench::{
        ALICE, ALICES_CONSTANTS, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY,
        CONSTANTS_BYTES, MEMORY_BYTES, PolicyParts, Unit, World,
    },
    expected::{Client, Device, Expected, Grant, Life, State, supervise, ward},
};

/// Bob's successor.
pub const CAROL: u8 = 3;
pub const SECOND_DEVICE: StreamId = StreamId(0x11);
/// An SMMUv3's name for a command that it does not know (CMDQ_CONS.ERR).
const ILLEGAL: u8 = 1;
pub const CHANNELS: [u8; 3] = [ALICE, BOB, CAROL];

#[derive(Debug, Clone)]
pub enum Op {
    /// A request of the client's, with its present generation where that is 1.
    Ask(Request),
    /// Goes on with the half-filled mapping at this place among all.
    Resume(usize),
    Claim,
    Teardown,
    Hold,
    Revoke(u16),
    Regrant(u16),
    /// The server goes on by itself, once.
    Work,
    /// So late that nobody claims any more.
    Expire,
}

/// A command that the hardware refuses, counted from here, and another one after that.
pub type Refused = Option<(u32, u32)>;

fn policy(p: &mut PolicyParts, change: impl FnOnce(&mut PolicyParts)) {
    let grant =
        |client, region, bytes, rights| GrantEntry { bytes, client, region, rights, reserved: [0; 5] };
    p.device(0, SECOND_DEVICE.0);
    // Bob may read Alice's constants too, and Carol what Bob may.
    p.grants.push(grant(1, 1, CONSTANTS_BYTES, RIGHT_READ));
    p.clients.push(ClientEntry {
        fault_ring_vaddr: 0,
        channel: CAROL,
        predecessor: 1,
        areas: 12,
        frames: 24,
        ..p.clients[1]
    });
    p.grants.push(grant(2, 2, MEMORY_BYTES, RIGHT_READ | RIGHT_WRITE));
    p.grants.push(grant(2, 1, CONSTANTS_BYTES, RIGHT_READ));
    (p.clients[1].areas, p.clients[1].frames) = (16, 28);
    p.wards = (0..3).map(|client| WardEntry { supervisor: 0, client, reserved: [0; 6] }).collect();
    change(p);
}

pub struct Lives {
    pub world: World,
    pub expected: Expected,
    /// The hardware may refuse any command, not only those of the request that it was armed for.
    standing: bool,
    /// The refusal that comes after the next one.
    second: Rc<Cell<Option<u32>>>,
    /// Requests that were refused as their client's quota was used up.
    pub over_quota: u32,
    /// There may be no memory, though the quota says so.
    pub scarce: bool,
    /// Requests that were refused for that.
    pub out_of_memory: u32,
    charged_most: [(u64, u64); 3],
}

pub fn begin(unit: &Unit, change: impl FnOnce(&mut PolicyParts)) -> Lives {
    let mut world = World::changed(unit, |p| policy(p, change));
    let grant =
        |base, bytes, write| Grant { base, bytes, read: true, write, generation: 1, withdrawn: false };
    let device = |stream| Device { stream, at: None, unsure: None };
    let client = |channel, devices: &[StreamId], memory, partner| Client {
        channel,
        spaces: Default::default(),
        devices: devices.iter().copied().map(device).collect(),
        grants: vec![grant(memory, MEMORY_BYTES, true), grant(ALICES_CONSTANTS, CONSTANTS_BYTES, false)],
        life: Life::Free,
        partner,
    };
    let space = world.ok(ALICE, Request::IoasAlloc);
    let mut expected = Expected {
        clients: vec![
            client(ALICE, &[ALICES_DEVICE, SECOND_DEVICE], ALICES_MEMORY, None),
            client(BOB, &[BOBS_DEVICE], BOBS_MEMORY, Some(2)),
            client(CAROL, &[], BOBS_MEMORY, Some(1)),
        ],
        aperture: space.get(1),
        reserved: world.facts.reserved,
        write_only: world.facts.write_only,
    };
    expected.granted(ALICE, &Request::IoasAlloc, false, [space.get(0), 0]);
    let charged_most = CHANNELS.map(|channel| {
        let words = world.ok(channel, Request::Stats { group: iommu_protocol::stats::MEMORY, client: None });
        (words.get(1), words.get(3))
    });
    Lives {
        world,
        expected,
        standing: false,
        second: Rc::default(),
        over_quota: 0,
        scarce: false,
        out_of_memory: 0,
        charged_most,
    }
}

/// Whether the hardware failed, as a status.
fn unconfirmed(status: Status) -> bool {
    matches!(status, Status::HardwareTimeout | Status::HardwareFailed)
}

impl Lives {
    /// Has the hardware refuse command number `first` from here on, and number `second` after that one, if there is to be
    /// another.
    fn arm(&mut self, first: u32, second: Option<u32>) {
        self.world.bench.refuse_command(first, ILLEGAL);
        let bench = Rc::clone(&self.world.bench);
        self.second.set(second);
        let left = Rc::clone(&self.second);
        self.world.bench.meanwhile(move || {
            if let (false, Some(second)) = (bench.will_refuse(), left.get()) {
                bench.refuse_command(second, ILLEGAL);
                left.set(None);
            }
        });
    }

    /// As [`Lives::arm`], for whichever request it is that comes so far.
    pub fn arm_all(&mut self, first: u32, second: Option<u32>) {
        self.arm(first, second);
        self.standing = true;
    }

    /// Whether one refusal of two is behind, and whether all are.
    pub fn has_met(&self) -> (bool, bool) {
        let next = self.world.bench.will_refuse();
        let second = self.second.get().is_some();
        (!next || !second, !next && !second)
    }

    /// Whether a refusal is still to come.
    pub fn disarm(&mut self) -> bool {
        self.standing = false;
        self.second.set(None);
        self.world.bench.meanwhile_nothing();
        self.world.bench.refuse_nothing()
    }

    /// Does `step` on hardware that refuses what it is to refuse; whether it may have.
    fn while_armed<T>(&mut self, refused: Refused, step: impl FnOnce(&mut World) -> T) -> (T, bool) {
        if let (Some((first, second)), false) = (refused, self.standing) {
            self.arm(first, Some(second));
        }
        let done = step(&mut self.world);
        let may_fail = self.standing || refused.is_some();
        if !self.standing {
            self.disarm();
        }
        (done, may_fail)
    }

    /// Whether a refusal for lack of memory is true.
    fn short(&mut self, index: usize, status: Status, request: &Request) -> bool {
        let (areas, frames) = self.world.charged(CHANNELS[index]);
        let (most_areas, most_frames) = self.charged_most[index];
        let (more_areas, more_frames) = match *request {
            Request::IoasAlloc => {
                return status == Status::QuotaExceeded
                    && (frames == most_frames || self.expected.clients[index].spaces.len() == 16);
            }
            Request::Copy { .. } => (16, 3 * 16 + 4),
            _ => (1, 3 + 2 + 4),
        };
        status == Status::QuotaExceeded
            && (areas + more_areas > most_areas || frames + more_frames > most_frames)
    }

    /// Does `op` for client `index`, on hardware that refuses these commands, and compares everything.
    pub fn apply(&mut self, index: usize, op: Op, refused: Refused) {
        self.act(index, op, refused);
        self.expected.check(&mut self.world);
    }

    /// As [`Lives::apply`], and compares the answer alone.
    pub fn act(&mut self, index: usize, op: Op, refused: Refused) {
        match op {
            Op::Ask(mut request) => {
                if let Request::Map { slot, generation, .. } = &mut request
                    && *generation == 1
                    && let Some(grant) = self.expected.clients[index].grants.get(usize::from(slot.0))
                {
                    *generation = grant.generation;
                }
                self.ask(index, request, refused);
            }
            Op::Resume(nth) => self.resume(index, nth, refused),
            Op::Claim => self.claim(index),
            Op::Work => _ = self.world.work(),
            Op::Expire => self.expire(),
            op => self.supervise(index, &op, refused),
        }
    }

    /// Everybody gives everything back.
    pub fn end(&mut self) {
        self.disarm();
        self.expire();
        for channel in CHANNELS {
            self.world.finish(channel, Request::Reset);
            assert_eq!(self.world.charged(channel), (0, 0));
        }
        for stream in [ALICES_DEVICE, SECOND_DEVICE, BOBS_DEVICE] {
            assert!(self.world.bench.translate(stream, 0x1000, false).is_err());
        }
    }

    fn ask(&mut self, index: usize, request: Request, refused: Refused) {
        let channel = CHANNELS[index];
        let predicted = self.expected.predict(channel, &request);
        let (answer, may_fail) = self.while_armed(refused, |world| world.call(channel, request));
        let words = [answer.words.get(0), answer.words.get(1)];
        match (answer.status, predicted) {
            (Status::Ok | Status::Again, Ok(())) => {
                self.expected.granted(channel, &request, answer.status == Status::Again, words);
            }
            (status, Err(expected)) => assert_eq!(status, expected, "{request:x?}"),
            (status, Ok(())) if unconfirmed(status) => {
                assert!(may_fail, "{request:x?}: {status:?}");
                self.disarm();
                self.expected.unconfirmed(channel, &request);
                self.expected.check(&mut self.world);
                self.insist(index, request);
            }
            (Status::NoSpace, Ok(())) => {
                let (Request::Map { flags, .. } | Request::Copy { flags, .. }) = request else {
                    panic!("{request:?}")
                };
                assert!(!flags.fixed);
            }
            (Status::NoMemory, Ok(())) if self.scarce => self.out_of_memory += 1,
            (status, Ok(())) => {
                assert!(self.short(index, status, &request), "{request:x?}: {status:?}");
                self.over_quota += 1;
            }
        }
    }

    /// Tries again what the hardware has not confirmed. A device that it has not let go of is detached first.
    fn insist(&mut self, index: usize, request: Request) {
        let channel = CHANNELS[index];
        let again = match request {
            Request::Attach { device, .. } | Request::Replace { device, .. } => {
                assert_eq!(self.world.status(channel, request), Status::Busy, "until it is detached");
                Request::Detach { device }
            }
            other => other,
        };
        let answer = self.world.call(channel, again);
        assert!(matches!(answer.status, Status::Ok | Status::Again), "{again:x?}: {:?}", answer.status);
        let words = [answer.words.get(0), answer.words.get(1)];
        if let Request::Unmap { .. } | Request::IoasDestroy { .. } = again {
            // Some of it may have gone with the first try.
            self.expected.unconfirmed(channel, &again);
            self.expected.check(&mut self.world);
            return self.taken_out(channel, &again, answer.status == Status::Again);
        }
        self.expected.granted(channel, &again, answer.status == Status::Again, words);
    }

    /// After an UNMAP or destruction in two tries.
    fn taken_out(&mut self, channel: u8, request: &Request, again: bool) {
        let client = self.expected.whom(channel);
        match *request {
            Request::Unmap { space, first, last } => {
                let mut left = client.spaces[&space.0].areas.iter();
                let left = left.any(|area| first <= area.at.first && area.at.last <= last);
                assert_eq!(left, again);
            }
            Request::IoasDestroy { space } => assert_eq!(client.spaces.contains_key(&space.0), again),
            _ => unreachable!(),
        }
    }

    fn resume(&mut self, index: usize, nth: usize, refused: Refused) {
        let client = &self.expected.clients[index];
        let half = client.spaces.iter().flat_map(|(&id, space)| {
            let filled = space.areas.iter().filter(|area| matches!(area.state, State::Filled(_)));
            filled.map(move |area| (id, area.at))
        });
        let half: Vec<_> = half.collect();
        let Some(&(space, at)) = half.get(nth % half.len().max(1)) else { return };
        let request = Request::Map {
            space: SpaceId(space),
            slot: RegionSlot(at.slot),
            generation: client.grants[usize::from(at.slot)].generation,
            flags: MapFlags { read: at.read, write: at.write, fixed: true, resume: true },
            iova: at.first,
            offset: at.offset,
            length: at.bytes(),
        };
        self.ask(index, request, refused);
    }

    fn claim(&mut self, index: usize) {
        let channel = CHANNELS[index];
        let clients = &self.expected.clients;
        let from = [Some(index), clients[index].partner]
            .into_iter()
            .flatten()
            .find(|&index| clients[index].life == Life::Held);
        let mut status = self.world.status(channel, Request::Claim);
        if unconfirmed(status) && self.standing {
            self.disarm();
            status = self.world.status(channel, Request::Claim);
        }
        match (status, from) {
            (Status::Busy, _) if self.expected.clients[index].life == Life::Ending => {}
            (Status::NothingHeld, None) => {}
            (Status::Again, Some(_)) => {}
            (Status::Ok, Some(from)) => {
                // What was half done or withdrawn is gone.
                let Client { spaces, grants, .. } = &mut self.expected.clients[from];
                for space in spaces.values_mut() {
                    let stays = |slot: u16| !grants[usize::from(slot)].withdrawn;
                    space.areas.retain(|area| area.state == State::Whole && stays(area.at.slot));
                }
                assert_eq!(self.expected.may_hand_over(from, index), Ok(()));
                self.expected.handed_over(from, index);
            }
            (status, Some(from)) => {
                // All that goes first has gone, or is about to.
                self.expected.check(&mut self.world);
                let reason = self.expected.may_hand_over(from, index);
                if reason != Err(status) {
                    let (areas, frames) = self.world.charged(CHANNELS[from]);
                    let (most_areas, most_frames) = self.charged_most[index];
                    let over = areas > most_areas || frames > most_frames;
                    assert!(
                        status == Status::QuotaExceeded && over && from != index,
                        "{status:?}, not {reason:?}"
                    );
                }
            }
            (status, None) => panic!("{status:?}, and nothing is held"),
        }
    }

    fn supervise(&mut self, index: usize, op: &Op, refused: Refused) {
        let client = ward(index);
        let life = self.expected.clients[index].life;
        match *op {
            Op::Teardown => {
                let teardown = Request::Teardown { client };
                let ((status, _), may_fail) = self.while_armed(refused, |world| supervise(world, teardown));
                let ending = &mut self.expected.clients[index];
                ending.life = Life::Ending;
                if unconfirmed(status) {
                    assert!(may_fail);
                    self.disarm();
                    // Until the hardware says so, its devices may go on.
                    let (status, _) = supervise(&mut self.world, teardown);
                    assert!(matches!(status, Status::Ok | Status::Again), "{status:?}");
                    if status == Status::Ok {
                        self.expected.ended(index);
                    }
                } else {
                    assert!(matches!(status, Status::Ok | Status::Again), "{status:?}");
                    if status == Status::Ok {
                        self.expected.ended(index);
                    }
                }
            }
            Op::Hold => {
                let (status, _) =
                    supervise(&mut self.world, Request::Hold { client, deadline_ms: 1_000_000 });
                let expected = if life == Life::Ending { Status::Busy } else { Status::Ok };
                assert_eq!(status, expected);
                if status == Status::Ok {
                    self.expected.clients[index].life = Life::Held;
                }
            }
            Op::Revoke(slot) => {
                let request = Request::Revoke { client, slot: RegionSlot(slot) };
                let ((mut status, mut words), may_fail) =
                    self.while_armed(refused, |world| supervise(world, request));
                let Some(grant) = self.expected.clients[index].grants.get_mut(usize::from(slot)) else {
                    assert_eq!(status, Status::NoSuchRegion);
                    return;
                };
                grant.generation += u16::from(!grant.withdrawn);
                grant.withdrawn = true;
                let generation = grant.generation;
                if unconfirmed(status) {
                    assert!(may_fail);
                    self.disarm();
                    self.expected.check(&mut self.world);
                    (status, words) = supervise(&mut self.world, request);
                }
                assert!(matches!(status, Status::Ok | Status::Again), "{status:?}");
                assert_eq!(words[0], u64::from(generation));
                if status == Status::Ok {
                    for space in self.expected.clients[index].spaces.values_mut() {
                        space.areas.retain(|area| area.at.slot != slot);
                    }
                }
            }
            Op::Regrant(slot) => {
                let (status, words) =
                    supervise(&mut self.world, Request::Regrant { client, slot: RegionSlot(slot) });
                let mapped = self.expected.clients[index].maps_now(&mut self.world, slot);
                let Some(grant) = self.expected.clients[index].grants.get_mut(usize::from(slot)) else {
                    assert_eq!(status, Status::NoSuchRegion);
                    return;
                };
                match status {
                    Status::NotRevoked => assert!(!grant.withdrawn),
                    Status::Busy => assert!(grant.withdrawn && mapped),
                    status => {
                        assert!(
                            status == Status::Ok && grant.withdrawn && words[0] == grant.generation.into()
                        );
                        grant.withdrawn = false;
                        for space in self.expected.clients[index].spaces.values_mut() {
                            space.areas.retain(|area| area.at.slot != slot);
                        }
                    }
                }
            }
            _ => unreachable!(),
        }
    }

    /// Later than any deadline: who is held then is ended, in as many steps as it takes.
    fn expire(&mut self) {
        self.world.clock().advance(2_000_000_000_000);
        let held: Vec<_> = (0..3).filter(|&index| self.expected.clients[index].life == Life::Held).collect();
        let mut told = 0;
        for _ in 0..200 {
            let step = self.world.work();
            told += step.notify.filter(|channel| *channel == crate::bench::SUPERVISOR).count();
            if !step.more {
                break;
            }
        }
        assert!(told >= held.len(), "{told} ends were told, of {held:?}");
        for index in 0..3 {
            if self.expected.clients[index].life != Life::Free {
                self.expected.ended(index);
            }
        }
    }
}

impl Client {
    /// Whether the server says that something of `slot` is mapped.
    fn maps_now(&self, world: &mut World, slot: u16) -> bool {
        self.spaces.keys().any(|&id| {
            let gone = Request::NextMapping { space: SpaceId(id), from: u64::MAX };
            world.status(self.channel, gone) != Status::NoSuchSpace
                && world.mappings(self.channel, SpaceId(id)).iter().any(|mapping| mapping.slot == slot)
        })
    }
}
