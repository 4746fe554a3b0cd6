//! Parsing of a protection domain.

use super::parse::{add_setvar, id};
use super::parse_machine::{ioports, irq};
use super::xml::{Attribute, Element};
use super::{MAX_PDS, MAX_PRIORITY, Map, PAGE_BYTES, Parent, Pd, Perms, Region, SetVar, Value};
use crate::{board::Arch, refusal::Refusal};

/// Microseconds of budget where the file says none.
const DEFAULT_BUDGET_US: u64 = 1000;

/// Bytes of stack where the file says none.
const DEFAULT_STACK_BYTES: u64 = 0x2000;

/// Most bytes of stack.
const MAX_STACK_BYTES: u64 = 0x100_0000;

/// Bytes of the symbol that holds a protection domain's name.
const MAX_NAME_BYTES: usize = 64;

const ATTRIBUTES: [&str; 10] =
    ["name", "priority", "budget", "period", "passive", "stack_size", "smc", "cpu", "domain", "fpu"];

/// What a child has besides.
const CHILD_ATTRIBUTES: [&str; 2] = ["id", "setvar_id"];

/// Reads a protection domain, the child of `parent` if there is one, and its own children; adds them to `pds`.
pub(super) fn pd(
    element: Element<'_>,
    regions: &[Region],
    arch: Arch,
    parent: Option<usize>,
    pds: &mut Vec<Pd>,
) -> Result<(), Refusal> {
    // One more than there may be is enough to be refused, however deep they are nested.
    if pds.len() > MAX_PDS {
        return Ok(());
    }
    let index = pds.len();
    let mut read = single(element, regions, arch, parent.is_some())?;
    if let Some(parent) = parent {
        read.parent = Some(child(element, parent, pds)?);
    }
    pds.push(read);
    for child in element.children().filter(|child| child.name() == "protection_domain") {
        pd(child, regions, arch, Some(index), pds)?;
    }
    Ok(())
}

/// Reads what makes a protection domain the child of the one at index `parent`.
fn child(element: Element<'_>, parent: usize, pds: &mut [Pd]) -> Result<Parent, Refusal> {
    let of = Parent { pd: parent, id: id(element)?, place: element.place() };
    let mut siblings = pds.iter().filter_map(|pd| pd.parent.as_ref());
    if let Some(first) = siblings.find(|other| (other.pd, other.id) == (of.pd, of.id)) {
        return Err(of.place.refuse(format!(
            "id {} of a child of '{}' is taken since line {}; choose another",
            of.id, pds[parent].name, first.place.line
        )));
    }
    if let Some(symbol) = element.optional("setvar_id") {
        add_setvar(&mut pds[parent].setvars, symbol, Value::Number(of.id.into()))?;
    }
    Ok(of)
}

/// Reads a protection domain without its children.
fn single(element: Element<'_>, regions: &[Region], arch: Arch, is_child: bool) -> Result<Pd, Refusal> {
    let own = if is_child { &CHILD_ATTRIBUTES[..] } else { &[] };
    element.only(&[&ATTRIBUTES, own].concat())?;
    refuse_lacking(element)?;
    let number = |name| element.optional(name).map(|attribute| attribute.number()).transpose();
    let name = element.required("name")?;
    if name.value.is_empty() || name.value.len() > MAX_NAME_BYTES {
        return Err(name.refuse(&format!("a name has 1 to {MAX_NAME_BYTES} bytes")));
    }
    let budget_us = number("budget")?.unwrap_or(DEFAULT_BUDGET_US);
    let period_us = number("period")?.unwrap_or(budget_us);
    if budget_us > period_us {
        return Err(element.place().refuse(format!(
            "the budget, {budget_us} us, is longer than the period, {period_us} us; lower it"
        )));
    }
    let mut pd = Pd {
        name: name.value.to_string(),
        priority: priority(element)?,
        budget_us,
        period_us,
        passive: element.optional("passive").map_or(Ok(false), |passive| passive.flag())?,
        fpu: element.optional("fpu").map_or(Ok(true), |fpu| fpu.flag())?,
        stack_bytes: element.optional("stack_size").map_or(Ok(DEFAULT_STACK_BYTES), stack_size)?,
        program: String::new(),
        program_place: element.place(),
        maps: vec![],
        irqs: vec![],
        ioports: vec![],
        setvars: vec![],
        parent: None,
        place: element.place(),
    };
    for child in element.children() {
        match child.name() {
            "program_image" => program(child, &mut pd)?,
            "map" => pd.maps.push(map(child, regions, &mut pd.setvars)?),
            "irq" => pd.irqs.push(irq(child, arch, &mut pd.setvars)?),
            "setvar" => setvar(child, regions, &mut pd.setvars)?,
            "protection_domain" => {}
            "virtual_machine" => return Err(child.unsupported("virtual machines")),
            "cspace" => return Err(child.unsupported("extra capabilities")),
            "ioport" => pd.ioports.push(ioports(child, arch, &mut pd.setvars)?),
            _ => {
                let takes = match arch {
                    Arch::Aarch64 => "program_image, map, irq, setvar and protection_domain",
                    Arch::X86_64 => "program_image, map, irq, ioport, setvar and protection_domain",
                };
                return Err(child.unknown("protection_domain", takes));
            }
        }
    }
    if pd.program.is_empty() {
        return Err(pd.place.refuse("<protection_domain> lacks its <program_image path=\"...\"/>; add it"));
    }
    Ok(pd)
}

/// Refuses the attributes whose one possible value is all that the embedded kernel does.
fn refuse_lacking(element: Element<'_>) -> Result<(), Refusal> {
    if let Some(cpu) = element.optional("cpu")
        && cpu.number()? != 0
    {
        return Err(cpu.unsupported("other cores than core 0"));
    }
    if let Some(smc) = element.optional("smc")
        && smc.flag()?
    {
        return Err(smc.unsupported("secure monitor calls of protection domains"));
    }
    match element.optional("domain") {
        Some(domain) => Err(domain.unsupported("scheduling domains")),
        None => Ok(()),
    }
}

fn priority(element: Element<'_>) -> Result<u8, Refusal> {
    let Some(attribute) = element.optional("priority") else { return Ok(0) };
    match attribute.number()? {
        priority @ 0..=MAX_PRIORITY => Ok(priority as u8),
        _ => Err(attribute.refuse(&format!("priorities go from 0 to {MAX_PRIORITY}"))),
    }
}

fn stack_size(attribute: Attribute<'_>) -> Result<u64, Refusal> {
    match attribute.number()? {
        bytes @ PAGE_BYTES..=MAX_STACK_BYTES if bytes.is_multiple_of(PAGE_BYTES) => Ok(bytes),
        _ => Err(attribute.refuse("a stack has 0x1000 to 0x1000000 bytes, a multiple of 0x1000")),
    }
}

fn program(element: Element<'_>, pd: &mut Pd) -> Result<(), Refusal> {
    element.only(&["path", "path_for_symbols"])?;
    element.empty()?;
    if !pd.program.is_empty() {
        return Err(element.place().refuse("a protection domain has one <program_image>; remove this one"));
    }
    if let Some(path) = element.optional("path_for_symbols") {
        return Err(path.unsupported("symbols from another file"));
    }
    let path = element.required("path")?;
    if path.value.is_empty() {
        return Err(path.refuse("names no file"));
    }
    pd.program = path.value.to_string();
    pd.program_place = element.place();
    Ok(())
}

fn map(element: Element<'_>, regions: &[Region], setvars: &mut Vec<SetVar>) -> Result<Map, Refusal> {
    element.only(&[
        "mr",
        "vaddr",
        "perms",
        "cached",
        "setvar_vaddr",
        "setvar_size",
        "setvar_prefill_size",
    ])?;
    element.empty()?;
    let region = find(element.required("mr")?, regions)?;
    let vaddr = element.required("vaddr")?.number()?;
    let perms =
        element.optional("perms").map_or(Ok(Perms { read: true, write: true, execute: false }), perms)?;
    let cached = element.optional("cached").map_or(Ok(true), |cached| cached.flag())?;
    if let Some(symbol) = element.optional("setvar_vaddr") {
        add_setvar(setvars, symbol, Value::Number(vaddr))?;
    }
    if let Some(symbol) = element.optional("setvar_size") {
        add_setvar(setvars, symbol, Value::Size(region))?;
    }
    if let Some(symbol) = element.optional("setvar_prefill_size") {
        if regions[region].prefill.is_none() {
            return Err(symbol.refuse("the region has no prefill_path; remove this, or fill the region"));
        }
        add_setvar(setvars, symbol, Value::PrefillSize(region))?;
    }
    Ok(Map { region, vaddr, perms, cached, place: element.place() })
}

fn perms(attribute: Attribute<'_>) -> Result<Perms, Refusal> {
    if !attribute.value.chars().all(|letter| "rwx".contains(letter)) {
        return Err(attribute.refuse("permissions are letters of 'r', 'w' and 'x'"));
    }
    let has = |letter| attribute.value.contains(letter);
    let perms = Perms { read: has('r'), write: has('w'), execute: has('x') };
    match perms {
        Perms { read: false, write: true, execute: false } => {
            Err(attribute.refuse("seL4 has no write-only mappings; use 'rw'"))
        }
        Perms { read: false, .. } => Err(attribute.unsupported("mappings without 'r'")),
        _ => Ok(perms),
    }
}

fn setvar(element: Element<'_>, regions: &[Region], setvars: &mut Vec<SetVar>) -> Result<(), Refusal> {
    element.only(&["symbol", "region_paddr"])?;
    element.empty()?;
    let symbol = element.required("symbol")?;
    let region = find(element.required("region_paddr")?, regions)?;
    add_setvar(setvars, symbol, Value::Paddr(region))
}

fn find(name: Attribute<'_>, regions: &[Region]) -> Result<usize, Refusal> {
    regions
        .iter()
        .position(|region| region.name == name.value)
        .ok_or_else(|| name.refuse("there is no memory region of this name"))
}
