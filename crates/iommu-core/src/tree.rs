//! The tree of one address space's areas.
//!
//! An AVL tree over disjoint closed intervals. Each area knows the hole directly in front of it and the largest
//! such hole in its subtree; the hole above the highest area follows from that area. What was weighed:
//! - AVL over red-black and weight-balanced: the lowest worst-case height (1.44 log2 n, 20 for 16,384 areas) for
//!   one byte an area, and a tree that is read more often than it is turned.
//! - A path on the stack over parent links: 64 bytes an area instead of 72, and a rotation stores two links instead
//!   of five. A path found by a look-up serves the change that follows it.
//! - Binary over B-tree: no areas are moved, so an index stays an area's name while it lives, and the augmentation
//!   is two comparisons a level.
//! - The sentinel at [`NONE`] has height and holes of zero: no branch asks for an absent child.
//!
//! Every operation is O(log n), without recursion, in the areas's memory. Walking back up after a change ends at
//! the first level that stays as it was.

use iommu_hal::{Geometry, IovaRange};

use crate::area::{Area, AreaIndex, MAX_AREAS, NONE};

/// The most areas on a way down: an AVL tree of n nodes is at most 1.4405 log2(n + 2) high.
pub const MAX_DEPTH: usize = 36;

const _: () = assert!(MAX_AREAS.ilog2() as usize * 14405 / 10000 < MAX_DEPTH - 1);

/// The most holes of sufficient length that [`Tree::first_fit`] tries before it asks for holes so long that they
/// fit at any alignment.
pub const FIRST_FIT_TRIES: u32 = 16;

/// No area on the way down lies higher.
const NO_LEVEL: usize = usize::MAX;

/// A way down the tree: to an area, or to where one is to be linked. Any change of the tree makes it invalid.
#[derive(Debug)]
pub struct Spot {
    path: [AreaIndex; MAX_DEPTH],
    depth: usize,
    /// The deepest level of the path whose area lies higher than the spot's end.
    successor: usize,
}

impl Spot {
    /// A way to nowhere, to be overwritten.
    pub const NEW: Self = Self { path: [NONE; MAX_DEPTH], depth: 0, successor: NO_LEVEL };
}

/// The areas of one address space.
#[derive(Debug)]
pub struct Tree {
    root: AreaIndex,
}

impl Tree {
    /// No areas.
    pub const EMPTY: Self = Self { root: NONE };

    /// Whether there are no areas.
    pub const fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// Makes `spot` the way to where an area at `range` belongs.
    ///
    /// # Errors
    /// An area that overlaps `range`.
    #[inline]
    pub fn locate(&self, areas: &[Area], range: IovaRange, spot: &mut Spot) -> Result<(), AreaIndex> {
        let mut at = self.root;
        let (mut depth, mut successor) = (0, NO_LEVEL);
        while at != NONE {
            spot.path[depth] = at;
            let area = &areas[at as usize];
            if range.last() < area.first {
                successor = depth;
                at = area.left;
            } else if area.last < range.first() {
                at = area.right;
            } else {
                return Err(at);
            }
            depth += 1;
        }
        (spot.depth, spot.successor) = (depth, successor);
        Ok(())
    }

    /// Makes `spot` the way to the lowest area that shares an address with `range`, and returns that area; without
    /// one, `spot` leads nowhere.
    #[inline]
    pub fn find(&self, areas: &[Area], range: IovaRange, spot: &mut Spot) -> Option<AreaIndex> {
        let mut at = self.root;
        let (mut depth, mut successor) = (0, NO_LEVEL);
        let mut lowest = None;
        while at != NONE {
            spot.path[depth] = at;
            depth += 1;
            let area = &areas[at as usize];
            if area.last < range.first() {
                at = area.right;
                continue;
            }
            (spot.depth, spot.successor) = (depth, successor);
            lowest = (area.first <= range.last()).then_some(at);
            if area.first <= range.first() {
                break;
            }
            successor = depth - 1;
            at = area.left;
        }
        lowest
    }

    /// The lowest area that shares an address with `range`.
    #[inline]
    pub fn lowest_in(&self, areas: &[Area], range: IovaRange) -> Option<AreaIndex> {
        let mut lowest = None;
        let mut at = self.root;
        while at != NONE {
            let area = &areas[at as usize];
            if area.last < range.first() {
                at = area.right;
            } else {
                lowest = (area.first <= range.last()).then_some(at);
                at = area.left;
            }
        }
        lowest
    }

    /// The highest area that begins at or below `iova`.
    #[inline]
    pub fn highest_at(&self, areas: &[Area], iova: u64) -> Option<AreaIndex> {
        let mut highest = None;
        let mut at = self.root;
        while at != NONE {
            let area = &areas[at as usize];
            if area.first <= iova {
                highest = Some(at);
                at = area.right;
            } else {
                at = area.left;
            }
        }
        highest
    }

    /// The lowest multiple of `align` (a power of two, at least a granule) at which `length` bytes (whole
    /// granules) are free inside `within`.
    ///
    /// Of the holes that are long enough, the first [`FIRST_FIT_TRIES`] are tried; past them the first that is
    /// longer by what alignment can cost. Each step is one way down, so the search is logarithmic. For an `align` of
    /// one granule the first try fits, and the answer is always the lowest; for others it may, past
    /// that many unaligned holes of nearly this length, be a higher one, or `None` where only such holes are left.
    pub fn first_fit(&self, areas: &[Area], within: IovaRange, length: u64, align: u64) -> Option<u64> {
        let place = |first: u64, last: u64| {
            let iova = first.max(within.first()).checked_next_multiple_of(align)?;
            (iova.checked_add(length - 1)? <= last.min(within.last())).then_some(iova)
        };
        let sure = length.saturating_add(align - (1 << Geometry::GRANULE_LG2));
        let mut above = within.first();
        for step in 0..=FIRST_FIT_TRIES {
            let wanted = if step == FIRST_FIT_TRIES { sure } else { length };
            let at = self.next_hole(areas, above, wanted);
            if at == NONE {
                break;
            }
            let area = &areas[at as usize];
            if let Some(iova) = place(area.first - area.hole, area.first - 1) {
                return Some(iova);
            }
            above = area.first;
        }
        let tail = match self.highest_at(areas, u64::MAX) {
            Some(highest) => areas[highest as usize].last.checked_add(1)?,
            None => 0,
        };
        place(tail, u64::MAX)
    }

    /// The lowest area that begins above `above` with a hole of at least `size` bytes in front, or [`NONE`].
    fn next_hole(&self, areas: &[Area], above: u64, size: u64) -> AreaIndex {
        let mut best = NONE;
        let mut at = self.root;
        while areas[at as usize].max_hole >= size && at != NONE {
            let area = &areas[at as usize];
            if area.first <= above {
                at = area.right;
                continue;
            }
            if area.hole >= size || areas[area.right as usize].max_hole >= size {
                best = at;
            }
            at = area.left;
        }
        if best == NONE || areas[best as usize].hole >= size {
            return best;
        }
        at = areas[best as usize].right;
        loop {
            let area = &areas[at as usize];
            if areas[area.left as usize].max_hole >= size {
                at = area.left;
            } else if area.hole >= size {
                return at;
            } else {
                at = area.right;
            }
        }
    }

    /// Links `index`, an area in no tree, at the spot that [`Tree::locate`] gave for its range.
    #[inline(always)]
    pub fn insert(&mut self, areas: &mut [Area], spot: &Spot, index: AreaIndex) {
        let Area { first, last, .. } = areas[index as usize];
        let parent = if spot.depth == 0 { NONE } else { spot.path[spot.depth - 1] };
        // The first free address below.
        let free = if spot.successor != NO_LEVEL {
            let next = &mut areas[spot.path[spot.successor] as usize];
            let free = next.first - next.hole;
            next.hole = next.first - last - 1;
            free
        } else if parent != NONE {
            // Every turn was to the right.
            areas[parent as usize].last + 1
        } else {
            0
        };
        let area = &mut areas[index as usize];
        area.hole = first - free;
        area.max_hole = area.hole;
        area.left = NONE;
        area.right = NONE;
        area.height = 1;
        if parent == NONE {
            self.root = index;
            return;
        }
        let parent = &mut areas[parent as usize];
        if first < parent.first {
            parent.left = index;
        } else {
            parent.right = index;
        }
        self.retrace(areas, spot);
    }

    /// Takes out the area at the end of `spot`, which [`Tree::find`] has found; it stays taken in the areas.
    #[inline]
    pub fn remove(&mut self, areas: &mut [Area], spot: &mut Spot) -> AreaIndex {
        let level = spot.depth - 1;
        let index = spot.path[level];
        let area = &areas[index as usize];
        let (left, right, height, max_hole) = (area.left, area.right, area.height, area.max_hole);
        // Only an area without neighbours can free 2^64 bytes.
        let freed = (area.hole + (area.last - area.first)).wrapping_add(1);
        if right == NONE {
            if spot.successor != NO_LEVEL {
                areas[spot.path[spot.successor] as usize].hole += freed;
            }
            self.relink(areas, spot, level, index, left);
            spot.depth = level;
        } else {
            // The successor, the lowest on the right, takes the area's place.
            let mut at = right;
            while at != NONE {
                spot.path[spot.depth] = at;
                spot.depth += 1;
                at = areas[at as usize].left;
            }
            spot.depth -= 1;
            let next = spot.path[spot.depth];
            let successor = &mut areas[next as usize];
            let orphan = successor.right;
            successor.hole += freed;
            successor.left = left;
            // As the level stood, so that the walk back up sees whether it changed.
            successor.height = height;
            successor.max_hole = max_hole;
            if next != right {
                successor.right = right;
                areas[spot.path[spot.depth - 1] as usize].left = orphan;
            }
            self.relink(areas, spot, level, index, next);
            spot.path[level] = next;
            spot.successor = level;
        }
        self.retrace(areas, spot);
        index
    }

    /// Puts `new` where `old`, at `level` of the path, hung.
    #[inline]
    fn relink(&mut self, areas: &mut [Area], spot: &Spot, level: usize, old: AreaIndex, new: AreaIndex) {
        if level == 0 {
            self.root = new;
            return;
        }
        let parent = &mut areas[spot.path[level - 1] as usize];
        if parent.left == old {
            parent.left = new;
        } else {
            parent.right = new;
        }
    }

    /// Restores balance and largest holes along the path, from below. The level of the successor, whose hole has
    /// changed, and those under it are not skipped.
    #[inline(always)]
    fn retrace(&mut self, areas: &mut [Area], spot: &Spot) {
        for level in (0..spot.depth).rev() {
            let at = spot.path[level];
            let area = &areas[at as usize];
            let (left, right) = (&areas[area.left as usize], &areas[area.right as usize]);
            if left.height.abs_diff(right.height) > 1 {
                let top = rotate(areas, at);
                self.relink(areas, spot, level, at, top);
                continue;
            }
            let height = left.height.max(right.height) + 1;
            let max_hole = area.hole.max(left.max_hole).max(right.max_hole);
            let area = &mut areas[at as usize];
            if area.height == height && area.max_hole == max_hole && level <= spot.successor {
                return;
            }
            (area.height, area.max_hole) = (height, max_hole);
        }
    }

    /// Panics unless order, holes, balance and the augmentation hold; the number of areas and the height.
    #[cfg(test)]
    pub(crate) fn check(&self, areas: &[Area]) -> (usize, u8) {
        fn walk(areas: &[Area], at: AreaIndex, end: &mut Option<u64>) -> (usize, u8, u64) {
            if at == NONE {
                return (0, 0, 0);
            }
            let area = &areas[at as usize];
            let (left, left_height, left_hole) = walk(areas, area.left, end);
            let below = end.map_or(0, |last| last + 1);
            assert!(area.first >= below && area.first <= area.last);
            assert_eq!(area.hole, area.first - below);
            *end = Some(area.last);
            let (right, right_height, right_hole) = walk(areas, area.right, end);
            assert!(left_height.abs_diff(right_height) <= 1);
            assert_eq!(area.height, left_height.max(right_height) + 1);
            assert_eq!(area.max_hole, area.hole.max(left_hole).max(right_hole));
            (left + right + 1, area.height, area.max_hole)
        }
        assert_eq!((areas[NONE as usize].height, areas[NONE as usize].max_hole), (0, 0));
        let (count, height, _) = walk(areas, self.root, &mut None);
        (count, height)
    }
}

/// Restores the balance of the subtree `at`, off by one level too many; the new top.
#[inline(never)]
fn rotate(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let height = |at: AreaIndex| areas[at as usize].height;
    let Area { left, right, .. } = areas[at as usize];
    if height(left) > height(right) {
        if height(areas[left as usize].left) < height(areas[left as usize].right) {
            areas[at as usize].left = rotate_left(areas, left);
        }
        rotate_right(areas, at)
    } else {
        if height(areas[right as usize].right) < height(areas[right as usize].left) {
            areas[at as usize].right = rotate_right(areas, right);
        }
        rotate_left(areas, at)
    }
}

fn rotate_left(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let top = areas[at as usize].right;
    areas[at as usize].right = areas[top as usize].left;
    areas[top as usize].left = at;
    refresh(areas, at);
    refresh(areas, top);
    top
}

fn rotate_right(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let top = areas[at as usize].left;
    areas[at as usize].left = areas[top as usize].right;
    areas[top as usize].right = at;
    refresh(areas, at);
    refresh(areas, top);
    top
}

/// Height and largest hole of `at`, from its children's.
fn refresh(areas: &mut [Area], at: AreaIndex) {
    let area = &areas[at as usize];
    let (left, right) = (&areas[area.left as usize], &areas[area.right as usize]);
    let height = left.height.max(right.height) + 1;
    let max_hole = area.hole.max(left.max_hole).max(right.max_hole);
    let area = &mut areas[at as usize];
    (area.height, area.max_hole) = (height, max_hole);
}

#[cfg(test)]
mod tests;
