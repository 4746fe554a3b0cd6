//! The rules of a policy's units.

use iommu_server::policy::MAX_UNITS;

use super::{
    Policy, Unit,
    check::{alone, find_region},
    dmar,
};
use crate::{board::Board, refusal::Refusal, sdf::System};

/// A kind of unit that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitKind {
    /// The policy's name of it.
    pub name: &'static str,
    /// The blob's number of it.
    pub number: u32,
    /// Bytes of its registers.
    bytes: u64,
}

impl UnitKind {
    /// Whether it tells of faults by a message, not by wires.
    pub(super) fn tells_by_message(self) -> bool {
        self.number == iommu_server::policy::KIND_INTEL_VTD
    }
}

/// The kinds of units that the server knows.
const UNIT_KINDS: [UnitKind; 2] = [
    // Two pages of 64 KiB (Arm IHI 0070, section 6.1).
    UnitKind { name: "arm-smmu-v3", number: iommu_server::policy::KIND_ARM_SMMU_V3, bytes: 0x2_0000 },
    // One page (Intel D51397, section 11.4).
    UnitKind { name: "intel-vtd", number: iommu_server::policy::KIND_INTEL_VTD, bytes: 0x1000 },
];

/// Each unit's kind, and the region of its registers.
///
/// # Errors
/// The first rule that is broken.
pub(super) fn check(
    policy: &Policy,
    system: &System,
    board: &Board,
    server: usize,
) -> Result<(Vec<UnitKind>, Vec<usize>), Refusal> {
    let units = &policy.source.unit;
    if units.is_empty() {
        return Err(policy.refuse(&policy.source.server, "the policy has no [[unit]]; add the IOMMU"));
    }
    if let Some(more) = units.get(MAX_UNITS) {
        return Err(policy.refuse(more, format!("the server holds {MAX_UNITS} units; remove this one")));
    }
    let (mut kinds, mut regions) = (vec![], vec![]);
    for (index, spanned) in units.iter().enumerate() {
        let unit = spanned.get_ref();
        let name = unit.name.get_ref();
        if units[..index].iter().any(|other| other.get_ref().name.get_ref() == name) {
            return Err(policy.refuse(&unit.name, format!("there is a unit '{name}' already; rename one")));
        }
        let (kind, region) = one(policy, system, board, server, index, unit, &regions)?;
        kinds.push(kind);
        regions.push(region);
    }
    Ok((kinds, regions))
}

fn one(
    policy: &Policy,
    system: &System,
    board: &Board,
    server: usize,
    index: usize,
    unit: &Unit,
    before: &[usize],
) -> Result<(UnitKind, usize), Refusal> {
    let Unit { kind, registers, size, .. } = unit;
    let Some(known) = UNIT_KINDS.into_iter().find(|known| known.name == kind.get_ref()) else {
        let names = UNIT_KINDS.map(|known| format!("'{}'", known.name)).join(" and ");
        return Err(
            policy.refuse(kind, format!("unknown kind '{}'; the server knows {names}", kind.get_ref()))
        );
    };
    let region = find_region(policy, system, registers, size.as_ref())?;
    let of = &system.regions[region];
    if let Some(other) = before.iter().position(|&other| other == region) {
        let other = policy.source.unit[other].get_ref().name.get_ref();
        return Err(policy.refuse(
            registers,
            format!("'{}' holds the registers of unit '{other}'; name another region", of.name),
        ));
    }
    let device = of.fixed().is_some_and(|range| !board.memory.ram.meets(range));
    if !device || of.bytes < known.bytes {
        return Err(policy.refuse(
            registers,
            format!(
                "'{}' must be device registers: a phys_addr outside RAM, {:#x} bytes or more",
                of.name, known.bytes
            ),
        ));
    }
    dmar::unit(policy, board, registers, of)?;
    let [vaddr, bytes] = ["unit_registers", "unit_registers_bytes"].map(|symbol| format!("{symbol}_{index}"));
    let pd = &system.pds[server];
    let map = pd.map_of(region).filter(|map| map.perms.write && !map.cached);
    let at = pd.setvar(&vaddr).and_then(|setvar| setvar.number());
    let size = pd.setvar(&bytes).and_then(|setvar| setvar.region());
    if map.is_none() || map.map(|map| map.vaddr) != at || size != Some(region) {
        return Err(policy.refuse(
            registers,
            format!(
                "the server must map '{}' with perms=\"rw\", cached=\"false\", \
                setvar_vaddr=\"{vaddr}\" and setvar_size=\"{bytes}\"",
                of.name
            ),
        ));
    }
    alone(policy, system, registers, region, &[server])?;
    Ok((known, region))
}
