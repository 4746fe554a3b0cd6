//! What must hold of a DMAR table as a whole, be it read from the firmware's bytes or from dmar.toml.

use super::{Dmar, Kind, Reserved, Scope, Unit, spec::PAGE_BYTES};

/// The fewest and the most bits of an address: the registers lie below 4 GiB on any machine, and page tables hold
/// addresses of 52 bits (section 9.8).
const ADDRESS_BITS: std::ops::RangeInclusive<u8> = 32..=52;

/// The most bytes of a unit's registers: 2 to the power of 15 pages (8.3).
const MAX_REGISTERS: u64 = PAGE_BYTES << 15;

/// A broken rule.
#[derive(Debug)]
pub struct Broken {
    /// Who breaks it.
    pub item: Item,
    /// The rule.
    pub rule: String,
}

/// A part of a table, by number.
#[derive(Debug, Clone, Copy)]
pub enum Item {
    /// All of it.
    Table,
    /// A unit.
    Unit(usize),
    /// A reserved range.
    Reserved(usize),
    /// Root ports with ATS.
    Ats(usize),
}

/// Checks `dmar`.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(dmar: &Dmar) -> Result<(), Broken> {
    let broken = |item| move |rule| Broken { item, rule };
    address_bits(dmar.address_bits).map_err(broken(Item::Table))?;
    if dmar.units.is_empty() {
        return Err(broken(Item::Table)(
            "there is no unit (DRHD), and a DMAR table has one or more (8.1)".into(),
        ));
    }
    for (index, unit) in dmar.units.iter().enumerate() {
        self::unit(dmar, index, unit)
            .and_then(|()| scopes(&unit.scopes))
            .map_err(broken(Item::Unit(index)))?;
    }
    for (index, range) in dmar.reserved.iter().enumerate() {
        reserved(dmar, range).and_then(|()| scopes(&range.scopes)).map_err(broken(Item::Reserved(index)))?;
    }
    for (index, ats) in dmar.ats.iter().enumerate() {
        scopes(&ats.scopes).map_err(broken(Item::Ats(index)))?;
    }
    Ok(())
}

/// Checks the host address width, in bits.
///
/// # Errors
/// The rule.
pub fn address_bits(bits: u8) -> Result<(), String> {
    if ADDRESS_BITS.contains(&bits) {
        return Ok(());
    }
    Err(format!(
        "the host address width is {bits} bits; it is {} to {} (8.1)",
        ADDRESS_BITS.start(),
        ADDRESS_BITS.end()
    ))
}

fn last_address(dmar: &Dmar) -> u64 {
    (1 << dmar.address_bits) - 1
}

fn unit(dmar: &Dmar, index: usize, unit: &Unit) -> Result<(), String> {
    let (base, segment) = (unit.registers, unit.segment);
    if !base.is_multiple_of(PAGE_BYTES) || base == 0 {
        return Err(format!("the registers are at {base:#x}, which is 0 or no multiple of 4 KiB (8.3)"));
    }
    if !unit.bytes.is_power_of_two() || !(PAGE_BYTES..=MAX_REGISTERS).contains(&unit.bytes) {
        return Err(format!(
            "{:#x} bytes of registers; it is a power of two from 4 KiB to 128 MiB (8.3)",
            unit.bytes
        ));
    }
    if base > last_address(dmar) || unit.bytes - 1 > last_address(dmar) - base {
        return Err(format!(
            "the registers at {base:#x} end above the host address width, {} bits",
            dmar.address_bits
        ));
    }
    for (number, other) in dmar.units[..index].iter().enumerate() {
        if other.registers == base {
            return Err(format!("the registers at {base:#x} are those of unit {number} already"));
        }
        if other.interval().meets(unit.interval()) {
            return Err(format!(
                "the registers at {base:#x} overlap those of unit {number} at {:#x}",
                other.registers
            ));
        }
        if other.include_pci_all && other.segment == segment {
            return Err(match unit.include_pci_all {
                true => format!(
                    "a second unit with INCLUDE_PCI_ALL in segment {segment}; there is one at most (8.3)"
                ),
                false => format!(
                    "unit {number} has INCLUDE_PCI_ALL and must be the last of segment {segment}, but this one \
                     follows (8.3)"
                ),
            });
        }
        let shared = unit.scopes.iter().find(|scope| {
            let same = |of: &&Scope| of.kind == scope.kind && (of.bus, &of.path) == (scope.bus, &scope.path);
            other.segment == segment && is_pci(scope) && other.scopes.iter().any(|of| same(&of))
        });
        if let Some(scope) = shared {
            return Err(format!("{scope} is behind unit {number} already; a device is behind one unit"));
        }
    }
    Ok(())
}

fn is_pci(scope: &Scope) -> bool {
    matches!(scope.kind, Kind::Endpoint | Kind::Bridge)
}

fn reserved(dmar: &Dmar, range: &Reserved) -> Result<(), String> {
    let (first, last) = (range.first, range.last);
    if first > last {
        return Err(format!("the reserved range begins at {first:#x}, above its limit {last:#x} (8.4)"));
    }
    if !first.is_multiple_of(PAGE_BYTES) || !last.wrapping_add(1).is_multiple_of(PAGE_BYTES) {
        return Err(format!(
            "the reserved range {first:#x} to {last:#x} does not begin and end with a page of 4 KiB (8.4)"
        ));
    }
    if last > last_address(dmar) {
        return Err(format!(
            "the reserved range {first:#x} to {last:#x} ends above the host address width, {} bits",
            dmar.address_bits
        ));
    }
    Ok(())
}

/// What no table can break, but a person who edits the file.
fn scopes(scopes: &[Scope]) -> Result<(), String> {
    for scope in scopes {
        if scope.path.is_empty() {
            return Err("a scope has an empty path; it has one step or more (8.3.1)".into());
        }
        let Some([first, last]) = scope.buses else { continue };
        let lowest = usize::from(scope.bus) + scope.path.len() - usize::from(scope.kind != Kind::Bridge);
        if !is_pci(scope) || scope.kind == Kind::Endpoint && (scope.path.len() < 2 || first != last) {
            return Err(format!(
                "'buses' of {scope}: a bridge has the first and last bus behind it, and a function at a path of two or \
                 more its own bus twice"
            ));
        }
        if first > last || usize::from(first) < lowest {
            return Err(format!(
                "'buses' of {scope}: the first is {lowest:#04x} or above, and not above the last"
            ));
        }
    }
    Ok(())
}
