//! Parsing of what a protection domain has of the machine beside memory: interrupts and I/O ports.

use super::parse::{add_setvar, id};
use super::xml::{Attribute, Element};
use super::{IoPorts, Irq, IrqSource, MAX_VECTOR, SetVar, Value};
use crate::{board::Arch, policy::requester, refusal::Refusal};

/// I/O ports that there are.
const IO_PORTS: u64 = 0x1_0000;

/// Reads an interrupt, in the form that `arch` has or in one of its two.
pub(super) fn irq(element: Element<'_>, arch: Arch, setvars: &mut Vec<SetVar>) -> Result<Irq, Refusal> {
    let (number, source) = match arch {
        Arch::Aarch64 => gic(element)?,
        Arch::X86_64 => {
            if let Some(attribute) = element.optional("irq") {
                return Err(
                    attribute.refuse("an Arm interrupt; on x86 name the I/O APIC's pin, or the pcidev")
                );
            }
            if element.optional("pcidev").is_some() { message(element)? } else { io_apic(element)? }
        }
    };
    element.empty()?;
    let id = id(element)?;
    let symbol = element.optional("setvar_id");
    if let Some(symbol) = symbol {
        add_setvar(setvars, symbol, Value::Number(id.into()))?;
    }
    Ok(Irq { number, id, source, symbol: symbol.map(|symbol| symbol.value.into()), place: element.place() })
}

fn gic(element: Element<'_>) -> Result<(u64, IrqSource), Refusal> {
    for x86 in ["pin", "pcidev"] {
        if let Some(attribute) = element.optional(x86) {
            return Err(attribute.refuse("an x86 interrupt; on AArch64 name the interrupt with 'irq'"));
        }
    }
    element.only(&["irq", "id", "setvar_id", "trigger"])?;
    Ok((element.required("irq")?.decimal()?, IrqSource::Gic { edge: edge(element)? }))
}

fn io_apic(element: Element<'_>) -> Result<(u64, IrqSource), Refusal> {
    element.only(&["ioapic", "pin", "trigger", "polarity", "vector", "id", "setvar_id"])?;
    let ioapic = element.optional("ioapic").map_or(Ok(0), |ioapic| ioapic.decimal())?;
    let pin = element.required("pin")?.decimal()?;
    let low = match element.optional("polarity") {
        None => false,
        Some(polarity) => match polarity.value {
            "high" => false,
            "low" => true,
            _ => return Err(polarity.refuse("must be 'high' or 'low'")),
        },
    };
    Ok((vector(element)?, IrqSource::IoApic { ioapic, pin, edge: edge(element)?, low }))
}

fn message(element: Element<'_>) -> Result<(u64, IrqSource), Refusal> {
    element.only(&["pcidev", "handle", "vector", "id", "setvar_id"])?;
    let of = element.required("pcidev")?;
    let Some(requester) = pci(&of) else {
        return Err(of.refuse("is not BUS:DEVICE.FUNCTION in hexadecimal, such as 00:02.0"));
    };
    let handle = element.required("handle")?.decimal()?;
    Ok((vector(element)?, IrqSource::Message { requester, handle }))
}

/// The function that `attribute` names, as Microkit writes it: one or two digits for bus and device.
fn pci(attribute: &Attribute<'_>) -> Option<u16> {
    let (bus, rest) = attribute.value.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    requester(&format!("{bus:0>2}:{device:0>2}.{function}"))
}

fn vector(element: Element<'_>) -> Result<u64, Refusal> {
    let attribute = element.required("vector")?;
    match attribute.decimal()? {
        vector @ 0..=MAX_VECTOR => Ok(vector),
        _ => Err(attribute.refuse(&format!("vectors go from 0 to {MAX_VECTOR}"))),
    }
}

fn edge(element: Element<'_>) -> Result<bool, Refusal> {
    match element.optional("trigger") {
        None => Ok(false),
        Some(trigger) => match trigger.value {
            "level" => Ok(false),
            "edge" => Ok(true),
            _ => Err(trigger.refuse("must be 'level' or 'edge'")),
        },
    }
}

/// Reads a range of I/O ports.
pub(super) fn ioports(
    element: Element<'_>,
    arch: Arch,
    setvars: &mut Vec<SetVar>,
) -> Result<IoPorts, Refusal> {
    if arch == Arch::Aarch64 {
        return Err(element.place().refuse("<ioport>: AArch64 has no I/O ports; remove it"));
    }
    element.only(&["id", "addr", "size", "setvar_id", "setvar_addr"])?;
    element.empty()?;
    let id = id(element)?;
    let (first, size) = (element.required("addr")?, element.required("size")?);
    let (port, count) = (first.number()?, size.decimal()?);
    if count == 0 {
        return Err(size.refuse("a range has one port or more"));
    }
    if port >= IO_PORTS || count > IO_PORTS - port {
        return Err(first.refuse(&format!("the range passes the last port, {:#x}", IO_PORTS - 1)));
    }
    if let Some(symbol) = element.optional("setvar_id") {
        add_setvar(setvars, symbol, Value::Number(id.into()))?;
    }
    if let Some(symbol) = element.optional("setvar_addr") {
        add_setvar(setvars, symbol, Value::Number(port))?;
    }
    Ok(IoPorts { id, first: port as u16, count: count as u32, place: element.place() })
}
