//! Random lives of three clients under a supervisor, on hardware that refuses a command now and then. After each reply
//! the server says what is expected, and each device gets exactly where it should.

use iommu_hal::StreamId;
use iommu_model::smmu_v3::Config;
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status};
use iommu_server::policy::{ClientEntry, GrantEntry, NO_CLIENT, RIGHT_READ, RIGHT_WRITE, WardEntry};
use proptest::prelude::*;

use crate::{
    MIB, PAGE,
    bench::{
        ALICE, ALICES_CONSTANTS, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY,
        CONSTANTS_BYTES, MEMORY_BYTES, World, policy_with,
    },
    expected::{Client, Device, Expected, Grant, Life, State, supervise, ward},
};

/// Bob's successor.
const CAROL: u8 = 3;
const SECOND_DEVICE: StreamId = StreamId(0x11);
const CHANNELS: [u8; 3] = [ALICE, BOB, CAROL];

#[derive(Debug, Clone)]
enum Op {
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
type Refused = Option<(u32, u32)>;

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..12_u64).prop_map(|page| page * PAGE),
        5 => (0..6_u64).prop_map(|n| n * MIB),
        4 => (1..3_u64, 0..4_u64).prop_map(|(block, page)| 2 * block * MIB - 2 * PAGE + page * PAGE),
        1 => (1..3_u64).prop_map(|page| (1 << 44) - page * PAGE),
        1 => (1..3_u64).prop_map(|page| 0_u64.wrapping_sub(page * PAGE)),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        10 => (1..5_u64).prop_map(|pages| pages * PAGE),
        4 => Just(MIB),
        3 => Just(2 * MIB),
        2 => Just(4 * MIB),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

fn space() -> impl Strategy<Value = SpaceId> {
    prop_oneof![14 => 1..3_u16, 1 => 0..5_u16].prop_map(SpaceId)
}

fn device() -> impl Strategy<Value = DeviceIndex> {
    prop_oneof![6 => Just(0), 2 => Just(1), 1 => 0..9_u16].prop_map(DeviceIndex)
}

fn flags(write: f64) -> impl Strategy<Value = MapFlags> {
    (prop::bool::weighted(0.95), prop::bool::weighted(write), prop::bool::weighted(0.75))
        .prop_map(|(read, write, fixed)| MapFlags { read, write, fixed, resume: false })
}

fn map() -> impl Strategy<Value = Request> {
    let slot = prop_oneof![10 => Just(0), 3 => Just(1), 1 => 2..20_u16].prop_map(RegionSlot);
    let offset = prop_oneof![5 => (0..4_u64).prop_map(|page| page * PAGE), 3 => (0..4_u64).prop_map(|n| n * MIB), 1 => any::<u64>()];
    let generation = prop_oneof![15 => Just(1), 1 => any::<u16>()];
    (space(), slot, generation, flags(0.7), address(), offset, length()).prop_map(
        |(space, slot, generation, flags, iova, offset, length)| Request::Map {
            space,
            slot,
            generation,
            flags,
            iova: if flags.fixed { iova } else { 0 },
            offset,
            length,
        },
    )
}

fn copy() -> impl Strategy<Value = Request> {
    (space(), space(), flags(0.3), address(), address(), length()).prop_map(
        |(target, source, flags, iova, first, length)| Request::Copy {
            target,
            source,
            flags,
            iova: if flags.fixed { iova } else { 0 },
            first,
            length,
        },
    )
}

fn unmap() -> impl Strategy<Value = Request> {
    prop_oneof![
        3 => (space(), address(), length()).prop_map(|(space, first, length)| {
            Request::Unmap { space, first, last: first.wrapping_add(length).wrapping_sub(1) }
        }),
        1 => space().prop_map(|space| Request::Unmap { space, first: 0, last: u64::MAX }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = || 0..3_u16;
    prop_oneof![
        4 => Just(Op::Ask(Request::IoasAlloc)),
        1 => space().prop_map(|space| Op::Ask(Request::IoasDestroy { space })),
        22 => map().prop_map(Op::Ask),
        8 => copy().prop_map(Op::Ask),
        9 => unmap().prop_map(Op::Ask),
        6 => (space(), device()).prop_map(|(space, device)| Op::Ask(Request::Attach { space, device })),
        3 => (space(), device()).prop_map(|(space, device)| Op::Ask(Request::Replace { space, device })),
        2 => device().prop_map(|device| Op::Ask(Request::Detach { device })),
        1 => Just(Op::Ask(Request::Reset)),
        6 => (0..4_usize).prop_map(Op::Resume),
        4 => Just(Op::Claim),
        1 => Just(Op::Teardown),
        2 => Just(Op::Hold),
        1 => slot().prop_map(Op::Revoke),
        2 => slot().prop_map(Op::Regrant),
        6 => Just(Op::Work),
        1 => Just(Op::Expire),
    ]
}

fn policy() -> Vec<u8> {
    policy_with(|p| {
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
    })
}

struct Lives {
    world: World,
    expected: Expected,
    charged_most: [(u64, u64); 3],
}

fn begin(config: Config) -> Lives {
    let write_only = config.stage2;
    let mut world = World::of(config, &policy());
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
        write_only,
    };
    expected.granted(ALICE, &Request::IoasAlloc, false, [space.get(0), 0]);
    let charged_most = CHANNELS.map(|channel| {
        let words = world.ok(channel, Request::Stats { group: iommu_protocol::stats::MEMORY, client: None });
        (words.get(1), words.get(3))
    });
    assert_eq!(NO_CLIENT, 0xff);
    Lives { world, expected, charged_most }
}

/// Whether the hardware failed, as a status.
fn unconfirmed(status: Status) -> bool {
    matches!(status, Status::HardwareTimeout | Status::HardwareFailed)
}

impl Lives {
    /// Has the hardware refuse command number `first` from here on, and number `second` after that one.
    fn arm(&mut self, refused: Refused) {
        let Some((first, second)) = refused else { return };
        {
            let mut faults = self.world.bench.faults();
            (faults.next_command_fails, faults.commands_before_failure) = (Some(1), first);
        }
        let bench = self.world.bench.clone();
        let mut left = Some(second);
        self.world.bench.meanwhile(move || {
            let mut faults = bench.faults();
            if let (None, Some(second)) =
                (faults.next_command_fails, left.take_if(|_| faults.next_command_fails.is_none()))
            {
                (faults.next_command_fails, faults.commands_before_failure) = (Some(1), second);
            }
        });
    }

    fn disarm(&mut self) {
        self.world.bench.meanwhile_nothing();
        self.world.bench.faults().next_command_fails = None;
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

    fn ask(&mut self, index: usize, request: Request, refused: Refused) {
        let channel = CHANNELS[index];
        let predicted = self.expected.predict(channel, &request);
        self.arm(refused);
        let answer = self.world.call(channel, request);
        self.disarm();
        let words = [answer.words.get(0), answer.words.get(1)];
        match (answer.status, predicted) {
            (Status::Ok | Status::Again, Ok(())) => {
                self.expected.granted(channel, &request, answer.status == Status::Again, words);
            }
            (status, Err(expected)) => assert_eq!(status, expected, "{request:x?}"),
            (status, Ok(())) if unconfirmed(status) => {
                assert!(refused.is_some(), "{request:x?}: {status:?}");
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
            (status, Ok(())) => assert!(self.short(index, status, &request), "{request:x?}: {status:?}"),
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
        let status = self.world.status(channel, Request::Claim);
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
                self.arm(refused);
                let (status, _) = supervise(&mut self.world, Request::Teardown { client });
                self.disarm();
                let ending = &mut self.expected.clients[index];
                ending.life = Life::Ending;
                if unconfirmed(status) {
                    assert!(refused.is_some());
                    // Until the hardware says so, its devices may go on.
                    let (status, _) = supervise(&mut self.world, Request::Teardown { client });
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
                self.arm(refused);
                let (mut status, mut words) = supervise(&mut self.world, request);
                self.disarm();
                let Some(grant) = self.expected.clients[index].grants.get_mut(usize::from(slot)) else {
                    assert_eq!(status, Status::NoSuchRegion);
                    return;
                };
                grant.generation += u16::from(!grant.withdrawn);
                grant.withdrawn = true;
                let generation = grant.generation;
                if unconfirmed(status) {
                    assert!(refused.is_some());
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
        self.world.bench.ports().2.advance(2_000_000_000_000);
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

/// Where a device is switched on, and off again as the hardware refuses to say that it saw it, the unit may have seen both.
#[test]
fn s17_an_attach_that_is_refused_half_way_leaves_the_device_blocked() {
    for first in 0..8 {
        for second in 0..4 {
            let mut lives = begin(Config::default());
            let attach = Request::Attach { space: SpaceId(1), device: DeviceIndex(0) };
            lives.ask(0, attach, Some((first, second)));
            lives.expected.check(&mut lives.world);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn s01_random_lives_are_as_expected_in_the_server_and_in_the_hardware(
        config in prop_oneof![
            3 => Just(Config::default()),
            1 => Just(Config { stage2: false, ..Config::default() }),
            1 => Just(Config { coherent: false, ..Config::default() }),
            1 => Just(Config { range_invalidation: false, ..Config::default() }),
        ],
        ops in prop::collection::vec(
            (prop_oneof![5 => Just(0_usize), 4 => Just(1), 2 => Just(2)], op(), prop::option::weighted(0.15, (0..6_u32, 0..6_u32))),
            1..60,
        ),
    ) {
        let mut lives = begin(config);
        for (index, op, refused) in ops {
            match op {
                Op::Ask(mut request) => {
                    if let Request::Map { slot, generation, .. } = &mut request
                        && *generation == 1
                        && let Some(grant) = lives.expected.clients[index].grants.get(usize::from(slot.0))
                    {
                        *generation = grant.generation;
                    }
                    lives.ask(index, request, refused);
                }
                Op::Resume(nth) => lives.resume(index, nth, refused),
                Op::Claim => lives.claim(index),
                Op::Work => _ = lives.world.work(),
                Op::Expire => lives.expire(),
                op => lives.supervise(index, &op, refused),
            }
            lives.expected.check(&mut lives.world);
        }
        lives.expire();
        for channel in CHANNELS {
            lives.world.finish(channel, Request::Reset);
            prop_assert_eq!(lives.world.charged(channel), (0, 0));
        }
        for stream in [ALICES_DEVICE, SECOND_DEVICE, BOBS_DEVICE] {
            prop_assert!(lives.world.bench.translate(stream, 0x1000, false).is_err());
        }
    }
}
