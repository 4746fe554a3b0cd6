//! Where everything is. Rows from top to bottom: the server's own, then each protection domain that asks with its
//! devices and what they reach. Columns from left to right: who answers, who asks, devices, units, memory; lines run
//! in the gaps between them.

use std::collections::HashMap;

use super::{
    bus::{self, Port, TRACK},
    cards::Card,
    channels, legend,
    links::port_right,
    model::{Model, Role, Row},
    scene::{Line, Look, Rect, Scene, Shape},
    text,
};

/// Around the picture.
pub const MARGIN: i32 = 24;
/// Between boxes of a row.
pub(super) const GAP: i32 = 8;
/// Between rows.
pub(super) const ROW_GAP: i32 = 16;
/// Between ports of a box.
pub(super) const PORT: i32 = 12;
/// From a port to the first vertical piece: room for an arrow.
pub(super) const LEAD: i32 = 18;
/// What a child's box is narrower than its parent's, on the left and on the right.
const INDENT: (i32, i32) = (14, 8);
/// From the top of a server's box to the line to its units.
pub(super) const CONTROL: i32 = 24;
/// From the server's column to the line's vertical piece.
pub(super) const CONTROL_LEAD: i32 = 8;
/// Between the clients and their devices, and these and their streams.
pub(super) const DEVICE_GAP: i32 = 38;
/// What the frame around the units' column is wider than it, on each side.
pub(super) const FRAME: i32 = 9;
/// From a stream to its client's vertical piece.
pub(super) const TRUNK: i32 = 24;
/// From there to the rights, their width, and on to the memory.
pub(super) const RIGHTS: (i32, i32, i32) = (22, 26, 30);
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
pub(super) struct Column {
    pub x: i32,
    pub w: i32,
}

impl Column {
    pub fn right(self) -> i32 {
        self.x + self.w
    }
}

/// A protection domain with a place.
pub(super) struct Placed {
    pub pd: usize,
    /// Its box: of a parent, its children's too.
    pub rect: Rect,
    /// The height of what is its own.
    pub own: i32,
}

pub(super) struct Layout<'a> {
    pub model: &'a Model<'a>,
    pub scene: Scene,
    pub lines: Vec<channels::Line>,
    /// How many ports each protection domain has.
    pub ports: HashMap<usize, i32>,
    pub answering: Column,
    pub asking: Column,
    pub devices: Column,
    pub units: Column,
    pub memory: Column,
    /// Ports of regions that are shown more than once.
    pub same: HashMap<usize, Vec<Port>>,
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
    pub(super) fn columns(&mut self) {
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
    pub(super) fn row_cards(&self, row: &Row) -> [Vec<Card>; 3] {
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

    /// Everything below the heads; returns where it ends.
    pub(super) fn rows(&mut self, top: i32) -> i32 {
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
    pub(super) fn server_row(&mut self, top: i32) -> i32 {
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

    /// Finds places for `pd` and its children from `y` on, and adds them to `placed`; returns where they end.
    pub(super) fn place(
        &self,
        pd: usize,
        depth: i32,
        y: i32,
        column: Column,
        placed: &mut Vec<Placed>,
    ) -> i32 {
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
    pub(super) fn own_height(&self, pd: usize) -> i32 {
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

    pub(super) fn is_server(&self, pd: usize) -> bool {
        self.model.outline.is_some_and(|outline| outline.server == pd)
    }

    /// The legend below `bottom`, and the picture's height.
    pub(super) fn finish(&mut self, bottom: i32) {
        let bottom = legend::draw(&mut self.scene, bottom + 6);
        self.scene.height = bottom + MARGIN;
    }
}
