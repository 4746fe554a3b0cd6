//! Where everything is. Rows from top to bottom: the server's own, then each protection domain that asks with its
//! devices and what they reach. Columns from left to right: who answers, who asks, devices, units, memory; lines run
//! in the gaps between them.

use std::collections::HashMap;

use super::{
    bus::{self, Bus, Port, TRACK},
    cards::{self, Card},
    channels::{self, Kind},
    legend,
    model::{Model, Role, Row},
    scene::{Dot, Grant, Label, Line, Look, Point, Rect, Scene, Shape, Style, Wire},
    text,
};
use crate::policy::OutlineGrant;

/// Around the picture.
pub const MARGIN: i32 = 24;
/// Between boxes of a row.
const GAP: i32 = 8;
/// Between rows.
const ROW_GAP: i32 = 16;
/// Between ports of a box.
const PORT: i32 = 12;
/// From a port to the first vertical piece: room for an arrow.
const LEAD: i32 = 18;
/// What a child's box is narrower than its parent's, on the left and on the right.
const INDENT: (i32, i32) = (14, 8);
/// From the top of a server's box to the line to its units.
const CONTROL: i32 = 24;
/// From the server's column to the line's vertical piece.
const CONTROL_LEAD: i32 = 8;
/// Between the clients and their devices, and these and their streams.
const DEVICE_GAP: i32 = 38;
/// What the frame around the units' column is wider than it, on each side.
const FRAME: i32 = 9;
/// From a stream to its client's vertical piece.
const TRUNK: i32 = 24;
/// From there to the rights, their width, and on to the memory.
const RIGHTS: (i32, i32, i32) = (22, 26, 30);
/// The widest a column's boxes become, and the least.
const WIDEST: i32 = 250;
const NARROWEST: i32 = 112;
/// The least width of the picture: room for its title and legend.
const LEAST_WIDTH: i32 = 560;

/// What the picture says of itself.
#[derive(Debug, Clone)]
pub struct Caption {
    /// The files, and for which board.
    pub files: String,
    /// Why the image builder refuses them.
    pub refusal: Option<String>,
}

/// A column of boxes.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    x: i32,
    w: i32,
}

impl Column {
    fn right(self) -> i32 {
        self.x + self.w
    }
}

/// A protection domain with a place.
struct Placed {
    pd: usize,
    /// Its box: of a parent, its children's too.
    rect: Rect,
    /// The height of what is its own.
    own: i32,
}

struct Layout<'a> {
    model: &'a Model<'a>,
    scene: Scene,
    lines: Vec<channels::Line>,
    /// How many ports each protection domain has.
    ports: HashMap<usize, i32>,
    answering: Column,
    asking: Column,
    devices: Column,
    units: Column,
    memory: Column,
    /// Ports of regions that are shown more than once.
    same: HashMap<usize, Vec<Port>>,
}

/// Lays `model` out.
pub fn layout(model: &Model<'_>, caption: &Caption) -> Scene {
    let lines = channels::lines(channels::hops(model.system));
    let mut ports: HashMap<usize, i32> = HashMap::new();
    for line in &lines {
        for &pd in line.others.iter().chain([&line.hub.0]) {
            *ports.entry(pd).or_default() += 1;
        }
    }
    let mut layout = Layout {
        model,
        scene: Scene {
            title: format!("Who can do DMA where: {}", text::clean(&caption.files)),
            ..Scene::default()
        },
        lines,
        ports,
        answering: Column::default(),
        asking: Column::default(),
        devices: Column::default(),
        units: Column::default(),
        memory: Column::default(),
        same: HashMap::new(),
    };
    layout.columns();
    layout.scene.width = (layout.memory.right() + MARGIN).max(LEAST_WIDTH);
    let top = layout.head(caption);
    let bottom = layout.rows(top);
    layout.finish(bottom);
    layout.scene
}

impl Layout<'_> {
    /// The columns' places, as wide as what stands in them. The last one's right is where the picture ends.
    fn columns(&mut self) {
        let model = self.model;
        let depth = |pd: usize| model.system.ancestors(pd).count() as i32;
        let pd_width = |pd: usize| model.pd_card(pd).width() + depth(pd) * (INDENT.0 + INDENT.1);
        let clamp = |width: i32| width.clamp(NARROWEST, WIDEST);
        let widest = |pds: &mut dyn Iterator<Item = usize>| {
            // What is nested deeply is not cut for it.
            let deepest = pds.map(|pd| (pd_width(pd), depth(pd))).collect::<Vec<_>>();
            let indent = deepest.iter().map(|of| of.1).max().unwrap_or_default() * (INDENT.0 + INDENT.1);
            let width = deepest.iter().map(|of| of.0).max().unwrap_or_default();
            width.clamp(NARROWEST + indent, WIDEST + indent)
        };
        self.answering.x = MARGIN;
        if !model.answering.is_empty() {
            self.answering.w = widest(&mut model.answering.iter().copied());
        }
        let (_, tracks) = bus::tracks(&self.channel_buses(&HashMap::new()));
        self.asking.x = match self.lines.is_empty() && model.answering.is_empty() {
            true => MARGIN,
            false => self.answering.right() + 2 * LEAD + tracks as i32 * TRACK,
        };
        self.asking.w = widest(&mut model.asking.iter().map(|row| row.pd));
        self.memory = Column { x: self.asking.right(), w: 0 };
        let Some(outline) = model.outline else { return };
        if !model.unowned.is_empty() {
            self.asking.w = self.asking.w.max(model.nobody_card().width());
        }
        let mut cards = [vec![], vec![], vec![]];
        for row in &model.asking {
            let [devices, streams, memory] = self.row_cards(row);
            cards[0].extend(devices);
            cards[1].extend(streams);
            cards[2].extend(memory);
        }
        cards[0].extend(model.unowned.iter().map(|&device| model.unowned_device_card(device)));
        cards[1].extend(model.unowned.iter().map(|&device| model.stream_card(device, None)));
        cards[1].extend((0..outline.units.len()).filter_map(|unit| model.unit_card(unit)));
        cards[2].extend(model.tables_card());
        let [devices, units, memory] =
            cards.map(|cards| clamp(cards.iter().map(Card::width).max().unwrap_or_default()));
        self.devices = Column { x: self.asking.right() + DEVICE_GAP, w: devices };
        self.units = Column { x: self.devices.right() + DEVICE_GAP, w: units };
        let (to_rights, rights, to_memory) = RIGHTS;
        let x = self.units.right() + TRUNK + to_rights + rights + to_memory;
        self.memory = Column { x, w: memory };
    }

    /// The boxes of a row's devices, streams and memory.
    fn row_cards(&self, row: &Row) -> [Vec<Card>; 3] {
        let model = self.model;
        let mut devices: Vec<Card> = row.devices.iter().map(|device| model.device_card(device)).collect();
        let granted = row.memory.iter().any(|entry| matches!(entry.role, Role::Granted(_)));
        if devices.is_empty() && granted {
            devices.push(model.no_device_card());
        }
        let streams =
            row.devices.iter().map(|device| model.stream_card(device.number, Some(device))).collect();
        let memory = row.memory.iter().map(|entry| model.entry_card(entry, row.client)).collect();
        [devices, streams, memory]
    }

    /// The title, what stands out, and the columns' heads; returns where the rows begin.
    fn head(&mut self, caption: &Caption) -> i32 {
        let most = self.scene.width - 2 * MARGIN;
        let mut lines = vec![
            (Style::Title, "Who can do DMA where".to_string()),
            (Style::Detail, caption.files.clone()),
            (Style::Detail, self.summary()),
        ];
        lines.extend(self.findings().into_iter().map(|finding| (Style::Warning, finding)));
        lines.extend(
            caption
                .refusal
                .iter()
                .map(|rule| (Style::Warning, format!("The image builder refuses this: {rule}"))),
        );
        let mut y = MARGIN;
        for (style, text) in lines {
            for line in style.wrap(&text, most) {
                self.scene.labels.push(Label::new((MARGIN, y), &line, style, most));
                y += style.height() + 2;
            }
            y += if style == Style::Title { 4 } else { 0 };
        }
        y += 14;
        let outline = self.model.outline.is_some();
        let heads = [
            (self.answering, !self.model.answering.is_empty(), "Servers", "who answers"),
            (self.asking, true, "Clients", "who asks"),
            (self.devices, outline, "Devices", "what does DMA"),
            (self.units, outline, "IOMMU", "what checks it"),
            (self.memory, outline, "Memory", "what is reached"),
        ];
        for (column, _, head, says) in heads.into_iter().filter(|head| head.1) {
            self.scene.labels.push(Label::new((column.x, y), head, Style::Heading, column.w));
            let below = (column.x, y + Style::Heading.height());
            self.scene.labels.push(Label::new(below, says, Style::Detail, column.w));
        }
        y + Style::Heading.height() + Style::Detail.height() + 16
    }

    /// What there is, in a line.
    fn summary(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let pds = count(self.model.system.pds.len(), "protection domain");
        let hidden = count(self.model.hidden(), "memory region");
        let Some(outline) = self.model.outline else {
            return format!(
                "{pds}; without a policy, no IOMMU is between devices and memory. Not shown: {hidden}."
            );
        };
        format!(
            "{pds}, {}, {}; devices reach {}. Not shown: {hidden} that no device reaches.",
            count(outline.clients.len(), "client"),
            count(outline.devices.len(), "device"),
            count(self.model.reached_by.len(), "memory region"),
        )
    }

    /// What a person should look at.
    fn findings(&self) -> Vec<String> {
        let model = self.model;
        let name = |region: usize| text::clean(&model.system.regions[region].name);
        let shared: Vec<String> =
            (0..model.system.regions.len()).filter(|&region| model.is_shared(region)).map(name).collect();
        let devices = model.outline.map_or(&[][..], |outline| &outline.devices);
        let unowned: Vec<String> =
            model.unowned.iter().map(|&device| text::clean(&devices[device].name)).collect();
        let finding = |names: Vec<String>, what: &str| {
            (!names.is_empty()).then(|| format!("{what}: {}.", names.join(", ")))
        };
        let shared = finding(shared, "Devices of several clients reach");
        [shared, finding(unowned, "Given to nobody")].into_iter().flatten().collect()
    }

    /// Everything below the heads; returns where it ends.
    fn rows(&mut self, top: i32) -> i32 {
        let model = self.model;
        let own = self.server_row(top);
        let mut answering = vec![];
        let mut bottom = top;
        for &root in model.answering.iter().filter(|&&pd| model.system.pds[pd].parent.is_none()) {
            bottom = self.place(root, 0, bottom, self.answering, &mut answering) + ROW_GAP;
        }
        let mut asking = vec![];
        let mut y = top + own;
        for row in model.asking.iter().filter(|row| model.system.pds[row.pd].parent.is_none()) {
            y = self.place(row.pd, 0, y, self.asking, &mut asking) + ROW_GAP;
        }
        for placed in answering.iter().chain(&asking) {
            self.scene.shapes.push(model.pd_card(placed.pd).at(placed.rect));
        }
        let places: HashMap<usize, &Placed> = asking.iter().map(|placed| (placed.pd, placed)).collect();
        for row in &model.asking {
            if let Some(placed) = places.get(&row.pd) {
                self.row(row, placed);
            }
        }
        let all: HashMap<usize, &Placed> = answering.iter().chain(&asking).map(|of| (of.pd, of)).collect();
        let buses = self.channel_buses(&all);
        let (tracks, _) = bus::tracks(&buses);
        let x = self.answering.right() + LEAD;
        for (bus, track) in buses.into_iter().zip(tracks) {
            bus.draw(x + track as i32 * TRACK, &mut self.scene);
        }
        self.control(&all, top);
        let y = self.unowned(y);
        self.same_regions();
        if model.outline.is_some() {
            let y = top - FRAME;
            let (x, w) = (self.units.x - FRAME, self.units.w + 2 * FRAME);
            let lowest = self.scene.shapes.iter().filter(|shape| shape.rect.x == self.units.x);
            let h = lowest.map(|shape| shape.rect.bottom()).max().unwrap_or_default() + FRAME - y;
            let title = "every access of a device passes here".into();
            let frame = Shape { rect: Rect { x, y, w, h }, look: Look::Frame, title, labels: vec![] };
            let strips = self.scene.shapes.iter().filter(|shape| shape.look == Look::Strip).count();
            self.scene.shapes.sort_by_key(|shape| shape.look != Look::Strip);
            self.scene.shapes.insert(strips, frame);
        }
        bottom.max(y)
    }

    /// The units and the server's tables; returns the row's height.
    fn server_row(&mut self, top: i32) -> i32 {
        let Some(outline) = self.model.outline else { return 0 };
        let units: Vec<Card> =
            (0..outline.units.len()).filter_map(|unit| self.model.unit_card(unit)).collect();
        let boxes = self.stack(&units, self.units, top);
        let tables: Vec<Card> = self.model.tables_card().into_iter().collect();
        let memory = self.stack(&tables, self.memory, top);
        if let [tables] = &*memory {
            let mut ports: Vec<Port> = boxes
                .iter()
                .map(|unit| Port { at: (unit.right(), unit.y + CONTROL), arrow: false, title: String::new() })
                .collect();
            ports.push(Port { at: (tables.x, tables.y + CONTROL), arrow: true, title: String::new() });
            let title = "the units read tables and queues here".to_string();
            self.join(ports, self.units.right() + TRUNK, Line::Control, &title);
            if let Some(region) = outline.tables {
                self.same.entry(region).or_default().push(port_right(*tables));
            }
        }
        boxes.iter().chain(&memory).map(|rect| rect.bottom() - top).max().map_or(0, |height| height + ROW_GAP)
    }

    /// Boxes for `cards` in `column`, one below the other from `y`.
    fn stack(&mut self, cards: &[Card], column: Column, mut y: i32) -> Vec<Rect> {
        let mut boxes = vec![];
        for card in cards {
            let rect = Rect { x: column.x, y, w: column.w, h: card.height() };
            self.scene.shapes.push(card.at(rect));
            boxes.push(rect);
            y = rect.bottom() + GAP;
        }
        boxes
    }

    /// Boxes for devices and beside them for their streams, from `y` on; a pair has one height.
    fn pairs(&mut self, devices: &[Card], streams: &[Card], mut y: i32) -> (Vec<Rect>, Vec<Rect>) {
        let (mut left, mut right) = (vec![], vec![]);
        for (index, device) in devices.iter().enumerate() {
            let stream = streams.get(index);
            let h = stream.map_or(0, Card::height).max(device.height());
            let (of, behind) = (self.devices, self.units);
            let rect = Rect { x: of.x, y, w: of.w, h };
            self.scene.shapes.push(device.at(rect));
            left.push(rect);
            if let Some(stream) = stream {
                let rect = Rect { x: behind.x, y, w: behind.w, h };
                self.scene.shapes.push(stream.at(rect));
                right.push(rect);
            }
            y += h + GAP;
        }
        (left, right)
    }

    /// Ports at several heights and to the left and right of `x`: one wire, and one for each more.
    fn join(&mut self, ports: Vec<Port>, x: i32, line: Line, title: &str) {
        Bus { ports, line, title: title.into() }.draw(x, &mut self.scene);
    }

    /// Finds places for `pd` and its children from `y` on, and adds them to `placed`; returns where they end.
    fn place(&self, pd: usize, depth: i32, y: i32, column: Column, placed: &mut Vec<Placed>) -> i32 {
        let (left, right) = (depth * INDENT.0, depth * INDENT.1);
        let rect = Rect { x: column.x + left, y, w: column.w - left - right, h: self.own_height(pd) };
        let (own, index) = (rect.h, placed.len());
        placed.push(Placed { pd, rect, own });
        let mut bottom = rect.bottom();
        let pds = self.model.system.pds.iter().enumerate();
        for (child, _) in pds.filter(|(_, of)| of.parent.as_ref().is_some_and(|parent| parent.pd == pd)) {
            bottom = self.place(child, depth + 1, bottom + ROW_GAP, column, placed);
        }
        if bottom > rect.bottom() {
            bottom += INDENT.1;
        }
        placed[index].rect.h = bottom - y;
        bottom
    }

    /// The height of the row of `pd` without its children.
    fn own_height(&self, pd: usize) -> i32 {
        let stack = |cards: &[Card]| cards.iter().map(|card| card.height() + GAP).sum::<i32>() - GAP;
        let mut height = self.model.pd_card(pd).height();
        if let Some(row) = self.model.asking.iter().find(|row| row.pd == pd) {
            height = self
                .row_cards(row)
                .iter()
                .map(|cards| stack(cards))
                .max()
                .map_or(height, |of| of.max(height));
        }
        let control = if self.is_server(pd) { CONTROL } else { 0 };
        height.max(control + (self.ports.get(&pd).copied().unwrap_or_default() + 1) * PORT)
    }

    fn is_server(&self, pd: usize) -> bool {
        self.model.outline.is_some_and(|outline| outline.server == pd)
    }

    /// A row's devices, streams and memory beside `placed`, and the wires between them.
    fn row(&mut self, row: &Row, placed: &Placed) {
        let [devices, streams, memory] = self.row_cards(row);
        if devices.is_empty() && memory.is_empty() {
            return;
        }
        let top = placed.rect.y;
        let x = self.devices.x - GAP;
        let strip = Rect { x, y: top - 4, w: self.memory.right() + GAP - x, h: placed.own + 8 };
        let name = text::clean(&self.model.system.pds[row.pd].name);
        self.scene.shapes.push(Shape {
            rect: strip,
            look: Look::Strip,
            title: format!("what devices of {name} reach"),
            labels: vec![],
        });
        let (devices, streams) = self.pairs(&devices, &streams, top);
        let memory = self.stack(&memory, self.memory, top);
        let trunk = self.units.right() + TRUNK;
        let mut ys = vec![];
        for (index, device) in devices.iter().enumerate() {
            let y = device.middle();
            ys.push(y);
            let later = row.devices.get(index).is_none_or(|device| device.after_claim);
            let dma = if later { Line::NoDma } else { Line::Dma };
            let Some(stream) = streams.get(index) else {
                self.wire(vec![(device.right(), y), (trunk, y)], dma, [false; 2], "no device, no DMA");
                continue;
            };
            let (owns, says) = match later {
                true => (Line::NoDma, format!("{name} gets this device when it claims it")),
                false => (Line::Owns, format!("{name} has this device")),
            };
            self.wire(vec![(placed.rect.right(), y), (device.x, y)], owns, [false, true], &says);
            self.wire(vec![(device.right(), y), (stream.x, y)], dma, [false, true], "every access");
            self.wire(vec![(stream.right(), y), (trunk, y)], dma, [false; 2], "what the tables let through");
        }
        let first = ys.clone();
        for (entry, rect) in row.memory.iter().zip(&memory) {
            self.same.entry(entry.region).or_default().push(port_right(*rect));
            if let Role::Granted(grant) = entry.role {
                ys.push(rect.middle());
                self.grant(&name, grant, *rect, trunk);
            }
        }
        let later = row.devices.iter().all(|device| device.after_claim);
        let line = if later { Line::NoDma } else { Line::Dma };
        if let (Some(&top), Some(&bottom)) = (ys.iter().min(), ys.iter().max())
            && ys.len() > first.len()
            && top != bottom
        {
            self.wire(
                vec![(trunk, top), (trunk, bottom)],
                line,
                [false; 2],
                &format!("address spaces of {name}"),
            );
        }
        for &y in ys.iter().filter(|_| ys.len() > 2) {
            self.scene.dots.push(Dot { at: (trunk, y), line });
        }
    }

    /// The wire of a grant, from its client's vertical piece to the region's box.
    fn grant(&mut self, client: &str, grant: OutlineGrant, rect: Rect, trunk: i32) {
        let rights = cards::rights(grant);
        let region = text::clean(&self.model.system.regions[grant.region].name);
        let line = match (grant.read, grant.write) {
            (_, false) => Line::Read,
            (true, true) => Line::ReadWrite,
            (false, true) => Line::Write,
        };
        let verb = match line {
            Line::Read => "read",
            Line::Write => "write",
            _ => "read and write",
        };
        let y = rect.middle();
        self.scene.wires.push(Wire {
            points: vec![(trunk, y), (rect.x, y)],
            line,
            arrows: [false, true],
            title: format!("devices of {client} may {verb} {region}"),
            grant: Some(Grant { client: client.into(), region, rights }),
        });
        let (lead, w, _) = RIGHTS;
        let h = Style::Rights.height() + 2;
        let pill = Rect { x: trunk + lead, y: y - h / 2, w, h };
        let x = pill.x + (w - Style::Rights.width(rights)) / 2;
        let labels = vec![Label::new((x, pill.y + 1), rights, Style::Rights, w)];
        self.scene.shapes.push(Shape { rect: pill, look: Look::Pill, title: String::new(), labels });
    }

    fn wire(&mut self, points: Vec<Point>, line: Line, arrows: [bool; 2], title: &str) {
        let points = bus::straight(points);
        self.scene.wires.push(Wire { points, line, arrows, title: title.into(), grant: None });
    }

    /// The devices that no client has; returns where they end.
    fn unowned(&mut self, top: i32) -> i32 {
        let model = self.model;
        if model.unowned.is_empty() {
            return top;
        }
        let devices: Vec<Card> = model.unowned.iter().map(|&of| model.unowned_device_card(of)).collect();
        let streams: Vec<Card> = model.unowned.iter().map(|&of| model.stream_card(of, None)).collect();
        let (devices, streams) = self.pairs(&devices, &streams, top);
        let bottom = devices.iter().chain(&streams).map(Rect::bottom).max().unwrap_or(top);
        for (device, stream) in devices.iter().zip(&streams) {
            let y = device.middle();
            self.wire(vec![(device.right(), y), (stream.x, y)], Line::NoDma, [false, true], "stopped");
        }
        let nobody = model.nobody_card();
        let rect = Rect { x: self.asking.x, y: top, w: self.asking.w, h: nobody.height() };
        self.scene.shapes.push(nobody.at(rect));
        bottom + ROW_GAP
    }

    /// The wires between boxes that are one region, right of the memory.
    fn same_regions(&mut self) {
        let mut regions: Vec<(usize, Vec<Port>)> =
            self.same.drain().filter(|(_, ports)| ports.len() > 1).collect();
        regions.sort_by_key(|(region, _)| *region);
        let buses = regions.into_iter().map(|(region, ports)| Bus {
            ports,
            line: if self.model.is_shared(region) { Line::SameShared } else { Line::Same },
            title: format!("all this is {}", text::clean(&self.model.system.regions[region].name)),
        });
        let buses: Vec<Bus> = buses.collect();
        let (tracks, count) = bus::tracks(&buses);
        for (bus, track) in buses.into_iter().zip(tracks) {
            bus.draw(self.memory.right() + LEAD + track as i32 * TRACK, &mut self.scene);
        }
        if count > 0 {
            let right = self.memory.right() + LEAD + count as i32 * TRACK;
            self.scene.width = self.scene.width.max(right + MARGIN);
        }
    }

    /// The wire from the server to its units.
    fn control(&mut self, places: &HashMap<usize, &Placed>, top: i32) {
        let server = self.model.outline.and_then(|outline| places.get(&outline.server));
        let units = self.scene.shapes.iter().filter(|shape| shape.look == Look::Unit);
        let mut ports: Vec<Port> = units
            .map(|unit| Port { at: (unit.rect.x, unit.rect.y + CONTROL), arrow: true, title: String::new() })
            .collect();
        let Some(server) = server else { return };
        let title = "the server alone has the units' registers";
        let (x, y) = (server.rect.right(), server.rect.y + CONTROL);
        let rail = self.units.x - DEVICE_GAP / 2 - FRAME / 2;
        if y == top + CONTROL {
            ports.push(Port { at: (x, y), arrow: false, title: String::new() });
        } else {
            // Beside who is above the server.
            let near = x.max(self.answering.right()) + CONTROL_LEAD;
            let level = top - FRAME - 4;
            let points = vec![(x, y), (near, y), (near, level), (rail, level)];
            self.wire(points, Line::Control, [false; 2], title);
            ports.push(Port { at: (rail, level), arrow: false, title: String::new() });
        }
        self.join(ports, rail, Line::Control, title);
    }

    /// The channels' buses, with ports where `places` has their protection domains; without places each from one end
    /// of the picture to the other, which takes the most tracks.
    fn channel_buses(&self, places: &HashMap<usize, &Placed>) -> Vec<Bus> {
        let mut used: HashMap<usize, i32> = HashMap::new();
        let mut port = |pd: usize, arrow: bool, title: String| {
            let index = used.entry(pd).or_default();
            *index += 1;
            let at = places.get(&pd).map_or((0, 0), |placed| self.port(placed, *index - 1));
            Port { at, arrow, title }
        };
        let name = |pd: usize| text::clean(&self.model.system.pds[pd].name);
        let buses = self.lines.iter().map(|line| {
            let (hub, inwards) = line.hub;
            let verb = match line.kind {
                Kind::Call => "calls",
                Kind::Notification => "signals",
            };
            let says = |hop: &channels::Hop| format!("{} {verb} {}", name(hop.from), name(hop.to));
            let hops: Vec<String> = line.hops().iter().map(says).collect();
            let mut ports = vec![port(hub, inwards || line.both, String::new())];
            for (&other, title) in line.others.iter().zip(&hops) {
                ports.push(port(other, !inwards || line.both, title.clone()));
            }
            let line = match line.kind {
                Kind::Call => Line::Call,
                Kind::Notification => Line::Notification,
            };
            Bus { ports, line, title: hops.join("\n") }
        });
        buses.collect()
    }

    /// The place of a protection domain's port number `index`. Those of the two columns are at different heights, so
    /// that no two lines lie on one another.
    fn port(&self, placed: &Placed, index: i32) -> Point {
        let answers = self.model.answering.contains(&placed.pd);
        let count = self.ports.get(&placed.pd).copied().unwrap_or_default();
        let used = if self.is_server(placed.pd) { CONTROL + PORT / 2 } else { 0 };
        let start = placed.rect.y + used + (placed.own - used - (count - 1) * PORT) / 2;
        let phase = if answers { 0 } else { PORT / 2 };
        // To the nearest of its column's heights.
        let snapped = start + PORT / 2 - (start + PORT / 2 - phase).rem_euclid(PORT);
        (if answers { placed.rect.right() } else { placed.rect.x }, snapped + index * PORT)
    }

    /// The legend below `bottom`, and the picture's height.
    fn finish(&mut self, bottom: i32) {
        let bottom = legend::draw(&mut self.scene, bottom + 6);
        self.scene.height = bottom + MARGIN;
    }
}

/// Where what leads to a box on its right ends.
fn port_right(rect: Rect) -> Port {
    Port { at: (rect.right(), rect.middle()), arrow: false, title: String::new() }
}
