//! `cargo xtask dmar`: from the ACPI DMAR table that a machine's firmware made to platform/boards/NAME/dmar.toml, which
//! the policy compiler obeys, and to what a person puts where.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::board::Interval;

mod behind;
mod command;
mod file;
mod report;
mod rules;
pub mod spec;
mod table;

pub use behind::{Behind, Function, Holds, Why};
pub use command::Command;
pub use file::text;
pub(crate) use report::place;
pub use report::report;
pub use table::{Malformed, Skipped, Table, parse};

/// The file's name in a board's folder.
pub const FILE: &str = "dmar.toml";

/// What a DMAR table says of its units: the content of dmar.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dmar {
    /// Bits of an address for DMA (host address width).
    pub address_bits: u8,
    /// The platform supports interrupt remapping.
    #[serde(default)]
    pub interrupt_remapping: bool,
    /// Firmware asks not to enable x2APIC mode.
    #[serde(default)]
    pub x2apic_opt_out: bool,
    /// Firmware kept DMA within the reserved ranges until it handed over.
    #[serde(default)]
    pub dma_opt_in: bool,
    /// The units (DRHD).
    #[serde(default, rename = "unit")]
    pub units: Vec<Unit>,
    /// Memory that devices reach whatever the software does (RMRR).
    #[serde(default, rename = "reserved", skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Reserved>,
    /// Root ports that support address translation services (ATSR).
    #[serde(default, rename = "ats", skip_serializing_if = "Vec::is_empty")]
    pub ats: Vec<Ats>,
}

/// A unit: DRHD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Where its registers begin.
    pub registers: u64,
    /// Their bytes.
    pub bytes: u64,
    /// PCI segment.
    pub segment: u16,
    /// It has all devices of the segment that no other unit's scopes name.
    pub include_pci_all: bool,
    /// The devices behind it.
    #[serde(default, rename = "scope", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
}

/// A reserved range and its devices: RMRR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// The first address.
    pub first: u64,
    /// The last address.
    pub last: u64,
    /// PCI segment.
    pub segment: u16,
    /// The devices.
    #[serde(default, rename = "scope", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
}

/// Root ports with ATS: ATSR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ats {
    /// PCI segment.
    pub segment: u16,
    /// All of the segment's.
    pub all_ports: bool,
    /// The ports.
    #[serde(default, rename = "scope", skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
}

/// Devices that a structure is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// What they are.
    pub kind: Kind,
    /// The number of an I/O APIC, HPET or ACPI device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: u8,
    /// The bus that the path starts on.
    pub bus: u8,
    /// From bridge to bridge to the function.
    pub path: Vec<Hop>,
    /// The first and last bus behind a bridge, or twice the bus that a function at a longer path is on. No table has it: the
    /// software that numbers buses knows it, and a person may write it into the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buses: Option<[u8; 2]>,
}

fn is_zero(id: &u8) -> bool {
    *id == 0
}

/// What a scope is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A PCI function.
    Endpoint,
    /// A PCI bridge and all that is behind it.
    Bridge,
    /// An I/O APIC, as source of interrupts.
    Ioapic,
    /// An HPET, as source of interrupts.
    Hpet,
    /// A device of the ACPI name space, as PCI function that it takes for itself.
    Acpi,
}

/// One step of a path: device and function number, written `1c.0` in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hop {
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl Hop {
    /// The step, if PCI has such numbers.
    pub fn new(device: u8, function: u8) -> Option<Self> {
        (device <= 0x1f && function <= 7).then_some(Self { device, function })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{:x}", self.device, self.function)
    }
}

impl From<Hop> for String {
    fn from(hop: Hop) -> Self {
        hop.to_string()
    }
}

impl FromStr for Hop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hexadecimal = |text: &str, digits: usize| {
            let good = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            good.then(|| u8::from_str_radix(text, 16).ok())?
        };
        text.split_once('.')
            .and_then(|(device, function)| Self::new(hexadecimal(device, 2)?, hexadecimal(function, 1)?))
            .ok_or_else(|| format!("'{text}' is not DEVICE.FUNCTION in hexadecimal, such as 1c.0"))
    }
}

impl TryFrom<String> for Hop {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Unit {
    /// Its registers. The rules have checked that they end.
    pub fn interval(&self) -> Interval {
        Interval { first: self.registers, last: self.registers.saturating_add(self.bytes.saturating_sub(1)) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Endpoint => "function",
            Kind::Bridge => "bridge",
            Kind::Ioapic => "I/O APIC",
            Kind::Hpet => "HPET",
            Kind::Acpi => "ACPI device",
        };
        write!(f, "{kind} ")?;
        if !matches!(self.kind, Kind::Endpoint | Kind::Bridge) {
            write!(f, "{} at ", self.id)?;
        }
        write!(f, "{:02x}:", self.bus)?;
        for (number, hop) in self.path.iter().enumerate() {
            write!(f, "{}{hop}", if number == 0 { "" } else { "/" })?;
        }
        match self.buses {
            Some([first, last]) => write!(f, ", buses {first:02x} to {last:02x}"),
            None => Ok(()),
        }
    }
}
