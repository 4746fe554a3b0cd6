//! The PCI policy blob: which functions there are, where their BARs go, who may enable them.
//!
//! The image builder compiles policy.toml and system.xml into it (the types here are the format). Little-endian,
//! 8-byte aligned: a [`Header`], then the functions, then the BARs.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`Header::magic`]: "uKtPCI01".
pub const MAGIC: u64 = u64::from_le_bytes(*b"uKtPCI01");

/// Most functions.
pub const MAX_FUNCTIONS: usize = 64;

/// Most BARs of all functions together.
pub const MAX_BARS: usize = 128;

/// The head of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`FunctionEntry`]s.
    pub functions: u32,
    /// [`BarEntry`]s.
    pub bars: u32,
}

/// Highest channel id (Microkit has 62 channels a PD).
pub const MAX_CHANNEL: u8 = 61;

/// [`FunctionEntry::successor_channel`] where there is none.
pub const NO_CHANNEL: u8 = 0xff;

/// One PCI function and the driver that may enable it. A driver's functions have indices 0, 1, ... in the order
/// of their entries: the same indices as its devices have at the IOMMU server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FunctionEntry {
    /// Bits 15:8 bus, 7:3 device, 2:0 function: the requester id.
    pub requester: u16,
    /// The PCI host's end of the driver's channel.
    pub channel: u8,
    /// That of the driver which may take over from it at the IOMMU server, or [`NO_CHANNEL`].
    pub successor_channel: u8,
    /// The stream id at the IOMMU.
    pub stream: u32,
}

/// Where one BAR goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BarEntry {
    /// Physical address: the region that the driver maps.
    pub paddr: u64,
    /// The region's bytes; the BAR must not be larger.
    pub bytes: u64,
    /// Index of the function's entry.
    pub function: u32,
    /// BAR number, 0 to 5.
    pub bar: u32,
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<FunctionEntry>() == 8);
    assert!(size_of::<BarEntry>() == 24);
};

/// A checked policy.
#[derive(Debug, Clone, Copy)]
pub struct PciPolicy<'a> {
    /// The functions.
    pub functions: &'a [FunctionEntry],
    /// Their BARs.
    pub bars: &'a [BarEntry],
}

/// The rule that a blob breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PciPolicyError {
    /// Shorter than its counts say, or misaligned.
    Truncated,
    /// Not a PCI policy.
    BadMagic(u64),
    /// More entries than a PCI host holds.
    TooMany,
    /// A function that cannot be; its index.
    BadFunction(usize),
    /// A BAR that cannot be; its index.
    BadBar(usize),
}

impl fmt::Display for PciPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the PCI policy is cut short"),
            Self::BadMagic(found) => write!(f, "not a PCI policy: it begins with {found:#018x}"),
            Self::TooMany => f.write_str("the PCI policy has more entries than a PCI host holds"),
            Self::BadFunction(index) => write!(f, "function {index} of the PCI policy is malformed"),
            Self::BadBar(index) => write!(f, "BAR {index} of the PCI policy is malformed"),
        }
    }
}

impl<'a> PciPolicy<'a> {
    /// Checks `blob`, which may be longer than the policy.
    ///
    /// # Errors
    /// [`PciPolicyError`] names the first rule that is broken.
    pub fn parse(blob: &'a [u8]) -> Result<Self, PciPolicyError> {
        let (header, rest) = Header::ref_from_prefix(blob).map_err(|_| PciPolicyError::Truncated)?;
        if header.magic != MAGIC {
            return Err(PciPolicyError::BadMagic(header.magic));
        }
        let (functions, bars) = (header.functions as usize, header.bars as usize);
        if functions > MAX_FUNCTIONS || bars > MAX_BARS {
            return Err(PciPolicyError::TooMany);
        }
        let (functions, rest) = <[FunctionEntry]>::ref_from_prefix_with_elems(rest, functions)
            .map_err(|_| PciPolicyError::Truncated)?;
        let (bars, _) =
            <[BarEntry]>::ref_from_prefix_with_elems(rest, bars).map_err(|_| PciPolicyError::Truncated)?;
        let bad = |index: usize, function: &FunctionEntry| {
            function.channel > MAX_CHANNEL
                || function.successor_channel > MAX_CHANNEL && function.successor_channel != NO_CHANNEL
                || function.successor_channel == function.channel
                // Two drivers of one function would each turn it on and off for the other.
                || functions[..index].iter().any(|other| other.requester == function.requester)
        };
        if let Some(index) = (0..functions.len()).find(|&index| bad(index, &functions[index])) {
            return Err(PciPolicyError::BadFunction(index));
        }
        let good = |bar: &BarEntry| (bar.function as usize) < functions.len() && bar.bar < 6;
        if let Some(index) = bars.iter().position(|bar| !good(bar)) {
            return Err(PciPolicyError::BadBar(index));
        }
        Ok(Self { functions, bars })
    }
}
