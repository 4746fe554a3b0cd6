//! A server over the model of a unit of any kind, with two clients and a PCI host.

#![allow(dead_code)] // Each test file uses its part.

mod held;
mod smmu_v3;
mod unit;
mod vtd;

use std::{cell::RefCell, rc::Rc};

use iommu_core::Storage;
use iommu_hal::{SharedPage, StreamId};
use iommu_model::{
    VirtualClock,
    board::{AnyMemory, AnyRegisters, Board},
};
use iommu_pgtable::FrameMeta;
use iommu_protocol::{
    DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status, Words,
    ring::{self, Record},
};
use iommu_server::{
    Roll,
    policy::{
        ClientEntry, DEFAULT_MAX_FAULTS_PER_SECOND, DeviceEntry, GrantEntry, Header, MAGIC, MAX_REGIONS,
        NO_CLIENT, RIGHT_READ, RIGHT_WRITE, ReservedEntry, SupervisorEntry, UnitEntry, WardEntry,
    },
    server::{Answer, Server, Step},
    start::{Parts, StartError},
};
use zerocopy::{FromBytes, IntoBytes};

#[allow(unused_imports)] // As above.
pub(crate) use {
    held::{Mapping, resumed},
    unit::{Facts, Unit, over_every_unit},
};

/// Channels of the two clients, of the PCI host, and one that nobody has.
pub const ALICE: u8 = 1;
pub const BOB: u8 = 2;
pub const PCI_HOST: u8 = 0;
pub const NOBODY: u8 = 7;
/// Of a supervisor, whose client 0 is Bob and whose client 1 is Alice.
pub const SUPERVISOR: u8 = 9;

/// Their devices.
pub const ALICES_DEVICE: StreamId = StreamId(0x10);
pub const BOBS_DEVICE: StreamId = StreamId(0x18);
pub const STRANGER: StreamId = StreamId(0x20);

/// Where their regions lie: slot 0 rw, slot 1 r.
pub const ALICES_MEMORY: u64 = 0x8000_0000;
pub const ALICES_CONSTANTS: u64 = 0x8100_0000;
pub const BOBS_MEMORY: u64 = 0x8200_0000;
pub const MEMORY_BYTES: u64 = 0x40_0000;
pub const CONSTANTS_BYTES: u64 = 0x1000;
/// Region 3, which a policy has to grant.
pub const LARGE_MEMORY: u64 = 0x1_0000_0000;
pub const LARGE_BYTES: u64 = 0x1_0000_0000;

pub type ModelServer = Server<'static, AnyRegisters, AnyMemory, VirtualClock, Page>;

/// A fault ring's page that the test can read.
#[derive(Debug, Clone)]
pub struct Page(Rc<RefCell<[u64; ring::BYTES / 8]>>);

impl SharedPage for Page {
    fn write(&mut self, index: usize, value: u64) {
        self.0.borrow_mut()[index] = value;
    }
}

impl Page {
    fn new() -> Self {
        Self(Rc::new(RefCell::new([u64::MAX; ring::BYTES / 8])))
    }

    pub fn header(&self) -> ring::Header {
        ring::Header::read_from_bytes(&self.0.borrow().as_bytes()[..64]).unwrap()
    }

    /// The record that was written last.
    pub fn last(&self) -> Record {
        let index = (self.header().written - 1) % ring::CAPACITY;
        Record::read_from_bytes(&self.0.borrow().as_bytes()[64 + 64 * index as usize..][..64]).unwrap()
    }

    /// The records that are there, the oldest first.
    pub fn records(&self) -> Vec<Record> {
        let words = self.0.borrow();
        let written = self.header().written;
        (written.saturating_sub(ring::CAPACITY)..written)
            .map(|number| 64 + 64 * (number % ring::CAPACITY) as usize)
            .map(|at| Record::read_from_bytes(&words.as_bytes()[at..][..64]).unwrap())
            .collect()
    }
}

pub struct World {
    pub bench: Rc<dyn Board>,
    pub facts: Facts,
    pub server: ModelServer,
    pub alices_ring: Page,
    pub bobs_ring: Page,
    pub log: String,
}

/// The policy of a [`World`] over `unit`, with `change` applied to its parts.
pub fn policy_with(unit: &Unit, change: impl FnOnce(&mut PolicyParts)) -> Vec<u8> {
    let mut parts = PolicyParts::of(unit.facts().kind);
    change(&mut parts);
    parts.bytes()
}

pub struct PolicyParts {
    pub header: Header,
    pub units: Vec<UnitEntry>,
    pub clients: Vec<ClientEntry>,
    pub devices: Vec<DeviceEntry>,
    pub grants: Vec<GrantEntry>,
    pub supervisors: Vec<SupervisorEntry>,
    pub wards: Vec<WardEntry>,
    pub reserved: Vec<ReservedEntry>,
}

impl PolicyParts {
    /// With one unit of `kind`.
    pub fn of(kind: u32) -> Self {
        let client = |channel, ring| ClientEntry {
            fault_ring_vaddr: ring,
            areas: 1000,
            frames: 64,
            channel,
            predecessor: NO_CLIENT,
            flags: 0,
            reserved: [0; 5],
        };
        let device = |client, stream: StreamId| DeviceEntry {
            stream: stream.0,
            client,
            unit: 0,
            fault_client: NO_CLIENT,
            fault_index: 0,
            max_faults_per_second: DEFAULT_MAX_FAULTS_PER_SECOND,
            reserved: [0; 4],
        };
        let grant =
            |client, region, bytes, rights| GrantEntry { bytes, client, region, rights, reserved: [0; 5] };
        Self {
            header: Header {
                magic: MAGIC,
                units: 0,
                clients: 0,
                devices: 0,
                grants: 0,
                pci_host_channel: PCI_HOST,
                supervisors: 0,
                wards: 0,
                reserved_ranges: 0,
            },
            units: vec![UnitEntry { kind, reserved: 0 }],
            clients: vec![client(ALICE, 0x1000), client(BOB, 0x2000)],
            devices: vec![device(0, ALICES_DEVICE), device(1, BOBS_DEVICE)],
            grants: vec![
                grant(0, 0, MEMORY_BYTES, RIGHT_READ | RIGHT_WRITE),
                grant(0, 1, CONSTANTS_BYTES, RIGHT_READ),
                grant(1, 2, MEMORY_BYTES, RIGHT_READ | RIGHT_WRITE),
            ],
            supervisors: vec![SupervisorEntry { channel: SUPERVISOR, reserved: [0; 7] }],
            wards: [1, 0].map(|client| WardEntry { supervisor: 0, client, reserved: [0; 6] }).to_vec(),
            reserved: vec![],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = Header {
            units: self.units.len() as u8,
            clients: self.clients.len() as u8,
            devices: self.devices.len() as u8,
            grants: self.grants.len() as u8,
            supervisors: self.supervisors.len() as u8,
            wards: self.wards.len() as u8,
            reserved_ranges: self.reserved.len() as u8,
            ..self.header
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(self.units.as_bytes());
        bytes.extend(self.clients.as_bytes());
        bytes.extend(self.devices.as_bytes());
        bytes.extend(self.grants.as_bytes());
        bytes.extend(self.supervisors.as_bytes());
        bytes.extend(self.wards.as_bytes());
        bytes.extend(self.reserved.as_bytes());
        bytes
    }
}

/// Bytes at an 8-byte boundary, as a mapped region's are.
pub fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    words
}

/// A server over the unit of `board`, the two clients' rings, and the log.
pub fn start(board: &dyn Board, policy: &[u8]) -> Result<(ModelServer, Page, Page, String), StartError> {
    let (registers, memory, clock) = board.ports();
    let mut region_paddrs = [0; MAX_REGIONS];
    region_paddrs[..4].copy_from_slice(&[ALICES_MEMORY, ALICES_CONSTANTS, BOBS_MEMORY, LARGE_MEMORY]);
    let parts = Parts { registers: heapless::Vec::from_iter([registers]), memory, clock, region_paddrs };
    let storage = Box::leak(Box::new(const { Storage::<1025>::NEW }));
    let frames = Box::leak(vec![FrameMeta::NEW; 1024].into_boxed_slice());
    let roll = Box::leak(Box::new(Roll::NEW));
    let rings = [Page::new(), Page::new()];
    let mut log = String::new();
    let words = aligned(policy);
    let ring = |vaddr: u64| rings[vaddr as usize / 0x1000 - 1].clone();
    let server = Server::start(words.as_bytes(), parts, storage, frames, roll, ring, &mut log)?;
    let [alices_ring, bobs_ring] = rings;
    Ok((server, alices_ring, bobs_ring, log))
}

impl World {
    pub fn new(unit: &Unit) -> Self {
        Self::changed(unit, |_| {})
    }

    /// With a changed policy.
    pub fn changed(unit: &Unit, change: impl FnOnce(&mut PolicyParts)) -> Self {
        Self::over(unit.board(), unit.facts(), &policy_with(unit, change))
    }

    /// Over a board that the test has a hand on.
    pub fn over(bench: Rc<dyn Board>, facts: Facts, policy: &[u8]) -> Self {
        let (server, alices_ring, bobs_ring, log) = start(&*bench, policy).expect("the server starts");
        Self { bench, facts, server, alices_ring, bobs_ring, log }
    }

    pub fn clock(&self) -> VirtualClock {
        self.bench.ports().2
    }

    pub fn call(&mut self, channel: u8, request: Request) -> Answer {
        let (opcode, words) = request.encode();
        self.server.call(channel, opcode.label(), &words)
    }

    /// The words of a call that must be granted.
    pub fn ok(&mut self, channel: u8, request: Request) -> Words {
        let answer = self.call(channel, request);
        assert_eq!(answer.status, Status::Ok, "{request:?}");
        answer.words
    }

    pub fn status(&mut self, channel: u8, request: Request) -> Status {
        let answer = self.call(channel, request);
        if !matches!(answer.status, Status::Ok | Status::Again) {
            assert_eq!(answer.words, Words::new([]), "a refusal has no words: {request:?}");
        }
        answer.status
    }

    /// A new address space of `channel`.
    pub fn space(&mut self, channel: u8) -> SpaceId {
        SpaceId(self.ok(channel, Request::IoasAlloc).get(0) as u16)
    }

    /// A new address space of `channel`, with its device attached.
    pub fn attached_space(&mut self, channel: u8) -> SpaceId {
        let space = self.space(channel);
        self.ok(channel, Request::Attach { space, device: DeviceIndex(0) });
        space
    }

    pub fn work(&mut self) -> Step {
        self.server.work(&mut self.log)
    }

    pub fn peek(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut found = vec![0; bytes];
        self.bench.memory().peek(at, &mut found);
        found
    }

    pub fn poke(&self, at: u64, bytes: &[u8]) {
        self.bench.memory().poke(at, bytes);
    }
}

/// A MAP with slot 0, both rights, fixed.
pub fn map(space: SpaceId, iova: u64, offset: u64, length: u64) -> Request {
    map_with(
        space,
        RegionSlot(0),
        MapFlags { read: true, write: true, fixed: true, resume: false },
        [iova, offset, length],
    )
}

pub fn map_with(
    space: SpaceId,
    slot: RegionSlot,
    flags: MapFlags,
    [iova, offset, length]: [u64; 3],
) -> Request {
    Request::Map { space, slot, generation: 1, flags, iova, offset, length }
}

pub fn unmap(space: SpaceId, first: u64, length: u64) -> Request {
    Request::Unmap { space, first, last: first + (length - 1) }
}

pub const READ: MapFlags = MapFlags { read: true, write: false, fixed: true, resume: false };
pub const READ_WRITE: MapFlags = MapFlags { read: true, write: true, fixed: true, resume: false };
