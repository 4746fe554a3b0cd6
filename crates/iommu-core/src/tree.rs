//! The tree of one address space's areas.
//!
//! An AVL tree over disjoint closed intervals. Each area knows the hole directly in front of it and the largest
//! such hole in its subtree; the hole above the highest area follows from that area. What was weighed:
//! - AVL over red-black and weight-balanced: the lowest worst-case height (1.44 log2 n, 20 for 16,384 areas) for
//!   one byte an area, and a tree that is read more often than it is turned.
//! - A path over parent links: 64 bytes an area instead of 72, and a rotation stores two links instead of five. The
//!   path found by a look-up serves the change that follows it.
//! - Binary over B-tree: no areas are moved, so an index stays an area's name while it lives, and the augmentation
//!   is two comparisons a level.
//! - The sentinel at [`NONE`] has height and holes of zero: no branch asks for an absent child.
//! - The newest area is linked only when something else is asked for: a buffer that is mapped for one transfer and
//!   unmapped after it comes and goes without a change of the tree, and the next one in its place needs no walk.
//!
//! Every operation is O(log n), without recursion, in the areas's memory. Walking back up after a change ends at
//! the first level that stays as it was.

use iommu_hal::{Geometry, IovaRange};

use crate::area::{Area, AreaIndex, LEFT, MAX_AREAS, NONE, RIGHT};

/// The most areas on a way down: an AVL tree of n nodes is at most 1.4405 log2(n + 2) high.
pub const MAX_DEPTH: usize = 36;

const _: () = assert!(MAX_AREAS.ilog2() as usize * 14405 / 10000 < MAX_DEPTH - 1);

/// The most holes of sufficient length that [`Tree::first_fit`] tries before it asks for holes so long that they
/// fit at any alignment.
pub const FIRST_FIT_TRIES: u32 = 16;

/// No area on the way down lies on this side.
const NO_LEVEL: usize = usize::MAX;

/// The areas of one address space.
#[derive(Debug)]
pub struct Tree {
    root: AreaIndex,
    /// An area that is not linked yet; [`Tree::path`] leads to where it belongs.
    newest: AreaIndex,
    /// A way down the tree, in its first `depth` steps. Any change of the tree makes it invalid.
    path: [AreaIndex; MAX_DEPTH],
    depth: usize,
    /// The deepest levels of the path whose areas begin at or below, and above, what was looked for.
    lower: usize,
    higher: usize,
    /// The level of the area that was found to be taken out.
    found: usize,
    /// The free addresses that the path leads to, or `None` where it leads to an area or is invalid.
    gap: Option<IovaRange>,
}

impl Tree {
    /// No areas.
    pub const EMPTY: Self = Self {
        root: NONE,
        newest: NONE,
        path: [NONE; MAX_DEPTH],
        depth: 0,
        lower: NO_LEVEL,
        higher: NO_LEVEL,
        found: NO_LEVEL,
        gap: None,
    };

    /// Whether there are no areas.
    pub const fn is_empty(&self) -> bool {
        self.root == NONE && self.newest == NONE
    }

    /// Finds where an area at `range` belongs, for [`Tree::insert`].
    ///
    /// # Errors
    /// An area that overlaps `range`.
    #[inline]
    pub fn locate(&mut self, areas: &mut [Area], range: IovaRange) -> Result<(), AreaIndex> {
        if self.newest != NONE {
            if areas[self.newest as usize].range().overlaps(range) {
                return Err(self.newest);
            }
            self.link_newest(areas);
        }
        if self.gap.is_some_and(|gap| gap.covers(range)) {
            return Ok(());
        }
        self.descend(areas, range.first());
        let (mut first, mut last) = (0, u64::MAX);
        if let Some(index) = self.step(self.lower) {
            let below = areas[index as usize].last;
            if below >= range.first() {
                return Err(index);
            }
            first = below + 1;
        }
        if let Some(index) = self.step(self.higher) {
            let above = areas[index as usize].first;
            if above <= range.last() {
                return Err(index);
            }
            last = above - 1;
        }
        self.gap = IovaRange::new(first, last);
        Ok(())
    }

    /// Adds `index`, an area that is not in the tree, where [`Tree::locate`] has just found it room.
    #[inline]
    pub fn insert(&mut self, index: AreaIndex) {
        assert!(self.newest == NONE && self.gap.is_some());
        self.newest = index;
    }

    /// Finds the lowest area that shares an address with `range`, for [`Tree::remove`].
    #[inline]
    pub fn find(&mut self, areas: &mut [Area], range: IovaRange) -> Option<AreaIndex> {
        if self.newest != NONE {
            let newest = &areas[self.newest as usize];
            if newest.first == range.first() && newest.last == range.last() {
                return Some(self.newest);
            }
            self.link_newest(areas);
        }
        self.descend(areas, range.first());
        self.found = self.lower;
        if let Some(index) = self.step(self.found)
            && areas[index as usize].last >= range.first()
        {
            return Some(index);
        }
        self.found = self.higher;
        self.step(self.found).filter(|&index| areas[index as usize].first <= range.last())
    }

    /// Takes out the area that [`Tree::find`] has just found; it stays taken in the pool.
    #[inline]
    pub fn remove(&mut self, areas: &mut [Area]) -> AreaIndex {
        if self.newest != NONE { core::mem::replace(&mut self.newest, NONE) } else { self.unlink(areas) }
    }

    /// The area at a level of the path, unless it is [`NO_LEVEL`].
    #[inline]
    fn step(&self, level: usize) -> Option<AreaIndex> {
        self.path.get(level).copied()
    }

    /// Makes the path that to where an area that begins at `iova` is, or to where it would be linked.
    #[inline]
    fn descend(&mut self, areas: &[Area], iova: u64) {
        self.gap = None;
        let mut at = self.root;
        let (mut depth, mut lower, mut higher) = (0, NO_LEVEL, NO_LEVEL);
        for step in &mut self.path {
            if at == NONE {
                break;
            }
            *step = at;
            let area = &areas[at as usize];
            let right = area.first <= iova;
            if right {
                lower = depth;
            } else {
                higher = depth;
            }
            at = area.links[usize::from(right)];
            depth += 1;
        }
        (self.depth, self.lower, self.higher) = (depth, lower, higher);
    }

    /// The lowest area that shares an address with `range`.
    #[inline]
    pub fn lowest_in(&self, areas: &[Area], range: IovaRange) -> Option<AreaIndex> {
        let mut lowest = None;
        let mut at = self.root;
        while at != NONE {
            let area = &areas[at as usize];
            if area.last < range.first() {
                at = area.links[RIGHT];
            } else {
                lowest = (area.first <= range.last()).then_some(at);
                at = area.links[LEFT];
            }
        }
        let newest = Some(self.newest)
            .filter(|&newest| newest != NONE && areas[newest as usize].range().overlaps(range));
        let linked = lowest.into_iter();
        linked.chain(newest).min_by_key(|&index| areas[index as usize].first)
    }

    /// The highest area that begins at or below `iova`.
    #[inline]
    pub fn highest_at(&self, areas: &[Area], iova: u64) -> Option<AreaIndex> {
        let newest =
            Some(self.newest).filter(|&newest| newest != NONE && areas[newest as usize].first <= iova);
        let linked = self.highest_linked_at(areas, iova).into_iter();
        linked.chain(newest).max_by_key(|&index| areas[index as usize].first)
    }

    fn highest_linked_at(&self, areas: &[Area], iova: u64) -> Option<AreaIndex> {
        let mut highest = None;
        let mut at = self.root;
        while at != NONE {
            let area = &areas[at as usize];
            if area.first <= iova {
                highest = Some(at);
                at = area.links[RIGHT];
            } else {
                at = area.links[LEFT];
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
        let fit = self.first_linked_fit(areas, within, length, align)?;
        let newest = areas[self.newest as usize].range();
        if self.newest == NONE || newest.last() < fit || newest.first() > fit + (length - 1) {
            return Some(fit);
        }
        // Where the newest area is, nothing fits below it.
        let above = IovaRange::new(newest.last().checked_add(1)?, within.last())?;
        self.first_linked_fit(areas, above, length, align)
    }

    /// As [`Tree::first_fit`], as if the newest area were not there.
    fn first_linked_fit(&self, areas: &[Area], within: IovaRange, length: u64, align: u64) -> Option<u64> {
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
        let tail = match self.highest_linked_at(areas, u64::MAX) {
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
                at = area.links[RIGHT];
                continue;
            }
            if area.hole >= size || areas[area.links[RIGHT] as usize].max_hole >= size {
                best = at;
            }
            at = area.links[LEFT];
        }
        if best == NONE || areas[best as usize].hole >= size {
            return best;
        }
        at = areas[best as usize].links[RIGHT];
        loop {
            let area = &areas[at as usize];
            if areas[area.links[LEFT] as usize].max_hole >= size {
                at = area.links[LEFT];
            } else if area.hole >= size {
                return at;
            } else {
                at = area.links[RIGHT];
            }
        }
    }

    /// Links the newest area where the path leads to.
    fn link_newest(&mut self, areas: &mut [Area]) {
        let index = core::mem::replace(&mut self.newest, NONE);
        self.gap = None;
        let Area { first, last, .. } = areas[index as usize];
        // The first free address below.
        let free = if let Some(next) = self.step(self.higher) {
            let next = &mut areas[next as usize];
            let free = next.first - next.hole;
            next.hole = next.first - last - 1;
            free
        } else if let Some(below) = self.step(self.lower) {
            areas[below as usize].last + 1
        } else {
            0
        };
        let area = &mut areas[index as usize];
        area.hole = first - free;
        area.max_hole = area.hole;
        area.links = [NONE; 2];
        area.height = 1;
        if self.depth == 0 {
            self.root = index;
            return;
        }
        let parent = &mut areas[self.path[self.depth - 1] as usize];
        parent.links[usize::from(parent.first < first)] = index;
        self.retrace(areas, self.higher);
    }

    /// Takes out the area at level [`Tree::found`] of the path.
    fn unlink(&mut self, areas: &mut [Area]) -> AreaIndex {
        self.gap = None;
        let level = self.found;
        let index = self.path[level];
        let area = &areas[index as usize];
        let Area { first, links: [left, right], height, max_hole, .. } = *area;
        // Only an area without neighbours can free 2^64 bytes.
        let freed = (area.hole + (area.last - area.first)).wrapping_add(1);
        self.depth = level;
        let successor;
        if right == NONE {
            // What is next higher is the last from which the path turned left.
            let is_higher = |&level: &usize| areas[self.path[level] as usize].first > first;
            successor = (0..level).rev().find(is_higher).unwrap_or(NO_LEVEL);
            if let Some(next) = self.step(successor) {
                areas[next as usize].hole += freed;
            }
            self.relink(areas, level, index, left);
        } else {
            // The successor, the lowest on the right, takes the area's place.
            let mut at = right;
            let mut next = right;
            while at != NONE {
                self.depth += 1;
                self.path[self.depth] = at;
                next = at;
                at = areas[at as usize].links[LEFT];
            }
            let area = &mut areas[next as usize];
            let orphan = area.links[RIGHT];
            area.hole += freed;
            area.links[LEFT] = left;
            // As the level stood, so that the walk back up sees whether it changed.
            area.height = height;
            area.max_hole = max_hole;
            if next != right {
                area.links[RIGHT] = right;
                areas[self.path[self.depth - 1] as usize].links[LEFT] = orphan;
            }
            self.relink(areas, level, index, next);
            self.path[level] = next;
            successor = level;
        }
        self.retrace(areas, successor);
        index
    }

    /// Puts `new` where `old`, at `level` of the path, hung.
    #[inline]
    fn relink(&mut self, areas: &mut [Area], level: usize, old: AreaIndex, new: AreaIndex) {
        if level == 0 {
            self.root = new;
            return;
        }
        let parent = &mut areas[self.path[level - 1] as usize];
        parent.links[usize::from(parent.links[RIGHT] == old)] = new;
    }

    /// Restores balance and largest holes along the path, from below. The level `successor`, whose hole has changed,
    /// and those under it are not skipped.
    #[inline]
    fn retrace(&mut self, areas: &mut [Area], successor: usize) {
        for level in (0..self.depth).rev() {
            let at = self.path[level];
            let area = &areas[at as usize];
            let (left, right) = (&areas[area.links[LEFT] as usize], &areas[area.links[RIGHT] as usize]);
            if left.height.abs_diff(right.height) > 1 {
                let top = rotate(areas, at);
                self.relink(areas, level, at, top);
                continue;
            }
            let height = left.height.max(right.height) + 1;
            let max_hole = area.hole.max(left.max_hole).max(right.max_hole);
            let area = &mut areas[at as usize];
            if area.height == height && area.max_hole == max_hole && level <= successor {
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
            let (left, left_height, left_hole) = walk(areas, area.links[LEFT], end);
            let below = end.map_or(0, |last| last + 1);
            assert!(area.first >= below && area.first <= area.last);
            assert_eq!(area.hole, area.first - below);
            *end = Some(area.last);
            let (right, right_height, right_hole) = walk(areas, area.links[RIGHT], end);
            assert!(left_height.abs_diff(right_height) <= 1);
            assert_eq!(area.height, left_height.max(right_height) + 1);
            assert_eq!(area.max_hole, area.hole.max(left_hole).max(right_hole));
            (left + right + 1, area.height, area.max_hole)
        }
        assert_eq!((areas[NONE as usize].height, areas[NONE as usize].max_hole), (0, 0));
        let (count, height, _) = walk(areas, self.root, &mut None);
        (count + usize::from(self.newest != NONE), height)
    }
}

/// Restores the balance of the subtree `at`, off by one level too many; the new top.
#[inline(never)]
fn rotate(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let height = |at: AreaIndex| areas[at as usize].height;
    let Area { links: [left, right], .. } = areas[at as usize];
    if height(left) > height(right) {
        if height(areas[left as usize].links[LEFT]) < height(areas[left as usize].links[RIGHT]) {
            areas[at as usize].links[LEFT] = rotate_left(areas, left);
        }
        rotate_right(areas, at)
    } else {
        if height(areas[right as usize].links[RIGHT]) < height(areas[right as usize].links[LEFT]) {
            areas[at as usize].links[RIGHT] = rotate_right(areas, right);
        }
        rotate_left(areas, at)
    }
}

fn rotate_left(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let top = areas[at as usize].links[RIGHT];
    areas[at as usize].links[RIGHT] = areas[top as usize].links[LEFT];
    areas[top as usize].links[LEFT] = at;
    refresh(areas, at);
    refresh(areas, top);
    top
}

fn rotate_right(areas: &mut [Area], at: AreaIndex) -> AreaIndex {
    let top = areas[at as usize].links[LEFT];
    areas[at as usize].links[LEFT] = areas[top as usize].links[RIGHT];
    areas[top as usize].links[RIGHT] = at;
    refresh(areas, at);
    refresh(areas, top);
    top
}

/// Height and largest hole of `at`, from its children's.
fn refresh(areas: &mut [Area], at: AreaIndex) {
    let area = &areas[at as usize];
    let (left, right) = (&areas[area.links[LEFT] as usize], &areas[area.links[RIGHT] as usize]);
    let height = left.height.max(right.height) + 1;
    let max_hole = area.hole.max(left.max_hole).max(right.max_hole);
    let area = &mut areas[at as usize];
    (area.height, area.max_hole) = (height, max_hole);
}

#[cfg(test)]
mod tests;
