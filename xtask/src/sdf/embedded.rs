//! What Microkit does and the embedded kernel does not, refused by name.

use embedded_kernel::{MAX_IRQS, MAX_PORT_RANGES};

use super::{IrqSource, MAX_PDS, System, check::in_ram_or_not, xml::lacks};
use crate::{board::Board, refusal::Refusal};

// As many protection domains as Microkit has.
const _: () = assert!(embedded_image::MAX_PDS >= MAX_PDS);

/// Pins of the I/O APIC that its x86 board has.
const IO_APIC_PINS: u64 = 24;

/// Refuses what the embedded kernel does not do.
///
/// # Errors
/// The first feature that it lacks.
pub fn check(system: &System, board: &Board) -> Result<(), Refusal> {
    if let Some(irq) = system.pds.iter().flat_map(|pd| &pd.irqs).nth(MAX_IRQS) {
        return Err(irq.place.refuse(lacks(&format!("more than {MAX_IRQS} interrupts"))));
    }
    for irq in system.pds.iter().flat_map(|pd| &pd.irqs) {
        let IrqSource::IoApic { ioapic, pin, .. } = irq.source else { continue };
        if ioapic != 0 || pin >= IO_APIC_PINS {
            let more =
                format!("pin {pin} of I/O APIC {ioapic}: {}", lacks("more than the 24 pins of one I/O APIC"));
            return Err(irq.place.refuse(more));
        }
    }
    if let Some(ports) = system.pds.iter().flat_map(|pd| &pd.ioports).nth(MAX_PORT_RANGES) {
        return Err(ports.place.refuse(lacks(&format!("more than {MAX_PORT_RANGES} ranges of I/O ports"))));
    }
    for pd in &system.pds {
        if pd.budget_us != pd.period_us {
            return Err(pd.place.refuse(format!(
                "budget {} us, period {} us: {}",
                pd.budget_us,
                pd.period_us,
                lacks("budgets smaller than the period")
            )));
        }
        if pd.budget_us == 0 {
            return Err(pd.place.refuse("a budget of 0 us never lets the protection domain run"));
        }
        for map in &pd.maps {
            let region = &system.regions[map.region];
            let in_ram = region.fixed().is_none_or(|range| board.memory.ram.holds(range));
            if in_ram && !map.cached {
                return Err(map.place.refuse(format!(
                    "cached=\"false\" of '{}', which is RAM: {}",
                    region.name,
                    lacks("uncached RAM")
                )));
            }
        }
    }
    for channel in &system.channels {
        let [a, b] = &channel.ends;
        if a.pd == b.pd {
            return Err(b.place.refuse(format!(
                "both ends are '{}': {}",
                system.pds[a.pd].name,
                lacks("channels of a protection domain to itself")
            )));
        }
    }
    places(system, board)
}

fn places(system: &System, board: &Board) -> Result<(), Refusal> {
    for region in &system.regions {
        let Some(range) = region.fixed() else { continue };
        let (ram, kernel) = (board.memory.ram, board.memory.kernel);
        if kernel.meets(range) {
            return Err(region.place.refuse(format!(
                "'{}' meets the embedded kernel's memory, {:#x} to {:#x}; move it",
                region.name, kernel.first, kernel.last
            )));
        }
        in_ram_or_not(region, range, board)?;
        if region.prefill.is_some() && !ram.holds(range) {
            return Err(region.place.refuse(format!(
                "'{}' has a prefill file, but its phys_addr is not in RAM; remove one of them",
                region.name
            )));
        }
    }
    Ok(())
}
