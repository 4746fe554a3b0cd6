//! Areas, and the fixed pool that holds them all.

use core::fmt;
use core::ops::{Deref, DerefMut};

use iommu_hal::{IovaRange, Rights};
use iommu_pgtable::Reservation;

/// Most areas that a pool makes use of, whatever its storage: it bounds the height of a tree
/// ([`MAX_DEPTH`](crate::tree::MAX_DEPTH)).
pub const MAX_AREAS: usize = 1 << 24;

/// The place of an area in its pool; [`NONE`] names none.
pub type AreaIndex = u32;

/// No area. The element at this place stands for the empty subtree, so that a walk need not ask before it reads.
pub const NONE: AreaIndex = 0;

/// Which child is the lower one.
pub(crate) const LEFT: usize = 0;
/// Which child is the higher one.
pub(crate) const RIGHT: usize = 1;

/// How far an area has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its tables are written.
    Live,
    /// Everything is reserved; [`Area::cursor`] bytes are written.
    Filling,
    /// [`Area::cursor`] bytes are taken out, and an invalidation may be outstanding. Its addresses stay taken
    /// until that has completed.
    Removing,
}

/// An interval of IO virtual addresses and what is mapped there, with its links in the tree.
///
/// 64 bytes, all zero in [`Area::NEW`], so that a static pool lies in `.bss`.
pub struct Area {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Free bytes directly in front.
    pub(crate) hole: u64,
    /// The largest `hole` in the subtree.
    pub(crate) max_hole: u64,
    pub(crate) offset: u64,
    pub(crate) cursor: u64,
    /// The children, at [`LEFT`] and [`RIGHT`].
    pub(crate) links: [AreaIndex; 2],
    /// Frames held for the rest of a fill.
    pub(crate) reserved: Reservation,
    pub(crate) height: u8,
    pub(crate) slot: u8,
    flags: u8,
}

const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const FILLING: u8 = 1 << 2;
const REMOVING: u8 = 1 << 3;

const _: () = assert!(size_of::<Area>() == 64);

impl Area {
    /// An area that is not in use.
    pub const NEW: Self = Self {
        first: 0,
        last: 0,
        hole: 0,
        max_hole: 0,
        offset: 0,
        cursor: 0,
        links: [NONE; 2],
        reserved: Reservation::EMPTY,
        height: 0,
        slot: 0,
        flags: 0,
    };

    /// A live area, in no tree yet.
    pub const fn new(range: IovaRange, slot: u8, offset: u64, rights: Rights) -> Self {
        let flags = (rights.read as u8 * READ) | (rights.write as u8 * WRITE);
        Self { first: range.first(), last: range.last(), slot, offset, flags, ..Self::NEW }
    }

    /// Its addresses.
    pub const fn range(&self) -> IovaRange {
        match IovaRange::new(self.first, self.last) {
            Some(range) => range,
            None => unreachable!(),
        }
    }

    /// The slot of the grant that it maps.
    pub const fn slot(&self) -> u8 {
        self.slot
    }

    /// Its first byte in the region.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes written or taken out so far; see [`State`].
    pub const fn cursor(&self) -> u64 {
        self.cursor
    }

    /// What the device may do.
    pub const fn rights(&self) -> Rights {
        Rights { read: self.flags & READ != 0, write: self.flags & WRITE != 0 }
    }

    /// How far it has come.
    pub const fn state(&self) -> State {
        match self.flags & (FILLING | REMOVING) {
            0 => State::Live,
            FILLING => State::Filling,
            _ => State::Removing,
        }
    }

    pub(crate) const fn set_state(&mut self, state: State, cursor: u64) {
        self.flags &= READ | WRITE;
        self.flags |= match state {
            State::Live => 0,
            State::Filling => FILLING,
            State::Removing => REMOVING,
        };
        self.cursor = cursor;
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} slot {}+{:#x} {:?}",
            self.range(),
            self.rights(),
            self.slot,
            self.offset,
            self.state()
        )
    }
}

/// Every area of every address space. Taking and giving back are a few instructions; nothing is initialised in
/// advance.
#[derive(Debug)]
pub struct AreaPool<'a> {
    areas: &'a mut [Area],
    /// Given back, linked through [`LEFT`].
    free: AreaIndex,
    /// The first that was never taken.
    fresh: AreaIndex,
    in_use: u32,
}

impl<'a> AreaPool<'a> {
    /// A pool of `areas.len() - 1` areas, all [`Area::NEW`]; at most [`MAX_AREAS`]. The element at [`NONE`] stands
    /// for the empty subtree.
    ///
    /// # Panics
    /// When `areas` is empty.
    pub fn new(areas: &'a mut [Area]) -> Self {
        let used = areas.len().min(MAX_AREAS + 1);
        let areas = &mut areas[..used];
        areas[NONE as usize] = Area::NEW;
        Self { areas, free: NONE, fresh: 1, in_use: 0 }
    }

    /// How many areas there are.
    pub const fn capacity(&self) -> u32 {
        self.areas.len() as u32 - 1
    }

    /// How many are taken.
    pub const fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Takes an area and makes it `area`; `None`, with nothing taken, when all are in use.
    #[inline(always)]
    pub fn take(&mut self, area: Area) -> Option<AreaIndex> {
        let index = if self.free != NONE { self.free } else { self.fresh };
        let place = self.areas.get_mut(index as usize)?;
        match self.free {
            NONE => self.fresh += 1,
            _ => self.free = place.links[LEFT],
        }
        self.in_use += 1;
        *place = area;
        Some(index)
    }

    /// Gives back `index`, which is in no tree.
    #[inline]
    pub fn give(&mut self, index: AreaIndex) {
        assert!(index != NONE && self.in_use != 0);
        self.in_use -= 1;
        self.areas[index as usize].links[LEFT] = self.free;
        self.free = index;
    }
}

impl Deref for AreaPool<'_> {
    type Target = [Area];

    #[inline]
    fn deref(&self) -> &[Area] {
        self.areas
    }
}

impl DerefMut for AreaPool<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Area] {
        self.areas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(first: u64) -> Area {
        Area::new(IovaRange::from_length(first, 0x1000).unwrap(), 3, 0x2000, Rights::READ)
    }

    #[test]
    fn the_pool_gives_each_area_once_and_refuses_when_empty() {
        let mut storage = [const { Area::NEW }; 4];
        let mut pool = AreaPool::new(&mut storage);
        assert_eq!(pool.capacity(), 3);
        let taken = [0, 1, 2].map(|n| pool.take(area(n * 0x1000)).unwrap());
        assert!(pool.take(area(0)).is_none());
        assert_eq!(pool.in_use(), 3);
        for (n, index) in taken.into_iter().enumerate() {
            assert_eq!(pool[index as usize].range().first(), n as u64 * 0x1000);
        }
        pool.give(taken[1]);
        pool.give(taken[0]);
        assert_eq!(pool.in_use(), 1);
        assert_eq!(pool.take(area(0)), Some(taken[0]));
        assert_eq!(pool.take(area(0)), Some(taken[1]));
        assert!(pool.take(area(0)).is_none());
    }

    #[test]
    fn an_area_keeps_its_rights_through_its_states() {
        for rights in [Rights::NONE, Rights::READ, Rights::WRITE, Rights::READ_WRITE] {
            let mut area = Area::new(IovaRange::ALL, 15, 0x3000, rights);
            assert_eq!((area.rights(), area.state(), area.cursor()), (rights, State::Live, 0));
            for state in [State::Filling, State::Removing, State::Live] {
                area.set_state(state, 0x1000);
                assert_eq!((area.rights(), area.state(), area.cursor()), (rights, state, 0x1000));
            }
            assert_eq!((area.range(), area.slot(), area.offset()), (IovaRange::ALL, 15, 0x3000));
        }
    }
}
