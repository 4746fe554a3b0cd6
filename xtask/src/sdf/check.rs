//! The rules of Microkit that take the whole system.

use std::collections::HashMap;

use super::{Map, Pd, System};
use crate::{
    board::{Board, Interval},
    refusal::Refusal,
};

/// Checks `system` for `board` by Microkit's rules.
///
/// # Errors
/// The first rule that is broken.
pub fn check(system: &System, board: &Board) -> Result<(), Refusal> {
    interrupts(system, board)?;
    ids(system)?;
    calls(system)?;
    for pd in &system.pds {
        maps(system, board, pd)?;
    }
    physical(system, board)
}

fn interrupts(system: &System, board: &Board) -> Result<(), Refusal> {
    let mut owners: HashMap<u64, &str> = HashMap::new();
    for (pd, irq) in system.pds.iter().flat_map(|pd| pd.irqs.iter().map(move |irq| (pd, irq))) {
        let (first, last) = (board.interrupts.first, board.interrupts.last);
        if !(first..=last).contains(&irq.number) {
            return Err(irq.place.refuse(format!(
                "interrupt {}: this board's protection domains have interrupts {first} to {last}",
                irq.number
            )));
        }
        if let Some(owner) = owners.insert(irq.number, &pd.name) {
            return Err(irq.place.refuse(format!(
                "interrupt {} is '{owner}'s already; an interrupt has one handler",
                irq.number
            )));
        }
    }
    Ok(())
}

fn ids(system: &System) -> Result<(), Refusal> {
    let irqs = system
        .pds
        .iter()
        .enumerate()
        .flat_map(|(pd, of)| of.irqs.iter().map(move |irq| (pd, irq.id, &irq.place)));
    let ends = system.channels.iter().flat_map(|channel| &channel.ends);
    let ends = ends.map(|end| (end.pd, end.id, &end.place));
    let mut seen = HashMap::new();
    for (pd, id, place) in irqs.chain(ends) {
        if let Some(first) = seen.insert((pd, id), place) {
            return Err(place.refuse(format!(
                "id {id} of '{}' is taken since line {}; its channels and interrupts share 0 to 61, each once",
                system.pds[pd].name, first.line
            )));
        }
    }
    Ok(())
}

fn calls(system: &System) -> Result<(), Refusal> {
    for channel in &system.channels {
        let [a, b] = &channel.ends;
        for (caller, callee) in [(a, b), (b, a)] {
            let (from, to) = (&system.pds[caller.pd], &system.pds[callee.pd]);
            if caller.pp && from.priority >= to.priority {
                return Err(caller.place.refuse(format!(
                    "'{}' (priority {}) calls '{}' (priority {}), but a callee must have the higher priority; \
                     raise it",
                    from.name, from.priority, to.name, to.priority
                )));
            }
        }
    }
    Ok(())
}

fn maps(system: &System, board: &Board, pd: &Pd) -> Result<(), Refusal> {
    let end = board.stack_bottom(pd.stack_bytes);
    let mut seen: Vec<(Interval, &Map)> = vec![];
    for map in &pd.maps {
        let region = &system.regions[map.region];
        let page = region.page_bytes.unwrap_or(super::PAGE_BYTES);
        if !map.vaddr.is_multiple_of(page) {
            return Err(map.place.refuse(format!(
                "vaddr {:#x} is not a multiple of the page size of '{}', {page:#x}",
                map.vaddr, region.name
            )));
        }
        let Some(range) = Interval::of(map.vaddr, region.bytes).filter(|range| range.last < end) else {
            return Err(map.place.refuse(format!(
                "'{}' ({:#x} bytes) at {:#x} passes {:#x}, where the stack of '{}' begins; map it lower",
                region.name, region.bytes, map.vaddr, end, pd.name
            )));
        };
        if let Some((other, first)) = seen.iter().find(|(other, _)| other.meets(range)) {
            return Err(map.place.refuse(format!(
                "'{}' at {:#x} to {:#x} overlaps '{}' at {:#x} to {:#x}; move one of them",
                region.name,
                range.first,
                range.last,
                system.regions[first.region].name,
                other.first,
                other.last
            )));
        }
        seen.push((range, map));
    }
    Ok(())
}

fn physical(system: &System, board: &Board) -> Result<(), Refusal> {
    let mut seen: Vec<(Interval, &str)> = vec![];
    for region in &system.regions {
        let Some(range) = region.fixed() else { continue };
        if range.last > board.memory.last {
            return Err(region.place.refuse(format!(
                "'{}' ends at {:#x}, but this board's physical addresses end at {:#x}",
                region.name, range.last, board.memory.last
            )));
        }
        if let Some((other, name)) = seen.iter().find(|(other, _)| other.meets(range)) {
            return Err(region.place.refuse(format!(
                "'{}' at physical {:#x} to {:#x} overlaps '{name}' at {:#x} to {:#x}; move one of them",
                region.name, range.first, range.last, other.first, other.last
            )));
        }
        seen.push((range, &region.name));
    }
    Ok(())
}
