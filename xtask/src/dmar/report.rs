//! What a person who brings up a board does with a table: what goes where, and what it is that the firmware says.

use std::fmt::Write;

use iommu_server::policy::MAX_UNITS;

use super::{
    Behind, Dmar, Function, Table,
    behind::{Holds, SEGMENT},
};
use crate::board::Interval;

/// The report on `table`, for the policy's `devices`: names and functions. With the board's RAM, also what of it is not free.
pub fn report(table: &Table, devices: &[(String, Function)], ram: Option<Interval>) -> String {
    let dmar = &table.dmar;
    let mut text = String::new();
    // Writing into a string never fails.
    _ = writeln!(
        text,
        "DMAR of {}: {} unit(s), {}-bit addresses",
        table.maker,
        dmar.units.len(),
        dmar.address_bits
    );
    _ = flags(&mut text, dmar);
    for index in 0..dmar.units.len() {
        _ = unit(&mut text, dmar, index);
    }
    _ = reserved(&mut text, dmar, ram);
    for ats in &dmar.ats {
        let ports: Vec<_> = ats.scopes.iter().map(ToString::to_string).collect();
        let ports = if ats.all_ports { "all root ports".into() } else { ports.join("; ") };
        _ = writeln!(text, "ATS in segment {}: {ports} (not used)", ats.segment);
    }
    for skipped in &table.skipped {
        _ = writeln!(text, "not used: {skipped}");
    }
    _ = self::devices(&mut text, dmar, devices);
    text
}

fn flags(text: &mut String, dmar: &Dmar) -> std::fmt::Result {
    match dmar.dma_opt_in {
        true => writeln!(
            text,
            "firmware kept devices from all memory but the reserved ranges until it handed over"
        ),
        false => writeln!(text, "firmware may have left devices running: stop them in the boot loader"),
    }?;
    let remapping = if dmar.interrupt_remapping { "can" } else { "cannot" };
    writeln!(text, "the platform {remapping} remap interrupts; the server does not")
}

fn unit(text: &mut String, dmar: &Dmar, index: usize) -> std::fmt::Result {
    let unit = &dmar.units[index];
    let (base, bytes) = (unit.registers, unit.bytes);
    writeln!(text, "\nunit {index}: registers at {base:#x}, {bytes:#x} bytes, segment {}", unit.segment)?;
    // Its number in a policy that has all that it can have, in the table's order.
    let number = dmar.units[..index].iter().filter(|unit| unit.segment == SEGMENT).count();
    if unit.segment != SEGMENT {
        writeln!(text, "  no device of a policy is in this segment: leave the unit out")?;
    } else if number >= MAX_UNITS {
        writeln!(
            text,
            "  the server holds {MAX_UNITS} units: leave out those that no device of yours is behind"
        )?;
    } else {
        writeln!(
            text,
            "  system.xml, with the server's map for unit number {number} of policy.toml:\n    \
             <memory_region name=\"vtd{number}_registers\" size=\"{bytes:#x}\" phys_addr=\"{base:#x}\" />\n    \
             <map mr=\"vtd{number}_registers\" vaddr=\"...\" perms=\"rw\" cached=\"false\" \
             setvar_vaddr=\"unit_registers_{number}\" setvar_size=\"unit_registers_bytes_{number}\" />\n  \
             policy.toml:\n    [[unit]]\n    name = \"vtd{number}\"\n    kind = \"intel-vtd\"\n    \
             registers = \"vtd{number}_registers\""
        )?;
    }
    for scope in &unit.scopes {
        writeln!(text, "  behind it: {scope}")?;
    }
    match (unit.include_pci_all, unit.scopes.is_empty()) {
        (true, _) => writeln!(text, "  behind it: all of the segment that no other unit names"),
        (false, true) => writeln!(text, "  behind it: nothing"),
        (false, false) => Ok(()),
    }
}

fn reserved(text: &mut String, dmar: &Dmar, ram: Option<Interval>) -> std::fmt::Result {
    if !dmar.reserved.is_empty() {
        writeln!(
            text,
            "\nmemory that firmware lets devices use, which the policy compiler reserves for them:"
        )?;
    }
    for range in &dmar.reserved {
        let (first, last) = (range.first, range.last);
        writeln!(text, "  {first:#x} to {last:#x}, segment {}", range.segment)?;
        for scope in &range.scopes {
            writeln!(text, "    used by: {scope}")?;
        }
        if range.scopes.is_empty() {
            writeln!(text, "    used by: no device, against the specification (8.4); reserved for none")?;
        }
        if ram.is_some_and(|ram| ram.meets(Interval { first, last })) {
            writeln!(text, "    it lies in [memory] ram of board.toml: take it out of there")?;
        }
    }
    Ok(())
}

fn devices(text: &mut String, dmar: &Dmar, devices: &[(String, Function)]) -> std::fmt::Result {
    if !devices.is_empty() {
        writeln!(text, "\nthe policy's devices:")?;
    }
    for (name, function) in devices {
        writeln!(text, "  {name} ({function}): {}", place(dmar, &dmar.behind(*function)))?;
        for (range, holds) in dmar.reserved_for(*function) {
            let why = if holds == Holds::Maybe { ", as it may be behind that bridge" } else { "" };
            writeln!(text, "    reserved: {:#x} to {:#x}{why}", range.first, range.last)?;
        }
    }
    Ok(())
}

/// What `behind` says, for a person.
pub fn place(dmar: &Dmar, behind: &Behind) -> String {
    let unit = |index: usize| match dmar.units.get(index) {
        Some(unit) => format!("the unit at {:#x}", unit.registers),
        None => format!("unit {index}"),
    };
    match behind {
        Behind::Unit(index, why) => format!("behind {}: {why}", unit(*index)),
        Behind::OneOf(units) => {
            let names = units.iter().map(|of| of.map_or_else(|| "no unit".to_string(), unit));
            format!(
                "behind {}: the table does not say which buses are behind the bridges it names; give their scopes \
                 'buses' in dmar.toml",
                names.collect::<Vec<_>>().join(" or ")
            )
        }
        Behind::None => "behind no unit: nothing would stop it".to_string(),
    }
}
