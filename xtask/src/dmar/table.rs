//! Reads the binary table. Whatever the bytes are, they are read once, in their order.

use std::fmt;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Ats, Dmar, Hop, Kind, Reserved, Scope, Unit, rules, spec};

/// Bytes of the longest table that is read; there are a few hundred in a real one.
pub const MAX_BYTES: usize = 1 << 20;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Who made it: OEM, its name of the table, both revisions.
    pub maker: String,
    /// What it says.
    pub dmar: Dmar,
    /// What is in it but not in that.
    pub skipped: Vec<Skipped>,
}

/// A structure that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where in the table, in bytes.
    pub offset: usize,
    /// What it is.
    pub what: String,
    /// Its bytes.
    pub bytes: usize,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:#x}: {}, {} bytes", self.offset, self.what, self.bytes)
    }
}

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the table, in bytes.
    pub offset: usize,
    /// The broken rule.
    pub rule: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {:#x}: {}", self.offset, self.rule)
    }
}

impl std::error::Error for Malformed {}

fn malformed(offset: usize, rule: impl Into<String>) -> Malformed {
    Malformed { offset, rule: rule.into() }
}

/// Where each structure that is kept begins.
#[derive(Default)]
struct Offsets {
    units: Vec<usize>,
    reserved: Vec<usize>,
}

/// Reads the table `bytes`.
///
/// # Errors
/// The first rule that it breaks, with its place.
pub fn parse(bytes: &[u8]) -> Result<Table, Malformed> {
    let (header, dmar) = header(bytes)?;
    let mut table = Table { maker: maker(&header), dmar, skipped: vec![] };
    let mut offsets = Offsets::default();
    let mut at = size_of::<spec::Header>();
    while at < bytes.len() {
        let rest = &bytes[at..];
        let of: spec::Structure = part(rest, at, "the type and length of a structure")?;
        let length = usize::from(of.length.get());
        if length == 0 {
            return Err(malformed(at, "a structure of length 0, which would never end (8.2)"));
        }
        if length < size_of::<spec::Structure>() {
            return Err(malformed(
                at,
                format!("a structure of {length} bytes, less than its type and length (8.2)"),
            ));
        }
        let Some(structure) = rest.get(..length) else {
            return Err(malformed(
                at,
                format!(
                    "a structure of {length} bytes passes the table's end, which is {} bytes on",
                    rest.len()
                ),
            ));
        };
        table.structure(of.kind.get(), structure, at, &mut offsets)?;
        at += length;
    }
    rules::check(&table.dmar).map_err(|broken| {
        let offset = match broken.item {
            rules::Item::Table => None,
            rules::Item::Unit(index) => offsets.units.get(index),
            rules::Item::Reserved(index) => offsets.reserved.get(index),
            // What else the rules ask of paths and buses, no table can break.
            rules::Item::Ats(_) => None,
        };
        malformed(offset.copied().unwrap_or(0), broken.rule)
    })?;
    Ok(table)
}

fn header(bytes: &[u8]) -> Result<(spec::Header, Dmar), Malformed> {
    if !bytes.starts_with(&spec::SIGNATURE) {
        return Err(malformed(0, "the signature is not 'DMAR': this is another table, or none"));
    }
    let header: spec::Header = part(bytes, 0, "the header")?;
    let length = header.length.get();
    if usize::try_from(length) != Ok(bytes.len()) {
        return Err(malformed(
            4,
            format!(
                "the table says that it has {length} bytes, the file has {}: it was cut or padded",
                bytes.len()
            ),
        ));
    }
    if !spec::REVISIONS.contains(&header.revision) {
        let [first, second] = spec::REVISIONS;
        return Err(malformed(8, format!("revision {}; known are {first} and {second}", header.revision)));
    }
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return Err(malformed(9, format!("the checksum is wrong: the bytes add up to {sum:#04x}, not 0")));
    }
    let flag = |bit: u8| header.flags & bit != 0;
    let address_bits = header.host_address_width.saturating_add(1);
    rules::address_bits(address_bits).map_err(|rule| malformed(36, rule))?;
    let dmar = Dmar {
        address_bits,
        interrupt_remapping: flag(spec::INTR_REMAP),
        x2apic_opt_out: flag(spec::X2APIC_OPT_OUT),
        dma_opt_in: flag(spec::DMA_CTRL_PLATFORM_OPT_IN),
        units: vec![],
        reserved: vec![],
        ats: vec![],
    };
    Ok((header, dmar))
}

/// Names in tables are of any bytes, and end up in a comment.
fn maker(header: &spec::Header) -> String {
    let name = |bytes: &[u8]| -> String {
        let text = bytes.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { ' ' });
        text.collect::<String>().trim().to_string()
    };
    let (oem, table) = (name(&header.oem), name(&header.oem_table));
    format!("{oem} {table}, OEM revision {:#x}, DMAR revision {}", header.oem_revision.get(), header.revision)
}

/// The `what` at the beginning of `bytes`, which are at `offset`.
fn part<T: FromBytes + KnownLayout + Immutable>(
    bytes: &[u8],
    offset: usize,
    what: &str,
) -> Result<T, Malformed> {
    T::read_from_prefix(bytes).map(|(part, _)| part).map_err(|_| {
        malformed(offset, format!("{} bytes are too short for {what}, {} bytes", bytes.len(), size_of::<T>()))
    })
}

impl Table {
    fn structure(
        &mut self,
        kind: u16,
        bytes: &[u8],
        at: usize,
        offsets: &mut Offsets,
    ) -> Result<(), Malformed> {
        match kind {
            spec::DRHD => {
                let of: spec::Drhd = part(bytes, at, "a DRHD (8.3)")?;
                offsets.units.push(at);
                let scopes = self.scopes::<spec::Drhd>(bytes, at)?;
                self.dmar.units.push(Unit {
                    registers: of.registers.get(),
                    bytes: spec::PAGE_BYTES << (of.size & spec::SIZE),
                    segment: of.segment.get(),
                    include_pci_all: of.flags & spec::INCLUDE_PCI_ALL != 0,
                    scopes,
                });
            }
            spec::RMRR => {
                let of: spec::Rmrr = part(bytes, at, "an RMRR (8.4)")?;
                offsets.reserved.push(at);
                let scopes = self.scopes::<spec::Rmrr>(bytes, at)?;
                self.dmar.reserved.push(Reserved {
                    first: of.base.get(),
                    last: of.limit.get(),
                    segment: of.segment.get(),
                    scopes,
                });
            }
            spec::ATSR => {
                let of: spec::Atsr = part(bytes, at, "an ATSR (8.5)")?;
                let scopes = self.scopes::<spec::Atsr>(bytes, at)?;
                let all_ports = of.flags & spec::ALL_PORTS != 0;
                self.dmar.ats.push(Ats { segment: of.segment.get(), all_ports, scopes });
            }
            other => self.skip(at, structure_name(other), bytes.len()),
        }
        Ok(())
    }

    fn skip(&mut self, offset: usize, what: String, bytes: usize) {
        self.skipped.push(Skipped { offset, what, bytes });
    }

    /// The scopes of the structure `bytes`, after its fixed part `T`.
    fn scopes<T>(&mut self, bytes: &[u8], offset: usize) -> Result<Vec<Scope>, Malformed> {
        let mut scopes = vec![];
        let mut from = size_of::<T>();
        while from < bytes.len() {
            let (rest, at) = (&bytes[from..], offset + from);
            let of: spec::Scope = part(rest, at, "a device scope (8.3.1)")?;
            let length = usize::from(of.length);
            let fixed = size_of::<spec::Scope>();
            if length == 0 {
                return Err(malformed(at, "a device scope of length 0, which would never end (8.3.1)"));
            }
            if !length.is_multiple_of(2) {
                return Err(malformed(
                    at,
                    format!("a device scope of {length} bytes, an odd number (8.3.1)"),
                ));
            }
            if length < fixed + size_of::<spec::Hop>() {
                return Err(malformed(at, format!("a device scope of {length} bytes has no path (8.3.1)")));
            }
            let Some(scope) = rest.get(..length) else {
                return Err(malformed(
                    at,
                    format!(
                        "a device scope of {length} bytes passes its structure's end, {} bytes on",
                        rest.len()
                    ),
                ));
            };
            match kind(of.kind) {
                Some(kind) => {
                    let path = path(&scope[fixed..], at + fixed)?;
                    scopes.push(Scope { kind, id: of.enumeration_id, bus: of.start_bus, path, buses: None });
                }
                None => self.skip(at, format!("device scope of unknown type {}", of.kind), length),
            }
            from += length;
        }
        Ok(scopes)
    }
}

fn path(bytes: &[u8], offset: usize) -> Result<Vec<Hop>, Malformed> {
    let hops = bytes.as_chunks::<2>().0.iter().enumerate();
    hops.map(|(number, &[device, function])| {
        Hop::new(device, function).ok_or_else(|| {
            malformed(
                offset + number * size_of::<spec::Hop>(),
                format!("device {device:#x}, function {function:#x} in a path; PCI has 0 to 0x1f and 0 to 7"),
            )
        })
    })
    .collect()
}

fn kind(number: u8) -> Option<Kind> {
    Some(match number {
        spec::ENDPOINT => Kind::Endpoint,
        spec::BRIDGE => Kind::Bridge,
        spec::IOAPIC => Kind::Ioapic,
        spec::HPET => Kind::Hpet,
        spec::ACPI_DEVICE => Kind::Acpi,
        _ => return None,
    })
}

/// The name of a structure that is not read.
fn structure_name(kind: u16) -> String {
    match kind {
        spec::RHSA => "RHSA (which memory is near a unit)".into(),
        spec::ANDD => "ANDD (name of an ACPI device)".into(),
        spec::SATC => "SATC (devices on the chip with their own cache of translations)".into(),
        spec::SIDP => "SIDP (properties of devices on the chip)".into(),
        other => format!("structure of unknown type {other}"),
    }
}
