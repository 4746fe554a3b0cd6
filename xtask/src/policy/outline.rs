//! What a policy says, in indices into the system description, whether or not it keeps the rules: for those who show
//! it. What is obeyed is [`super::Checked`].

use iommu_server::policy::{RIGHT_READ, RIGHT_WRITE};
use toml::Spanned;

use super::{
    Policy,
    check::{TABLES_SYMBOLS, find_pd, find_region},
    grants, pci,
};
use crate::{refusal::Refusal, sdf::System};

/// A policy's content.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The server's protection domain.
    pub server: usize,
    /// The PCI host's.
    pub pci_host: Option<usize>,
    /// The region of the server's tables.
    pub tables: Option<usize>,
    /// The units.
    pub units: Vec<OutlineUnit>,
    /// The devices.
    pub devices: Vec<OutlineDevice>,
    /// The clients.
    pub clients: Vec<OutlineClient>,
    /// The supervisors' protection domains, and the numbers of their clients.
    pub supervisors: Vec<(usize, Vec<usize>)>,
}

/// A unit.
#[derive(Debug, Clone)]
pub struct OutlineUnit {
    /// Its name.
    pub name: String,
    /// Its kind, as the policy names it.
    pub kind: String,
    /// The region of its registers.
    pub registers: usize,
}

/// A device.
#[derive(Debug, Clone)]
pub struct OutlineDevice {
    /// Its name.
    pub name: String,
    /// The number of its unit.
    pub unit: usize,
    /// Where it is on PCI, as the policy says it.
    pub pci: String,
    /// Its stream id; `None` if `pci` is malformed.
    pub stream: Option<u32>,
    /// Its BARs: their numbers, as the policy says them, and regions.
    pub bars: Vec<(String, usize)>,
    /// The group that it is not isolated from.
    pub group: Option<String>,
}

/// A client.
#[derive(Debug, Clone)]
pub struct OutlineClient {
    /// Its protection domain.
    pub pd: usize,
    /// Its fault ring.
    pub fault_ring: Option<usize>,
    /// The numbers of its devices; a successor's are its predecessor's.
    pub devices: Vec<usize>,
    /// The numbers of the devices of others whose faults it receives.
    pub fault_devices: Vec<usize>,
    /// The number of the client that it succeeds.
    pub predecessor: Option<usize>,
    /// Its grants, by slot.
    pub grants: Vec<OutlineGrant>,
}

/// A grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlineGrant {
    /// The region.
    pub region: usize,
    /// Its devices may read it.
    pub read: bool,
    /// Its devices may write it.
    pub write: bool,
}

impl Policy {
    /// The policy's content, of the system `system`.
    ///
    /// # Errors
    /// A name that is not in `system` or not in the policy, or unknown rights.
    pub fn outline(&self, system: &System) -> Result<Outline, Refusal> {
        let source = &self.source;
        let server = find_pd(self, system, &source.server)?;
        let units = source.unit.iter().map(Spanned::get_ref).map(|unit| {
            Ok(OutlineUnit {
                name: unit.name.get_ref().clone(),
                kind: unit.kind.get_ref().clone(),
                registers: find_region(self, system, &unit.registers, None)?,
            })
        });
        let supervisors = source.supervisor.iter().map(Spanned::get_ref).map(|supervisor| {
            let clients = supervisor.clients.get_ref().iter().map(|name| self.client_number(name));
            Ok((find_pd(self, system, &supervisor.pd)?, clients.collect::<Result<_, Refusal>>()?))
        });
        let [.., tables] = TABLES_SYMBOLS;
        Ok(Outline {
            server,
            pci_host: source.pci_host.as_ref().map(|name| find_pd(self, system, name)).transpose()?,
            tables: system.pds[server].setvar(tables).and_then(|setvar| setvar.region()),
            units: units.collect::<Result<_, Refusal>>()?,
            devices: self.outline_devices(system)?,
            clients: self.outline_clients(system)?,
            supervisors: supervisors.collect::<Result<_, Refusal>>()?,
        })
    }

    fn outline_devices(&self, system: &System) -> Result<Vec<OutlineDevice>, Refusal> {
        let devices = self.source.device.iter().map(Spanned::get_ref).map(|device| {
            let bars = device
                .bars
                .iter()
                .map(|(number, region)| Ok((number.clone(), find_region(self, system, region, None)?)));
            Ok(OutlineDevice {
                name: device.name.get_ref().clone(),
                unit: self.unit_number(&device.unit)?,
                pci: device.pci.get_ref().clone(),
                stream: pci::requester(device.pci.get_ref()).map(u32::from),
                bars: bars.collect::<Result<_, Refusal>>()?,
                group: device.group.as_ref().map(|group| group.get_ref().clone()),
            })
        });
        devices.collect()
    }

    fn outline_clients(&self, system: &System) -> Result<Vec<OutlineClient>, Refusal> {
        let numbers = |names: &[Spanned<String>]| {
            names.iter().map(|name| self.device_number(name)).collect::<Result<Vec<_>, Refusal>>()
        };
        let clients = self.source.client.iter().map(Spanned::get_ref).map(|client| {
            let grants = client.regions.iter().map(Spanned::get_ref).map(|grant| {
                let rights = grants::rights(self, &grant.rights)?;
                Ok(OutlineGrant {
                    region: find_region(self, system, &grant.region, None)?,
                    read: rights & RIGHT_READ != 0,
                    write: rights & RIGHT_WRITE != 0,
                })
            });
            let ring = client.fault_ring.as_ref();
            let predecessor = client.successor_of.as_ref();
            Ok(OutlineClient {
                pd: find_pd(self, system, &client.pd)?,
                fault_ring: ring.map(|ring| find_region(self, system, ring, None)).transpose()?,
                devices: numbers(&client.devices)?,
                fault_devices: numbers(&client.fault_devices)?,
                predecessor: predecessor.map(|name| self.client_number(name)).transpose()?,
                grants: grants.collect::<Result<_, Refusal>>()?,
            })
        });
        clients.collect()
    }
}
