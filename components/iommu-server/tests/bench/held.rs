//! Requests until they are done, and what a client has, as it is told.

use iommu_protocol::{ClientIndex, MapFlags, RegionSlot, Request, SpaceId, Status, stats};
use iommu_server::policy::{
    DEFAULT_MAX_FAULTS_PER_SECOND, DeviceEntry, GrantEntry, NO_CLIENT, RIGHT_READ, RIGHT_WRITE,
};

use super::{LARGE_BYTES, PolicyParts, READ_WRITE, World, map_with};

/// Calls after which a request that still has more to do is taken for one without end.
const MAX_CALLS: u32 = 5_000;

/// One mapping, as NEXT_MAPPING tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    pub first: u64,
    pub last: u64,
    pub slot: u16,
    pub offset: u64,
    pub read: bool,
    pub write: bool,
    pub half_done: bool,
}

impl Mapping {
    pub fn bytes(&self) -> u64 {
        self.last - self.first + 1
    }
}

impl PolicyParts {
    /// Grants client `client` region 3 besides, at the slot behind its others.
    pub fn grant_large(&mut self, client: u8) {
        let rights = RIGHT_READ | RIGHT_WRITE;
        self.grants.push(GrantEntry { bytes: LARGE_BYTES, client, region: 3, rights, reserved: [0; 5] });
    }

    /// Bob's grants become Alice's, he has no device, and he succeeds her, up to so much.
    pub fn succession(&mut self, areas: u32, frames: u32) {
        (self.clients[1].predecessor, self.clients[1].areas, self.clients[1].frames) = (0, areas, frames);
        self.devices.retain(|device| device.client != 1);
        self.grants.retain(|grant| grant.client == 0);
        for index in 0..self.grants.len() {
            self.grants.push(GrantEntry { client: 1, ..self.grants[index] });
        }
    }

    /// Gives client `client` one more device.
    pub fn device(&mut self, client: u8, stream: u32) {
        self.devices.push(DeviceEntry {
            stream,
            client,
            unit: 0,
            fault_client: NO_CLIENT,
            fault_index: 0,
            max_faults_per_second: DEFAULT_MAX_FAULTS_PER_SECOND,
            reserved: [0; 4],
        });
    }
}

impl World {
    /// Repeats a request other than MAP and COPY until it is done, which must succeed: the bytes of all calls.
    pub fn finish(&mut self, channel: u8, request: Request) -> u64 {
        let mut bytes = 0;
        for _ in 0..MAX_CALLS {
            let answer = self.call(channel, request);
            bytes += answer.words.get(1);
            match answer.status {
                Status::Again => {}
                Status::Ok => return bytes,
                status => panic!("{request:?}: {status:?}"),
            }
        }
        panic!("{request:?} comes to no end");
    }

    /// Repeats a MAP or COPY until it is done, which must succeed: its IOVA.
    pub fn complete(&mut self, channel: u8, mut request: Request) -> u64 {
        for _ in 0..MAX_CALLS {
            let answer = self.call(channel, request);
            let at = answer.words.get(0);
            match answer.status {
                Status::Ok => return at,
                Status::Again => request = resumed(request, at),
                status => panic!("{request:?}: {status:?}"),
            }
        }
        panic!("{request:?} comes to no end");
    }

    /// Maps a piece of region 3 at `slot`.
    pub fn map_large(&mut self, channel: u8, space: SpaceId, slot: u16, [iova, offset, length]: [u64; 3]) {
        self.complete(channel, map_with(space, RegionSlot(slot), READ_WRITE, [iova, offset, length]));
    }

    /// Everything that `space` maps, upwards.
    pub fn mappings(&mut self, channel: u8, space: SpaceId) -> Vec<Mapping> {
        let (mut found, mut from) = (vec![], 0);
        loop {
            let answer = self.call(channel, Request::NextMapping { space, from });
            if answer.status == Status::NotMapped {
                return found;
            }
            assert_eq!(answer.status, Status::Ok);
            let [first, last, offset, what] = [0, 1, 2, 3].map(|word| answer.words.get(word));
            let bit = |index: u32| what >> index & 1 != 0;
            let (slot, read, write, half_done) = (what as u16, bit(16), bit(17), bit(18));
            assert!(first >= from && last >= first, "upwards");
            found.push(Mapping { first, last, slot, offset, read, write, half_done });
            match last.checked_add(1) {
                Some(next) => from = next,
                None => return found,
            }
        }
    }

    /// Areas and table frames that `channel` is charged.
    pub fn charged(&mut self, channel: u8) -> (u64, u64) {
        let words = self.ok(channel, Request::Stats { group: stats::MEMORY, client: None });
        (words.get(0), words.get(2))
    }

    /// The same of a supervisor's client.
    pub fn charged_of(&mut self, supervisor: u8, client: ClientIndex) -> (u64, u64) {
        let words = self.ok(supervisor, Request::Stats { group: stats::MEMORY, client: Some(client) });
        (words.get(0), words.get(2))
    }

    /// Does all that the server does by itself until it waits for something; how many steps that were.
    pub fn settle(&mut self) -> (u32, Option<u64>) {
        for steps in 1..MAX_CALLS {
            let step = self.work();
            if !step.more {
                return (steps, step.deadline_ns);
            }
        }
        panic!("it comes to no end");
    }
}

/// The MAP or COPY that goes on with `request`, which was answered with `at`.
pub fn resumed(mut request: Request, at: u64) -> Request {
    if let Request::Map { flags, iova, .. } | Request::Copy { flags, iova, .. } = &mut request {
        *flags = MapFlags { fixed: true, resume: true, ..*flags };
        *iova = at;
    }
    request
}
