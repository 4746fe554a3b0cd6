//! The lines between rows: channels, the server's to its units, and those between boxes that are one region.

use std::collections::HashMap;

use super::{
    bus::{self, Bus, Port, TRACK},
    channels::{self, Kind},
    layout::{CONTROL, CONTROL_LEAD, DEVICE_GAP, FRAME, LEAD, Layout, MARGIN, PORT, Placed},
    scene::{Line, Look, Point, Rect},
    text,
};

impl Layout<'_> {
    /// Ports at several heights and to the left and right of `x`: one wire, and one for each more.
    pub(super) fn join(&mut self, ports: Vec<Port>, x: i32, line: Line, title: &str) {
        Bus { ports, line, title: title.into() }.draw(x, &mut self.scene);
    }

    /// The wires between boxes that are one region, right of the memory.
    pub(super) fn same_regions(&mut self) {
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
    pub(super) fn control(&mut self, places: &HashMap<usize, &Placed>, top: i32) {
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
    pub(super) fn channel_buses(&self, places: &HashMap<usize, &Placed>) -> Vec<Bus> {
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
    pub(super) fn port(&self, placed: &Placed, index: i32) -> Point {
        let answers = self.model.answering.contains(&placed.pd);
        let count = self.ports.get(&placed.pd).copied().unwrap_or_default();
        let used = if self.is_server(placed.pd) { CONTROL + PORT / 2 } else { 0 };
        let start = placed.rect.y + used + (placed.own - used - (count - 1) * PORT) / 2;
        let phase = if answers { 0 } else { PORT / 2 };
        // To the nearest of its column's heights.
        let snapped = start + PORT / 2 - (start + PORT / 2 - phase).rem_euclid(PORT);
        (if answers { placed.rect.right() } else { placed.rect.x }, snapped + index * PORT)
    }
}

/// Where what leads to a box on its right ends.
pub(super) fn port_right(rect: Rect) -> Port {
    Port { at: (rect.right(), rect.middle()), arrow: false, title: String::new() }
}
