//! What the lines and boxes mean: of those that the picture has.

use super::{
    layout::MARGIN,
    scene::{Label, Line, Look, Rect, Sample, Scene, Style},
};

/// Pixels of a sample, and from there to its text.
const SAMPLE: (i32, i32) = (34, 8);
/// Between entries.
const GAP: i32 = 24;
/// Between lines.
const LINE: i32 = 24;

/// What is explained, in this order.
const ENTRIES: [(Sample, &str); 14] = [
    (Sample::Wire(Line::ReadWrite), "rw: devices read and write"),
    (Sample::Wire(Line::Read), "r: devices read"),
    (Sample::Wire(Line::Write), "w: devices write"),
    (Sample::Wire(Line::Dma), "DMA"),
    (Sample::Wire(Line::NoDma), "no DMA for now"),
    (Sample::Wire(Line::SameShared), "one region, reached by several clients' devices"),
    (Sample::Wire(Line::Same), "one region"),
    (Sample::Wire(Line::Call), "calls"),
    (Sample::Wire(Line::Notification), "notifications"),
    (Sample::Wire(Line::Owns), "has the device"),
    (Sample::Wire(Line::Control), "the server's registers and tables"),
    (Sample::Box(Look::SharedRegion), "reached by devices of several clients"),
    (Sample::Box(Look::UnownedDevice), "a device that nobody has"),
    (Sample::Box(Look::FaultRing), "fault ring: no device reaches it"),
];

/// Draws the legend of `scene` from `top` on; returns where it ends.
pub fn draw(scene: &mut Scene, top: i32) -> i32 {
    let there = |sample: Sample, scene: &Scene| match sample {
        Sample::Wire(line) => scene.wires.iter().any(|wire| wire.line == line),
        Sample::Box(look) => scene.shapes.iter().any(|shape| shape.look == look),
    };
    let right = scene.width - MARGIN;
    let (mut x, mut y) = (MARGIN, top);
    let mut bottom = top;
    for (sample, text) in ENTRIES {
        if !there(sample, scene) {
            continue;
        }
        let width = SAMPLE.0 + SAMPLE.1 + Style::Detail.width(text);
        if x > MARGIN && x + width > right {
            (x, y) = (MARGIN, y + LINE);
        }
        let height = Style::Detail.height();
        scene.samples.push((Rect { x, y, w: SAMPLE.0, h: height }, sample));
        scene.labels.push(Label::new((x + SAMPLE.0 + SAMPLE.1, y), text, Style::Detail, right - x));
        x += width + GAP;
        bottom = y + height;
    }
    bottom
}
