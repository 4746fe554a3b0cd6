//! Address spaces.

use iommu_hal::{Binding, DomainTag, IovaRange};
use iommu_pgtable::{StaleFrames, Table};

use crate::tree::Tree;
use crate::{MAX_ALLOWED, MAX_SPACES};

/// A client's own name for one of its address spaces. 0 names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub u16);

/// The place of an address space among those of all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpaceSlot(pub(crate) u8);

/// A set of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UnitSet(u8);

impl UnitSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn insert(&mut self, unit: u8) {
        self.0 |= 1 << unit;
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `unit` is a member.
    pub(crate) const fn contains(self, unit: usize) -> bool {
        self.0 & 1 << unit != 0
    }
}

/// One IO address space: areas, and tables that say the same to the hardware.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) table: Table,
    pub(crate) tree: Tree,
    pub(crate) id: SpaceId,
    tag: DomainTag,
    /// Whether a unit that may walk the tables does not snoop.
    pub(crate) clean: bool,
    /// Devices attached or not known to be detached.
    pub(crate) devices: u16,
    /// Units that may have cached a translation under the tag.
    pub(crate) cached: UnitSet,
    /// Set when an invalidation failed: only one of everything under the tag says more.
    pub(crate) unsure: bool,
    /// Frames taken out by requests whose invalidation failed.
    pub(crate) quarantine: StaleFrames,
    /// The lowest range in which nothing is reserved and everything is allowed, and where a MAP thus needs to look for
    /// neither; [`Space::CLOSED`] if there is none.
    pub(crate) open: IovaRange,
    /// Where what has no fixed place may be placed, upwards; anywhere if empty.
    pub(crate) allowed: Ranges,
    /// A list of such ranges that is being made.
    pub(crate) staged: Ranges,
}

/// Some ranges.
pub(crate) type Ranges = heapless::Vec<IovaRange, MAX_ALLOWED>;

impl Space {
    /// Holds no page.
    pub(crate) const CLOSED: IovaRange = match IovaRange::new(0, 0) {
        Some(range) => range,
        None => unreachable!(),
    };

    /// What a stream is pointed at.
    pub(crate) fn binding(&self) -> Binding {
        Binding { tag: self.tag, geometry: *self.table.geometry(), root: self.table.root() }
    }

    pub(crate) const fn tag(&self) -> DomainTag {
        self.tag
    }
}

/// The address spaces of all clients, each in a slot of its own. A slot fixes the tag, which is thus in use by
/// one space at most.
#[derive(Debug)]
pub(crate) struct Spaces {
    slots: heapless::Vec<Option<Space>, MAX_SPACES>,
}

impl Spaces {
    /// No spaces.
    pub(crate) const NEW: Self = Self { slots: heapless::Vec::new() };

    /// A slot without a space.
    pub(crate) fn free_slot(&self) -> Option<SpaceSlot> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        (slot < MAX_SPACES).then_some(SpaceSlot(slot as u8))
    }

    /// Puts a space with nothing mapped or attached in `slot`, which is free.
    pub(crate) fn put(&mut self, slot: SpaceSlot, id: SpaceId, table: Table, clean: bool) {
        let space = Space {
            table,
            tree: Tree::EMPTY,
            id,
            tag: DomainTag(u16::from(slot.0) + 1),
            clean,
            devices: 0,
            cached: UnitSet::EMPTY,
            unsure: false,
            quarantine: StaleFrames::EMPTY,
            open: Space::CLOSED,
            allowed: Ranges::new(),
            staged: Ranges::new(),
        };
        match self.slots.get_mut(usize::from(slot.0)) {
            Some(place) => *place = Some(space),
            None => assert!(self.slots.push(Some(space)).is_ok(), "the slot is past the free ones"),
        }
    }

    /// The space in `slot`, which a client's name or a device's attachment leads to.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: SpaceSlot) -> &mut Space {
        self.slots[usize::from(slot.0)].as_mut().expect("names lead to spaces")
    }

    /// As [`Spaces::get_mut`].
    pub(crate) fn get(&self, slot: SpaceSlot) -> &Space {
        self.slots[usize::from(slot.0)].as_ref().expect("names lead to spaces")
    }

    /// Takes the space out of `slot`.
    pub(crate) fn take(&mut self, slot: SpaceSlot) -> Space {
        self.slots[usize::from(slot.0)].take().expect("names lead to spaces")
    }

    /// Every space.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Space> {
        self.slots.iter().flatten()
    }
}
