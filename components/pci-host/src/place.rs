//! Making one function ready: quiet, its BARs placed, decoding memory.

use core::fmt;

use crate::{
    bar::{self, BARS, BarFault, Kind},
    config::{
        self, COMMAND_BUS_MASTER, COMMAND_INTX_OFF, COMMAND_IO, COMMAND_MEMORY, ConfigSpace, Requester,
    },
    policy::BarEntry,
};

/// Most capabilities that a function's list can hold: one for every 4 bytes past the header (PCI Local Bus
/// Specification 3.0, 6.7). A longer list is a loop.
pub const MAX_CAPABILITIES: u32 = (256 - 64) / 4;

/// The header layout of an ordinary function.
const ORDINARY_HEADER: u8 = 0;

/// The register of the expansion ROM's address, whose bit 0 lets it be decoded.
const EXPANSION_ROM: u16 = 0x30;

/// Capability id and enabling bit of MSI (PCI Local Bus Specification 3.0, 6.8.1).
const MSI: (u8, u32) = (0x05, 1 << 16);

/// Capability id and enabling bit of MSI-X (PCI Local Bus Specification 3.0, 6.8.2).
const MSI_X: (u8, u32) = (0x11, 1 << 31);

/// Why a function is left out: it decodes nothing and is no bus master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceError {
    /// Its bus is not in the configuration space that is mapped.
    OutOfReach,
    /// There is no such function.
    Absent,
    /// It is a bridge or something else without an ordinary header; the header's layout.
    NotOrdinary(u8),
    /// One of its BARs cannot be placed; its number.
    Bar(u32, BarFault),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach => f.write_str("its bus is outside the mapped configuration space"),
            Self::Absent => f.write_str("there is no such function"),
            Self::NotOrdinary(layout) => write!(f, "it has a header of layout {layout}"),
            Self::Bar(bar, fault) => write!(f, "its BAR {bar} {fault}"),
        }
    }
}

/// Places the BARs of `function` where `places` says and lets it decode memory; it is no bus master afterwards,
/// and interrupts by INTx alone, whatever a boot loader left.
pub(crate) fn place<'a, P>(
    config: &mut impl ConfigSpace,
    function: Requester,
    places: P,
) -> Result<(), PlaceError>
where
    P: Iterator<Item = &'a BarEntry> + Clone,
{
    if function.bus() >= config.buses() {
        return Err(PlaceError::OutOfReach);
    }
    if config::ids(config, function).is_none() {
        return Err(PlaceError::Absent);
    }
    match config::header_type(config, function) {
        (ORDINARY_HEADER, _) => (),
        (layout, _) => return Err(PlaceError::NotOrdinary(layout)),
    }
    let off = COMMAND_IO | COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_INTX_OFF;
    config::change_command(config, function, off, 0);
    let rom = config.read(function, EXPANSION_ROM);
    config.write(function, EXPANSION_ROM, rom & !1);
    messages_off(config, function);
    place_bars(config, function, places)?;
    config::change_command(config, function, 0, COMMAND_MEMORY);
    Ok(())
}

/// Places every memory BAR; the function decodes nothing meanwhile.
fn place_bars<'a, P>(config: &mut impl ConfigSpace, function: Requester, places: P) -> Result<(), PlaceError>
where
    P: Iterator<Item = &'a BarEntry> + Clone,
{
    let mut bar = 0;
    while bar < BARS {
        let fault = |fault| PlaceError::Bar(bar, fault);
        let entry = places.clone().find(|entry| entry.bar == bar);
        match (bar::probe(config, function, bar).map_err(fault)?, entry) {
            (Kind::Memory { bytes, wide }, Some(entry)) => {
                bar::place(config, function, entry, bytes, wide).map_err(fault)?;
                if wide {
                    bar += 1;
                    if places.clone().any(|entry| entry.bar == bar) {
                        return Err(PlaceError::Bar(bar, BarFault::Absent));
                    }
                }
            }
            (Kind::Memory { .. }, None) => return Err(fault(BarFault::NotPlaced)),
            (Kind::Io, Some(_)) => return Err(fault(BarFault::Io)),
            (Kind::Absent, Some(_)) => return Err(fault(BarFault::Absent)),
            (Kind::Io | Kind::Absent, None) => (),
        }
        bar += 1;
    }
    Ok(())
}

/// Turns MSI and MSI-X off.
fn messages_off(config: &mut impl ConfigSpace, function: Requester) {
    let mut at = config::first_capability(config, function);
    for _ in 0..MAX_CAPABILITIES {
        if at == 0 {
            return;
        }
        let word = config.read(function, at);
        for (id, enable) in [MSI, MSI_X] {
            if word as u8 == id {
                config.write(function, at, word & !enable);
            }
        }
        at = (word >> 8) as u16 & 0xfc;
    }
}
