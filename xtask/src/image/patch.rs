//! Patching: the symbols that Microkit's tool patches in every program, and the system's setvars.

use super::{elf::Program, layout::Layout};
use crate::{
    refusal::Refusal,
    sdf::{Pd, System, Value},
};

/// Bytes of a symbol that a setvar names.
const WORD_BYTES: u64 = 8;

/// Bytes of `microkit_name`.
const NAME_BYTES: usize = 64;

/// Patches the program of protection domain `index`.
///
/// # Errors
/// It lacks a symbol, or a symbol has the wrong size.
pub fn patch(system: &System, index: usize, layout: &Layout, program: &mut Program) -> Result<(), Refusal> {
    let pd = &system.pds[index];
    let mut name = [0; NAME_BYTES];
    name[..pd.name.len()].copy_from_slice(pd.name.as_bytes());
    let ends = || system.channels.iter().flat_map(|channel| &channel.ends).filter(|end| end.pd == index);
    let bits = |ids: &mut dyn Iterator<Item = u8>| ids.fold(0_u64, |bits, id| bits | 1 << id).to_le_bytes();
    let irqs = bits(&mut pd.irqs.iter().map(|irq| irq.id));
    let notifications = bits(&mut ends().filter(|end| end.notify).map(|end| end.id));
    let ioports = bits(&mut pd.ioports.iter().map(|ports| ports.id));
    let pps = bits(&mut ends().filter(|end| end.pp).map(|end| end.id));
    for (symbol, value) in [
        ("microkit_name", &name[..]),
        ("microkit_passive", &[pd.passive.into()]),
        ("microkit_irqs", &irqs),
        ("microkit_notifications", &notifications),
        ("microkit_pps", &pps),
        ("microkit_ioports", &ioports),
    ] {
        write(pd, program, symbol, value).map_err(|rule| {
            pd.program_place.refuse(format!("{rule}; link it with the protection domain runtime"))
        })?;
    }
    for setvar in &pd.setvars {
        let value = match setvar.value {
            Value::Number(number) => number,
            Value::Size(region) => system.regions[region].bytes,
            Value::PrefillSize(region) => {
                let prefill = system.regions[region].prefill.as_ref();
                prefill.and_then(|prefill| prefill.bytes.as_ref()).map_or(0, |bytes| bytes.len() as u64)
            }
            Value::Paddr(region) => layout.regions[region].first,
        };
        write(pd, program, &setvar.symbol, &value.to_le_bytes()).map_err(|rule| {
            setvar.place.refuse(format!("{rule}; correct the name or add it to the program"))
        })?;
    }
    Ok(())
}

fn write(pd: &Pd, program: &mut Program, symbol: &str, value: &[u8]) -> Result<(), String> {
    let Some((at, bytes)) = program.symbol(symbol) else {
        return Err(format!("'{}' has no symbol '{symbol}'", pd.program));
    };
    // Microkit checks the size of setvars only; its own symbols have the sizes of their values.
    let fits =
        if value.len() as u64 == WORD_BYTES { bytes == WORD_BYTES } else { bytes >= value.len() as u64 };
    if !fits {
        return Err(format!(
            "the symbol '{symbol}' of '{}' has {bytes} bytes, not {}",
            pd.program,
            value.len()
        ));
    }
    if !program.write(at, value) {
        return Err(format!("the symbol '{symbol}' of '{}' is not in memory that is loaded", pd.program));
    }
    Ok(())
}
