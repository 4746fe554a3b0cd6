//! The ACPI DMAR table (Intel Virtualization Technology for Directed I/O, Architecture Specification, D51397, chapter 8).
//! All fields are little-endian, and structures lie at any byte.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The table's signature (8.1).
pub const SIGNATURE: [u8; 4] = *b"DMAR";

/// The revisions that are known: 1 is the specification's (8.1), 2 is what newer firmware writes for the same layout.
pub const REVISIONS: [u8; 2] = [1, 2];

/// Bytes in the smallest unit that registers and reserved memory come in (8.3, 8.4).
pub const PAGE_BYTES: u64 = 0x1000;

/// The table's beginning (8.1): the header that all ACPI tables have (ACPI 6.5, section 5.2.6), then DMAR's fields.
/// Remapping structures follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`SIGNATURE`].
    pub signature: [u8; 4],
    /// Bytes of the whole table.
    pub length: U32,
    /// One of [`REVISIONS`].
    pub revision: u8,
    /// What makes the sum of all bytes 0.
    pub checksum: u8,
    /// Who made the firmware.
    pub oem: [u8; 6],
    /// Its name of the table.
    pub oem_table: [u8; 8],
    /// Its revision of the table.
    pub oem_revision: U32,
    /// The tool that made the table.
    pub creator: [u8; 4],
    /// That tool's revision.
    pub creator_revision: U32,
    /// Host Address Width: the highest address bit for DMA; one less than the number of bits.
    pub host_address_width: u8,
    /// [`INTR_REMAP`], [`X2APIC_OPT_OUT`], [`DMA_CTRL_PLATFORM_OPT_IN`].
    pub flags: u8,
    /// Reserved.
    pub reserved: [u8; 10],
}

/// Flags bit 0: the platform supports interrupt remapping.
pub const INTR_REMAP: u8 = 1 << 0;
/// Flags bit 1: firmware asks system software not to enable x2APIC mode.
pub const X2APIC_OPT_OUT: u8 = 1 << 1;
/// Flags bit 2: firmware kept DMA within RMRRs until it handed over.
pub const DMA_CTRL_PLATFORM_OPT_IN: u8 = 1 << 2;

/// How each remapping structure begins (8.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Structure {
    /// What it is, [`DRHD`] to [`SIDP`].
    pub kind: U16,
    /// Its bytes, these among them.
    pub length: U16,
}

/// DMA Remapping Hardware Unit Definition.
pub const DRHD: u16 = 0;
/// Reserved Memory Region Reporting.
pub const RMRR: u16 = 1;
/// Root Port ATS Capability Reporting.
pub const ATSR: u16 = 2;
/// Remapping Hardware Static Affinity.
pub const RHSA: u16 = 3;
/// ACPI Name-space Device Declaration.
pub const ANDD: u16 = 4;
/// SoC Integrated Address Translation Cache.
pub const SATC: u16 = 5;
/// SoC Integrated Device Property.
pub const SIDP: u16 = 6;

/// DMA Remapping Hardware Unit Definition (8.3). Device scopes follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Drhd {
    /// Type 0, and the length.
    pub structure: Structure,
    /// [`INCLUDE_PCI_ALL`].
    pub flags: u8,
    /// Bits 3:0: the registers have 2 to the power of this many pages.
    pub size: u8,
    /// PCI segment.
    pub segment: U16,
    /// Where its registers begin.
    pub registers: U64,
}

/// DRHD flags bit 0: the unit has all devices of its segment that no other unit's scopes name.
pub const INCLUDE_PCI_ALL: u8 = 1 << 0;
/// DRHD size bits 3:0.
pub const SIZE: u8 = 0xf;

/// Reserved Memory Region Reporting (8.4). Device scopes follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Rmrr {
    /// Type 1, and the length.
    pub structure: Structure,
    /// Reserved.
    pub reserved: U16,
    /// PCI segment.
    pub segment: U16,
    /// The first address.
    pub base: U64,
    /// The last address.
    pub limit: U64,
}

/// Root Port ATS Capability Reporting (8.5). Device scopes follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Atsr {
    /// Type 2, and the length.
    pub structure: Structure,
    /// [`ALL_PORTS`].
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// PCI segment.
    pub segment: U16,
}

/// ATSR flags bit 0: all root ports of the segment support ATS.
pub const ALL_PORTS: u8 = 1 << 0;

/// Device Scope (8.3.1). A path of [`Hop`]s follows, one or more.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Scope {
    /// [`ENDPOINT`] to [`ACPI_DEVICE`].
    pub kind: u8,
    /// Its bytes, these and the path's.
    pub length: u8,
    /// Flags, used in SIDP alone.
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// The I/O APIC's id, the HPET's number, or the ACPI device's number.
    pub enumeration_id: u8,
    /// The bus that the path starts on.
    pub start_bus: u8,
}

/// PCI endpoint device.
pub const ENDPOINT: u8 = 1;
/// PCI sub-hierarchy: a bridge and all that is behind it.
pub const BRIDGE: u8 = 2;
/// I/O APIC.
pub const IOAPIC: u8 = 3;
/// HPET that sends message-signalled interrupts.
pub const HPET: u8 = 4;
/// Device of the ACPI name space.
pub const ACPI_DEVICE: u8 = 5;

/// One step of a path (8.3.1): a function on the bus that the step before leads to.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Hop {
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

const _: () = {
    use core::mem::offset_of;
    assert!(
        size_of::<Header>() == 48 && offset_of!(Header, length) == 4 && offset_of!(Header, checksum) == 9
    );
    assert!(offset_of!(Header, host_address_width) == 36 && offset_of!(Header, flags) == 37);
    assert!(size_of::<Structure>() == 4);
    assert!(size_of::<Drhd>() == 16 && offset_of!(Drhd, flags) == 4 && offset_of!(Drhd, size) == 5);
    assert!(offset_of!(Drhd, segment) == 6 && offset_of!(Drhd, registers) == 8);
    assert!(size_of::<Rmrr>() == 24 && offset_of!(Rmrr, segment) == 6);
    assert!(offset_of!(Rmrr, base) == 8 && offset_of!(Rmrr, limit) == 16);
    assert!(size_of::<Atsr>() == 8 && offset_of!(Atsr, flags) == 4 && offset_of!(Atsr, segment) == 6);
    assert!(size_of::<Scope>() == 6 && offset_of!(Scope, length) == 1);
    assert!(offset_of!(Scope, enumeration_id) == 4 && offset_of!(Scope, start_bus) == 5);
    assert!(size_of::<Hop>() == 2);
};
