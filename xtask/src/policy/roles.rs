//! The rules of what devices reserve, cause and share: reserved ranges, storms, groups, and who receives faults.

use iommu_server::policy::{DEFAULT_MAX_FAULTS_PER_SECOND, MAX_RESERVED_RANGES};

use super::{CheckedClient, Device, check::Context};
use crate::refusal::Refusal;

/// Reserved ranges of one device.
pub(super) const MAX_RESERVED: usize = 4;

/// What `device` reserves, and how many faults it may cause a second.
pub(super) fn limits(context: &Context<'_>, device: &Device) -> Result<(Vec<(u64, u64)>, u32), Refusal> {
    let policy = context.policy;
    if let Some(more) = device.reserved.get(MAX_RESERVED) {
        return Err(
            policy.refuse(more, format!("a device has {MAX_RESERVED} reserved ranges at most; join some"))
        );
    }
    for range in &device.reserved {
        let (first, last) = *range.get_ref();
        if first > last {
            return Err(policy
                .refuse(range, format!("a reserved range is [first, last]; {first:#x} is above {last:#x}")));
        }
    }
    let all: usize = policy.source.device.iter().map(|device| device.get_ref().reserved.len()).sum();
    if all > MAX_RESERVED_RANGES {
        return Err(policy.refuse(
            &policy.source.server,
            format!("{all} reserved ranges, but the server holds {MAX_RESERVED_RANGES}; remove some"),
        ));
    }
    let faults = match &device.max_faults_per_second {
        Some(none) if *none.get_ref() == 0 => {
            return Err(policy.refuse(none, "a limit of 0 faults stops the device at the first; raise it"));
        }
        Some(limit) => *limit.get_ref(),
        None => DEFAULT_MAX_FAULTS_PER_SECOND,
    };
    Ok((device.reserved.iter().map(|range| *range.get_ref()).collect(), faults))
}

/// Checks that devices of a group, which reach each other behind the IOMMU's back, have one owner; `taken` has the
/// owner of each device.
pub(super) fn groups(context: &Context<'_>, taken: &[Option<usize>]) -> Result<(), Refusal> {
    let policy = context.policy;
    let devices = &policy.source.device;
    for (index, device) in devices.iter().enumerate() {
        let Some(group) = &device.get_ref().group else { continue };
        let same =
            |other: &Device| other.group.as_ref().is_some_and(|other| other.get_ref() == group.get_ref());
        let other = devices[..index]
            .iter()
            .zip(taken)
            .find(|(other, owner)| same(other.get_ref()) && **owner != taken[index]);
        if let Some((other, _)) = other {
            return Err(policy.refuse(
                group,
                format!(
                    "group '{}' has '{}' of another client already; what is not isolated has one owner",
                    group.get_ref(),
                    other.get_ref().name.get_ref()
                ),
            ));
        }
    }
    Ok(())
}

/// Finds who receives the faults of devices that it does not own.
pub(super) fn receivers(context: &Context<'_>, clients: &mut [CheckedClient]) -> Result<(), Refusal> {
    let policy = context.policy;
    for (number, client) in policy.source.client.iter().enumerate() {
        let client = client.get_ref();
        for (place, name) in client.fault_devices.iter().enumerate() {
            let found = policy.device_number(name)?;
            if client.fault_ring.is_none() {
                return Err(policy.refuse(
                    name,
                    format!("'{}' has no fault_ring to receive faults in; add one", client.pd.get_ref()),
                ));
            }
            // As many of its own come first.
            let index = clients[number].devices.len() + place;
            let owner = clients.iter().position(|of| of.devices.iter().any(|of| of.number == found));
            if owner == Some(number) {
                return Err(policy.refuse(
                    name,
                    format!(
                        "'{}' is the client's own and its faults come here anyway; remove it",
                        name.get_ref()
                    ),
                ));
            }
            let device = clients.iter_mut().flat_map(|of| &mut of.devices).find(|of| of.number == found);
            if device.is_some_and(|of| of.receiver.replace((number as u8, index as u8)).is_some()) {
                return Err(policy.refuse(
                    name,
                    format!("the faults of '{}' have a receiver already; leave one", name.get_ref()),
                ));
            }
        }
    }
    Ok(())
}
