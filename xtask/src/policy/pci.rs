//! The rules of the PCI host and of devices.

use std::collections::HashMap;

use iommu_server::policy::MAX_DEVICES;
use pci_host::policy::{MAX_BARS, MAX_FUNCTIONS};
use toml::Spanned;

use super::check::{Context, alone, blob_region, find_region};
use super::{CheckedDevice, Client, Device, PCI_BLOB, Policy, dmar, roles, supervisors};
use crate::{board::Board, refusal::Refusal, sdf::System};

/// The symbols that tell the PCI host where configuration space is.
const ECAM_SYMBOLS: [&str; 2] = ["ecam", "ecam_bytes"];

/// Bytes of configuration space per bus (PCI Express Base Specification, section 7.2.2).
const ECAM_BUS_BYTES: u64 = 0x10_0000;

/// BARs of a function.
const BARS: u32 = 6;

/// Checks the PCI host `pd`; returns the region of configuration space and that of its blob.
pub(super) fn host(
    policy: &Policy,
    system: &System,
    board: &Board,
    name: &Spanned<String>,
    pd: usize,
) -> Result<(usize, usize), Refusal> {
    let of = &system.pds[pd];
    let [vaddr, bytes] = ECAM_SYMBOLS.map(|symbol| of.setvar(symbol));
    let region = bytes.and_then(|setvar| setvar.region());
    let map = region.and_then(|region| of.map_of(region)).filter(|map| map.perms.write && !map.cached);
    let right = |region: usize| system.regions[region].paddr == Some(board.pci.ecam);
    let (Some(region), Some(_)) = (
        region.filter(|&region| right(region)),
        map.filter(|map| Some(map.vaddr) == vaddr.and_then(|setvar| setvar.number())),
    ) else {
        return Err(policy.refuse(
            name,
            format!(
                "'{}' must map configuration space (phys_addr {:#x}) with perms=\"rw\", cached=\"false\", \
                 setvar_vaddr=\"ecam\" and setvar_size=\"ecam_bytes\"",
                of.name, board.pci.ecam
            ),
        ));
    };
    alone(policy, system, name, region, &[pd])?;
    Ok((region, blob_region(policy, system, name, pd, PCI_BLOB)?))
}

/// Checks all devices, in the order of the file.
pub(super) fn devices(context: &Context<'_>) -> Result<Vec<CheckedDevice>, Refusal> {
    let policy = context.policy;
    let devices = &policy.source.device;
    let mut names: HashMap<&str, ()> = HashMap::new();
    let mut streams: HashMap<(u8, u32), &str> = HashMap::new();
    let mut placed: HashMap<usize, &str> = HashMap::new();
    let mut checked = vec![];
    for spanned in devices {
        let device = spanned.get_ref();
        let name = device.name.get_ref();
        if names.insert(name, ()).is_some() {
            return Err(
                policy.refuse(&device.name, format!("the device name '{name}' is taken; choose another"))
            );
        }
        let found = self::device(context, device, checked.len())?;
        if let Some(other) = streams.insert((found.unit, found.stream), name) {
            return Err(policy.refuse(
                &device.pci,
                format!("'{other}' has stream id {:#x} already; a stream has one device", found.stream),
            ));
        }
        for (bar, region) in &found.bars {
            if let Some(other) = placed.insert(*region, name) {
                return Err(policy.refuse(
                    &device.bars[&bar.to_string()],
                    format!("a BAR of '{other}' is placed at this region already; give each its own"),
                ));
            }
        }
        checked.push(found);
    }
    if let Some(device) = devices.get(MAX_FUNCTIONS.min(MAX_DEVICES)) {
        return Err(policy.refuse(device, "more devices than the PCI host holds; remove some"));
    }
    if placed.len() > MAX_BARS {
        return Err(policy.refuse(&policy.source.server, format!("more than {MAX_BARS} BARs; remove some")));
    }
    dmar::total(policy, &checked)?;
    Ok(checked)
}

fn device(context: &Context<'_>, device: &Device, number: usize) -> Result<CheckedDevice, Refusal> {
    let policy = context.policy;
    let unit = policy.unit_number(&device.unit)?;
    let Some((_, ecam)) = context.pci_host else {
        return Err(policy.refuse(&device.pci, "the policy names no 'pci_host', which a PCI device needs"));
    };
    let Some(requester) = requester(device.pci.get_ref()) else {
        return Err(policy.refuse(
            &device.pci,
            format!("'{}' is not BUS:DEVICE.FUNCTION in hexadecimal, such as 00:02.0", device.pci.get_ref()),
        ));
    };
    let buses = context.system.regions[ecam].bytes / ECAM_BUS_BYTES;
    if u64::from(requester >> 8) >= buses {
        return Err(policy.refuse(
            &device.pci,
            format!(
                "bus {:#04x}: '{}' has configuration space of {buses} bus(es) only; make it larger",
                requester >> 8,
                context.system.regions[ecam].name
            ),
        ));
    }
    let mut bars = vec![];
    for (number, name) in &device.bars {
        let Some(bar) = number.parse().ok().filter(|bar: &u32| *bar < BARS && bar.to_string() == *number)
        else {
            return Err(policy.refuse(name, format!("BAR '{number}'; BARs are 0 to {}", BARS - 1)));
        };
        bars.push((bar, self::bar(context, name)?));
    }
    let (reserved, max_faults_per_second) = roles::limits(context, device)?;
    let reserved = dmar::device(context, device, unit, requester, reserved)?;
    Ok(CheckedDevice {
        unit: unit as u8,
        requester,
        stream: requester.into(),
        bars,
        number,
        reserved,
        max_faults_per_second,
        receiver: None,
    })
}

/// The requester id that `text`, BUS:DEVICE.FUNCTION in hexadecimal, names.
pub(crate) fn requester(text: &str) -> Option<u16> {
    let field = |text: &str, digits: usize, most: u16| {
        let hexadecimal = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = hexadecimal.then(|| u16::from_str_radix(text, 16).ok())??;
        (value <= most).then_some(value)
    };
    let (bus, rest) = text.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    Some(field(bus, 2, 0xff)? << 8 | field(device, 2, 0x1f)? << 3 | field(function, 1, 7)?)
}

fn bar(context: &Context<'_>, name: &Spanned<String>) -> Result<usize, Refusal> {
    let region = find_region(context.policy, context.system, name, None)?;
    let of = &context.system.regions[region];
    let window = context.board.pci.window;
    if of.fixed().is_none_or(|range| !window.holds(range)) {
        return Err(context.policy.refuse(
            name,
            format!(
                "'{}' must have a phys_addr in this board's PCI window, {:#x} to {:#x}",
                of.name, window.first, window.last
            ),
        ));
    }
    if !of.bytes.is_power_of_two() || of.paddr.is_some_and(|paddr| !paddr.is_multiple_of(of.bytes)) {
        return Err(context.policy.refuse(
            name,
            format!(
                "'{}' must have a power of two as size and a multiple of it as phys_addr, as BARs have",
                of.name
            ),
        ));
    }
    Ok(region)
}

/// Checks and takes the devices of `client`, which is number `index` and the protection domain `pd`.
pub(super) fn devices_of(
    context: &Context<'_>,
    client: &Client,
    pd: usize,
    devices: &[CheckedDevice],
    taken: &mut [Option<usize>],
    index: usize,
) -> Result<Vec<CheckedDevice>, Refusal> {
    let policy = context.policy;
    let mut own = vec![];
    for name in &client.devices {
        let found = policy.device_number(name)?;
        let stream = devices[found].stream;
        match taken[found].replace(index) {
            Some(owner) if owner == index => {
                return Err(policy.refuse(name, format!("'{}' is listed twice; leave one", name.get_ref())));
            }
            Some(_) => {
                return Err(policy.refuse(
                    name,
                    format!(
                        "another client has '{}' (stream id {stream:#x}); a stream has one owner",
                        name.get_ref()
                    ),
                ));
            }
            None => {}
        }
        for (_, region) in &devices[found].bars {
            alone(policy, context.system, name, *region, &supervisors::with_successor(context, pd))?;
        }
        own.push(devices[found].clone());
    }
    Ok(own)
}
