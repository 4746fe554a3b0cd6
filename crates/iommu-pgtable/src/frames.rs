//! The frames that tables are made of.

use iommu_hal::{Completed, FRAME_BYTES, FRAME_LG2, PhysAddr, TableMemory};

/// What the pool knows of one frame. All zeroes is a frame that was never used, so that a static array of
/// [`FrameMeta::NEW`] lies in .bss.
///
/// The entries of a table are counted here and not looked at: counting needs no walk, and a table that the
/// hardware may still read is never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameMeta {
    /// Out of use: the next frame of the same list, plus one; 0 ends it.
    next: u32,
    /// In use: entries that are valid.
    live: u16,
    /// In use: entries that point at a table. Out of use: a [`Residue`].
    tables: u16,
}

impl FrameMeta {
    /// A frame that was never used.
    pub const NEW: Self = Self { next: 0, live: 0, tables: 0 };
}

/// What a frame out of use still holds, so that reusing it costs as few stores as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Residue(u16);

impl Residue {
    /// Anything.
    pub(crate) const UNKNOWN: Self = Self(0);
    /// Zeroes.
    pub(crate) const NONE: Self = Self(u16::MAX);

    /// Zeroes but for the entry `index`.
    pub(crate) const fn entry(index: u64) -> Self {
        Self(index as u16 + 1)
    }
}

/// Frames set aside for one purpose. To be used up by [`Table::fill`](crate::Table::fill) or given back with
/// [`FramePool::release`]: dropping it loses the frames.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping a reservation loses its frames"]
pub struct Reservation(u32);

impl Reservation {
    /// A reservation of nothing.
    pub const EMPTY: Self = Self(0);

    /// Frames not yet used.
    pub const fn frames(&self) -> u32 {
        self.0
    }
}

/// Fewer frames are free than were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfFrames {
    /// Frames asked for.
    pub asked: u32,
    /// Frames free.
    pub free: u32,
}

/// Table frames that were taken out of the tables but that the hardware may still walk. Only
/// [`FramePool::recycle`] makes them usable again: dropping the chain loses the frames.
///
/// They are chained through [`FrameMeta`]: nothing is stored to the frames themselves.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "dropping stale frames loses them"]
pub struct StaleFrames {
    /// Index of the first and the last frame plus one; 0 for none.
    first: u32,
    last: u32,
    length: u32,
}

impl StaleFrames {
    /// A chain of none.
    pub const EMPTY: Self = Self { first: 0, last: 0, length: 0 };

    /// The number of frames.
    pub const fn len(&self) -> u32 {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds all of `other`, which are frames of the same `pool`.
    pub fn append(&mut self, pool: &mut FramePool<'_>, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            pool.meta[self.last as usize - 1].next = other.first;
            self.last = other.last;
            self.length += other.length;
        }
    }
}

/// The frames of one piece of table memory. Every frame is free, reserved, in use as a table, or stale.
#[derive(Debug)]
pub struct FramePool<'a> {
    base: PhysAddr,
    meta: &'a mut [FrameMeta],
    /// Frames that are neither reserved nor used.
    free: u32,
    reserved: u32,
    /// The first frame of the list of frames that were used before, plus one.
    recycled: u32,
    /// The first frame that was never used.
    untouched: u32,
}

impl<'a> FramePool<'a> {
    /// A pool of the `bytes` bytes at `base` (whole frames), all of them free, or of as many of them as `meta`
    /// can describe; `meta` holds [`FrameMeta::NEW`] throughout. The memory may hold anything.
    pub fn new(base: PhysAddr, bytes: u64, meta: &'a mut [FrameMeta]) -> Self {
        assert!(base.0.is_multiple_of(FRAME_BYTES) && bytes.is_multiple_of(FRAME_BYTES));
        let frames = (bytes >> FRAME_LG2).min(meta.len() as u64).min(u64::from(u32::MAX - 1));
        let meta = &mut meta[..frames as usize];
        Self { base, meta, free: frames as u32, reserved: 0, recycled: 0, untouched: 0 }
    }

    /// All frames.
    pub const fn capacity(&self) -> u32 {
        self.meta.len() as u32
    }

    /// Frames that can be reserved.
    pub const fn free(&self) -> u32 {
        self.free
    }

    /// Frames reserved and not yet used.
    pub const fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Sets `frames` frames aside.
    ///
    /// # Errors
    /// [`OutOfFrames`] when fewer are free; nothing is taken then.
    pub fn reserve(&mut self, frames: u32) -> Result<Reservation, OutOfFrames> {
        if frames > self.free {
            return Err(OutOfFrames { asked: frames, free: self.free });
        }
        self.free -= frames;
        self.reserved += frames;
        Ok(Reservation(frames))
    }

    /// Gives back what is left of a reservation.
    pub fn release(&mut self, reservation: Reservation) {
        self.reserved -= reservation.0;
        self.free += reservation.0;
    }

    /// Makes stale frames free. `_completed` is made after an invalidation that covers everything cleared
    /// with them, at tables as well as leaves.
    pub fn recycle(&mut self, stale: StaleFrames, _completed: &Completed) {
        if !stale.is_empty() {
            self.meta[stale.last as usize - 1].next = self.recycled;
            self.recycled = stale.first;
            self.free += stale.length;
        }
    }

    /// Takes one frame out of `reservation`, all zeroes, to be a table of `live` entries of which `tables`
    /// point at tables.
    pub(crate) fn take<M: TableMemory>(
        &mut self,
        reservation: &mut Reservation,
        memory: &mut M,
        live: u16,
        tables: u16,
    ) -> PhysAddr {
        assert!(reservation.0 > 0, "a table was not reserved");
        reservation.0 -= 1;
        self.reserved -= 1;
        let index = if self.recycled != 0 {
            let index = self.recycled - 1;
            self.recycled = self.meta[index as usize].next;
            index
        } else {
            self.untouched += 1;
            self.untouched - 1
        };
        let frame = PhysAddr(self.base.0 + (u64::from(index) << FRAME_LG2));
        let meta = &mut self.meta[index as usize];
        match Residue(meta.tables) {
            Residue::NONE => {}
            Residue::UNKNOWN => memory.zero(frame, FRAME_BYTES),
            Residue(entry) => memory.write(PhysAddr(frame.0 + 8 * u64::from(entry - 1)), 0),
        }
        *meta = FrameMeta { next: 0, live, tables };
        frame
    }

    /// Adds the table `frame`, which was taken out and holds `residue`, to `stale`.
    pub(crate) fn retire(&mut self, stale: &mut StaleFrames, frame: PhysAddr, residue: Residue) {
        let index = self.index(frame);
        self.meta[index] = FrameMeta { next: stale.first, live: 0, tables: residue.0 };
        stale.first = index as u32 + 1;
        if stale.length == 0 {
            stale.last = stale.first;
        }
        stale.length += 1;
    }

    /// The valid entries of the table `frame`.
    pub(crate) fn live(&self, frame: PhysAddr) -> u16 {
        self.meta[self.index(frame)].live
    }

    /// The entries of the table `frame` that point at tables.
    pub(crate) fn tables(&self, frame: PhysAddr) -> u16 {
        self.meta[self.index(frame)].tables
    }

    /// Counts `live` new entries in the table `frame`, of which `tables` point at tables.
    pub(crate) fn add(&mut self, frame: PhysAddr, live: u16, tables: u16) {
        let index = self.index(frame);
        let meta = &mut self.meta[index];
        meta.live += live;
        meta.tables += tables;
    }

    /// Counts `live` entries less in the table `frame`, of which `tables` pointed at tables; returns how many
    /// entries it has left.
    pub(crate) fn remove(&mut self, frame: PhysAddr, live: u16, tables: u16) -> u16 {
        let index = self.index(frame);
        let meta = &mut self.meta[index];
        meta.live -= live;
        meta.tables -= tables;
        meta.live
    }

    fn index(&self, frame: PhysAddr) -> usize {
        (frame.0.wrapping_sub(self.base.0) >> FRAME_LG2) as usize
    }
}
