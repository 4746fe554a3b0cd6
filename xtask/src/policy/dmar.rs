//! The rules of a board's DMAR table: where units are, which devices they have, what those reserve.

use iommu_server::policy::MAX_RESERVED_RANGES;
use toml::Spanned;

use super::{CheckedDevice, Device, Policy, check::Context, roles::MAX_RESERVED};
use crate::{
    board::Board,
    dmar::{Behind, Dmar, FILE, Function, place},
    refusal::Refusal,
    sdf::Region,
};

/// The number of the table's unit whose registers `region` is.
fn unit_at(dmar: &Dmar, region: &Region) -> Option<usize> {
    dmar.units.iter().position(|unit| Some(unit.registers) == region.paddr)
}

/// Checks that the table has a unit whose registers `region` holds.
pub(super) fn unit(
    policy: &Policy,
    board: &Board,
    registers: &Spanned<String>,
    region: &Region,
) -> Result<(), Refusal> {
    let Some(dmar) = &board.dmar else { return Ok(()) };
    let Some(unit) = unit_at(dmar, region) else {
        let units: Vec<_> = dmar.units.iter().map(|unit| format!("{:#x}", unit.registers)).collect();
        return Err(policy.refuse(
            registers,
            format!(
                "'{}' is at {:#x}, where the board's {FILE} has no unit; it has {}",
                region.name,
                region.paddr.unwrap_or_default(),
                units.join(", ")
            ),
        ));
    };
    let bytes = dmar.units[unit].bytes;
    if region.bytes < bytes {
        return Err(policy.refuse(
            registers,
            format!(
                "'{}' has {:#x} bytes, and the unit in the board's {FILE} {bytes:#x}; make it that large",
                region.name, region.bytes
            ),
        ));
    }
    Ok(())
}

/// Checks that `device` is behind the unit that the policy says, and adds what the table reserves for it to its
/// `reserved` ranges.
pub(super) fn device(
    context: &Context<'_>,
    device: &Device,
    unit: usize,
    requester: u16,
    reserved: Vec<(u64, u64)>,
) -> Result<Vec<(u64, u64)>, Refusal> {
    let Some(dmar) = &context.board.dmar else { return Ok(reserved) };
    let policy = context.policy;
    let function = Function::of_requester(requester);
    let said = unit_at(dmar, &context.system.regions[context.registers[unit]]);
    let behind = dmar.behind(function);
    let right = match &behind {
        Behind::Unit(unit, _) => said == Some(*unit),
        Behind::OneOf(units) => said.is_some() && units.contains(&said),
        Behind::None => false,
    };
    if !right {
        return Err(policy.refuse(
            &device.unit,
            format!(
                "by the board's {FILE}, {function} is {}; not behind '{}'",
                place(dmar, &behind),
                device.unit.get_ref()
            ),
        ));
    }
    let own = reserved.len();
    let firmware = dmar.reserved_for(function).into_iter().map(|(range, _)| (range.first, range.last));
    let all: Vec<_> = reserved.iter().copied().chain(firmware).collect();
    if all.len() == own {
        return Ok(reserved);
    }
    let joined = join(all);
    if joined.len() > MAX_RESERVED {
        return Err(policy.refuse(
            &device.name,
            format!(
                "with what the board's {FILE} reserves for {function}, the device has {} reserved ranges, and \
                 {MAX_RESERVED} at most; join some with 'reserved'",
                joined.len()
            ),
        ));
    }
    Ok(joined)
}

/// Checks that the server holds all reserved ranges.
pub(super) fn total(policy: &Policy, devices: &[CheckedDevice]) -> Result<(), Refusal> {
    let all: usize = devices.iter().map(|device| device.reserved.len()).sum();
    if all <= MAX_RESERVED_RANGES {
        return Ok(());
    }
    Err(policy.refuse(
        &policy.source.server,
        format!(
            "{all} reserved ranges with those of the board's {FILE}, but the server holds {MAX_RESERVED_RANGES}; \
             remove some devices"
        ),
    ))
}

/// `ranges` upwards, those that meet or touch joined.
fn join(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = vec![];
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_holds_so_many_ranges() {
        let policy = Policy::parse("policy.toml", "server = \"pd\"").unwrap();
        let device = |count: usize| CheckedDevice {
            unit: 0,
            requester: 0,
            stream: 0,
            bars: vec![],
            number: 0,
            reserved: vec![(0, 1); count],
            max_faults_per_second: 1,
            receiver: None,
        };
        let devices = |last| {
            [vec![device(MAX_RESERVED); MAX_RESERVED_RANGES / MAX_RESERVED], vec![device(last)]].concat()
        };
        assert!(total(&policy, &devices(0)).is_ok());
        let refusal = total(&policy, &devices(1)).unwrap_err().to_string();
        assert!(refusal.starts_with("policy.toml:1:10: 33 reserved ranges with those"), "{refusal}");
    }

    #[test]
    fn ranges_that_meet_or_touch_are_one() {
        assert_eq!(join(vec![(8, 9), (0, 3), (4, 5), (2, 3)]), [(0, 5), (8, 9)]);
        assert_eq!(join(vec![(5, u64::MAX), (u64::MAX, u64::MAX), (0, 3)]), [(0, 3), (5, u64::MAX)]);
        assert_eq!(join(vec![(0, 10), (2, 4)]), [(0, 10)]);
    }
}
