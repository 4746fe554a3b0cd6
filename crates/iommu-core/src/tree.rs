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
//! Every operation is O(log n), without recursion, in the pool's memory. Walking back up after a change ends at
//! the first level that stays as it was.

use iommu_hal::{Geometry, IovaRange};

use crate::area::{AreaIndex, AreaPool, MAX_AREAS, NONE};

/// The most areas on a way down: an AVL tree of n nodes is at most 1.4405 log2(n + 2) high.
pub const MAX_DEPTH: usize = 36;

const _: () = assert!(MAX_AREAS.ilog2() as usize * 14405 / 10000 < MAX_DEPTH - 1);

/// The most holes of sufficient length that [`Tree::first_fit`] tries before it asks for holes so long that they
/// fit at any alignment.
pub const FIRST_FIT_TRIES: u32 = 16;

/// No area on the way down lies higher.
const NO_LEVEL: usize = usize::MAX;

/// A way down the tree: to an area, or to where one is to be linked. Any change of the tree makes it invalid.
pub struct Spot {
    path: [AreaIndex; MAX_DEPTH],
    depth: usize,
    /// The deepest level of the path whose area lies higher than the spot's end.
    successor: usize,
    /// The deepest area of the path that lies lower than the spot's end; kept by [`Tree::locate`] alone.
    predecessor: AreaIndex,
}

impl Spot {
    const ROOT: Self = Self { path: [NONE; MAX_DEPTH], depth: 0, successor: NO_LEVEL, predecessor: NONE };

    /// The area at the end of the way.
    #[inline]
    pub fn area(&self) -> AreaIndex {
        self.path[self.depth - 1]
    }
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

    /// The spot where an area at `range` belongs.
    ///
    /// # Errors
    /// An area that overlaps `range`.
    #[inline]
    pub fn locate(&self, pool: &AreaPool<'_>, range: IovaRange) -> Result<Spot, AreaIndex> {
        let mut spot = Spot::ROOT;
        let mut at = self.root;
        while at != NONE {
            spot.path[spot.depth] = at;
            let area = &pool[at];
            if range.last() < area.first {
                spot.successor = spot.depth;
                at = area.left;
            } else if area.last < range.first() {
                spot.predecessor = at;
                at = area.right;
            } else {
                return Err(at);
            }
            spot.depth += 1;
        }
        Ok(spot)
    }

    /// The way to the lowest area that shares an address with `range`.
    #[inline]
    pub fn find(&self, pool: &AreaPool<'_>, range: IovaRange) -> Option<Spot> {
        let mut spot = Spot::ROOT;
        let mut at = self.root;
        let (mut depth, mut higher) = (0, NO_LEVEL);
        while at != NONE {
            spot.path[depth] = at;
            depth += 1;
            let area = &pool[at];
            if area.last < range.first() {
                at = area.right;
                continue;
            }
            (spot.depth, spot.successor) = (depth, higher);
            if area.first <= range.first() {
                break;
            }
            higher = depth - 1;
            at = area.left;
        }
        (spot.depth != 0 && pool[spot.area()].first <= range.last()).then_some(spot)
    }

    /// The highest area that begins at or below `iova`.
    #[inline]
    pub fn highest_at(&self, pool: &AreaPool<'_>, iova: u64) -> Option<AreaIndex> {
        let mut highest = None;
        let mut at = self.root;
        while at != NONE {
            let area = &pool[at];
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
    pub fn first_fit(&self, pool: &AreaPool<'_>, within: IovaRange, length: u64, align: u64) -> Option<u64> {
        let place = |first: u64, last: u64| {
            let iova = first.max(within.first()).checked_next_multiple_of(align)?;
            (iova.checked_add(length - 1)? <= last.min(within.last())).then_some(iova)
        };
        let sure = length.saturating_add(align - (1 << Geometry::GRANULE_LG2));
        let mut above = within.first();
        for step in 0..=FIRST_FIT_TRIES {
            let wanted = if step == FIRST_FIT_TRIES { sure } else { length };
            let at = self.next_hole(pool, above, wanted);
            if at == NONE {
                break;
            }
            let area = &pool[at];
            if let Some(iova) = place(area.first - area.hole, area.first - 1) {
                return Some(iova);
            }
            above = area.first;
        }
        let tail = match self.highest_at(pool, u64::MAX) {
            Some(highest) => pool[highest].last.checked_add(1)?,
            None => 0,
        };
        place(tail, u64::MAX)
    }

    /// The lowest area that begins above `above` with a hole of at least `size` bytes in front, or [`NONE`].
    fn next_hole(&self, pool: &AreaPool<'_>, above: u64, size: u64) -> AreaIndex {
        let mut best = NONE;
        let mut at = self.root;
        while pool[at].max_hole >= size && at != NONE {
            let area = &pool[at];
            if area.first <= above {
                at = area.right;
                continue;
            }
            if area.hole >= size || pool[area.right].max_hole >= size {
                best = at;
            }
            at = area.left;
        }
        if best == NONE || pool[best].hole >= size {
            return best;
        }
        at = pool[best].right;
        loop {
            let area = &pool[at];
            if pool[area.left].max_hole >= size {
                at = area.left;
            } else if area.hole >= size {
                return at;
            } else {
                at = area.right;
            }
        }
    }

    /// Links `index`, an area in no tree, at the spot that [`Tree::locate`] gave for its range.
    #[inline]
    pub fn insert(&mut self, pool: &mut AreaPool<'_>, spot: &Spot, index: AreaIndex) {
        let below = if spot.predecessor == NONE { 0 } else { pool[spot.predecessor].last + 1 };
        let area = &mut pool[index];
        let (first, last) = (area.first, area.last);
        area.hole = first - below;
        area.max_hole = area.hole;
        area.left = NONE;
        area.right = NONE;
        area.height = 1;
        if spot.successor != NO_LEVEL {
            let next = &mut pool[spot.path[spot.successor]];
            next.hole = next.first - last - 1;
        }
        match spot.depth {
            0 => self.root = index,
            depth => {
                let parent = &mut pool[spot.path[depth - 1]];
                if first < parent.first {
                    parent.left = index;
                } else {
                    parent.right = index;
                }
                self.retrace(pool, spot, depth, spot.successor);
            }
        }
    }

    /// Takes out the area at the end of `spot`, which [`Tree::find`] gave; it stays taken in the pool.
    #[inline]
    pub fn remove(&mut self, pool: &mut AreaPool<'_>, mut spot: Spot) -> AreaIndex {
        let level = spot.depth - 1;
        let index = spot.path[level];
        let area = &pool[index];
        let (left, right, hole) = (area.left, area.right, area.hole);
        let (height, max_hole) = (area.height, area.max_hole);
        let freed = area.last - area.first;
        if right == NONE {
            if spot.successor != NO_LEVEL {
                pool[spot.path[spot.successor]].hole += hole + freed + 1;
            }
            self.relink(pool, &spot, level, index, left);
            self.retrace(pool, &spot, level, spot.successor);
            return index;
        }
        // The successor, the lowest on the right, takes the area's place.
        let mut at = right;
        while at != NONE {
            spot.path[spot.depth] = at;
            spot.depth += 1;
            at = pool[at].left;
        }
        let next = spot.area();
        let orphan = pool[next].right;
        let successor = &mut pool[next];
        successor.hole += hole + freed + 1;
        successor.left = left;
        // As the level stood, so that the walk back up sees whether it changed.
        successor.height = height;
        successor.max_hole = max_hole;
        if next != right {
            successor.right = right;
            pool[spot.path[spot.depth - 2]].left = orphan;
        }
        spot.path[level] = next;
        self.relink(pool, &spot, level, index, next);
        self.retrace(pool, &spot, spot.depth - 1, level);
        index
    }

    /// Puts `new` where `old`, at `level` of the path, hung.
    fn relink(&mut self, pool: &mut AreaPool<'_>, spot: &Spot, level: usize, old: AreaIndex, new: AreaIndex) {
        if level == 0 {
            self.root = new;
            return;
        }
        let parent = &mut pool[spot.path[level - 1]];
        if parent.left == old {
            parent.left = new;
        } else {
            parent.right = new;
        }
    }

    /// Restores balance and largest holes on the first `depth` levels of the path, from below; every level down to
    /// `pinned` has changed by itself.
    fn retrace(&mut self, pool: &mut AreaPool<'_>, spot: &Spot, depth: usize, pinned: usize) {
        for level in (0..depth).rev() {
            let at = spot.path[level];
            let before = (pool[at].height, pool[at].max_hole);
            let top = balance(pool, at);
            if top != at {
                self.relink(pool, spot, level, at, top);
            }
            if (pool[top].height, pool[top].max_hole) == before && level <= pinned {
                return;
            }
        }
    }

    /// Panics unless order, holes, balance and the augmentation hold; the number of areas and the height.
    #[cfg(test)]
    pub(crate) fn check(&self, pool: &AreaPool<'_>) -> (usize, u8) {
        fn walk(pool: &AreaPool<'_>, at: AreaIndex, end: &mut Option<u64>) -> (usize, u8, u64) {
            if at == NONE {
                return (0, 0, 0);
            }
            let area = &pool[at];
            let (left, left_height, left_hole) = walk(pool, area.left, end);
            let below = end.map_or(0, |last| last + 1);
            assert!(area.first >= below && area.first <= area.last);
            assert_eq!(area.hole, area.first - below);
            *end = Some(area.last);
            let (right, right_height, right_hole) = walk(pool, area.right, end);
            assert!(left_height.abs_diff(right_height) <= 1);
            assert_eq!(area.height, left_height.max(right_height) + 1);
            assert_eq!(area.max_hole, area.hole.max(left_hole).max(right_hole));
            (left + right + 1, area.height, area.max_hole)
        }
        assert_eq!((pool[NONE].height, pool[NONE].max_hole), (0, 0));
        let (count, height, _) = walk(pool, self.root, &mut None);
        (count, height)
    }
}

/// Restores the balance of the subtree `at`, off by at most one level, and what it knows of itself; the new top.
#[inline]
fn balance(pool: &mut AreaPool<'_>, at: AreaIndex) -> AreaIndex {
    let (left, right) = (pool[at].left, pool[at].right);
    let (left_height, right_height) = (pool[left].height, pool[right].height);
    if left_height > right_height + 1 {
        let (outer, inner) = (pool[left].left, pool[left].right);
        if pool[outer].height < pool[inner].height {
            pool[at].left = rotate_left(pool, left);
        }
        rotate_right(pool, at)
    } else if right_height > left_height + 1 {
        let (inner, outer) = (pool[right].left, pool[right].right);
        if pool[outer].height < pool[inner].height {
            pool[at].right = rotate_right(pool, right);
        }
        rotate_left(pool, at)
    } else {
        refresh(pool, at);
        at
    }
}

fn rotate_left(pool: &mut AreaPool<'_>, at: AreaIndex) -> AreaIndex {
    let top = pool[at].right;
    pool[at].right = pool[top].left;
    pool[top].left = at;
    refresh(pool, at);
    refresh(pool, top);
    top
}

fn rotate_right(pool: &mut AreaPool<'_>, at: AreaIndex) -> AreaIndex {
    let top = pool[at].left;
    pool[at].left = pool[top].right;
    pool[top].right = at;
    refresh(pool, at);
    refresh(pool, top);
    top
}

/// Height and largest hole of `at`, from its children's.
#[inline]
fn refresh(pool: &mut AreaPool<'_>, at: AreaIndex) {
    let (left, right) = (&pool[pool[at].left], &pool[pool[at].right]);
    let height = left.height.max(right.height) + 1;
    let below = left.max_hole.max(right.max_hole);
    let area = &mut pool[at];
    area.height = height;
    area.max_hole = area.hole.max(below);
}

#[cfg(test)]
mod tests;
