//! What the picture shows: the system and the policy as rows, from who asks to what the devices reach.

use std::collections::HashMap;

use crate::{
    policy::{Outline, OutlineGrant},
    sdf::System,
};

/// The picture's content. Protection domains and regions are indices into the system, clients and devices numbers of
/// the policy.
pub struct Model<'a> {
    /// The system.
    pub system: &'a System,
    /// The policy, for a system with an IOMMU server.
    pub outline: Option<&'a Outline>,
    /// The protection domains that answer, each before its children: the server's tree first.
    pub answering: Vec<usize>,
    /// The others, with what their devices reach, each before its children.
    pub asking: Vec<Row>,
    /// The devices that no client has.
    pub unowned: Vec<usize>,
    /// Where a region is shown; other entries only refer to it.
    pub homes: HashMap<usize, Home>,
    /// The numbers of the clients whose devices reach each region that is granted.
    pub reached_by: HashMap<usize, Vec<usize>>,
}

/// A protection domain that asks.
pub struct Row {
    /// The protection domain.
    pub pd: usize,
    /// Its number among the clients.
    pub client: Option<usize>,
    /// Its devices.
    pub devices: Vec<Device>,
    /// What is shown in the column of memory.
    pub memory: Vec<Entry>,
}

/// A device of a row.
pub struct Device {
    /// Its number.
    pub number: usize,
    /// It comes here only when the successor claims it.
    pub after_claim: bool,
}

/// A region in the column of memory.
pub struct Entry {
    /// The region.
    pub region: usize,
    /// What it is to the row's client.
    pub role: Role,
    /// Whether the region is shown here; else this refers to where it is.
    pub home: bool,
}

/// What a region is to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its devices reach it.
    Granted(OutlineGrant),
    /// The server writes its faults there.
    FaultRing,
}

/// Where a region is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// Beside the units.
    Server,
    /// In the row of this client.
    Client(usize),
}

impl<'a> Model<'a> {
    /// The model of `system` with the policy `outline`.
    pub fn new(system: &'a System, outline: Option<&'a Outline>) -> Self {
        let trees = trees(system);
        let (mut answering, mut asking): (Vec<_>, Vec<_>) =
            trees.into_iter().partition(|tree| answers(system, outline, tree));
        answering.sort_by_key(|tree| outline.is_none_or(|outline| !tree.contains(&outline.server)));
        let mut model = Self {
            system,
            outline,
            answering: answering.concat(),
            asking: vec![],
            unowned: vec![],
            homes: HashMap::new(),
            reached_by: HashMap::new(),
        };
        if let Some(outline) = outline {
            let owned = |device: &usize| outline.clients.iter().any(|client| client.devices.contains(device));
            model.unowned = (0..outline.devices.len()).filter(|device| !owned(device)).collect();
            model.homes.extend(outline.tables.map(|tables| (tables, Home::Server)));
            model.reached_by = reached_by(outline);
        }
        for pd in std::mem::take(&mut asking).concat() {
            let row = model.row(pd);
            model.asking.push(row);
        }
        model
    }

    fn row(&mut self, pd: usize) -> Row {
        let mut row = Row { pd, client: None, devices: vec![], memory: vec![] };
        let Some(outline) = self.outline else { return row };
        // A policy that is refused may have a protection domain twice.
        for (number, client) in outline.clients.iter().enumerate().filter(|(_, client)| client.pd == pd) {
            row.client.get_or_insert(number);
            let after_claim = client.predecessor.is_some();
            row.devices.extend(client.devices.iter().map(|&number| Device { number, after_claim }));
            let granted = client.grants.iter().map(|&grant| (grant.region, Role::Granted(grant)));
            for (region, role) in granted.chain(client.fault_ring.map(|ring| (ring, Role::FaultRing))) {
                let home = !self.homes.contains_key(&region);
                self.homes.entry(region).or_insert(Home::Client(number));
                row.memory.push(Entry { region, role, home });
            }
        }
        row
    }

    /// The number of the client that is the protection domain `pd`.
    pub fn client_of(&self, pd: usize) -> Option<usize> {
        self.outline?.clients.iter().position(|client| client.pd == pd)
    }

    /// What `pd` is to the policy.
    pub fn role(&self, pd: usize) -> Option<String> {
        let outline = self.outline?;
        if pd == outline.server {
            return Some("IOMMU server".into());
        }
        if outline.pci_host == Some(pd) {
            return Some("PCI host".into());
        }
        let supervised =
            outline.supervisors.iter().filter(|(of, _)| *of == pd).flat_map(|(_, clients)| clients);
        match supervised.count() {
            0 => {}
            1 => return Some("supervisor of 1 client".into()),
            clients => return Some(format!("supervisor of {clients} clients")),
        }
        let predecessor = outline.clients[self.client_of(pd)?].predecessor?;
        Some(format!("succeeds {}", self.system.pds[outline.clients[predecessor].pd].name))
    }

    /// Whether devices of several clients reach `region`.
    pub fn is_shared(&self, region: usize) -> bool {
        self.reached_by.get(&region).is_some_and(|clients| clients.len() > 1)
    }

    /// How many regions of the system are not shown.
    pub fn hidden(&self) -> usize {
        let named = |region: usize| {
            self.homes.contains_key(&region)
                || self.outline.is_some_and(|outline| {
                    outline.units.iter().any(|unit| unit.registers == region)
                        || outline.devices.iter().any(|device| device.bars.iter().any(|bar| bar.1 == region))
                })
        };
        (0..self.system.regions.len()).filter(|&region| !named(region)).count()
    }
}

/// The protection domains that have no parent, each with all that is below it.
fn trees(system: &System) -> Vec<Vec<usize>> {
    let root = |pd: usize| system.ancestors(pd).last().unwrap_or(pd);
    let mut trees: Vec<Vec<usize>> = vec![];
    let mut places: HashMap<usize, usize> = HashMap::new();
    for pd in 0..system.pds.len() {
        let place = *places.entry(root(pd)).or_insert(trees.len());
        match trees.get_mut(place) {
            Some(tree) => tree.push(pd),
            None => trees.push(vec![pd]),
        }
    }
    trees
}

/// Whether `tree` answers: it has no client, and has the server or the PCI host, or somebody calls it or only ever
/// signals it.
fn answers(system: &System, outline: Option<&Outline>, tree: &[usize]) -> bool {
    let has = |pd: usize| tree.contains(&pd);
    let named = |outline: &Outline| has(outline.server) || outline.pci_host.is_some_and(has);
    let client = |outline: &Outline| outline.clients.iter().any(|client| has(client.pd));
    // What a client's devices reach needs a row.
    if outline.is_some_and(client) {
        return false;
    }
    if outline.is_some_and(named) {
        return true;
    }
    let ends = || system.channels.iter().flat_map(|channel| [0, 1].map(|own| (channel, own)));
    let mut from_outside =
        ends().filter(|(channel, own)| has(channel.ends[*own].pd) && !has(channel.ends[1 - own].pd));
    let called = ends().any(|(channel, own)| has(channel.ends[own].pd) && channel.ends[1 - own].pp);
    let hears = from_outside.clone().any(|(channel, own)| channel.ends[1 - own].notify);
    let silent = from_outside.all(|(channel, own)| !channel.ends[own].pp && !channel.ends[own].notify);
    called || (hears && silent)
}

/// The clients whose devices reach each region; a successor has its predecessor's.
fn reached_by(outline: &Outline) -> HashMap<usize, Vec<usize>> {
    let mut reached: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, client) in outline.clients.iter().enumerate() {
        if client.devices.is_empty() || client.predecessor.is_some() {
            continue;
        }
        for grant in &client.grants {
            let clients = reached.entry(grant.region).or_default();
            if !clients.contains(&number) {
                clients.push(number);
            }
        }
    }
    reached
}
