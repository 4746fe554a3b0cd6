//! The rules of the server's interrupts, and what it is told of them: x86 lets software choose where interrupts go, so that
//! the server sets up what the system description says. On AArch64 they are wires.

use toml::Spanned;

use super::check::{Context, UnitKind};
use crate::{
    board::Arch,
    refusal::Refusal,
    sdf::{IrqSource, MAX_VECTOR},
};

/// The symbol by which the server knows its timer.
pub(super) const TIMER_SYMBOL: &str = "irq_timer";

/// The symbol that tells the server where the registers of its timer are.
const TIMER_REGISTERS: &str = "timer_registers";

/// The CPU's vector of the first one that Microkit counts (seL4's `irq_user_min` on x86).
const FIRST_VECTOR: u32 = 0x30;

/// Where a message goes to the CPU that boots (Intel SDM volume 3, 12.11.1: physical destination 0).
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

/// The message by which a unit tells of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultMessage {
    /// Its data.
    pub data: u32,
    /// Its address.
    pub address: u64,
}

/// The line that the server's timer is to raise, if there is a choice.
pub(super) fn timer_line(context: &Context<'_>) -> Result<Option<u32>, Refusal> {
    if context.board.arch == Arch::Aarch64 {
        return Ok(None);
    }
    let (system, server) = (context.system, &context.system.pds[context.server]);
    let timer = server.irqs.iter().find(|irq| irq.symbol.as_deref() == Some(TIMER_SYMBOL));
    let Some(timer) = timer else { return Ok(None) };
    let registers = server.setvar(TIMER_REGISTERS).and_then(|setvar| setvar.number());
    let map = server.maps.iter().find(|map| Some(map.vaddr) == registers);
    let device = map.is_some_and(|map| {
        let fixed = system.regions[map.region].fixed();
        map.perms.write && !map.cached && fixed.is_some_and(|range| !context.board.memory.ram.meets(range))
    });
    if !device {
        return Err(timer.place.refuse(format!(
            "the server's timer is the HPET, so '{}' must map its registers with perms=\"rw\", cached=\"false\" and \
             setvar_vaddr=\"{TIMER_REGISTERS}\"",
            server.name
        )));
    }
    let region = map.map(|map| map.region);
    let other = region.and_then(|region| {
        system.maps_of(region).find(|(pd, map)| pd.name != server.name && map.perms.write)
    });
    if let Some((pd, map)) = other {
        return Err(map.place.refuse(format!(
            "'{}' must not write the registers of the server's timer; map them with perms=\"r\" or not at all",
            pd.name
        )));
    }
    match timer.source {
        IrqSource::IoApic { ioapic: 0, pin, edge: true, .. } if pin < 32 => Ok(Some(pin as u32)),
        _ => Err(timer.place.refuse(
            "the server's timer, the HPET, raises a pin from 0 to 31 of I/O APIC 0, with trigger=\"edge\"",
        )),
    }
}

/// The message by which the unit of `kind` that `name` says tells of faults, if it does so by a message.
pub(super) fn fault_message(
    context: &Context<'_>,
    kind: UnitKind,
    name: &Spanned<String>,
) -> Result<Option<FaultMessage>, Refusal> {
    if context.board.arch == Arch::Aarch64 || !kind.tells_by_message() {
        return Ok(None);
    }
    let server = &context.system.pds[context.server];
    let mut messages = server.irqs.iter().filter(|irq| matches!(irq.source, IrqSource::Message { .. }));
    let Some(irq) = messages.next() else {
        return Err(context.policy.refuse(
            name,
            format!(
                "the unit tells of faults by a message; give '{}' an <irq pcidev=\"00:00.0\" handle=\"0\" \
                 vector=\"...\"> for it",
                server.name
            ),
        ));
    };
    if let Some(second) = messages.next() {
        return Err(second.place.refuse(format!(
            "'{}' has the message of line {} for its unit's faults already; remove one",
            server.name, irq.place.line
        )));
    }
    // At most 107.
    Ok(Some(FaultMessage { data: FIRST_VECTOR + irq.number as u32, address: MESSAGE_ADDRESS }))
}

// A message's data has eight bits of vector.
const _: () = assert!(MAX_VECTOR + (FIRST_VECTOR as u64) < 0x100);
