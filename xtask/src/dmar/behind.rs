//! Which devices a scope has, and which unit a device is behind.
//!
//! A table names devices by paths from a bus that has its number from the start (a root bus). Which numbers the buses behind
//! bridges get is not in it: only that each is higher than the bridge's own. So a function on a scope's own bus is told
//! for certain, and one further away may be in the scope; unless the file says the buses.

use std::{collections::BTreeSet, fmt};

use super::{Dmar, Hop, Kind, Reserved, Scope};
use crate::board::Interval;

/// A PCI function of segment 0, which the policy's devices are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Its bus.
    pub bus: u8,
    /// Its device and function number.
    pub at: Hop,
}

/// The segment that the policy's devices are in.
pub const SEGMENT: u16 = 0;

impl Function {
    /// The function with requester id `id`.
    pub fn of_requester(id: u16) -> Self {
        let [bus, rest] = id.to_be_bytes();
        Self { bus, at: Hop { device: rest >> 3, function: rest & 7 } }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{}", self.bus, self.at)
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// No.
    No,
    /// It depends on how buses are numbered.
    Maybe,
    /// Yes.
    Yes,
}

impl Scope {
    /// Whether `function` is in it.
    pub fn has(&self, function: Function) -> Holds {
        let (Some(last), true) = (self.path.last(), matches!(self.kind, Kind::Endpoint | Kind::Bridge))
        else {
            // An ACPI device's or interrupt source's requester id is no PCI device that the policy can name.
            return Holds::No;
        };
        let bus = u16::from(function.bus);
        // The lowest number that the bus of the path's end can have.
        let end = u16::from(self.bus).saturating_add(self.path.len() as u16 - 1);
        let own = match (self.path.len(), self.buses, self.kind) {
            (1, ..) if function.bus == self.bus && function.at == *last => Holds::Yes,
            (1, ..) => Holds::No,
            (_, Some([own, _]), Kind::Endpoint) if function.bus == own && function.at == *last => Holds::Yes,
            (_, Some(_), Kind::Endpoint) => Holds::No,
            (_, Some([first, _]), _) if function.bus >= first => Holds::No,
            _ if bus >= end && function.at == *last => Holds::Maybe,
            _ => Holds::No,
        };
        let behind = match (self.kind, self.buses) {
            (Kind::Bridge, Some([first, last])) if (first..=last).contains(&function.bus) => Holds::Yes,
            (Kind::Bridge, None) if bus > end => Holds::Maybe,
            _ => Holds::No,
        };
        own.max(behind)
    }
}

/// What a table says of where a function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// Behind this unit.
    Unit(usize, Why),
    /// Behind one of these units; it depends on how buses are numbered. With `None`, it may also be behind none.
    OneOf(Vec<Option<usize>>),
    /// Behind no unit: nothing translates its accesses.
    None,
}

/// Why a function is behind a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A scope of the unit names the function.
    Named,
    /// A scope of the unit names a bridge, which has the function behind it as the file says.
    Bridge,
    /// The unit has all that no other's scopes name (INCLUDE_PCI_ALL).
    IncludePciAll,
    /// Wherever the buses lie, no other unit can have it.
    NoOther,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named => "a scope names it",
            Self::Bridge => "a scope names a bridge that has it",
            Self::IncludePciAll => "no scope names it, and the unit has INCLUDE_PCI_ALL",
            Self::NoOther => "the only unit that can have it",
        })
    }
}

impl Dmar {
    /// The unit that `function` is behind. A scope that names the function itself beats one of a bridge, and any scope beats
    /// INCLUDE_PCI_ALL (8.3).
    pub fn behind(&self, function: Function) -> Behind {
        let units = || self.units.iter().enumerate().filter(|(_, unit)| unit.segment == SEGMENT);
        let names = |scope: &Scope| scope.kind == Kind::Endpoint && scope.has(function) == Holds::Yes;
        if let Some((unit, _)) = units().find(|(_, unit)| unit.scopes.iter().any(names)) {
            return Behind::Unit(unit, Why::Named);
        }
        // Bridges nest: the closest one, whose buses begin highest, has the function.
        let closest = |scope: &Scope| match scope.has(function) {
            Holds::Yes => Some(scope.buses.map_or(0, |[first, _]| u16::from(first))),
            _ => None,
        };
        let certain = units()
            .filter_map(|(index, unit)| Some((unit.scopes.iter().filter_map(closest).max()?, index)))
            .max_by_key(|&(bus, index)| (bus, std::cmp::Reverse(index)));
        let may = |scope: &Scope| scope.has(function) == Holds::Maybe;
        let possible = units().filter(|(_, unit)| unit.scopes.iter().any(may)).map(|(index, _)| Some(index));
        let mut possible: BTreeSet<Option<usize>> = possible.collect();
        let otherwise = match certain {
            Some((_, index)) => Some(index),
            None => units().find(|(_, unit)| unit.include_pci_all).map(|(index, _)| index),
        };
        if possible.is_empty() {
            return match (otherwise, certain) {
                (Some(index), Some(_)) => Behind::Unit(index, Why::Bridge),
                (Some(index), None) => Behind::Unit(index, Why::IncludePciAll),
                (None, _) => Behind::None,
            };
        }
        possible.insert(otherwise);
        match possible.iter().next() {
            Some(&Some(only)) if possible.len() == 1 => Behind::Unit(only, Why::NoOther),
            _ => Behind::OneOf(possible.into_iter().collect()),
        }
    }

    /// What is reserved for `function`: also what may be, as a range too many costs it some addresses, and one too few its
    /// memory.
    pub fn reserved_for(&self, function: Function) -> Vec<(Interval, Holds)> {
        let holds = |range: &Reserved| range.scopes.iter().map(|scope| scope.has(function)).max();
        let ranges = self.reserved.iter().filter(|range| range.segment == SEGMENT);
        ranges
            .filter_map(|range| {
                let interval = Interval { first: range.first, last: range.last };
                holds(range).filter(|holds| *holds != Holds::No).map(|holds| (interval, holds))
            })
            .collect()
    }
}
