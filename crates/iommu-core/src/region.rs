//! Regions of memory that clients are granted.

use iommu_hal::{Geometry, PhysAddr, Rights};

use crate::Refusal;
use crate::client::Place;

/// One slot of a client's grant table: authority over a piece of memory, fixed at bring-up.
#[derive(Debug)]
pub struct Grant {
    base: PhysAddr,
    /// 0 in a slot that grants nothing.
    bytes: u64,
    /// What may be mapped now: nothing where the grant is withdrawn.
    rights: Rights,
    /// What may be mapped where it is not.
    granted: Rights,
    generation: u16,
    withdrawn: bool,
    live_areas: u32,
    /// How far the removal of a withdrawn grant's areas has come.
    pub(crate) removal: Place,
}

/// What a client is told of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionInfo {
    /// The region's bytes.
    pub bytes: u64,
    /// The most that may be mapped.
    pub rights: Rights,
    /// The grant's generation; never 0.
    pub generation: u16,
    /// Areas that map the region, in all spaces of the client.
    pub live_areas: u32,
}

impl Grant {
    /// An empty slot.
    pub(crate) const NEW: Self = Self {
        base: PhysAddr(0),
        bytes: 0,
        rights: Rights::NONE,
        granted: Rights::NONE,
        generation: 0,
        withdrawn: false,
        live_areas: 0,
        removal: Place::START,
    };

    /// A grant of `bytes` at `base`, whole granules; `None` if they are not, or there are none.
    pub(crate) fn new(base: PhysAddr, bytes: u64, rights: Rights) -> Option<Self> {
        let granule = 1_u64 << Geometry::GRANULE_LG2;
        let whole = base.0.is_multiple_of(granule) && bytes.is_multiple_of(granule);
        (bytes != 0 && whole && base.checked_add(bytes).is_some()).then_some(Self {
            base,
            bytes,
            rights,
            granted: rights,
            generation: 1,
            ..Self::NEW
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) const fn info(&self) -> RegionInfo {
        let Self { bytes, rights, generation, live_areas, .. } = *self;
        RegionInfo { bytes, rights, generation, live_areas }
    }

    /// The physical address of the byte at `offset`, which [`Grant::check`] has allowed.
    #[inline]
    pub(crate) const fn address(&self, offset: u64) -> PhysAddr {
        PhysAddr(self.base.0 + offset)
    }

    /// Whether this grant allows `rights` on `length` bytes at `offset`.
    ///
    /// # Errors
    /// [`Refusal::StaleRegion`], [`Refusal::OutOfRegion`], [`Refusal::NotPermitted`].
    #[inline]
    pub(crate) fn check(
        &self,
        generation: u16,
        offset: u64,
        length: u64,
        rights: Rights,
    ) -> Result<(), Refusal> {
        if generation != self.generation {
            return Err(Refusal::StaleRegion { asked: generation, current: self.generation });
        }
        if offset > self.bytes || length > self.bytes - offset {
            return Err(Refusal::OutOfRegion { offset, length, bytes: self.bytes });
        }
        if !self.rights.covers(rights) {
            return Err(Refusal::NotPermitted { asked: rights, granted: self.rights });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn area_added(&mut self) {
        self.live_areas += 1;
    }

    #[inline]
    pub(crate) fn area_removed(&mut self) {
        self.live_areas -= 1;
    }

    /// Whether the grant is withdrawn.
    pub(crate) const fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// Allows nothing any more, under a new generation; once.
    pub(crate) fn withdraw(&mut self) {
        if !self.withdrawn {
            self.withdrawn = true;
            self.rights = Rights::NONE;
            // 0 is no generation, so that a program that never asked is refused.
            self.generation = self.generation.checked_add(1).unwrap_or(1);
            self.removal = Place::START;
        }
    }

    /// Allows what it did before it was withdrawn.
    pub(crate) const fn restore(&mut self) {
        self.withdrawn = false;
        self.rights = self.granted;
    }

    /// Takes over the areas that map the same memory through `other`, a grant of another client.
    pub(crate) fn take_areas(&mut self, other: &mut Self) {
        self.live_areas += core::mem::replace(&mut other.live_areas, 0);
    }

    /// Whether `other` grants the same memory with no more rights.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (self.base, self.bytes) == (other.base, other.bytes) && self.granted.covers(other.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_granules_inside_the_address_space_are_granted() {
        let grant = |base, bytes| Grant::new(PhysAddr(base), bytes, Rights::READ);
        assert!(grant(0x1000, 0x1000).is_some());
        assert!(grant(0x1800, 0x1000).is_none());
        assert!(grant(0x1000, 0x1800).is_none());
        assert!(grant(0x1000, 0).is_none());
        assert!(grant(0u64.wrapping_sub(0x1000), 0x1000).is_none());
    }

    #[test]
    fn a_grant_is_checked_by_generation_then_extent_then_rights() {
        let grant = Grant::new(PhysAddr(0x1000), 0x3000, Rights::READ).unwrap();
        let check = |generation, offset, length, rights| grant.check(generation, offset, length, rights);
        assert_eq!(check(1, 0, 0x3000, Rights::READ), Ok(()));
        assert_eq!(check(1, 0x3000, 0, Rights::NONE), Ok(()));
        assert_eq!(check(0, 0x9000, 1, Rights::WRITE), Err(Refusal::StaleRegion { asked: 0, current: 1 }));
        for (offset, length) in [(0, 0x3001), (0x3000, 1), (0x3001, 0), (1, u64::MAX), (u64::MAX, 1)] {
            let refusal = Refusal::OutOfRegion { offset, length, bytes: 0x3000 };
            assert_eq!(check(1, offset, length, Rights::WRITE), Err(refusal));
        }
        let refusal = Refusal::NotPermitted { asked: Rights::READ_WRITE, granted: Rights::READ };
        assert_eq!(check(1, 0, 1, Rights::READ_WRITE), Err(refusal));
    }
}
