//! Messages to the server, in any order and from anybody, among devices' accesses, fault records, errors and time.
//!
//! Byte 0 chooses the unit, of either kind, and whether it may break; what follows are steps. Whatever they were, the model must
//! translate what the server says is mapped and nothing else, and in the end everything must have been given back.

use std::{cell::RefCell, collections::BTreeSet, fmt, rc::Rc};

use iommu_core::Storage;
use iommu_hal::{SharedPage, StreamId};
use iommu_model::{
    VirtualClock,
    board::{AnyMemory, AnyRegisters, Board},
};
use iommu_pgtable::FrameMeta;
use iommu_protocol::{
    AllowStep, ClientIndex, DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status, Words, ring, stats,
};
use iommu_server::{
    Roll,
    policy::{
        ClientEntry, DEFAULT_MAX_FAULTS_PER_SECOND, DeviceEntry, FLAG_STATISTICS, GrantEntry, Header, MAGIC,
        MAX_REGIONS, NO_CLIENT, RIGHT_READ, RIGHT_WRITE, ReservedEntry, SupervisorEntry, UnitEntry,
        WardEntry,
    },
    server::{Answer, Channels, Server},
    start::Parts,
};
use zerocopy::IntoBytes;

use crate::{input::Input, unit};

/// Channels: of the PCI host, of three clients, of whom the third succeeds the first, of their supervisor, of nobody.
pub const PCI_HOST: u8 = 0;
pub const ALICE: u8 = 1;
pub const BOB: u8 = 2;
pub const CAROL: u8 = 3;
pub const SUPERVISOR: u8 = 9;
const CHANNELS: [u8; 8] = [ALICE, BOB, CAROL, SUPERVISOR, PCI_HOST, ALICE, BOB, 61];

/// The supervisor's names for Bob, Alice and Carol.
const WARDS: [u8; 3] = [1, 0, 2];

const STREAMS: [StreamId; 4] = [StreamId(0x10), StreamId(0x11), StreamId(0x18), StreamId(0x20)];

/// A grant: base, bytes, and whether it may be written.
type Grant = (u64, u64, bool);

/// The clients' grants.
const LARGE: u64 = 0x40_0000;
const ALICES: [Grant; 2] = [(0x8000_0000, LARGE, true), (0x8100_0000, 0x1000, false)];
const BOBS: [Grant; 1] = [(0x8200_0000, LARGE, true)];
const CLIENTS: [(u8, &[Grant]); 3] = [(ALICE, &ALICES), (BOB, &BOBS), (CAROL, &ALICES)];

const AREAS: usize = 41;
const FRAMES: usize = 64;
/// More steps of the server's own than anything takes.
const MAX_STEPS: u32 = 10_000;

/// Most addresses that are remembered, and most that one look tries.
const MAX_REACHED: usize = 48;
const MAX_POINTS: usize = 96;

/// Most steps of one input.
const MAX_OPS: u32 = 400;

/// The policy of every run over a unit of `kind`.
pub fn policy(kind: u32) -> Vec<u8> {
    let client = |channel, predecessor, flags| ClientEntry {
        fault_ring_vaddr: u64::from(channel) << 12,
        areas: 20,
        frames: 16,
        channel,
        predecessor,
        flags,
        reserved: [0; 5],
    };
    let clients = [client(ALICE, NO_CLIENT, FLAG_STATISTICS), client(BOB, NO_CLIENT, 0), client(CAROL, 0, 0)];
    let device = |stream: usize, client, max_faults_per_second| DeviceEntry {
        stream: STREAMS[stream].0,
        client,
        unit: 0,
        fault_client: if stream == 1 { 1 } else { NO_CLIENT },
        fault_index: 1,
        max_faults_per_second,
        reserved: [0; 4],
    };
    let devices = [device(0, 0, 6), device(1, 0, DEFAULT_MAX_FAULTS_PER_SECOND), device(2, 1, 100)];
    let grant =
        |client, region, bytes, rights| GrantEntry { bytes, client, region, rights, reserved: [0; 5] };
    let (read, both) = (RIGHT_READ, RIGHT_READ | RIGHT_WRITE);
    let grants = [
        grant(0, 0, LARGE, both),
        grant(0, 1, 0x1000, read),
        grant(1, 2, LARGE, both),
        grant(2, 0, LARGE, both),
        grant(2, 1, 0x1000, read),
    ];
    let reserved = [ReservedEntry { first: 0xfee0_0000, last: 0xfeef_ffff, device: 0, reserved: [0; 7] }];
    let header = Header {
        magic: MAGIC,
        units: 1,
        clients: clients.len() as u8,
        devices: devices.len() as u8,
        grants: grants.len() as u8,
        pci_host_channel: PCI_HOST,
        supervisors: 1,
        wards: WARDS.len() as u8,
        reserved_ranges: reserved.len() as u8,
    };
    [
        header.as_bytes(),
        UnitEntry { kind, reserved: 0 }.as_bytes(),
        clients.as_bytes(),
        devices.as_bytes(),
        grants.as_bytes(),
        SupervisorEntry { channel: SUPERVISOR, reserved: [0; 7] }.as_bytes(),
        WARDS.map(|client| WardEntry { supervisor: 0, client, reserved: [0; 6] }).as_bytes(),
        reserved.as_bytes(),
    ]
    .concat()
}

/// `bytes` at an 8-byte boundary, as a mapped region's are.
pub fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

/// A fault ring's page.
#[derive(Debug, Clone)]
pub struct Page(Rc<RefCell<[u64; ring::BYTES / 8]>>);

impl Page {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new([u64::MAX; ring::BYTES / 8])))
    }
}

impl SharedPage for Page {
    fn write(&mut self, index: usize, value: u64) {
        self.0.borrow_mut()[index] = value;
    }
}

/// A log that nobody reads.
pub struct Nowhere;

impl fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

pub type ModelServer<'a> = Server<'a, AnyRegisters, AnyMemory, VirtualClock, Page>;

/// The body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let bench = unit::board(choice);
    let (registers, memory, clock) = bench.ports();
    let mut region_paddrs = [0; MAX_REGIONS];
    region_paddrs[..3].copy_from_slice(&[ALICES[0].0, ALICES[1].0, BOBS[0].0]);
    let parts = Parts {
        registers: heapless::Vec::from_iter([registers]),
        memory,
        clock: clock.clone(),
        region_paddrs,
    };
    let mut storage = Box::new(const { Storage::<AREAS>::NEW });
    let mut frames = [FrameMeta::NEW; FRAMES];
    let mut roll = Box::new(Roll::NEW);
    let words = aligned(&policy(unit::kind(choice)));
    let server = Server::start(
        words.as_bytes(),
        parts,
        &mut storage,
        &mut frames,
        &mut roll,
        |_| Page::new(),
        &mut Nowhere,
    );
    let server = server.expect("the policy is good and the unit whole");
    let free = server.frame_counts().1;
    let mut world = World {
        bench,
        clock,
        server,
        may_break: choice & 0x80 != 0,
        broken: false,
        tag: 0,
        reached: BTreeSet::new(),
    };
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.verify();
    world.end(free);
}

/// A mapping, as the server tells it.
#[derive(Debug, Clone, Copy)]
struct Listed {
    first: u64,
    last: u64,
    base: u64,
    read: bool,
    write: bool,
    half_done: bool,
}

struct World<'a> {
    bench: Rc<dyn Board>,
    clock: VirtualClock,
    server: ModelServer<'a>,
    may_break: bool,
    /// The unit was made to misbehave, so that nothing need succeed.
    broken: bool,
    tag: u64,
    /// Addresses that devices reached, or tried to: the unit may have cached what was there.
    reached: BTreeSet<u64>,
}

impl World<'_> {
    fn call(&mut self, channel: u8, label: u64, words: &Words) -> Answer {
        let answer = self.server.call(channel, label, words);
        if !matches!(answer.status, Status::Ok | Status::Again) {
            assert_eq!(answer.words, Words::new([]), "a refusal has no words");
        }
        told(answer.notify);
        answer
    }

    fn request(&mut self, channel: u8, request: Request) -> Answer {
        let (opcode, words) = request.encode();
        self.call(channel, opcode.label(), &words)
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let channel = CHANNELS[usize::from(op & 7)];
        match op >> 3 {
            // Half of all steps: requests that are well formed.
            0..16 => {
                let request = request(input);
                self.request(channel, request);
            }
            16..18 => {
                let words: Vec<u64> = (0..input.byte() % 6).map(|_| input.number()).collect();
                let label = input.number();
                self.call(input.byte(), label, &Words::from_slice(&words));
            }
            18..24 => {
                let (stream, iova) = (STREAMS[usize::from(op & 3)], iova(input));
                let mut buffer = [0; 16];
                self.touch(iova);
                // Whether it gets through is for `verify`.
                _ = match op & 4 {
                    0 => self.bench.dma_read(stream, iova, &mut buffer),
                    _ => self.bench.dma_write(stream, iova, &buffer),
                };
            }
            24 => {
                let record = [input.number(), input.number(), input.number(), input.number()];
                let stream = STREAMS[usize::from(op & 3)];
                self.bench.inject_fault((op & 4 == 0).then_some(stream), record);
            }
            25 => self.bench.raise_errors(input.byte()),
            26..28 => self.clock.advance(u64::from(input.byte()) * 20_000_000),
            28..30 => self.work(),
            30 => self.verify(),
            _ => self.misbehave(input),
        }
    }

    /// Remembers an address for [`World::verify`].
    fn touch(&mut self, iova: u64) {
        if self.reached.len() < MAX_REACHED {
            self.reached.insert(iova & !0xfff);
        }
    }

    fn misbehave(&mut self, input: &mut Input<'_>) {
        let (kind, much) = (input.byte(), input.byte());
        if !self.may_break {
            return;
        }
        self.broken = true;
        match kind % 6 {
            0 => self.bench.stand_still(u32::from(much >> 4)),
            1 => self.bench.refuse_command(u32::from(much >> 4), much & 0x7f),
            2 => self.bench.slow(u32::from(much)),
            3 => self.bench.ignore_the_last_resort(),
            4 => self.bench.fail(),
            _ => self.bench.mend(),
        }
    }

    fn work(&mut self) {
        told(self.server.work(&mut Nowhere).notify);
    }

    /// The mappings of `client` in `space`, each of them inside what was granted.
    fn list(&mut self, client: usize, space: SpaceId) -> Option<Vec<Listed>> {
        let (channel, grants) = CLIENTS[client];
        let info = self.request(channel, Request::SpaceInfo { space });
        if info.status == Status::NoSuchSpace {
            return None;
        }
        let aperture = info.words.get(1);
        let mut listed: Vec<Listed> = vec![];
        let mut from = Some(0);
        while let Some(at) = from {
            let answer = self.request(channel, Request::NextMapping { space, from: at });
            if answer.status == Status::NotMapped {
                break;
            }
            assert_eq!(answer.status, Status::Ok);
            let [first, last, offset, what] = *answer.words.as_slice() else { panic!("four words") };
            assert!(
                at <= last
                    && first <= last
                    && last <= aperture
                    && first & 0xfff == 0
                    && last & 0xfff == 0xfff
            );
            assert!(listed.last().is_none_or(|before| before.last < first), "mappings overlap");
            let (base, bytes, writable) = grants[usize::from(what as u16)];
            let (read, write) = (what & 1 << 16 != 0, what & 1 << 17 != 0);
            let end = offset.checked_add(last - first + 1).expect("inside the region");
            assert!(end <= bytes && (read || write) && (writable || !write), "more than was granted");
            let half_done = what & 1 << 18 != 0;
            listed.push(Listed { first, last, base: base + offset, read, write, half_done });
            from = last.checked_add(1);
        }
        Some(listed)
    }

    /// What is told of the clients holds together, and the devices reach that and nothing else.
    fn verify(&mut self) {
        let mut spaces = vec![];
        for (client, (channel, _)) in CLIENTS.into_iter().enumerate() {
            let mut areas = 0;
            for id in 1..=iommu_core::MAX_SPACES_PER_CLIENT as u16 {
                if let Some(listed) = self.list(client, SpaceId(id)) {
                    areas += listed.len() as u64;
                    spaces.push((client, id, listed));
                }
            }
            let memory = self.request(channel, Request::Stats { group: stats::MEMORY, client: None }).words;
            assert_eq!(memory.get(0), areas, "mappings that are charged");
            assert!(memory.get(0) <= memory.get(1) && memory.get(2) <= memory.get(3), "within the quota");
        }
        let mut points = self.reached.clone();
        points.extend([0, ALICES[0].0, BOBS[0].0]);
        for area in spaces.iter().flat_map(|(_, _, listed)| listed) {
            let edges =
                [area.first, area.last - 0xfff, area.first.wrapping_sub(0x1000), area.last.wrapping_add(1)];
            points.extend(edges);
        }
        for area in spaces.iter().flat_map(|(_, _, listed)| listed) {
            self.touch(area.first);
            self.touch(area.last);
        }
        for (client, (channel, _)) in CLIENTS.into_iter().enumerate() {
            for index in 0.. {
                let info = self.request(channel, Request::DeviceInfo { device: DeviceIndex(index) });
                if info.status != Status::Ok {
                    assert_eq!(info.status, Status::NoSuchDevice);
                    break;
                }
                let stream = StreamId(info.words.get(0) as u32);
                let space = (info.words.get(1) == 1).then_some(info.words.get(2) as u16);
                let of = |(owner, id, _): &&(usize, u16, Vec<Listed>)| (*owner, Some(*id)) == (client, space);
                let reached = spaces.iter().find(of).map_or(&[][..], |(_, _, listed)| listed);
                for &iova in points.iter().take(MAX_POINTS) {
                    let area = reached.iter().find(|area| (area.first..=area.last).contains(&iova));
                    self.probe(stream, iova, area);
                }
            }
        }
    }

    /// Whether `stream` reaches what `area` says at `iova`, as far as the unit is whole.
    fn probe(&mut self, stream: StreamId, iova: u64, area: Option<&Listed>) {
        let (mut read, mut found) = ([0; 8], [0; 8]);
        let place = area.map(|area| area.base + (iova - area.first));
        if let Some(place) = place {
            let tag = self.tag().to_le_bytes();
            self.bench.memory().poke(place, &tag);
        }
        let before = self.tag.to_le_bytes();
        let reads = self.bench.dma_read(stream, iova, &mut read).is_ok();
        let after = self.tag().to_le_bytes();
        let writes = self.bench.dma_write(stream, iova, &after).is_ok();
        if self.broken {
            return;
        }
        let Some((area, place)) = area.zip(place) else {
            assert!(!reads && !writes, "{stream:?} reaches {iova:#x}, which is not mapped");
            return;
        };
        self.bench.memory().peek(place, &mut found);
        assert!(
            !reads || area.read && read == before,
            "{stream:?} reads something else at {iova:#x}: {area:?}"
        );
        let kept = if writes { after } else { before };
        assert!(
            (!writes || area.write) && found == kept,
            "{stream:?} writes elsewhere at {iova:#x}: {area:?}"
        );
        if !area.half_done {
            assert_eq!((reads, writes), (area.read, area.write), "{stream:?} at {iova:#x}: {area:?}");
        }
    }

    fn tag(&mut self) -> u64 {
        self.tag += 1;
        self.tag
    }

    /// Has the server finish what it has to do, ends all clients, and looks whether everything came back.
    fn end(&mut self, free: u32) {
        self.bench.mend();
        for _ in 0..64 {
            let steps = (0..MAX_STEPS).map(|_| self.server.work(&mut Nowhere)).find(|step| !step.more);
            let Some(step) = steps else { panic!("the server's own work comes to no end") };
            let Some(wait) = step.deadline_ns else { break };
            self.clock.advance(wait);
        }
        for client in 0..WARDS.len() as u16 {
            let request = Request::Teardown { client: ClientIndex(client) };
            let ended = (0..MAX_STEPS).map(|_| self.request(SUPERVISOR, request).status);
            let ended = ended.into_iter().find(|status| *status != Status::Again);
            assert!(self.broken || ended == Some(Status::Ok), "a teardown was answered {ended:?}");
        }
        if self.broken {
            return;
        }
        assert!(self.server.work(&mut Nowhere).deadline_ns.is_none(), "something is left to do");
        for (channel, _) in CLIENTS {
            let memory = self.request(channel, Request::Stats { group: stats::MEMORY, client: None }).words;
            assert_eq!((memory.get(0), memory.get(2)), (0, 0), "what channel {channel} is still charged");
        }
        assert_eq!(self.server.frame_counts().1, free, "table frames that are free");
        self.verify();
    }
}

fn told(channels: Channels) {
    for channel in channels {
        let known = [PCI_HOST, ALICE, BOB, CAROL, SUPERVISOR, Channels::WAKE];
        assert!(known.contains(&channel), "channel {channel}, which nobody has, is signalled");
    }
}

/// An IO virtual address that a request is likely to name too.
fn iova(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        page @ 0..0x40 => 0x10_0000 + (u64::from(page) << 12),
        block @ 0x40..0x60 => 0x4000_0000 + (u64::from(block & 0x1f) << 21),
        _ => input.number(),
    }
}

fn length(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        pages @ 0..0x20 => (u64::from(pages) + 1) << 12,
        0x20..0x30 => LARGE,
        0x30..0x40 => LARGE / 2,
        _ => input.number(),
    }
}

fn offset(input: &mut Input<'_>) -> u64 {
    match input.byte() {
        0..0x20 => 0,
        page @ 0x20..0x40 => u64::from(page) << 12,
        0x40..0x50 => LARGE / 2,
        _ => input.number(),
    }
}

/// A request whose fields are likely to name something that is there.
fn request(input: &mut Input<'_>) -> Request {
    let (what, names) = (input.byte(), input.byte());
    let few = |shift: u32| u16::from(names >> shift & 3);
    let space = SpaceId(few(0) + 1);
    let (device, slot) = (DeviceIndex(few(2)), RegionSlot(few(2)));
    let client = ClientIndex(few(4));
    let flags = |input: &mut Input<'_>, fixed| {
        let bits = input.byte();
        MapFlags {
            read: bits & 1 == 0,
            write: bits & 2 == 0,
            fixed: (bits & 4 == 0) == fixed,
            resume: bits & 0x18 == 8,
        }
    };
    match what % 32 {
        0 => Request::IoasAlloc,
        1 | 2 => Request::Attach { space, device },
        3 => Request::Detach { device },
        4 => Request::Replace { space, device },
        5 => Request::IoasDestroy { space },
        6..=10 => {
            let fixed = what % 32 != 10;
            let (generation, flags) = (few(4) % 2 + 1, flags(input, fixed));
            let iova = if flags.fixed { iova(input) } else { 0 };
            Request::Map {
                space,
                slot,
                generation,
                flags,
                iova,
                offset: offset(input),
                length: length(input),
            }
        }
        11..=13 => {
            let first = iova(input);
            Request::Unmap { space, first, last: first.wrapping_add(length(input)).wrapping_sub(1) }
        }
        14 => Request::Unmap { space, first: 0, last: u64::MAX },
        15 | 16 => {
            let flags = flags(input, what % 32 == 15);
            let iova_in_target = if flags.fixed { iova(input) } else { 0 };
            let target = SpaceId(few(2) + 1);
            let first = iova(input);
            Request::Copy { target, source: space, flags, iova: iova_in_target, first, length: length(input) }
        }
        17 => Request::AllowIovas { space, step: AllowStep::Begin, first: 0, last: 0 },
        18 => {
            let first = iova(input);
            let last = first.wrapping_add(length(input)).wrapping_sub(1);
            Request::AllowIovas { space, step: AllowStep::Add, first, last }
        }
        19 => Request::AllowIovas { space, step: AllowStep::Commit, first: 0, last: 0 },
        20 => Request::Enable { device },
        21 => Request::Reset,
        22 => Request::Claim,
        23 => Request::Teardown { client },
        24 => Request::Hold { client, deadline_ms: u32::from(input.byte()) * 20 },
        25 => Request::Revoke { client, slot },
        26 => Request::Regrant { client, slot },
        27 => Request::IsAttached { stream: STREAMS[usize::from(few(0))].0 },
        28 => Request::NextWithdrawn,
        29 => Request::IovaRanges { space, index: few(4) },
        30 => Request::Stats { group: u16::from(names & 7), client: None },
        _ => match few(0) {
            0 => Request::HwInfo { device, index: few(4) },
            1 => Request::RegionInfo { slot },
            2 => Request::Version,
            _ => Request::Stats { group: few(2), client: Some(client) },
        },
    }
}
