//! The system description: system.xml as Microkit 2.3's system description format (SDF) defines it.
//!
//! [`System::parse`] applies the rules of single elements and names, [`check::check`] those that take the whole
//! system (Microkit 2.3 manual, "System Description File", and the tool's own checks), and [`embedded::check`]
//! refuses by name what Microkit does and the embedded kernel does not. What needs no understanding to be
//! refused (virtual machines, ...) is refused while parsing.

use std::path::PathBuf;

use crate::{board::Interval, refusal::Place};

pub mod check;
pub mod embedded;
mod parse;
mod parse_machine;
mod parse_pd;
mod xml;

/// Bytes of the smallest page.
pub const PAGE_BYTES: u64 = 0x1000;

/// Bytes of the large page that Microkit prefers where alignment allows.
pub const LARGE_PAGE_BYTES: u64 = 0x20_0000;

/// Highest id of a channel, an interrupt or a child within a protection domain.
pub const MAX_ID: u64 = 61;

/// Highest vector of an x86 interrupt, as Microkit counts them.
pub const MAX_VECTOR: u64 = 107;

/// Most protection domains (Microkit).
pub const MAX_PDS: usize = 63;

/// Highest priority of a protection domain.
pub const MAX_PRIORITY: u64 = 254;

/// A system description. Elements refer to each other by index.
#[derive(Debug, Clone)]
pub struct System {
    /// The file itself.
    pub place: Place,
    /// Its memory regions.
    pub regions: Vec<Region>,
    /// Its protection domains: each before its children, in the order that Microkit has them in.
    pub pds: Vec<Pd>,
    /// Its channels.
    pub channels: Vec<Channel>,
}

/// A memory region.
#[derive(Debug, Clone)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Its size, a multiple of the page size.
    pub bytes: u64,
    /// The page size, if the file says one.
    pub page_bytes: Option<u64>,
    /// The physical address, if the file says one.
    pub paddr: Option<u64>,
    /// The file that it is filled from.
    pub prefill: Option<Prefill>,
    /// Where it stands.
    pub place: Place,
}

/// What a region is filled with.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// The file, as system.xml names it.
    pub path: String,
    /// Its content; `None` for a file that the builder generates until it has.
    pub bytes: Option<Vec<u8>>,
}

/// A protection domain.
#[derive(Debug, Clone)]
pub struct Pd {
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: u8,
    /// Its budget in microseconds.
    pub budget_us: u64,
    /// Its period in microseconds.
    pub period_us: u64,
    /// Whether it gives its scheduling context back after init.
    pub passive: bool,
    /// Whether it may use the floating-point registers.
    pub fpu: bool,
    /// Bytes of its stack.
    pub stack_bytes: u64,
    /// The file name of its program image.
    pub program: String,
    /// Where the program image is named.
    pub program_place: Place,
    /// The regions that it maps.
    pub maps: Vec<Map>,
    /// The interrupts that it handles.
    pub irqs: Vec<Irq>,
    /// The I/O ports that it may use (x86).
    pub ioports: Vec<IoPorts>,
    /// The symbols of its program that are given values; those of its channels and children included.
    pub setvars: Vec<SetVar>,
    /// Whose child it is.
    pub parent: Option<Parent>,
    /// Where it stands.
    pub place: Place,
}

/// Whose child a protection domain is: who gets its faults, and may stop and restart it.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The parent's index, below the child's.
    pub pd: usize,
    /// The id that the parent knows the child by.
    pub id: u8,
    /// Where the id stands.
    pub place: Place,
}

/// A region mapped into a protection domain.
#[derive(Debug, Clone)]
pub struct Map {
    /// The region's index.
    pub region: usize,
    /// The virtual address.
    pub vaddr: u64,
    /// What the protection domain may do there.
    pub perms: Perms,
    /// Normal memory, else device memory.
    pub cached: bool,
    /// Where it stands.
    pub place: Place,
}

/// What a protection domain may do with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perms {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Execute.
    pub execute: bool,
}

/// An interrupt that a protection domain handles.
#[derive(Debug, Clone)]
pub struct Irq {
    /// The number that it has one handler by: the GIC's interrupt id, the vector on x86.
    pub number: u64,
    /// The id that the protection domain sees.
    pub id: u8,
    /// Where it comes from.
    pub source: IrqSource,
    /// The symbol that is told the id.
    pub symbol: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// Where an interrupt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqSource {
    /// The GIC.
    Gic {
        /// Edge triggered, else level.
        edge: bool,
    },
    /// A pin of an x86 I/O APIC.
    IoApic {
        /// The I/O APIC's index.
        ioapic: u64,
        /// Its pin.
        pin: u64,
        /// Edge triggered, else level.
        edge: bool,
        /// Active low, else high.
        low: bool,
    },
    /// A message to an x86 local APIC.
    Message {
        /// Who sends it: bits 15:8 bus, 7:3 device, 2:0 function.
        requester: u16,
        /// What seL4 names it by. It is no part of the message.
        handle: u64,
    },
}

impl Irq {
    /// Whether it is edge triggered.
    pub const fn edge(&self) -> bool {
        match self.source {
            IrqSource::Gic { edge } | IrqSource::IoApic { edge, .. } => edge,
            IrqSource::Message { .. } => true,
        }
    }
}

/// A range of I/O ports that a protection domain may use.
#[derive(Debug, Clone)]
pub struct IoPorts {
    /// The id that the protection domain knows it by.
    pub id: u8,
    /// The first port.
    pub first: u16,
    /// How many.
    pub count: u32,
    /// Where it stands.
    pub place: Place,
}

impl IoPorts {
    /// The last port.
    pub const fn last(&self) -> u16 {
        (self.first as u32 + (self.count - 1)) as u16
    }
}

/// A symbol of a program that the builder gives a value.
#[derive(Debug, Clone)]
pub struct SetVar {
    /// The symbol.
    pub symbol: String,
    /// Its value.
    pub value: Value,
    /// Where the symbol is named.
    pub place: Place,
}

/// The value of a symbol. Regions are indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// This number: a virtual address, an I/O port or an id.
    Number(u64),
    /// The size of a region.
    Size(usize),
    /// The size of what a region is filled with.
    PrefillSize(usize),
    /// The physical address of a region.
    Paddr(usize),
}

/// A channel.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its ends.
    pub ends: [End; 2],
    /// Where it stands.
    pub place: Place,
}

/// One end of a channel.
#[derive(Debug, Clone)]
pub struct End {
    /// The protection domain's index.
    pub pd: usize,
    /// The id that it knows the channel by.
    pub id: u8,
    /// Whether it may call the other end.
    pub pp: bool,
    /// Whether it may signal the other end.
    pub notify: bool,
    /// Where it stands.
    pub place: Place,
}

/// Where prefill files come from.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Folders, searched in order.
    pub folders: Vec<PathBuf>,
    /// Names that the builder generates.
    pub generated: Vec<String>,
}

impl System {
    /// The index of the protection domain `name`.
    pub fn pd(&self, name: &str) -> Option<usize> {
        self.pds.iter().position(|pd| pd.name == name)
    }

    /// The index of the memory region `name`.
    pub fn region(&self, name: &str) -> Option<usize> {
        self.regions.iter().position(|region| region.name == name)
    }

    /// The parent of `pd`, the parent's parent, and so on.
    pub fn ancestors(&self, pd: usize) -> impl Iterator<Item = usize> {
        let parent = |&pd: &usize| self.pds[pd].parent.as_ref().map(|parent| parent.pd);
        std::iter::successors(parent(&pd), parent)
    }

    /// The protection domains that map `region`, with their maps.
    pub fn maps_of(&self, region: usize) -> impl Iterator<Item = (&Pd, &Map)> {
        self.pds
            .iter()
            .flat_map(|pd| pd.maps.iter().map(move |map| (pd, map)))
            .filter(move |(_, map)| map.region == region)
    }

    /// The page size of `region`: the file's, else the largest that its size and all its mappings allow.
    pub fn page_bytes(&self, region: usize) -> u64 {
        let of = &self.regions[region];
        let large = || {
            of.bytes.is_multiple_of(LARGE_PAGE_BYTES)
                && self.maps_of(region).all(|(_, map)| map.vaddr.is_multiple_of(LARGE_PAGE_BYTES))
        };
        of.page_bytes.unwrap_or_else(|| if large() { LARGE_PAGE_BYTES } else { PAGE_BYTES })
    }
}

impl Region {
    /// The physical addresses that the file fixes it to.
    pub fn fixed(&self) -> Option<Interval> {
        Interval::of(self.paddr?, self.bytes)
    }
}

impl Pd {
    /// Its map of `region`.
    pub fn map_of(&self, region: usize) -> Option<&Map> {
        self.maps.iter().find(|map| map.region == region)
    }

    /// What `symbol` is set to.
    pub fn setvar(&self, symbol: &str) -> Option<&SetVar> {
        self.setvars.iter().find(|setvar| setvar.symbol == symbol)
    }
}

impl SetVar {
    /// Its value, if that is a number.
    pub fn number(&self) -> Option<u64> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The region that its value is of.
    pub fn region(&self) -> Option<usize> {
        match self.value {
            Value::Number(_) => None,
            Value::Size(region) | Value::PrefillSize(region) | Value::Paddr(region) => Some(region),
        }
    }
}

impl Channel {
    /// Its ends, that of `pd` first; `None` if it is not one of them.
    pub fn seen_from(&self, pd: usize) -> Option<(&End, &End)> {
        match &self.ends {
            [own, other] if own.pd == pd => Some((own, other)),
            [other, own] if own.pd == pd => Some((own, other)),
            _ => None,
        }
    }
}
