//! What a client should have, by the simplest means.

use std::collections::BTreeMap;
use std::vec::Vec;

use iommu_hal::IovaRange;
use iommu_pgtable::expressible;

use super::watch::Seen;
use super::{Geometry, MapRequest, PAGE, REGION, REGION_BYTES, Refusal, Rights, SMALL, SpaceId};

/// What one client has.
#[derive(Debug, Default)]
pub struct Model {
    pub spaces: BTreeMap<u16, Vec<Seen>>,
    /// Spaces that each device holds, and whether its accesses abort.
    pub devices: [(Vec<SpaceId>, bool); 2],
    /// Devices that are stopped.
    pub stopped: [bool; 2],
    /// How often each grant was withdrawn, and whether it is now.
    pub withdrawn: [(u16, bool); 2],
}

impl Model {
    pub fn holds(&self, space: SpaceId) -> bool {
        self.devices.iter().any(|(spaces, _)| spaces.contains(&space))
    }

    pub fn space(&self, id: SpaceId) -> Result<&Vec<Seen>, Refusal> {
        self.spaces.get(&id.0).ok_or(Refusal::NoSuchSpace(id))
    }

    /// The range of a fixed MAP, or the alignment of another, or why it is refused; but for lack of memory.
    pub fn map(&self, map: &MapRequest, geometry: &Geometry) -> Result<(Option<IovaRange>, u64), Refusal> {
        let areas = self.space(map.space)?;
        let (base, bytes, granted) = match map.slot {
            0 => (REGION, REGION_BYTES, Rights::READ_WRITE),
            1 => (SMALL, PAGE, Rights::READ),
            slot => return Err(Refusal::NoSuchRegion(slot)),
        };
        let (times, withdrawn) = self.withdrawn[usize::from(map.slot)];
        let granted = if withdrawn { Rights::NONE } else { granted };
        let (offset, length, aperture) = (map.offset, map.length, geometry.aperture());
        let range = IovaRange::from_length(map.iova, length);
        let source = u128::from(offset) + u128::from(length);
        let iova = if map.fixed { map.iova } else { 0 };
        let meets = range.and_then(|range| areas.iter().find(|area| area.range.overlaps(range)));
        let largest = 1 << geometry.page_sizes.ilog2();
        let align = (0..).map(|n| PAGE << n).take_while(|&align| {
            align <= length.max(PAGE) && base.0.wrapping_add(offset).is_multiple_of(align) && align <= largest
        });
        let align = align.last().unwrap_or(PAGE);
        Err(if map.generation != 1 + times {
            Refusal::StaleRegion { asked: map.generation, current: 1 + times }
        } else if source > u128::from(bytes) {
            Refusal::OutOfRegion { offset, length, bytes }
        } else if !granted.covers(map.rights) {
            Refusal::NotPermitted { asked: map.rights, granted }
        } else if [iova, offset, length].iter().any(|value| value % PAGE != 0) {
            Refusal::Misaligned(0)
        } else if length == 0 {
            Refusal::ZeroLength
        } else if map.fixed && range.is_none() {
            Refusal::Overflow { first: map.iova }
        } else if map.fixed && !range.is_some_and(|range| aperture.covers(range)) {
            Refusal::Reserved { range: aperture, aperture }
        } else if map.fixed && meets.is_some() {
            Refusal::Overlap(aperture)
        } else if map.rights.is_none() {
            Refusal::NoRights
        } else if !expressible(geometry.format, map.rights) {
            Refusal::NotExpressible(map.rights)
        } else {
            return Ok((range.filter(|_| map.fixed), align));
        })
    }

    /// The lowest place for `length` bytes, never 0.
    pub fn fit(&self, id: SpaceId, geometry: &Geometry, length: u64, align: u64) -> Option<u64> {
        let mut at = PAGE.max(align);
        for area in &self.spaces[&id.0] {
            if at + length <= area.range.first() {
                break;
            }
            at = at.max((area.range.last() + 1).next_multiple_of(align));
        }
        (at + length - 1 <= geometry.aperture().last()).then_some(at)
    }
}
