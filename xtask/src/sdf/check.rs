//! The rules of Microkit that take the whole system.

use std::collections::HashMap;

use super::{IrqSource, Map, Pd, Region, System, Value};
use crate::{
    board::{Arch, Board, Interval},
    refusal::Refusal,
};

/// Checks `system` for `board` by Microkit's rules.
///
/// # Errors
/// The first rule that is broken.
pub fn check(system: &System, board: &Board) -> Result<(), Refusal> {
    interrupts(system, board)?;
    ioports(system)?;
    ids(system)?;
    calls(system)?;
    for pd in &system.pds {
        maps(system, board, pd)?;
    }
    physical(system, board)?;
    match board.arch {
        Arch::Aarch64 => Ok(()),
        Arch::X86_64 => addresses_fixed(system, board),
    }
}

fn interrupts(system: &System, board: &Board) -> Result<(), Refusal> {
    let mut owners: HashMap<u64, &str> = HashMap::new();
    let what = match board.arch {
        Arch::Aarch64 => "interrupt",
        Arch::X86_64 => "vector",
    };
    for (pd, irq) in system.pds.iter().flat_map(|pd| pd.irqs.iter().map(move |irq| (pd, irq))) {
        let (first, last) = (board.interrupts.first, board.interrupts.last);
        if !(first..=last).contains(&irq.number) {
            return Err(irq.place.refuse(format!(
                "{what} {}: this board's protection domains have {what}s {first} to {last}",
                irq.number
            )));
        }
        if let Some(owner) = owners.insert(irq.number, &pd.name) {
            return Err(irq.place.refuse(format!(
                "{what} {} is '{owner}'s already; an interrupt has one handler",
                irq.number
            )));
        }
    }
    pins(system)
}

/// An I/O APIC's pin goes to one vector.
fn pins(system: &System) -> Result<(), Refusal> {
    let mut owners: HashMap<(u64, u64), &str> = HashMap::new();
    for (pd, irq) in system.pds.iter().flat_map(|pd| pd.irqs.iter().map(move |irq| (pd, irq))) {
        let IrqSource::IoApic { ioapic, pin, .. } = irq.source else { continue };
        if let Some(owner) = owners.insert((ioapic, pin), &pd.name) {
            return Err(irq.place.refuse(format!(
                "pin {pin} of I/O APIC {ioapic} is '{owner}'s already; a pin has one handler"
            )));
        }
    }
    Ok(())
}

fn ioports(system: &System) -> Result<(), Refusal> {
    let all: Vec<_> =
        system.pds.iter().flat_map(|pd| pd.ioports.iter().map(move |ports| (pd, ports))).collect();
    for (index, (pd, ports)) in all.iter().enumerate() {
        for (other, before) in &all[..index] {
            if pd.name == other.name && ports.id == before.id {
                return Err(ports.place.refuse(format!(
                    "id {} of an I/O port range of '{}' is taken since line {}; choose another",
                    ports.id, pd.name, before.place.line
                )));
            }
            if ports.first <= before.last() && before.first <= ports.last() {
                return Err(ports.place.refuse(format!(
                    "ports {:#x} to {:#x} overlap {:#x} to {:#x} of '{}'; a port has one owner",
                    ports.first,
                    ports.last(),
                    before.first,
                    before.last(),
                    other.name
                )));
            }
        }
    }
    Ok(())
}

/// Refuses `region` at `range` if it lies half in RAM.
pub(super) fn in_ram_or_not(region: &Region, range: Interval, board: &Board) -> Result<(), Refusal> {
    let ram = board.memory.ram;
    if !ram.meets(range) || ram.holds(range) {
        return Ok(());
    }
    Err(region.place.refuse(format!(
        "'{}' lies half in RAM, which is {:#x} to {:#x}; move it",
        region.name, ram.first, ram.last
    )))
}

/// On x86 nobody knows at build time where seL4 will put what has no `phys_addr`, nor what the boot loader leaves
/// there: the kernel, its image and what it makes of it lie at the beginning of RAM.
fn addresses_fixed(system: &System, board: &Board) -> Result<(), Refusal> {
    for setvar in system.pds.iter().flat_map(|pd| &pd.setvars) {
        let Value::Paddr(region) = setvar.value else { continue };
        let of = &system.regions[region];
        if of.paddr.is_none() {
            return Err(setvar.place.refuse(format!(
                "the physical address of '{0}' is asked for, and on x86 Microkit gives that of regions with a \
                 phys_addr only; give '{0}' one in RAM above {1:#x}",
                of.name, board.memory.kernel.last
            )));
        }
    }
    for region in &system.regions {
        let Some(range) = region.fixed() else { continue };
        in_ram_or_not(region, range, board)?;
        if !board.memory.kernel.meets(range) {
            continue;
        }
        return Err(region.place.refuse(format!(
            "'{}' at physical {:#x} meets what the kernel and its image take, {:#x} to {:#x}; move it",
            region.name, range.first, board.memory.kernel.first, board.memory.kernel.last
        )));
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
