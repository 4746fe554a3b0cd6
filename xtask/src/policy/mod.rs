//! policy.toml: who may attach which device and map which region, checked against the system description and
//! compiled into the blobs that the IOMMU server and the PCI host obey.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    dmar::Function,
    refusal::{Place, Refusal},
    restart::Supervisor as Supervised,
};

mod calls;
mod check;
mod children;
mod compile;
mod dmar;
mod grants;
mod interrupts;
mod names;
mod outline;
mod pci;
mod roles;
mod supervisors;
mod units;

pub use check::check;
pub use compile::compile;
pub use interrupts::FaultMessage;
pub use outline::{Outline, OutlineClient, OutlineDevice, OutlineGrant, OutlineUnit};
pub(crate) use pci::requester;
pub use units::UnitKind;

/// The prefill file that the builder generates for the server.
pub const SERVER_BLOB: &str = "iommu_policy.bin";

/// The prefill file that the builder generates for the PCI host.
pub const PCI_BLOB: &str = "pci_policy.bin";

/// policy.toml, with the place of each value.
#[derive(Debug)]
pub struct Policy {
    file: Arc<str>,
    text: String,
    source: Source,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    server: Spanned<String>,
    pci_host: Option<Spanned<String>>,
    #[serde(default)]
    unit: Vec<Spanned<Unit>>,
    #[serde(default)]
    device: Vec<Spanned<Device>>,
    #[serde(default)]
    client: Vec<Spanned<Client>>,
    #[serde(default)]
    supervisor: Vec<Spanned<Supervisor>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Supervisor {
    pd: Spanned<String>,
    clients: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    name: Spanned<String>,
    kind: Spanned<String>,
    registers: Spanned<String>,
    size: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    name: Spanned<String>,
    unit: Spanned<String>,
    pci: Spanned<String>,
    #[serde(default)]
    bars: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    reserved: Vec<Spanned<(u64, u64)>>,
    max_faults_per_second: Option<Spanned<u32>>,
    group: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    pd: Spanned<String>,
    fault_ring: Option<Spanned<String>>,
    areas: Spanned<u32>,
    frames: Spanned<u32>,
    #[serde(default)]
    devices: Vec<Spanned<String>>,
    #[serde(default)]
    fault_devices: Vec<Spanned<String>>,
    successor_of: Option<Spanned<String>>,
    #[serde(default)]
    statistics: bool,
    #[serde(default)]
    regions: Vec<Spanned<Grant>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    region: Spanned<String>,
    rights: Spanned<String>,
    size: Option<Spanned<u64>>,
}

/// A checked policy: names are indices into the system description, numbers are the blobs'.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The server's protection domain.
    pub server: usize,
    /// The region that its blob fills.
    pub server_blob: usize,
    /// The PCI host.
    pub pci_host: Option<PciHost>,
    /// The units' kinds, and the messages by which they tell of faults.
    pub units: Vec<(UnitKind, Option<FaultMessage>)>,
    /// The line that the server's timer is to raise, if there is a choice.
    pub timer_line: Option<u32>,
    /// The clients.
    pub clients: Vec<CheckedClient>,
    /// The supervisors: the server's end of each one's channel, and the numbers of its clients.
    pub supervisors: Vec<(u8, Vec<u8>)>,
}

/// The PCI host of a checked policy.
#[derive(Debug, Clone)]
pub struct PciHost {
    /// Its protection domain.
    pub pd: usize,
    /// The region that its blob fills.
    pub blob: usize,
    /// The server's end of its channel.
    pub channel: u8,
}

/// A client of a checked policy.
#[derive(Debug, Clone)]
pub struct CheckedClient {
    /// Its protection domain.
    pub pd: usize,
    /// The server's end of its channel.
    pub channel: u8,
    /// The PCI host's end of its channel to that.
    pub pci_channel: Option<u8>,
    /// Where the server maps its fault ring; 0: none.
    pub fault_ring_vaddr: u64,
    /// Most mappings.
    pub areas: u32,
    /// Most table frames.
    pub frames: u32,
    /// Its devices; of a successor none, as its predecessor has them.
    pub devices: Vec<CheckedDevice>,
    /// Its grants.
    pub grants: Vec<CheckedGrant>,
    /// The number of the client that it succeeds.
    pub predecessor: Option<u8>,
    /// Its requests are counted and timed.
    pub statistics: bool,
}

/// A device of a checked policy.
#[derive(Debug, Clone)]
pub struct CheckedDevice {
    /// Its unit's index.
    pub unit: u8,
    /// Its requester id on PCI.
    pub requester: u16,
    /// Its stream id at the unit.
    pub stream: u32,
    /// BAR numbers and the regions that they are placed at.
    pub bars: Vec<(u32, usize)>,
    /// Its number in the policy.
    pub number: usize,
    /// Ranges of addresses that its space must not map: first and last.
    pub reserved: Vec<(u64, u64)>,
    /// More faults in a second stop it.
    pub max_faults_per_second: u32,
    /// The number of the client that receives its faults in the owner's stead, and the index by which that one
    /// knows it.
    pub receiver: Option<(u8, u8)>,
}

/// A grant of a checked policy.
#[derive(Debug, Clone, Copy)]
pub struct CheckedGrant {
    /// The region.
    pub region: usize,
    /// The number NN of the server's symbol `region_paddr_NN`.
    pub number: u8,
    /// The rights, as the blob has them.
    pub rights: u8,
}

impl Policy {
    /// Parses `text`, the content of `file`.
    ///
    /// # Errors
    /// It is not TOML, or has unknown, missing or mistyped keys.
    pub fn parse(file: &str, text: &str) -> Result<Self, Refusal> {
        let file: Arc<str> = file.into();
        match toml::from_str(text) {
            Ok(source) => Ok(Self { file, text: text.to_string(), source }),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                Err(Place::of_offset(&file, text, start).refuse(error.message().replace('\n', "; ")))
            }
        }
    }

    /// The names of the clients' protection domains.
    pub fn client_pds(&self) -> Vec<String> {
        self.source.client.iter().map(|client| client.get_ref().pd.get_ref().clone()).collect()
    }

    /// The devices: names and where they are on PCI. Those whose place is no place are left out.
    pub fn pci_functions(&self) -> Vec<(String, Function)> {
        let devices = self.source.device.iter().map(Spanned::get_ref);
        devices
            .filter_map(|device| {
                let requester = pci::requester(device.pci.get_ref())?;
                Some((device.name.get_ref().clone(), Function::of_requester(requester)))
            })
            .collect()
    }

    /// The supervisors.
    pub fn supervisors(&self) -> Vec<Supervised> {
        let name = |name: &Spanned<String>| name.get_ref().clone();
        let supervisors = self.source.supervisor.iter().map(Spanned::get_ref);
        supervisors
            .map(|of| Supervised {
                pd: name(&of.pd),
                clients: of.clients.get_ref().iter().map(name).collect(),
            })
            .collect()
    }

    /// Where `value` stands.
    fn place<T>(&self, value: &Spanned<T>) -> Place {
        Place::of_offset(&self.file, &self.text, value.span().start)
    }

    /// Refuses `value`.
    fn refuse<T>(&self, value: &Spanned<T>, rule: impl Into<String>) -> Refusal {
        self.place(value).refuse(rule)
    }
}
