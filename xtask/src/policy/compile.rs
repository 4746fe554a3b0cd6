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
    // The checks hold to all that the readers of the blobs ask for, and the largest blobs fit into a page.
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
    assert!(blob.len() as u64 <= region.bytes, "the compiled policy is larger than a page");
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
            reserved: [0; 2],
        })
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
            reserved: [0; 7],
        })
        .collect();
    let units = vec![server::UnitEntry { kind: server::KIND_ARM_SMMU_V3, reserved: 0 }; checked.units];
    let header = server::Header {
        magic: server::MAGIC,
        units: units.len() as u8,
        clients: clients.len() as u8,
        devices: devices.len() as u8,
        grants: grants.len() as u8,
        pci_host_channel: checked.pci_host.as_ref().map_or(server::NO_CHANNEL, |host| host.channel),
        reserved: [0; 3],
    };
    [header.as_bytes(), units.as_bytes(), clients.as_bytes(), devices.as_bytes(), grants.as_bytes()].concat()
}

fn pci_blob(checked: &Checked, system: &System) -> Vec<u8> {
    let mut functions = vec![];
    let mut bars = vec![];
    for client in &checked.clients {
        // A client with devices has a channel to the PCI host.
        let Some(channel) = client.pci_channel else { continue };
        for device in &client.devices {
            let function = functions.len() as u32;
            functions.push(pci::FunctionEntry {
                requester: device.requester,
                channel,
                reserved: 0,
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
