//! Wires that join several boxes by one vertical piece, and where that piece is, so that none lies on another.

use super::scene::{Dot, Line, Point, Scene, Wire};

/// Pixels between vertical pieces.
pub const TRACK: i32 = 11;

/// Pixels that two pieces on one track keep apart.
const APART: i32 = 10;

/// A bus: what joins its ports.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Where it meets its boxes.
    pub ports: Vec<Port>,
    /// What it stands for.
    pub line: Line,
    /// What is said of it where there is a pointer.
    pub title: String,
}

/// Where a bus meets a box.
#[derive(Debug, Clone)]
pub struct Port {
    /// The place.
    pub at: Point,
    /// Whether there is an arrow into the box.
    pub arrow: bool,
    /// What is said of this branch.
    pub title: String,
}

impl Bus {
    /// The highest and the lowest y.
    fn span(&self) -> (i32, i32) {
        let ys = || self.ports.iter().map(|port| port.at.1);
        (ys().min().unwrap_or_default(), ys().max().unwrap_or_default())
    }

    /// Draws it with its vertical piece at `x`.
    pub fn draw(mut self, x: i32, scene: &mut Scene) {
        self.ports.sort_by_key(|port| port.at.1);
        let [first, middle @ .., last] = &*self.ports else { return };
        scene.wires.push(Wire {
            points: straight(vec![first.at, (x, first.at.1), (x, last.at.1), last.at]),
            line: self.line,
            arrows: [first.arrow, last.arrow],
            title: self.title.clone(),
            grant: None,
        });
        for port in middle {
            scene.dots.push(Dot { at: (x, port.at.1), line: self.line });
            scene.wires.push(Wire {
                points: vec![(x, port.at.1), port.at],
                line: self.line,
                arrows: [false, port.arrow],
                title: port.title.clone(),
                grant: None,
            });
        }
    }
}

/// `points` without those that the line goes straight through.
pub fn straight(points: Vec<Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = vec![];
    for point in points {
        if kept.last() == Some(&point) {
            continue;
        }
        if let [.., before, last] = &*kept
            && ((before.0 == last.0 && last.0 == point.0) || (before.1 == last.1 && last.1 == point.1))
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

/// The track of each bus, from 0, and how many there are: no two buses meet on one.
pub fn tracks(buses: &[Bus]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buses.len()).collect();
    // The short ones next to the boxes.
    order.sort_by_key(|&bus| (buses[bus].span().1 - buses[bus].span().0, bus));
    let mut taken: Vec<Vec<(i32, i32)>> = vec![];
    let mut tracks = vec![0; buses.len()];
    for bus in order {
        let (top, bottom) = buses[bus].span();
        let free = |spans: &Vec<(i32, i32)>| {
            spans
                .iter()
                .all(|&(other_top, other_bottom)| other_bottom + APART < top || bottom + APART < other_top)
        };
        let track = taken.iter().position(free).unwrap_or_else(|| {
            taken.push(vec![]);
            taken.len() - 1
        });
        taken[track].push((top, bottom));
        tracks[bus] = track;
    }
    (tracks, taken.len())
}
