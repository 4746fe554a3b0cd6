//! The system image of the embedded kernel: what the image builder writes and the kernel boots.
//!
//! One blob, 8-byte aligned, all words little-endian: a [`Header`], then the tables that it points to, then the
//! bytes to load. Everything is decided at build time (physical addresses included); the kernel only checks and
//! obeys. All offsets count bytes from the header.
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

mod read;

pub use read::{Image, ImageError};

/// First word of an image: "uKtIMG01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"uKtIMG01");

/// The format that this crate reads and writes.
pub const VERSION: u32 = 3;

/// Bytes of a page; mapped addresses and sizes are multiples.
pub const PAGE_BYTES: u64 = 4096;

/// Most protection domains in one image.
pub const MAX_PDS: usize = 64;

/// Highest channel id, as in Microkit (62 channels a PD).
pub const MAX_CHANNEL: u8 = 61;

/// Highest id of a range of I/O ports, as in Microkit.
pub const MAX_IO_PORTS: u8 = 61;

/// Highest id of a child within its parent.
pub const MAX_CHILD: u8 = 61;

/// [`Pd::parent`] of a PD that is nobody's child.
pub const NO_PARENT: u8 = 0xff;

/// Where a table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Table {
    /// Bytes from the header to the first entry; a multiple of 8.
    pub offset: u64,
    /// Entries.
    pub count: u64,
}

/// The head of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// [`board`].
    pub board: u32,
    /// [`config`].
    pub config: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of the whole image, header included.
    pub total_bytes: u64,
    /// [`Pd`]s; an index into this table names a PD everywhere else.
    pub pds: Table,
    /// [`Map`]s.
    pub maps: Table,
    /// [`Load`]s.
    pub loads: Table,
    /// [`Channel`]s.
    pub channels: Table,
    /// [`Irq`]s.
    pub irqs: Table,
    /// [`IoPorts`]s.
    pub io_ports: Table,
}

/// [`Header::board`]: the layout that the PDs were built for.
pub mod board {
    /// `qemu_virt_aarch64`: seL4 at EL2, IPC buffer at 0xff_ffff_f000.
    pub const QEMU_VIRT_AARCH64: u32 = 1;
    /// `qemu_virt_aarch64_el1`: seL4 at EL1, IPC buffer at 0x7fff_ffff_f000.
    pub const QEMU_VIRT_AARCH64_EL1: u32 = 2;
    /// `x86_64_generic`: IPC buffer at 0x7fff_ffff_e000.
    pub const X86_64_GENERIC: u32 = 3;
}

/// [`Header::config`]: the kernel configuration whose invocation labels the PDs use.
pub mod config {
    /// Prints by `seL4_DebugPutChar`; interrupt acknowledge has label 31, a port's first 58.
    pub const DEBUG: u32 = 1;
    /// No printing; interrupt acknowledge has label 27, a port's first 54.
    pub const RELEASE: u32 = 2;
    /// As release.
    pub const BENCHMARK: u32 = 3;
}

/// One protection domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Pd {
    /// Its name, UTF-8, zero padded.
    pub name: [u8; 64],
    /// Fixed priority, 0 to 254; higher runs first.
    pub priority: u8,
    /// 1: passive, gives its scheduling context back after init.
    pub passive: u8,
    /// The PD whose child it is, at a lower index; [`NO_PARENT`]: none.
    pub parent: u8,
    /// The id that its parent knows it by; zero without a parent.
    pub child: u8,
    /// 1: may use the floating-point registers.
    pub fpu: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Microseconds it may run before others of its priority do (budget equals period).
    pub budget_us: u64,
    /// First instruction.
    pub entry: u64,
    /// Initial stack pointer.
    pub stack_top: u64,
    /// Virtual address of the IPC buffer page (mapped by a [`Map`]).
    pub ipc_buffer: u64,
}

/// [`Map::flags`].
pub mod flags {
    /// Readable.
    pub const READ: u32 = 1;
    /// Writable.
    pub const WRITE: u32 = 2;
    /// Executable.
    pub const EXECUTE: u32 = 4;
    /// Normal cacheable memory; without it, device memory.
    pub const CACHED: u32 = 8;
}

/// Memory that one PD sees: ELF segments, stack, IPC buffer, mapped regions; nothing else is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Map {
    /// The PD.
    pub pd: u32,
    /// [`flags`].
    pub flags: u32,
    /// Virtual address, page aligned.
    pub vaddr: u64,
    /// Physical address, page aligned.
    pub paddr: u64,
    /// Size, a multiple of the page.
    pub bytes: u64,
}

/// Physical memory to fill before any PD runs. Loads cover all RAM that PDs see, so that nothing is left over
/// from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Load {
    /// Physical address, page aligned, in RAM outside the kernel and the image.
    pub paddr: u64,
    /// Bytes in all, a multiple of the page; what the data does not fill is zero.
    pub bytes: u64,
    /// Offset of the data in the image.
    pub data_offset: u64,
    /// Bytes of data, at most `bytes`.
    pub data_bytes: u64,
}

/// [`Channel::flags`].
pub mod channel {
    /// End a may signal end b.
    pub const A_NOTIFIES: u32 = 1;
    /// End b may signal end a.
    pub const B_NOTIFIES: u32 = 2;
    /// End a may call end b.
    pub const A_CALLS: u32 = 4;
    /// End b may call end a.
    pub const B_CALLS: u32 = 8;
}

/// A channel between two PDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Channel {
    /// The PD at end a.
    pub a_pd: u32,
    /// The PD at end b.
    pub b_pd: u32,
    /// The channel's id in a.
    pub a_id: u8,
    /// The channel's id in b.
    pub b_id: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// [`channel`].
    pub flags: u32,
}

/// [`Irq::source`].
pub mod source {
    /// A line of the board's interrupt controller, the GIC, which numbers it.
    pub const LINE: u8 = 0;
    /// A pin of an I/O APIC (x86).
    pub const IO_APIC: u8 = 1;
    /// A message to the local APIC (x86).
    pub const MESSAGE: u8 = 2;
}

/// An interrupt that a PD handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Irq {
    /// The PD.
    pub pd: u32,
    /// The interrupt's number, as in SDF: the GIC's interrupt id; on x86 the vector, which Microkit counts from 0x30.
    pub number: u32,
    /// The channel id that it is delivered on.
    pub id: u8,
    /// 1: edge triggered; 0: level. A message is as if edge triggered, whatever stands here.
    pub edge: u8,
    /// [`source`].
    pub source: u8,
    /// The I/O APIC's index, with [`source::IO_APIC`].
    pub io_apic: u8,
    /// Its pin.
    pub pin: u8,
    /// 1: active low; 0: high.
    pub low: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// A range of I/O ports that a PD may use (x86).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoPorts {
    /// The PD.
    pub pd: u32,
    /// The first port.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
    /// The id that the PD knows the range by.
    pub id: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

const _: () = {
    assert!(size_of::<Header>() == 128);
    assert!(size_of::<Pd>() == 104);
    assert!(size_of::<Map>() == 32);
    assert!(size_of::<Load>() == 32);
    assert!(size_of::<Channel>() == 16);
    assert!(size_of::<Irq>() == 16);
    assert!(size_of::<IoPorts>() == 16);
};
