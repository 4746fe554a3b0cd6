//! The picture as shapes with places, in whole pixels: what the layout makes and the SVG is written from.

use super::text::{self, Font};

/// A point: x to the right, y down.
pub type Point = (i32, i32);

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left.
    pub x: i32,
    /// Top.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

impl Rect {
    /// The x right of it.
    pub fn right(&self) -> i32 {
        self.x + self.w
    }

    /// The y below it.
    pub fn bottom(&self) -> i32 {
        self.y + self.h
    }

    /// The y of its middle.
    pub fn middle(&self) -> i32 {
        self.y + self.h / 2
    }

    /// Whether some of `other` lies in it.
    pub fn meets(&self, other: &Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }

    /// Whether all of `other` lies in it.
    pub fn holds(&self, other: &Self) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && other.right() <= self.right()
            && other.bottom() <= self.bottom()
    }
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The background of a row.
    Strip,
    /// The background of the column of units.
    Frame,
    /// A protection domain with children, which lie in it.
    Parent,
    /// The IOMMU server.
    Server,
    /// A protection domain.
    Pd,
    /// What is not there: no client, no device.
    Nobody,
    /// A device.
    Device,
    /// A device that a successor gets.
    LaterDevice,
    /// A device that no client has.
    UnownedDevice,
    /// A unit.
    Unit,
    /// A unit's entry for a device.
    Stream,
    /// The one of a device that a successor gets.
    LaterStream,
    /// The one of a device that no client has.
    UnownedStream,
    /// Memory of the server.
    Tables,
    /// A region that is granted.
    Region,
    /// A region that devices of several clients reach.
    SharedRegion,
    /// A fault ring.
    FaultRing,
    /// A reference to a region that is shown elsewhere.
    Reference,
    /// A reference to a region that devices of several clients reach.
    SharedReference,
    /// Behind the text on a line.
    Pill,
}

impl Look {
    /// Whether others may lie in a box that looks so.
    pub fn is_background(self) -> bool {
        matches!(self, Self::Strip | Self::Frame | Self::Parent)
    }
}

/// A box.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Where.
    pub rect: Rect,
    /// What it stands for.
    pub look: Look,
    /// What is said of it where there is a pointer: may be long.
    pub title: String,
    /// Its text, inside.
    pub labels: Vec<Label>,
}

/// The style of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The picture's title.
    Title,
    /// The head of a column.
    Heading,
    /// A name.
    Name,
    /// What is said of it.
    Detail,
    /// What a person should look at.
    Warning,
    /// Rights, on a line.
    Rights,
}

impl Style {
    /// Its font and size.
    pub fn font(self) -> (Font, i32) {
        match self {
            Self::Title => (Font::Bold, 20),
            Self::Heading => (Font::Bold, 14),
            Self::Name => (Font::Mono, 13),
            Self::Detail => (Font::Sans, 12),
            Self::Warning => (Font::Bold, 12),
            Self::Rights => (Font::Mono, 12),
        }
    }

    /// The height of a line of it.
    pub fn height(self) -> i32 {
        self.font().1 * 5 / 4
    }

    /// The width of `text`.
    pub fn width(self, text: &str) -> i32 {
        let (font, size) = self.font();
        text::width(text, font, size)
    }

    /// `text`, cut to `most` pixels.
    pub fn fit(self, text: &str, most: i32) -> String {
        let (font, size) = self.font();
        text::fit(text, font, size, most)
    }

    /// `text` in lines of at most `most` pixels.
    pub fn wrap(self, text: &str, most: i32) -> Vec<String> {
        let (font, size) = self.font();
        text::wrap(text, font, size, most)
    }
}

/// A line of text.
#[derive(Debug, Clone)]
pub struct Label {
    /// Where; the text begins at the left.
    pub rect: Rect,
    /// The text.
    pub text: String,
    /// Its style.
    pub style: Style,
}

impl Label {
    /// `text` at `x` and `y`, cut to `most` pixels.
    pub fn new((x, y): Point, text: &str, style: Style, most: i32) -> Self {
        let text = style.fit(text, most);
        Self { rect: Rect { x, y, w: style.width(&text), h: style.height() }, text, style }
    }
}

/// What a wire stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Calls.
    Call,
    /// Notifications.
    Notification,
    /// A client has a device.
    Owns,
    /// DMA, from a device to its unit and on to what the client was granted.
    Dma,
    /// What the devices would do if the client had any, or will when it has.
    NoDma,
    /// Devices read a region.
    Read,
    /// They write it.
    Write,
    /// They do both.
    ReadWrite,
    /// Units and their tables; the server and its units.
    Control,
    /// Two boxes are one region.
    Same,
    /// Two boxes are one region, which devices of several clients reach.
    SameShared,
}

/// A grant as the picture names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The client's protection domain.
    pub client: String,
    /// The region.
    pub region: String,
    /// `r`, `w` or `rw`.
    pub rights: &'static str,
}

/// A line of horizontal and vertical pieces.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Its corners, ends included.
    pub points: Vec<Point>,
    /// What it stands for.
    pub line: Line,
    /// Whether it has an arrow at its first and at its last point.
    pub arrows: [bool; 2],
    /// What is said of it where there is a pointer.
    pub title: String,
    /// The grant that it shows.
    pub grant: Option<Grant>,
}

/// A place where wires that meet are joined.
#[derive(Debug, Clone, Copy)]
pub struct Dot {
    /// Where.
    pub at: Point,
    /// The wires.
    pub line: Line,
}

/// The picture.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// Width.
    pub width: i32,
    /// Height.
    pub height: i32,
    /// Boxes; what lies in another comes after it.
    pub shapes: Vec<Shape>,
    /// Wires.
    pub wires: Vec<Wire>,
    /// Where they are joined.
    pub dots: Vec<Dot>,
    /// Text outside boxes.
    pub labels: Vec<Label>,
    /// The picture's title, for those who do not see it.
    pub title: String,
    /// Where the samples of the legend stand: the box of each, and what it shows.
    pub samples: Vec<(Rect, Sample)>,
}

/// What a sample of the legend shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A wire with an arrow.
    Wire(Line),
    /// A box.
    Box(Look),
}
