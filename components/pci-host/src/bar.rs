//! Base address registers (PCI Local Bus Specification 3.0, 6.2.5.1).

use core::fmt;

use crate::{config::ConfigSpace, config::Requester, policy::BarEntry};

/// BARs of an ordinary function.
pub(crate) const BARS: u32 = 6;

/// The register of BAR 0.
const FIRST: u16 = 0x10;

/// Bit 0: an IO BAR.
const IO: u32 = 1;

/// Bits 3:0 of a memory BAR say what it is; the rest is its address.
const KIND: u32 = 0xf;

/// What a BAR is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not implemented.
    Absent,
    /// It decodes IO addresses.
    Io,
    /// It decodes `bytes` memory addresses, a power of two; `wide`: a 64-bit BAR, which takes the next one too.
    Memory { bytes: u64, wide: bool },
}

/// Why a BAR is not placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarFault {
    /// It is neither an IO, a 32-bit nor a 64-bit memory BAR, or its size is no power of two.
    Malformed,
    /// The policy places it, but the function has no such BAR.
    Absent,
    /// The policy places it, but it decodes IO addresses.
    Io,
    /// It decodes memory, but the policy does not say where.
    NotPlaced,
    /// It is larger than its region; its bytes.
    TooLarge(u64),
    /// Its address is no multiple of its size; its bytes.
    Misaligned(u64),
    /// Its address is wider than it is.
    OutOfReach,
    /// It did not take the address; what it says instead.
    NotTaken(u64),
}

impl fmt::Display for BarFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("is no BAR of a known kind"),
            Self::Absent => f.write_str("does not exist"),
            Self::Io => f.write_str("decodes IO addresses"),
            Self::NotPlaced => f.write_str("has no place in the policy"),
            Self::TooLarge(bytes) => write!(f, "has {bytes:#x} bytes, more than its region"),
            Self::Misaligned(bytes) => {
                write!(f, "has {bytes:#x} bytes, and its region is not aligned to that")
            }
            Self::OutOfReach => f.write_str("has too few address bits for its region"),
            Self::NotTaken(found) => write!(f, "was placed, but says {found:#x}"),
        }
    }
}

fn register(bar: u32) -> u16 {
    assert!(bar < BARS, "a function has six BARs");
    FIRST + 4 * bar as u16
}

/// What the register answers to all ones, with its content restored.
fn write_ones(config: &mut impl ConfigSpace, function: Requester, bar: u32) -> u32 {
    let before = config.read(function, register(bar));
    config.write(function, register(bar), u32::MAX);
    let answer = config.read(function, register(bar));
    config.write(function, register(bar), before);
    answer
}

/// Finds out what BAR `bar` of `function` is. The function must not decode anything meanwhile.
pub(crate) fn probe(config: &mut impl ConfigSpace, function: Requester, bar: u32) -> Result<Kind, BarFault> {
    let low = write_ones(config, function, bar);
    if low == 0 {
        return Ok(Kind::Absent);
    }
    if low & IO != 0 {
        return Ok(Kind::Io);
    }
    let wide = match low >> 1 & 3 {
        0 => false,
        2 if bar + 1 < BARS => true,
        _ => return Err(BarFault::Malformed),
    };
    let high = if wide { write_ones(config, function, bar + 1) } else { u32::MAX };
    let mask = u64::from(high) << 32 | u64::from(low & !KIND);
    let bytes = mask & mask.wrapping_neg();
    let limit = if wide { u64::MAX } else { u64::from(u32::MAX) };
    if bytes == 0 || bytes > limit || mask != bytes.wrapping_neg() {
        return Err(BarFault::Malformed);
    }
    Ok(Kind::Memory { bytes, wide })
}

/// Puts BAR `place.bar` of `function`, which is a memory BAR of `bytes` bytes, where `place` says.
pub(crate) fn place(
    config: &mut impl ConfigSpace,
    function: Requester,
    place: &BarEntry,
    bytes: u64,
    wide: bool,
) -> Result<(), BarFault> {
    if bytes > place.bytes {
        return Err(BarFault::TooLarge(bytes));
    }
    if !place.paddr.is_multiple_of(bytes) {
        return Err(BarFault::Misaligned(bytes));
    }
    let last = place.paddr.checked_add(bytes - 1).ok_or(BarFault::OutOfReach)?;
    if !wide && last > u32::MAX.into() {
        return Err(BarFault::OutOfReach);
    }
    config.write(function, register(place.bar), place.paddr as u32);
    let mut found = u64::from(config.read(function, register(place.bar)) & !KIND);
    if wide {
        config.write(function, register(place.bar + 1), (place.paddr >> 32) as u32);
        found |= u64::from(config.read(function, register(place.bar + 1))) << 32;
    }
    if found == place.paddr { Ok(()) } else { Err(BarFault::NotTaken(found)) }
}
