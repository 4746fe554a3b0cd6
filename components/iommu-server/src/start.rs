//! Start: from the policy and the parts of a board to a server that protects.

use core::fmt;

use heapless::Vec;
use iommu_core::{ClientId, ConfigError, Core, MAX_SPACES, MAX_SPACES_PER_CLIENT, MAX_UNITS, Quota, Storage};
use iommu_hal::{
    Carver, Clock, IovaRange, PhysAddr, Registers, Rights, SharedPage, StreamId, TableMemory, UnitError,
};
use iommu_pgtable::{FrameMeta, FramePool};

use crate::{
    backend::{AnyUnit, BringUpError},
    faults::RingWriter,
    policy::{
        FLAG_STATISTICS, MAX_CHANNEL, MAX_DEVICES, MAX_REGIONS, NO_CHANNEL, NO_CLIENT, NO_LINE, Policy,
        PolicyError, RIGHT_READ, RIGHT_WRITE,
    },
    seat::{Peer, Roll, Seat},
    server::Server,
    storm::Watched,
};

/// What a board brings.
#[derive(Debug)]
pub struct Parts<R, M, C> {
    /// The units' registers, in the policy's order.
    pub registers: Vec<R, MAX_UNITS>,
    /// Memory for tables and queues.
    pub memory: M,
    /// The clock.
    pub clock: C,
    /// Where the regions that grants name begin, by number; 0 where there is none.
    pub region_paddrs: [u64; MAX_REGIONS],
}

/// Why the server did not start. Devices reach nothing that the units can still keep them from.
#[derive(Debug)]
pub enum StartError {
    /// The policy is malformed.
    Policy(PolicyError),
    /// The policy names another number of units than the server maps.
    UnitCount {
        /// In the policy.
        policy: usize,
        /// Mapped.
        mapped: usize,
    },
    /// A unit was not brought up; its index.
    BringUp(usize, BringUpError),
    /// A grant names a region whose address was not patched in; the number NN of `region_paddr_NN`.
    NoRegionAddress(u8),
    /// A client's grant or device does not fit; the client's number.
    Client(usize, ConfigError),
    /// A first invalidation failed.
    FirstSync(UnitError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::UnitCount { policy, mapped } => {
                write!(f, "the policy names {policy} units, the system maps registers of {mapped}")
            }
            Self::BringUp(unit, error) => write!(f, "unit {unit}: {error}"),
            Self::NoRegionAddress(region) => {
                write!(f, "region_paddr_{region:02} is not set: give it a setvar in the system description")
            }
            Self::Client(client, error) => write!(f, "client {client} of the policy: {error}"),
            Self::FirstSync(error) => write!(f, "the first invalidation failed: {error}"),
        }
    }
}

impl<'a, R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'a, R, M, C, P> {
    /// Brings up every unit of `policy` and writes the report to `log`. `ring` gives the page of a fault ring by
    /// the address that the policy names.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the policy or the hardware.
    pub fn start<const AREAS: usize>(
        policy: &[u8],
        mut parts: Parts<R, M, C>,
        storage: &'a mut Storage<AREAS>,
        frames: &'a mut [FrameMeta],
        roll: &'a mut Roll,
        mut ring: impl FnMut(u64) -> P,
        log: &mut impl fmt::Write,
    ) -> Result<Self, StartError> {
        let policy = Policy::parse(policy).map_err(StartError::Policy)?;
        let (named, mapped) = (policy.units.len(), parts.registers.len());
        if named != mapped {
            return Err(StartError::UnitCount { policy: named, mapped });
        }
        let mut carver = Carver::new(parts.memory.base(), parts.memory.bytes());
        let mut units = Vec::new();
        for (index, (registers, entry)) in parts.registers.into_iter().zip(policy.units).enumerate() {
            let mut streams: Vec<StreamId, MAX_DEVICES> = Vec::new();
            for device in policy.devices.iter().filter(|device| usize::from(device.unit) == index) {
                // As many fit as a policy has devices.
                _ = streams.push(StreamId(device.stream));
            }
            let (memory, clock) = (&mut parts.memory, &parts.clock);
            let unit = AnyUnit::bring_up(entry, registers, memory, clock, &mut carver, &streams)
                .map_err(|error| StartError::BringUp(index, error))?;
            _ = writeln!(log, "unit {index}: {}", unit.report());
            assert!(units.push(unit).is_ok(), "no more units than registers");
        }
        let (base, bytes) = carver.rest();
        let pool = FramePool::new(base, bytes, frames);
        let core =
            Core::new(storage, units, parts.memory, parts.clock, pool).map_err(StartError::FirstSync)?;
        let mut server = Self {
            core,
            units: named,
            rings: Vec::new(),
            roll,
            peers: [Peer::Nobody; MAX_CHANNEL as usize + 1],
            pci_host: None,
            unowned: 0,
            lost: 0,
            errors_told: 0,
            given_up: 0,
            turn: 0,
            timer_line: Some(policy.header.timer_line).filter(|&line| line != NO_LINE),
        };
        if policy.header.pci_host_channel != NO_CHANNEL {
            server.pci_host = Some(policy.header.pci_host_channel);
            server.peers[usize::from(policy.header.pci_host_channel)] = Peer::PciHost;
        }
        server.seat_clients(&policy, &parts.region_paddrs, &mut ring)?;
        for (number, supervisor) in policy.supervisors.iter().enumerate() {
            server.peers[usize::from(supervisor.channel)] = Peer::Supervisor(number as u8);
        }
        for ward in policy.wards {
            assert!(server.roll.wards.push((ward.supervisor, ward.client)).is_ok(), "one for each client");
            let supervisor = policy.supervisors[usize::from(ward.supervisor)].channel;
            server.roll.seats[usize::from(ward.client)].supervisor = Some(supervisor);
        }
        let (total, free) = server.frame_counts();
        _ = writeln!(
            log,
            "{} clients, {} devices, {} grants; room for {} mappings and {free} of {total} table frames",
            policy.clients.len(),
            policy.devices.len(),
            policy.grants.len(),
            server.core.area_capacity(),
        );
        Ok(server)
    }

    fn seat_clients(
        &mut self,
        policy: &Policy<'_>,
        region_paddrs: &[u64; MAX_REGIONS],
        ring: &mut impl FnMut(u64) -> P,
    ) -> Result<(), StartError> {
        // A share that is fixed: no client can use up another's address spaces.
        let spaces = (MAX_SPACES / policy.clients.len().max(1)).min(MAX_SPACES_PER_CLIENT) as u32;
        for (index, entry) in policy.clients.iter().enumerate() {
            let wrong = |error| StartError::Client(index, error);
            let client = ClientId::new(index).ok_or(StartError::Policy(PolicyError::TooMany("clients")))?;
            self.core.set_quota(client, Quota { frames: entry.frames, areas: entry.areas, spaces });
            let grants = policy.grants.iter().filter(|grant| usize::from(grant.client) == index);
            for (slot, grant) in grants.enumerate() {
                let base = match region_paddrs.get(usize::from(grant.region)) {
                    Some(&base) if base != 0 => PhysAddr(base),
                    _ => return Err(StartError::NoRegionAddress(grant.region)),
                };
                let rights =
                    Rights { read: grant.rights & RIGHT_READ != 0, write: grant.rights & RIGHT_WRITE != 0 };
                self.core.add_grant(client, slot as u16, base, grant.bytes, rights).map_err(wrong)?;
            }
            let devices = policy.devices.iter().enumerate();
            for (number, device) in devices.filter(|(_, device)| usize::from(device.client) == index) {
                let (stream, unit) = (StreamId(device.stream), device.unit);
                let place = self.core.add_device(client, stream, unit.into()).map_err(wrong)?;
                let reserved = policy.reserved.iter().filter(|range| usize::from(range.device) == number);
                for range in reserved.filter_map(|range| IovaRange::new(range.first, range.last)) {
                    self.core.add_reserved(client, place, range).map_err(wrong)?;
                }
                let receiver = ClientId::new(device.fault_client.into())
                    .filter(|_| device.fault_client != NO_CLIENT)
                    .map(|client| (client, u16::from(device.fault_index)));
                let watched = Watched::new(unit, stream, receiver, device.max_faults_per_second);
                let place = self.roll.watched.binary_search_by_key(&watched.key(), Watched::key);
                let place = place.unwrap_or_else(|place| place);
                let room = self.roll.watched.insert(place, watched).is_ok();
                assert!(room, "no more devices than a policy holds");
            }
            let page = (entry.fault_ring_vaddr != 0).then(|| RingWriter::new(ring(entry.fault_ring_vaddr)));
            let seat = Seat::new(entry.channel, entry.flags & FLAG_STATISTICS != 0);
            let room = self.rings.push(page).is_ok() && self.roll.seats.push(seat).is_ok();
            assert!(room, "no more clients than a policy holds");
            self.refresh_peer(client);
        }
        for (index, entry) in policy.clients.iter().enumerate() {
            if entry.predecessor != NO_CLIENT {
                self.roll.seats[index].partner = ClientId::new(entry.predecessor.into());
                self.roll.seats[usize::from(entry.predecessor)].partner = ClientId::new(index);
            }
        }
        Ok(())
    }
}
