//! The core: all objects, and the requests that ask or make.

use core::fmt;

use iommu_hal::{
    Clock, Fault, Geometry, IovaRange, PhysAddr, Rights, StreamId, TableMemory, Unit, UnitError,
};
use iommu_pgtable::{FramePool, Reservation, Table};

use crate::area::{Area, AreaPool};
use crate::client::Client;
use crate::device::{Attachment, Device, DeviceInfo};
use crate::hardware::Hardware;
use crate::quota::{Account, Quota};
use crate::region::{Grant, RegionInfo};
use crate::space::{SpaceId, Spaces};
use crate::withdrawn::Places;
use crate::{ClientId, MAX_CLIENTS, MAX_SPACES_PER_CLIENT, MAX_STREAMS, MAX_UNITS, Refusal, Resource};

/// The memory of a [`Core`], but for table frames. All zero in [`Storage::NEW`], so that a static lies in `.bss`.
#[derive(Debug)]
pub struct Storage<const AREAS: usize> {
    areas: [Area; AREAS],
    clients: [Client; MAX_CLIENTS],
    spaces: Spaces,
    streams: Streams,
}

impl<const AREAS: usize> Storage<AREAS> {
    /// Storage in its first state. Of `AREAS` areas, one less can be used ([`AreaPool::new`]).
    pub const NEW: Self = Self {
        areas: [const { Area::NEW }; AREAS],
        clients: [const { Client::NEW }; MAX_CLIENTS],
        spaces: Spaces::NEW,
        streams: Streams::new(),
    };
}

/// Who owns each stream, by stream and unit.
pub(crate) type Streams = heapless::Vec<((StreamId, u8), ClientId, u16), MAX_STREAMS>;

/// Why a grant, quota or device of the configuration was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigError {
    /// The region is empty, not whole granules, or passes the end of the address space.
    BadRegion {
        /// Its first byte.
        base: PhysAddr,
        /// Its bytes.
        bytes: u64,
    },
    /// The region's last address is wider than what some unit's tables can name.
    AddressTooWide {
        /// Its first byte.
        base: PhysAddr,
        /// Its bytes.
        bytes: u64,
    },
    /// There is no such slot, or it holds a grant already.
    BadSlot(u16),
    /// There is no such unit.
    NoSuchUnit(usize),
    /// The stream belongs to this client already.
    StreamTaken(ClientId),
    /// The client's device table is full.
    TooManyDevices,
    /// The client has no such device.
    NoSuchDevice(u16),
    /// The device's list of reserved ranges is full.
    TooManyReserved,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRegion { base, bytes } => {
                write!(f, "the region of {bytes:#x} bytes at {:#x} is not whole pages", base.0)
            }
            Self::AddressTooWide { base, bytes } => {
                write!(
                    f,
                    "the region of {bytes:#x} bytes at {:#x} is beyond what a unit's tables name",
                    base.0
                )
            }
            Self::BadSlot(slot) => write!(f, "region slot {slot} is taken, or there is none"),
            Self::NoSuchUnit(unit) => write!(f, "there is no unit {unit}"),
            Self::StreamTaken(client) => write!(f, "client {} has its stream already", client.number()),
            Self::TooManyDevices => f.write_str("more devices than a client may have"),
            Self::NoSuchDevice(device) => write!(f, "there is no device {device}"),
            Self::TooManyReserved => f.write_str("more reserved ranges than a device may have"),
        }
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where: the first address that was mapped; 0 for other requests.
    pub iova: u64,
    /// MAP: bytes mapped so far, of the whole. Others: bytes of the areas that this request has taken out.
    pub bytes: u64,
    /// There is more to do: the same request, for MAP with [`resume`](crate::MapRequest::resume), goes on.
    pub more: bool,
}

/// Every client's spaces, mappings and devices, and the units that enforce them.
///
/// A request does a bounded amount of work ([`MAX_TABLE_WRITES`](crate::MAX_TABLE_WRITES),
/// [`MAX_AREAS_PER_REQUEST`](crate::MAX_AREAS_PER_REQUEST), [`MAX_COMMANDS`](crate::MAX_COMMANDS)) and leaves
/// nothing that another would have to wait for.
#[derive(Debug)]
pub struct Core<'a, U, M, C> {
    pub(crate) areas: AreaPool<'a>,
    pub(crate) frames: FramePool<'a>,
    pub(crate) clients: &'a mut [Client; MAX_CLIENTS],
    pub(crate) spaces: &'a mut Spaces,
    pub(crate) streams: &'a mut Streams,
    pub(crate) withdrawn: Places,
    pub(crate) hardware: Hardware<U, M, C>,
}

impl<'a, U: Unit, M: TableMemory, C: Clock> Core<'a, U, M, C> {
    /// A core without clients, over `units` that were brought up: all streams abort and nothing is cached.
    /// `frames` lie in `memory`. Clients are configured next, before the first request.
    ///
    /// # Errors
    /// That of a unit with which a first [`Unit::sync`] fails.
    ///
    /// # Panics
    /// Without units, and without areas.
    pub fn new<const AREAS: usize>(
        storage: &'a mut Storage<AREAS>,
        units: heapless::Vec<U, MAX_UNITS>,
        memory: M,
        clock: C,
        frames: FramePool<'a>,
    ) -> Result<Self, UnitError> {
        Ok(Self {
            areas: AreaPool::new(&mut storage.areas),
            frames,
            clients: &mut storage.clients,
            spaces: &mut storage.spaces,
            streams: &mut storage.streams,
            withdrawn: Places::NONE,
            hardware: Hardware::new(units, memory, clock)?,
        })
    }

    /// Allows `client` up to `quota`; without it, nothing.
    pub fn set_quota(&mut self, client: ClientId, quota: Quota) {
        self.clients[client.number()].account.set_limit(quota);
    }

    /// Grants `client` up to `rights` on the `bytes` bytes at `base` (whole granules), as region `slot`. Another client may
    /// be granted the same memory.
    ///
    /// # Errors
    /// [`ConfigError::BadRegion`], [`ConfigError::AddressTooWide`], [`ConfigError::BadSlot`].
    pub fn add_grant(
        &mut self,
        client: ClientId,
        slot: u16,
        base: PhysAddr,
        bytes: u64,
        rights: Rights,
    ) -> Result<(), ConfigError> {
        let grant = Grant::new(base, bytes, rights).ok_or(ConfigError::BadRegion { base, bytes })?;
        let last = base.0 + (bytes - 1);
        if self.hardware.units.iter().any(|unit| last >> unit.geometry().output_bits != 0) {
            return Err(ConfigError::AddressTooWide { base, bytes });
        }
        match self.clients[client.number()].grants.get_mut(usize::from(slot)) {
            Some(place) if place.is_empty() => *place = grant,
            _ => return Err(ConfigError::BadSlot(slot)),
        }
        Ok(())
    }

    /// Gives `client` the device behind `stream` of the unit at index `unit`; its index among the client's
    /// devices, which counts from 0.
    ///
    /// # Errors
    /// [`ConfigError::NoSuchUnit`], [`ConfigError::StreamTaken`], [`ConfigError::TooManyDevices`].
    pub fn add_device(
        &mut self,
        client: ClientId,
        stream: StreamId,
        unit: usize,
    ) -> Result<u16, ConfigError> {
        if unit >= self.hardware.units.len() {
            return Err(ConfigError::NoSuchUnit(unit));
        }
        let key = (stream, unit as u8);
        let place = match self.streams.binary_search_by_key(&key, |entry| entry.0) {
            Ok(place) => return Err(ConfigError::StreamTaken(self.streams[place].1)),
            Err(place) => place,
        };
        let devices = &mut self.clients[client.number()].devices;
        let index = devices.len() as u16;
        let device =
            Device { stream, unit: unit as u8, attachment: Attachment::None, reserved: heapless::Vec::new() };
        devices.push(device).map_err(|_| ConfigError::TooManyDevices)?;
        let room = self.streams.insert(place, (key, client, index));
        assert!(room.is_ok(), "as many streams as devices of all clients");
        Ok(index)
    }

    /// Makes an address space of the shape that the unit of the client's first device prefers.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`], [`Refusal::QuotaExceeded`].
    pub fn ioas_alloc(&mut self, client: ClientId) -> Result<(SpaceId, Geometry), Refusal> {
        let Self { frames, clients, spaces, hardware, .. } = self;
        let owner = &mut clients[client.number()];
        let slot = spaces.free_slot().ok_or(Refusal::NoMemory(Resource::Spaces))?;
        let charge = Quota { frames: Table::ROOT_FRAMES, areas: 0, spaces: 1 };
        let mut root = reserve(frames, &mut owner.account, charge)?;
        let Some(id) = owner.free_name() else {
            owner.account.release(charge);
            frames.release(root);
            return Err(Refusal::QuotaExceeded(Resource::Spaces));
        };
        let unit = owner.devices.first().map_or(0, |device| usize::from(device.unit));
        let geometry = hardware.units[unit].geometry();
        let clean = hardware.units.iter().any(|unit| unit.needs_clean() && unit.supports(&geometry));
        let table = Table::new(geometry, frames, &mut root, &mut hardware.memory, clean);
        frames.release(root);
        spaces.put(slot, id, table, clean);
        owner.name(id, Some(slot));
        self.refresh(client, slot);
        Ok((id, geometry))
    }

    /// What `slot` grants `client`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchRegion`].
    pub fn region_info(&self, client: ClientId, slot: u16) -> Result<RegionInfo, Refusal> {
        self.clients[client.number()].grant(slot).map(Grant::info)
    }

    /// What is known of `client`'s device at `index`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchDevice`].
    pub fn device_info(&self, client: ClientId, index: u16) -> Result<DeviceInfo, Refusal> {
        let device = self.clients[client.number()].device(index)?;
        let id = |slot| Some(self.spaces.get(slot).id);
        let (space, stopped) = match device.attachment {
            Attachment::To(slot) => (id(slot), None),
            Attachment::Stopped(slot) => (None, id(slot)),
            _ => (None, None),
        };
        Ok(DeviceInfo { stream: device.stream, space, stopped })
    }

    /// Whether `stream` is a device that is attached to an address space and not stopped, behind every unit that
    /// has a device of this stream.
    pub fn is_attached(&self, stream: StreamId) -> bool {
        let mut owners =
            (0..self.hardware.units.len()).filter_map(|unit| self.owner_of(unit, stream)).peekable();
        owners.peek().is_some()
            && owners.all(|(client, index)| {
                matches!(self.device_info(client, index), Ok(DeviceInfo { space: Some(_), .. }))
            })
    }

    /// The client that has the device behind `stream` of the unit at index `unit`, and the device's index.
    pub fn owner_of(&self, unit: usize, stream: StreamId) -> Option<(ClientId, u16)> {
        let place = self.streams.binary_search_by_key(&(stream, unit as u8), |entry| entry.0).ok()?;
        let (_, client, index) = self.streams[place];
        Some((client, index))
    }

    /// How many devices `client` has.
    pub fn device_count(&self, client: ClientId) -> u16 {
        self.clients[client.number()].devices.len() as u16
    }

    /// The unit that `client`'s device at `index` sits behind.
    ///
    /// # Errors
    /// [`Refusal::NoSuchDevice`].
    pub fn unit_of(&self, client: ClientId, index: u16) -> Result<usize, Refusal> {
        self.clients[client.number()].device(index).map(|device| device.unit.into())
    }

    /// The spaces of `client`, bit n for one with id n, and its devices that are attached or stopped, likewise.
    pub fn holdings(&self, client: ClientId) -> (u64, u64) {
        let of = &self.clients[client.number()];
        let devices = of.devices.iter().enumerate();
        let held = |set, (index, device): (usize, &Device)| {
            set | u64::from(device.attachment.holds().next().is_some()) << index
        };
        (of.space_ids(), devices.fold(0, held))
    }

    /// The shape of the space that `client` calls `space`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchSpace`].
    pub fn geometry(&self, client: ClientId, space: SpaceId) -> Result<Geometry, Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        Ok(*self.spaces.get(slot).table.geometry())
    }

    /// The lowest area of `space` that ends at or above `from`.
    ///
    /// # Errors
    /// In this order: [`Refusal::NoSuchSpace`], [`Refusal::NotMapped`].
    pub fn next_area(&self, client: ClientId, space: SpaceId, from: u64) -> Result<&Area, Refusal> {
        let slot = self.clients[client.number()].space(space)?;
        let above = IovaRange::new(from, u64::MAX).unwrap_or(IovaRange::ALL);
        let index =
            self.spaces.get(slot).tree.lowest_in(&self.areas, above).ok_or(Refusal::NotMapped(above))?;
        Ok(&self.areas[index as usize])
    }

    /// The most that `client` may use.
    pub fn limit(&self, client: ClientId) -> Quota {
        self.clients[client.number()].account.limit()
    }

    /// The time, by the clock that the units' deadlines go by.
    pub fn now_ns(&self) -> u64 {
        self.hardware.clock.now_ns()
    }

    /// What `client` uses of its quota.
    pub fn usage(&self, client: ClientId) -> Quota {
        self.clients[client.number()].account.used()
    }

    /// The most areas there can be.
    pub fn area_capacity(&self) -> u32 {
        self.areas.capacity()
    }

    /// Table frames: how many there are, and how many of them are neither used nor reserved.
    pub fn frame_counts(&self) -> (u32, u32) {
        (self.frames.capacity(), self.frames.free())
    }

    /// Takes the next fault record out of the unit at index `unit`, if there are both.
    pub fn next_fault(&mut self, unit: usize) -> Option<Fault> {
        self.hardware.units.get_mut(unit)?.next_fault(&mut self.hardware.memory)
    }

    /// The unit at index `unit` with its memory and clock, for what only its backend knows.
    pub fn unit(&mut self, unit: usize) -> Option<(&mut U, &mut M, &C)> {
        let Hardware { units, memory, clock, .. } = &mut self.hardware;
        Some((units.get_mut(unit)?, memory, clock))
    }
}

/// Sets frames aside and charges them, with what else `charge` says.
#[inline(always)]
pub(crate) fn reserve(
    frames: &mut FramePool<'_>,
    account: &mut Account,
    charge: Quota,
) -> Result<Reservation, Refusal> {
    let reservation = frames.reserve(charge.frames).map_err(|_| Refusal::NoMemory(Resource::Frames))?;
    match account.charge(charge) {
        Ok(()) => Ok(reservation),
        Err(resource) => {
            frames.release(reservation);
            Err(Refusal::QuotaExceeded(resource))
        }
    }
}

const _: () = assert!(MAX_SPACES_PER_CLIENT <= u16::MAX as usize);
