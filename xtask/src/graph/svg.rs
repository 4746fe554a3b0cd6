//! The picture as SVG 1.1. Colours are those of Okabe and Ito, which people who see fewer colours tell apart; lines
//! differ by their dashes, too.

use std::io::Result;

use quick_xml::{
    Writer,
    events::{BytesEnd, BytesStart, BytesText, Event},
};

use super::scene::{Dot, Label, Line, Look, Point, Rect, Sample, Scene, Shape, Style, Wire};
use super::text::Font;

/// The radius of a wire's corners.
const CORNER: i32 = 5;
/// The length of an arrow, and half its width.
const ARROW: (i32, i32) = (8, 4);

type Svg = Writer<Vec<u8>>;

/// `scene` as SVG.
pub fn write(scene: &Scene) -> String {
    let mut svg = Writer::new_with_indent(vec![], b' ', 1);
    // Writing to memory does not fail, and what is written is text.
    let written = picture(&mut svg, scene).map(|()| String::from_utf8(svg.into_inner()));
    written.ok().and_then(std::result::Result::ok).map_or_else(String::new, |text| text + "\n")
}

fn picture(svg: &mut Svg, scene: &Scene) -> Result<()> {
    let (width, height) = (scene.width.to_string(), scene.height.to_string());
    open(
        svg,
        "svg",
        &[
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("width", &width),
            ("height", &height),
            ("viewBox", &format!("0 0 {width} {height}")),
            ("role", "img"),
        ],
    )?;
    text(svg, "title", &[], &scene.title)?;
    text(svg, "style", &[], &style_sheet())?;
    let all = Rect { x: 0, y: 0, w: scene.width, h: scene.height };
    empty(svg, "rect", &[("class", "paper"), ("width", &width), ("height", &all.h.to_string())])?;
    let (background, boxes): (Vec<_>, Vec<_>) =
        scene.shapes.iter().partition(|shape| shape.look.is_background());
    for shape in background {
        self::shape(svg, shape)?;
    }
    for wire in &scene.wires {
        self::wire(svg, wire)?;
    }
    for Dot { at, line } in &scene.dots {
        let (x, y) = (at.0.to_string(), at.1.to_string());
        let class = format!("{} end", self::line(*line).0);
        empty(svg, "circle", &[("class", &class), ("cx", &x), ("cy", &y), ("r", "3")])?;
    }
    for shape in boxes {
        self::shape(svg, shape)?;
    }
    for (rect, sample) in &scene.samples {
        self::sample(svg, *rect, *sample)?;
    }
    for label in &scene.labels {
        self::label(svg, label)?;
    }
    close(svg, "svg")
}

fn shape(svg: &mut Svg, shape: &Shape) -> Result<()> {
    open(svg, "g", &[])?;
    if !shape.title.is_empty() {
        text(svg, "title", &[], &shape.title)?;
    }
    rect(svg, shape.rect, shape.look)?;
    for label in &shape.labels {
        self::label(svg, label)?;
    }
    close(svg, "g")
}

fn rect(svg: &mut Svg, rect: Rect, look: Look) -> Result<()> {
    let Rect { x, y, w, h } = rect;
    let [x, y, w, h] = [x, y, w, h].map(|number| number.to_string());
    let radius = if look == Look::Pill { "7" } else { "5" };
    let class = self::look(look).0;
    empty(
        svg,
        "rect",
        &[("class", class), ("x", &x), ("y", &y), ("width", &w), ("height", &h), ("rx", radius)],
    )
}

fn label(svg: &mut Svg, label: &Label) -> Result<()> {
    // What is below the base line takes a quarter of the height.
    let (x, y) = (label.rect.x.to_string(), (label.rect.bottom() - label.rect.h / 4).to_string());
    text(svg, "text", &[("class", style(label.style).0), ("x", &x), ("y", &y)], &label.text)
}

fn wire(svg: &mut Svg, wire: &Wire) -> Result<()> {
    open(svg, "g", &[])?;
    if !wire.title.is_empty() {
        text(svg, "title", &[], &wire.title)?;
    }
    let class = self::line(wire.line).0;
    let path = path(&shortened(wire));
    let mut attributes = vec![("class", class), ("d", &*path)];
    if let Some(grant) = &wire.grant {
        attributes.extend([
            ("data-client", &*grant.client),
            ("data-region", &grant.region),
            ("data-rights", grant.rights),
        ]);
    }
    empty(svg, "path", &attributes)?;
    let ends =
        [wire.points.first().zip(wire.points.get(1)), wire.points.last().zip(wire.points.iter().nth_back(1))];
    for (end, _) in ends.into_iter().zip(wire.arrows).filter(|(_, arrow)| *arrow) {
        if let Some((&tip, &from)) = end {
            arrow(svg, wire.line, tip, from)?;
        }
    }
    close(svg, "g")
}

fn arrow(svg: &mut Svg, line: Line, tip: Point, from: Point) -> Result<()> {
    let (dx, dy) = ((from.0 - tip.0).signum(), (from.1 - tip.1).signum());
    let (length, half) = ARROW;
    let base = (tip.0 + dx * length, tip.1 + dy * length);
    let (a, b) = ((base.0 + dy * half, base.1 + dx * half), (base.0 - dy * half, base.1 - dx * half));
    let path = format!("M{} {}L{} {}L{} {}Z", tip.0, tip.1, a.0, a.1, b.0, b.1);
    empty(svg, "path", &[("class", &format!("{} end", self::line(line).0)), ("d", &path)])
}

/// The points of `wire`, its line ending inside its arrows.
fn shortened(wire: &Wire) -> Vec<Point> {
    let mut points = wire.points.clone();
    let toward = |end: Point, next: Point| {
        let back = ARROW.0 - 2;
        (end.0 + (next.0 - end.0).signum() * back, end.1 + (next.1 - end.1).signum() * back)
    };
    if let [first, second, ..] = &mut *points
        && wire.arrows[0]
    {
        *first = toward(*first, *second);
    }
    if let [.., second, last] = &mut *points
        && wire.arrows[1]
    {
        *last = toward(*last, *second);
    }
    points
}

/// A path through `points` with round corners.
fn path(points: &[Point]) -> String {
    let mut path = points.first().map_or(String::new(), |(x, y)| format!("M{x} {y}"));
    for corner in points.windows(3) {
        let [before, at, after] = [corner[0], corner[1], corner[2]];
        let near = |other: Point| {
            let distance = (other.0 - at.0).abs() + (other.1 - at.1).abs();
            let step = CORNER.min(distance / 2);
            (at.0 + (other.0 - at.0).signum() * step, at.1 + (other.1 - at.1).signum() * step)
        };
        let (start, end) = (near(before), near(after));
        path += &format!("L{} {}Q{} {} {} {}", start.0, start.1, at.0, at.1, end.0, end.1);
    }
    if let [.., last] = points {
        path += &format!("L{} {}", last.0, last.1);
    }
    path
}

fn sample(svg: &mut Svg, rect: Rect, sample: Sample) -> Result<()> {
    match sample {
        Sample::Box(look) => self::rect(svg, rect, look),
        Sample::Wire(line) => {
            let arrow = !matches!(line, Line::Same | Line::SameShared | Line::NoDma);
            let points = vec![(rect.x, rect.middle()), (rect.right(), rect.middle())];
            wire(svg, &Wire { points, line, arrows: [false, arrow], title: String::new(), grant: None })
        }
    }
}

fn open(svg: &mut Svg, name: &str, attributes: &[(&str, &str)]) -> Result<()> {
    svg.write_event(Event::Start(BytesStart::new(name).with_attributes(attributes.iter().copied())))
}

fn close(svg: &mut Svg, name: &str) -> Result<()> {
    svg.write_event(Event::End(BytesEnd::new(name)))
}

fn empty(svg: &mut Svg, name: &str, attributes: &[(&str, &str)]) -> Result<()> {
    svg.write_event(Event::Empty(BytesStart::new(name).with_attributes(attributes.iter().copied())))
}

fn text(svg: &mut Svg, name: &str, attributes: &[(&str, &str)], text: &str) -> Result<()> {
    open(svg, name, attributes)?;
    svg.write_event(Event::Text(BytesText::new(text)))?;
    close(svg, name)
}

/// Ink, and paper that is neither white nor black: it stands on either.
const INK: &str = "#1f2933";
const PAPER: &str = "#fbfaf7";

/// The class of a box, its fill and stroke.
fn look(look: Look) -> (&'static str, &'static str) {
    match look {
        Look::Strip => ("strip", "fill:#f1f0ea"),
        Look::Frame => ("frame", "fill:#e9e5f3;stroke:#a79bc4"),
        Look::Parent => ("parent", "fill:#f3f5f7;stroke:#7b8794"),
        Look::Server => ("server", "fill:#d9e9f5;stroke:#0072b2;stroke-width:2"),
        Look::Pd => ("pd", "fill:#ffffff;stroke:#52606d"),
        Look::Nobody => ("nobody", "fill:none;stroke:#7b8794;stroke-dasharray:4 3"),
        Look::Device => ("device", "fill:#d8efe6;stroke:#00795a"),
        Look::LaterDevice => ("later", "fill:#f2f8f5;stroke:#00795a;stroke-dasharray:4 3"),
        Look::UnownedDevice => {
            ("unowned", "fill:#fbe3dc;stroke:#a3280b;stroke-width:2.5;stroke-dasharray:6 3")
        }
        Look::Unit => ("unit", "fill:#d3cae8;stroke:#5b4a8a;stroke-width:2"),
        Look::Stream => ("stream", "fill:#f7f5fc;stroke:#5b4a8a"),
        Look::LaterStream => ("later-stream", "fill:#f7f5fc;stroke:#5b4a8a;stroke-dasharray:4 3"),
        Look::UnownedStream => ("stopped", "fill:#fbe3dc;stroke:#a3280b"),
        Look::Tables => ("tables", "fill:#e9e5f3;stroke:#5b4a8a"),
        Look::Region => ("region", "fill:#ffffff;stroke:#52606d;stroke-width:1.5"),
        Look::SharedRegion => ("shared", "fill:#fdeec2;stroke:#b26a00;stroke-width:3"),
        Look::FaultRing => ("ring", "fill:#f1f0ea;stroke:#9aa5b1"),
        Look::Reference => ("reference", "fill:#ffffff;stroke:#52606d;stroke-dasharray:4 3"),
        Look::SharedReference => ("also", "fill:#fdf6e0;stroke:#b26a00;stroke-width:2;stroke-dasharray:4 3"),
        Look::Pill => ("pill", "fill:#fbfaf7;stroke:none"),
    }
}

const LOOKS: [Look; 20] = [
    Look::Strip,
    Look::Frame,
    Look::Parent,
    Look::Server,
    Look::Pd,
    Look::Nobody,
    Look::Device,
    Look::LaterDevice,
    Look::UnownedDevice,
    Look::Unit,
    Look::Stream,
    Look::LaterStream,
    Look::UnownedStream,
    Look::Tables,
    Look::Region,
    Look::SharedRegion,
    Look::FaultRing,
    Look::Reference,
    Look::SharedReference,
    Look::Pill,
];

/// The class of a wire, its colour, and its width and dashes.
fn line(line: Line) -> (&'static str, &'static str, &'static str) {
    match line {
        Line::Call => ("call", "#1f2933", "stroke-width:1.5"),
        Line::Notification => ("signal", "#7b8794", "stroke-width:1.5;stroke-dasharray:3 3"),
        Line::Owns => ("owns", "#00795a", "stroke-width:1.5"),
        Line::Dma => ("dma", "#52606d", "stroke-width:3"),
        Line::NoDma => ("no-dma", "#9aa5b1", "stroke-width:1.5;stroke-dasharray:2 4"),
        Line::Read => ("r", "#0072b2", "stroke-width:3;stroke-dasharray:8 4"),
        Line::Write => ("w", "#9b3d78", "stroke-width:3;stroke-dasharray:2 3"),
        Line::ReadWrite => ("rw", "#c44a00", "stroke-width:3"),
        Line::Control => ("control", "#5b4a8a", "stroke-width:1.5"),
        Line::Same => ("same", "#9aa5b1", "stroke-width:1.5"),
        Line::SameShared => ("same-shared", "#b26a00", "stroke-width:2.5"),
    }
}

const LINES: [Line; 11] = [
    Line::Call,
    Line::Notification,
    Line::Owns,
    Line::Dma,
    Line::NoDma,
    Line::Read,
    Line::Write,
    Line::ReadWrite,
    Line::Control,
    Line::Same,
    Line::SameShared,
];

/// The class of a text, and its colour.
fn style(style: Style) -> (&'static str, &'static str) {
    match style {
        Style::Title => ("title", INK),
        Style::Heading => ("heading", INK),
        Style::Name => ("name", INK),
        Style::Detail => ("detail", "#3e4c59"),
        Style::Warning => ("warning", "#8f2307"),
        Style::Rights => ("rights", INK),
    }
}

const STYLES: [Style; 6] =
    [Style::Title, Style::Heading, Style::Name, Style::Detail, Style::Warning, Style::Rights];

fn style_sheet() -> String {
    let mut sheet = format!("\n.paper{{fill:{PAPER}}}\n");
    for (class, colours) in LOOKS.map(look) {
        sheet += &format!(".{class}{{{colours}}}\n");
    }
    for (class, colour, stroke) in LINES.map(line) {
        sheet += &format!(".{class}{{fill:none;stroke:{colour};{stroke}}}\n");
        sheet += &format!(".{class}.end{{fill:{colour};stroke:none}}\n");
    }
    for of in STYLES {
        let ((class, colour), (font, size)) = (style(of), of.font());
        let face = match font {
            Font::Mono => "bold {}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace",
            Font::Sans => "{}px Helvetica,Arial,'DejaVu Sans',sans-serif",
            Font::Bold => "bold {}px Helvetica,Arial,'DejaVu Sans',sans-serif",
        };
        let face = face.replace("{}", &size.to_string());
        sheet += &format!("text.{class}{{fill:{colour};font:{face}}}\n");
    }
    sheet
}
