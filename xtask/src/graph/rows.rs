//! A row of the picture: a client's devices, their streams and what they reach, and the wires between them.

use super::{
    bus,
    cards::{self, Card},
    layout::{Column, GAP, Layout, Placed, RIGHTS, ROW_GAP, TRUNK},
    links::port_right,
    model::{Role, Row},
    scene::{Dot, Grant, Label, Line, Look, Point, Rect, Shape, Style, Wire},
    text,
};
use crate::policy::OutlineGrant;

impl Layout<'_> {
    /// Boxes for `cards` in `column`, one below the other from `y`.
    pub(super) fn stack(&mut self, cards: &[Card], column: Column, mut y: i32) -> Vec<Rect> {
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
    pub(super) fn pairs(&mut self, devices: &[Card], streams: &[Card], mut y: i32) -> (Vec<Rect>, Vec<Rect>) {
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

    /// A row's devices, streams and memory beside `placed`, and the wires between them.
    pub(super) fn row(&mut self, row: &Row, placed: &Placed) {
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
    pub(super) fn grant(&mut self, client: &str, grant: OutlineGrant, rect: Rect, trunk: i32) {
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

    pub(super) fn wire(&mut self, points: Vec<Point>, line: Line, arrows: [bool; 2], title: &str) {
        let points = bus::straight(points);
        self.scene.wires.push(Wire { points, line, arrows, title: title.into(), grant: None });
    }

    /// The devices that no client has; returns where they end.
    pub(super) fn unowned(&mut self, top: i32) -> i32 {
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
}
