//! The blobs: what the server and the PCI host read of a checked policy.

use iommu_server::policy as server;
use pci_host::policy as pci;
use zerocopy::IntoBytes;

use super::Checked;
use crate::sdf::System;

/// Compiles the blobs into the regions that they fill, zero up to the regions' ends: Microkit's tool cannot fill
/// a region that has whole pages more than its file.
pub fn compile(checked: &Checked, system: &mut System) {
    let blob = server_blob(checked, system);
    // The checks hold to all that the readers of the blobs ask for.
    assert_eq!(blob.len(), server_bytes(checked));
    assert!(server::Policy::parse(aligned(&blob).as_bytes()).is_ok(), "the server would refuse its policy");
    fill(system, checked.server_blob, blob);
    if let Some(host) = &checked.pci_host {
        let blob = pci_blob(checked, system);
        assert!(
            pci::PciPolicy::parse(aligned(&blob).as_bytes()).is_ok(),
            "the PCI host would refuse its policy"
        );
        fill(system, host.blob, blob);
    }
}

/// The words of `blob`, which has nothing else: readers want it aligned to them.
fn aligned(blob: &[u8]) -> Vec<u64> {
    blob.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

fn fill(system: &mut System, region: usize, mut blob: Vec<u8>) {
    let region = &mut system.regions[region];
    assert!(blob.len() as u64 <= region.bytes, "the compiled policy is larger than its region");
    blob.resize(region.bytes as usize, 0);
    if let Some(prefill) = &mut region.prefill {
        prefill.bytes = Some(blob);
    }
}

fn server_blob(checked: &Checked, system: &System) -> Vec<u8> {
    let devices: Vec<_> = checked
        .clients
        .iter()
        .enumerate()
        .flat_map(|(client, of)| of.devices.iter().map(move |device| (client as u8, device)))
        .map(|(client, device)| server::DeviceEntry {
            stream: device.stream,
            client,
            unit: device.unit,
            fault_client: device.receiver.map_or(server::NO_CLIENT, |(client, _)| client),
            fault_index: device.receiver.map_or(0, |(_, index)| index),
            max_faults_per_second: device.max_faults_per_second,
            reserved: [0; 4],
        })
        .collect();
    let reserved: Vec<_> = checked
        .clients
        .iter()
        .flat_map(|of| &of.devices)
        .enumerate()
        .flat_map(|(device, of)| of.reserved.iter().map(move |range| (device as u8, *range)))
        .map(|(device, (first, last))| server::ReservedEntry { first, last, device, reserved: [0; 7] })
        .collect();
    let supervisors: Vec<_> = checked
        .supervisors
        .iter()
        .map(|&(channel, _)| server::SupervisorEntry { channel, reserved: [0; 7] })
        .collect();
    let wards: Vec<_> = checked
        .supervisors
        .iter()
        .enumerate()
        .flat_map(|(supervisor, (_, clients))| clients.iter().map(move |&client| (supervisor as u8, client)))
        .map(|(supervisor, client)| server::WardEntry { supervisor, client, reserved: [0; 6] })
        .collect();
    let grants: Vec<_> = checked
        .clients
        .iter()
        .enumerate()
        .flat_map(|(client, of)| of.grants.iter().map(move |grant| (client as u8, grant)))
        .map(|(client, grant)| server::GrantEntry {
            bytes: system.regions[grant.region].bytes,
            client,
            region: grant.number,
            rights: grant.rights,
            reserved: [0; 5],
        })
        .collect();
    let clients: Vec<_> = checked
        .clients
        .iter()
        .map(|client| server::ClientEntry {
            fault_ring_vaddr: client.fault_ring_vaddr,
            areas: client.areas,
            frames: client.frames,
            channel: client.channel,
            predecessor: client.predecessor.unwrap_or(server::NO_CLIENT),
            flags: if client.statistics { server::FLAG_STATISTICS } else { 0 },
            reserved: [0; 5],
        })
        .collect();
    let units: Vec<_> = checked
        .units
        .iter()
        .map(|(kind, message)| server::UnitEntry {
            kind: kind.number,
            fault_data: message.map_or(0, |message| message.data),
            fault_address: message.map_or(0, |message| message.address),
        })
        .collect();
    let header = server::Header {
        magic: server::MAGIC,
        units: units.len() as u8,
        clients: clients.len() as u8,
        devices: devices.len() as u8,
        grants: grants.len() as u8,
        pci_host_channel: checked.pci_host.as_ref().map_or(server::NO_CHANNEL, |host| host.channel),
        supervisors: supervisors.len() as u8,
        wards: wards.len() as u8,
        reserved_ranges: reserved.len() as u8,
        timer_line: checked.timer_line.unwrap_or(server::NO_LINE),
        reserved: 0,
    };
    [
        header.as_bytes(),
        units.as_bytes(),
        clients.as_bytes(),
        devices.as_bytes(),
        grants.as_bytes(),
        supervisors.as_bytes(),
        wards.as_bytes(),
        reserved.as_bytes(),
    ]
    .concat()
}

/// The bytes of the server's blob.
pub(super) fn server_bytes(checked: &Checked) -> usize {
    let of = |count: usize, bytes: usize| count * bytes;
    let devices = || checked.clients.iter().flat_map(|client| &client.devices);
    size_of::<server::Header>()
        + of(checked.units.len(), size_of::<server::UnitEntry>())
        + of(checked.clients.len(), size_of::<server::ClientEntry>())
        + of(devices().count(), size_of::<server::DeviceEntry>())
        + of(checked.clients.iter().map(|of| of.grants.len()).sum(), size_of::<server::GrantEntry>())
        + of(checked.supervisors.len(), size_of::<server::SupervisorEntry>())
        + of(checked.supervisors.iter().map(|(_, of)| of.len()).sum(), size_of::<server::WardEntry>())
        + of(devices().map(|of| of.reserved.len()).sum(), size_of::<server::ReservedEntry>())
}

fn pci_blob(checked: &Checked, system: &System) -> Vec<u8> {
    let mut functions = vec![];
    let mut bars = vec![];
    for (number, client) in checked.clients.iter().enumerate() {
        // A client with devices has a channel to the PCI host.
        let Some(channel) = client.pci_channel else { continue };
        let successor = checked.clients.iter().find(|of| of.predecessor.map(usize::from) == Some(number));
        let successor_channel = successor.and_then(|of| of.pci_channel).unwrap_or(pci::NO_CHANNEL);
        for device in &client.devices {
            let function = functions.len() as u32;
            functions.push(pci::FunctionEntry {
                requester: device.requester,
                channel,
                successor_channel,
                stream: device.stream,
            });
            bars.extend(device.bars.iter().filter_map(|&(bar, region)| {
                let region = &system.regions[region];
                Some(pci::BarEntry { paddr: region.paddr?, bytes: region.bytes, function, bar })
            }));
        }
    }
    let header =
        pci::Header { magic: pci::MAGIC, functions: functions.len() as u32, bars: bars.len() as u32 };
    [header.as_bytes(), functions.as_bytes(), bars.as_bytes()].concat()
}
