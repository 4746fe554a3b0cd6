//! The policy blob: who may attach which device and map which region.
//!
//! The image builder compiles policy.toml and system.xml into it (the types here are the format), the server
//! reads it once at start from a read-only region. All words are little-endian; the blob is 8-byte aligned: a
//! [`Header`], then the arrays in the order of its counts.
//!
//! Physical addresses are not in it: on AArch64 Microkit's tool places regions after the blob is made. A grant
//! names the number of a `region_paddr_NN` symbol that the tool patches instead.

use core::fmt;

use intel_vtd::InterruptMessage;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`Header::magic`]: "uKtPOL01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"uKtPOL01");

/// Most `region_paddr_NN` symbols of a server.
pub const MAX_REGIONS: usize = 32;

/// Most clients.
pub const MAX_CLIENTS: usize = 32;

/// Most grants of all clients together.
pub const MAX_GRANTS: usize = 128;

/// Most devices.
pub const MAX_DEVICES: usize = 64;

/// Most grants of one client.
pub const MAX_CLIENT_GRANTS: usize = iommu_core::MAX_GRANTS;

/// Most devices of one client.
pub const MAX_CLIENT_DEVICES: usize = iommu_core::MAX_DEVICES;

/// Mappings that the server has room for, of all clients together.
pub const MAX_AREAS: usize = 16_384;

/// Most units.
pub const MAX_UNITS: usize = 4;

/// Most supervisors.
pub const MAX_SUPERVISORS: usize = 4;

/// Most reserved ranges of all devices together.
pub const MAX_RESERVED_RANGES: usize = 32;

/// Most faults a second of a device for which policy.toml says nothing: well above what a driver causes by single
/// mistakes, as a stopped DMA of 4 KiB may be a fault for each bus access.
pub const DEFAULT_MAX_FAULTS_PER_SECOND: u32 = 20_000;

/// [`ClientEntry::predecessor`] and [`DeviceEntry::fault_client`] where there is none.
pub const NO_CLIENT: u8 = 0xff;

/// [`ClientEntry::flags`]: requests are counted and timed.
pub const FLAG_STATISTICS: u8 = 1;

/// Highest channel id (Microkit has 62 channels a PD).
pub const MAX_CHANNEL: u8 = 61;

/// [`Header::pci_host_channel`] where there is no PCI host.
pub const NO_CHANNEL: u8 = 0xff;

/// [`Header::timer_line`] where the timer has a line of its own, or there is none.
pub const NO_LINE: u32 = u32::MAX;

/// [`UnitEntry::kind`] of an Arm SMMUv3.
pub const KIND_ARM_SMMU_V3: u32 = 1;

/// [`UnitEntry::kind`] of an Intel VT-d unit.
pub const KIND_INTEL_VTD: u32 = 2;

/// [`GrantEntry::rights`]: the client's devices may read.
pub const RIGHT_READ: u8 = 1;

/// [`GrantEntry::rights`]: the client's devices may write.
pub const RIGHT_WRITE: u8 = 2;

/// The head of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`UnitEntry`]s.
    pub units: u8,
    /// [`ClientEntry`]s.
    pub clients: u8,
    /// [`DeviceEntry`]s.
    pub devices: u8,
    /// [`GrantEntry`]s.
    pub grants: u8,
    /// The channel of the PCI host, or [`NO_CHANNEL`].
    pub pci_host_channel: u8,
    /// [`SupervisorEntry`]s.
    pub supervisors: u8,
    /// [`WardEntry`]s.
    pub wards: u8,
    /// [`ReservedEntry`]s.
    pub reserved_ranges: u8,
    /// The interrupt line that the server's timer is to raise (x86: the I/O APIC's pin), or [`NO_LINE`].
    pub timer_line: u32,
    /// Zero.
    pub reserved: u32,
}

/// One IOMMU. Its registers' address is patched into the server, as all addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnitEntry {
    /// What it is: [`KIND_ARM_SMMU_V3`] or [`KIND_INTEL_VTD`].
    pub kind: u32,
    /// The data of the message by which it tells of faults.
    pub fault_data: u32,
    /// That message's address; 0: it tells by wires.
    pub fault_address: u64,
}

/// One client; its number is its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ClientEntry {
    /// Where the server maps the client's fault ring; 0: none.
    pub fault_ring_vaddr: u64,
    /// Most mappings at a time.
    pub areas: u32,
    /// Most table frames at a time.
    pub frames: u32,
    /// The server's end of its channel.
    pub channel: u8,
    /// The client whose devices and grants this one may take over, and that may take them back, or [`NO_CLIENT`].
    /// A client with a predecessor has no devices of its own at start.
    pub predecessor: u8,
    /// [`FLAG_STATISTICS`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// One device of a client. A client's devices have indices 0, 1, ... in the order of their entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DeviceEntry {
    /// The stream id at its unit.
    pub stream: u32,
    /// The client's number.
    pub client: u8,
    /// The unit's index.
    pub unit: u8,
    /// The client that receives its faults in the owner's stead, or [`NO_CLIENT`].
    pub fault_client: u8,
    /// The index by which that client's records name it.
    pub fault_index: u8,
    /// More faults in a second stop the device.
    pub max_faults_per_second: u32,
    /// Zero.
    pub reserved: [u8; 4],
}

/// One region that a client may map from. A client's grants have slots 0, 1, ... in the order of their entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GrantEntry {
    /// The region's size in bytes.
    pub bytes: u64,
    /// The client's number.
    pub client: u8,
    /// The number NN of the `region_paddr_NN` symbol.
    pub region: u8,
    /// [`RIGHT_READ`], [`RIGHT_WRITE`].
    pub rights: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// One supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SupervisorEntry {
    /// The server's end of its channel.
    pub channel: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// One client of a supervisor, which names its clients 0, 1, ... in the order of their entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WardEntry {
    /// The supervisor's number.
    pub supervisor: u8,
    /// The client's number.
    pub client: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// A range of IO virtual addresses that no space may map while a device is attached to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReservedEntry {
    /// The first address.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The device's number, by its entry.
    pub device: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

const _: () = {
    assert!(size_of::<SupervisorEntry>() == 8);
    assert!(size_of::<WardEntry>() == 8);
    assert!(size_of::<ReservedEntry>() == 24);
    assert!(size_of::<Header>() == 24);
    assert!(size_of::<UnitEntry>() == 16);
    assert!(size_of::<ClientEntry>() == 24);
    assert!(size_of::<DeviceEntry>() == 16);
    assert!(size_of::<GrantEntry>() == 16);
};

/// A checked policy.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The head.
    pub header: &'a Header,
    /// The units.
    pub units: &'a [UnitEntry],
    /// The clients.
    pub clients: &'a [ClientEntry],
    /// Their devices.
    pub devices: &'a [DeviceEntry],
    /// Their grants.
    pub grants: &'a [GrantEntry],
    /// The supervisors.
    pub supervisors: &'a [SupervisorEntry],
    /// Their clients.
    pub wards: &'a [WardEntry],
    /// The devices' reserved ranges.
    pub reserved: &'a [ReservedEntry],
}

/// The rule that a blob breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyError {
    /// Shorter than its counts say, or misaligned.
    Truncated,
    /// Not a policy.
    BadMagic(u64),
    /// The PCI host's channel is none that there can be.
    BadPciHost(u8),
    /// More entries than a server holds; the table's name.
    TooMany(&'static str),
    /// An entry that cannot be; the table's name and the index.
    BadEntry(&'static str, usize),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the policy is cut short"),
            Self::BadMagic(found) => write!(f, "not a policy: it begins with {found:#018x}"),
            Self::BadPciHost(channel) => write!(f, "the policy has the PCI host on channel {channel}"),
            Self::TooMany(table) => write!(f, "the policy has more {table} than a server holds"),
            Self::BadEntry(table, index) => write!(f, "entry {index} of the policy's {table} is malformed"),
        }
    }
}

impl<'a> Policy<'a> {
    /// Checks `blob`, which may be longer than the policy.
    ///
    /// # Errors
    /// [`PolicyError`] names the first rule that is broken.
    pub fn parse(blob: &'a [u8]) -> Result<Self, PolicyError> {
        let (header, rest) = Header::ref_from_prefix(blob).map_err(|_| PolicyError::Truncated)?;
        if header.magic != MAGIC {
            return Err(PolicyError::BadMagic(header.magic));
        }
        let (units, rest) = take(rest, header.units, MAX_UNITS, "units")?;
        let (clients, rest) = take(rest, header.clients, MAX_CLIENTS, "clients")?;
        let (devices, rest) = take(rest, header.devices, MAX_DEVICES, "devices")?;
        let (grants, rest) = take(rest, header.grants, MAX_GRANTS, "grants")?;
        let (supervisors, rest) = take(rest, header.supervisors, MAX_SUPERVISORS, "supervisors")?;
        let (wards, rest) = take(rest, header.wards, MAX_CLIENTS, "wards")?;
        let (reserved, _) = take(rest, header.reserved_ranges, MAX_RESERVED_RANGES, "reserved ranges")?;
        let policy = Self { header, units, clients, devices, grants, supervisors, wards, reserved };
        policy.check()?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), PolicyError> {
        let pci_host = self.header.pci_host_channel;
        if pci_host > MAX_CHANNEL && pci_host != NO_CHANNEL {
            return Err(PolicyError::BadPciHost(pci_host));
        }
        every("units", self.units, |_, unit| match unit.kind {
            KIND_ARM_SMMU_V3 => (unit.fault_address, unit.fault_data) == (0, 0),
            KIND_INTEL_VTD => unit.fault_address == 0 || InterruptMessage::is_address(unit.fault_address),
            _ => false,
        })?;
        every("clients", self.clients, |index, client| {
            client.channel <= MAX_CHANNEL
                && client.channel != self.header.pci_host_channel
                && client.fault_ring_vaddr.is_multiple_of(4096)
                && self.clients[..index].iter().all(|other| other.channel != client.channel)
                && client.flags & !FLAG_STATISTICS == 0
                && self.follows(index, client.predecessor)
        })?;
        every("devices", self.devices, |index, device| {
            (device.client as usize) < self.clients.len()
                && (device.unit as usize) < self.units.len()
                && self.clients[usize::from(device.client)].predecessor == NO_CLIENT
                && (device.fault_client == NO_CLIENT
                    || (device.fault_client as usize) < self.clients.len() && device.fault_index < 64)
                && device.max_faults_per_second != 0
                && self.devices[..index]
                    .iter()
                    .all(|other| (other.unit, other.stream) != (device.unit, device.stream))
        })?;
        every("grants", self.grants, |_, grant| {
            (grant.client as usize) < self.clients.len()
                && (grant.region as usize) < MAX_REGIONS
                && grant.bytes > 0
                && grant.bytes.is_multiple_of(4096)
                && (1..=3).contains(&grant.rights)
        })?;
        every("supervisors", self.supervisors, |index, supervisor| {
            supervisor.channel <= MAX_CHANNEL
                && supervisor.channel != self.header.pci_host_channel
                && self.clients.iter().all(|client| client.channel != supervisor.channel)
                && self.supervisors[..index].iter().all(|other| other.channel != supervisor.channel)
        })?;
        every("wards", self.wards, |index, ward| {
            (ward.supervisor as usize) < self.supervisors.len()
                && (ward.client as usize) < self.clients.len()
                && self.wards[..index].iter().all(|other| other.client != ward.client)
        })?;
        every("reserved ranges", self.reserved, |_, range| {
            (range.device as usize) < self.devices.len() && range.first <= range.last
        })
    }

    /// Whether client `index` may have `predecessor`: another one, that follows nobody and is followed by no other.
    fn follows(&self, index: usize, predecessor: u8) -> bool {
        predecessor == NO_CLIENT
            || usize::from(predecessor) != index
                && self.clients.get(usize::from(predecessor)).is_some_and(|of| of.predecessor == NO_CLIENT)
                && self.clients[..index].iter().all(|other| other.predecessor != predecessor)
    }
}

fn take<'a, T: FromBytes + KnownLayout + Immutable>(
    blob: &'a [u8],
    count: u8,
    most: usize,
    name: &'static str,
) -> Result<(&'a [T], &'a [u8]), PolicyError> {
    if count as usize > most {
        return Err(PolicyError::TooMany(name));
    }
    <[T]>::ref_from_prefix_with_elems(blob, count.into()).map_err(|_| PolicyError::Truncated)
}

fn every<T>(name: &'static str, entries: &[T], good: impl Fn(usize, &T) -> bool) -> Result<(), PolicyError> {
    match entries.iter().enumerate().position(|(index, entry)| !good(index, entry)) {
        Some(index) => Err(PolicyError::BadEntry(name, index)),
        None => Ok(()),
    }
}
