//! What the boxes say.

use super::{
    model::{Device, Entry, Home, Model, Role},
    scene::{Label, Look, Point, Rect, Shape, Style},
    text,
};
use crate::policy::{OutlineDevice, OutlineGrant};

/// Pixels between a box's edge and its text.
const PAD: i32 = 9;

/// A box without a place.
#[derive(Debug, Clone)]
pub struct Card {
    look: Look,
    name: String,
    details: Vec<(Style, String)>,
    title: String,
}

impl Card {
    fn new(look: Look, name: &str) -> Self {
        Self { look, name: text::clean(name), details: vec![], title: text::clean(name) }
    }

    fn detail(mut self, text: impl Into<String>) -> Self {
        self.details.push((Style::Detail, text.into()));
        self
    }

    fn warn(mut self, text: impl Into<String>) -> Self {
        self.details.push((Style::Warning, text.into()));
        self
    }

    fn title(mut self, text: &str) -> Self {
        self.title += &format!(": {}", text::clean(text));
        self
    }

    /// The width that shows all of it.
    pub fn width(&self) -> i32 {
        let details = self.details.iter().map(|(style, text)| style.width(text));
        details.chain([Style::Name.width(&self.name)]).max().unwrap_or_default() + 2 * PAD
    }

    /// Its height.
    pub fn height(&self) -> i32 {
        let lines: i32 = self.details.iter().map(|(style, _)| style.height()).sum();
        2 * PAD + Style::Name.height() + lines
    }

    /// The box in `rect`, its text as high up as it goes.
    pub fn at(&self, rect: Rect) -> Shape {
        let lines = [(Style::Name, &self.name)].into_iter();
        let lines = lines.chain(self.details.iter().map(|(style, text)| (*style, text)));
        let mut at: Point = (rect.x + PAD, rect.y + PAD);
        let labels = lines.map(|(style, text)| {
            let label = Label::new(at, text, style, rect.w - 2 * PAD);
            at.1 += style.height();
            label
        });
        let labels = labels.filter(|label| !label.text.is_empty()).collect();
        Shape { rect, look: self.look, title: self.title.clone(), labels }
    }
}

/// What the picture calls rights.
pub fn rights(grant: OutlineGrant) -> &'static str {
    match (grant.read, grant.write) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "-",
    }
}

impl Model<'_> {
    /// The box of the protection domain `pd`.
    pub fn pd_card(&self, pd: usize) -> Card {
        let of = &self.system.pds[pd];
        let parent =
            self.system.pds.iter().any(|child| child.parent.as_ref().is_some_and(|parent| parent.pd == pd));
        let server = self.outline.is_some_and(|outline| outline.server == pd);
        let look = if parent {
            Look::Parent
        } else if server {
            Look::Server
        } else {
            Look::Pd
        };
        let mut card = Card::new(look, &of.name);
        if let Some(role) = self.role(pd) {
            card = card.detail(role);
        }
        let passive = if of.passive { ", passive" } else { "" };
        card.detail(format!("priority {}{passive}", of.priority)).title(&of.program)
    }

    /// The box of a row's device.
    pub fn device_card(&self, device: &Device) -> Card {
        let of = &self.devices()[device.number];
        let look = if device.after_claim { Look::LaterDevice } else { Look::Device };
        let card = of.card(look);
        let card = if device.after_claim { card.detail("after CLAIM") } else { card };
        card.title(&self.device_title(of))
    }

    /// The box of a device that no client has.
    pub fn unowned_device_card(&self, number: usize) -> Card {
        let of = &self.devices()[number];
        of.card(Look::UnownedDevice).warn("given to nobody").title(&self.device_title(of))
    }

    /// The box of the unit's entry for device `number`, which is `device` in its row, if it has one.
    pub fn stream_card(&self, number: usize, device: Option<&Device>) -> Card {
        let of = &self.devices()[number];
        let unit = self.outline.map_or("", |outline| &outline.units[of.unit].name);
        let look = match device {
            Some(Device { after_claim: true, .. }) => Look::LaterStream,
            Some(_) => Look::Stream,
            None => Look::UnownedStream,
        };
        let stream = of.stream.map_or("no stream".into(), |stream| format!("stream {stream:#x}"));
        let card = Card::new(look, unit).detail(&stream).title(&format!("{stream} of {}", of.name));
        if device.is_some() { card } else { card.warn("aborts") }
    }

    /// The box of unit `number`.
    pub fn unit_card(&self, number: usize) -> Option<Card> {
        let unit = &self.outline?.units[number];
        let registers = &self.system.regions[unit.registers];
        let at = registers.paddr.map_or("anywhere".into(), |paddr| format!("at {paddr:#x}"));
        let title = format!("{}, registers {} {at}", unit.kind, registers.name);
        Some(Card::new(Look::Unit, &unit.name).detail(&*unit.kind).detail(at).title(&title))
    }

    /// The box of the server's tables.
    pub fn tables_card(&self) -> Option<Card> {
        let region = &self.system.regions[self.outline?.tables?];
        let card = Card::new(Look::Tables, &region.name);
        let title = "page tables and queues; no device reaches them";
        Some(card.detail("tables of the units").detail(text::bytes(region.bytes)).title(title))
    }

    /// The box of a region, or of a reference to it.
    pub fn entry_card(&self, entry: &Entry, client: Option<usize>) -> Card {
        let region = &self.system.regions[entry.region];
        let shared = self.is_shared(entry.region);
        let size = match region.paddr {
            Some(paddr) => format!("{} at {paddr:#x}", text::bytes(region.bytes)),
            None => text::bytes(region.bytes),
        };
        if !entry.home {
            let look = if shared { Look::SharedReference } else { Look::Reference };
            let card = Card::new(look, &region.name);
            return match self.homes.get(&entry.region) {
                Some(Home::Client(home)) => card.detail(format!("see {}", self.client_name(*home))),
                _ => card.detail("see the server's"),
            };
        }
        match entry.role {
            Role::FaultRing => {
                let card = Card::new(Look::FaultRing, &region.name).detail(format!("fault ring, {size}"));
                let names: Vec<&str> = self.foreign_faults(client).collect();
                let title = "the server writes what was stopped, the client reads it; no device reaches it";
                let card = card.title(title);
                if names.is_empty() {
                    card
                } else {
                    card.detail(format!("faults of {}, too", names.join(", ")))
                }
            }
            Role::Granted(_) => {
                let look = if shared { Look::SharedRegion } else { Look::Region };
                let mut card = Card::new(look, &region.name).detail(&size);
                if let Some(clients) = self.reached_by.get(&entry.region).filter(|_| shared) {
                    card = card.warn(format!("devices of {} clients", clients.len()));
                }
                let others: Vec<&str> = self.other_mappers(entry.region).collect();
                if !others.is_empty() {
                    card = card.detail(format!("mapped by {}, too", others.join(", ")));
                }
                let mappers = self.system.maps_of(entry.region).map(|(pd, _)| &*pd.name);
                card.title(&format!("{size}, mapped by {}", mappers.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// The box of a client without devices.
    pub fn no_device_card(&self) -> Card {
        Card::new(Look::Nobody, "no device").detail("nothing is reached")
    }

    /// The box of what owns the devices that no client has.
    pub fn nobody_card(&self) -> Card {
        Card::new(Look::Nobody, "no client").warn("nobody may attach these")
    }

    /// The name of client `number`.
    pub fn client_name(&self, number: usize) -> &str {
        self.outline.map_or("", |outline| &self.system.pds[outline.clients[number].pd].name)
    }

    fn devices(&self) -> &[OutlineDevice] {
        self.outline.map_or(&[], |outline| &outline.devices)
    }

    fn device_title(&self, of: &OutlineDevice) -> String {
        let bars =
            of.bars.iter().map(|(bar, region)| format!(", BAR {bar} {}", self.system.regions[*region].name));
        format!("PCI {}{}", of.pci, bars.collect::<String>())
    }

    /// The devices of others whose faults `client` receives.
    fn foreign_faults(&self, client: Option<usize>) -> impl Iterator<Item = &str> {
        let client = client.and_then(|client| self.outline.map(|outline| &outline.clients[client]));
        let devices = client.into_iter().flat_map(|client| &client.fault_devices);
        devices.map(|&device| &*self.devices()[device].name)
    }

    /// The protection domains that map `region` and whose devices do not reach it.
    fn other_mappers(&self, region: usize) -> impl Iterator<Item = &str> {
        let granted = move |name: &str| {
            self.outline.is_some_and(|outline| {
                let mut clients =
                    outline.clients.iter().filter(|client| self.system.pds[client.pd].name == name);
                clients.any(|client| client.grants.iter().any(|grant| grant.region == region))
            })
        };
        self.system.maps_of(region).map(|(pd, _)| &*pd.name).filter(move |name| !granted(name))
    }
}

impl OutlineDevice {
    fn card(&self, look: Look) -> Card {
        let group =
            self.group.as_ref().map_or(String::new(), |group| format!(", group {}", text::clean(group)));
        Card::new(look, &self.name).detail(format!("PCI {}{group}", text::clean(&self.pci)))
    }
}
