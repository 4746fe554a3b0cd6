//! Which descriptors forget what.

use iommu_hal::{DomainTag, FRAME_LG2, Geometry, IovaRange};

use crate::{
    features::Features,
    spec::descriptors::{Descriptor, DescriptorType, IotlbInvalidate0, IotlbInvalidate1},
};

/// The most descriptors that one range takes; what needs more goes by domain.
pub const MAX_PAGE_DESCRIPTORS: u64 = 32;

/// The most descriptors that one call of [`iommu_hal::Unit::invalidate`] queues.
pub const MAX_INVALIDATE_DESCRIPTORS: u64 = MAX_PAGE_DESCRIPTORS;

const GLOBAL: u8 = 1;
const DOMAIN: u8 = 2;
const PAGES: u8 = 3;

/// How this unit's IOTLB is told to forget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Iotlb {
    /// DR and DW as far as the unit has them.
    word0: IotlbInvalidate0,
    /// The largest address mask; `None` where pages cannot be named.
    mask: Option<u32>,
}

impl Iotlb {
    /// That of a unit with these features.
    pub fn new(features: &Features) -> Self {
        let cap = features.cap();
        let word0 = IotlbInvalidate0::new()
            .with_kind(DescriptorType::IOTLB)
            .with_drain_reads(cap.drd())
            .with_drain_writes(cap.dwd());
        Self { word0, mask: cap.psi().then_some(cap.mamv().into()) }
    }

    /// Forgets everything.
    pub const fn all(&self) -> Descriptor {
        Descriptor([self.word0.with_granularity(GLOBAL).into_bits(), 0])
    }

    /// Forgets everything under `tag`.
    pub const fn domain(&self, tag: DomainTag) -> Descriptor {
        Descriptor([self.word0.with_granularity(DOMAIN).with_domain(tag.0).into_bits(), 0])
    }

    /// What forgets `range` under `tag`, as far as `geometry` reaches; `None` where forgetting the whole domain is the
    /// better way.
    #[inline]
    pub fn range(
        &self,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
        tables: bool,
    ) -> Option<RangeDescriptors> {
        let aperture = geometry.aperture();
        let last = range.last().min(aperture.last());
        let (page, last_page) = (range.first() >> FRAME_LG2, last >> FRAME_LG2);
        // Nothing is cached of a range that lies outside.
        let pages = (last_page + 1).saturating_sub(page);
        if pages > aperture.last() >> FRAME_LG2 {
            return None;
        }
        let word0 = self.word0.with_granularity(PAGES).with_domain(tag.0).into_bits();
        let descriptors = RangeDescriptors { word0, leaves_only: !tables, mask: self.mask?, page, pages };
        descriptors.few().then_some(descriptors)
    }
}

/// The descriptors that forget one range of addresses: naturally aligned powers of two of pages.
#[derive(Debug, Clone)]
pub(crate) struct RangeDescriptors {
    word0: u64,
    leaves_only: bool,
    mask: u32,
    page: u64,
    pages: u64,
}

impl RangeDescriptors {
    /// Whether they are no more than the limit. Takes no more steps than that.
    #[inline]
    fn few(&self) -> bool {
        self.pages <= MAX_PAGE_DESCRIPTORS || self.clone().nth(MAX_PAGE_DESCRIPTORS as usize).is_none()
    }
}

impl Iterator for RangeDescriptors {
    type Item = Descriptor;

    #[inline]
    fn next(&mut self) -> Option<Descriptor> {
        if self.pages == 0 {
            return None;
        }
        let mask = self.page.trailing_zeros().min(self.pages.ilog2()).min(self.mask);
        let word1 = IotlbInvalidate1::new()
            .with_address_mask(mask as u8)
            .with_leaves_only(self.leaves_only)
            .with_page(self.page);
        self.page += 1 << mask;
        self.pages -= 1 << mask;
        Some(Descriptor([self.word0, word1.into_bits()]))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use iommu_hal::Format;

    use super::*;
    use crate::spec::registers::Cap;

    const GEOMETRY: Geometry =
        Geometry { format: Format::VtdSecondStage, input_bits: 48, output_bits: 48, page_sizes: 1 << 12 };

    fn iotlb(cap: Cap) -> Iotlb {
        Iotlb::new(&Features { version: 0x10, cap: cap.into(), ecap: 0 })
    }

    fn with_mask(mamv: u8) -> Iotlb {
        iotlb(Cap::new().with_psi(true).with_mamv(mamv).with_drd(true))
    }

    fn pieces(iotlb: &Iotlb, page: u64, pages: u64) -> Option<Vec<Descriptor>> {
        let range = IovaRange::from_length(page << FRAME_LG2, pages << FRAME_LG2).unwrap();
        Some(iotlb.range(DomainTag(7), &GEOMETRY, range, false)?.collect())
    }

    #[test]
    fn pieces_are_aligned_and_cover_exactly_the_range() {
        for mask in [0, 1, 9, 18, 63] {
            let iotlb = with_mask(mask);
            for page in [0, 1, 0x1ff, 0x200, 0x1_2345] {
                for pages in (1..1100).chain([1 << 18, (1 << 18) + 1, 1 << 30, (1 << 35) - 1]) {
                    let Some(found) = pieces(&iotlb, page, pages) else { continue };
                    assert!(found.len() as u64 <= MAX_INVALIDATE_DESCRIPTORS);
                    let mut at = page;
                    for Descriptor([word0, word1]) in found {
                        assert_eq!(word0, 0x7_00b2, "pages of domain 7, reads drained");
                        let word1 = IotlbInvalidate1::from(word1);
                        assert_eq!(word1.page(), at);
                        assert!(word1.address_mask() <= mask && word1.leaves_only());
                        assert_eq!(at % (1 << word1.address_mask()), 0);
                        at += 1 << word1.address_mask();
                    }
                    assert_eq!(at, page + pages);
                }
            }
        }
    }

    #[test]
    fn usual_ranges_take_one_descriptor_and_long_ones_go_by_domain() {
        for (pages, mask) in [(1, 18), (16, 18), (512, 18), (512 * 512, 18), (1, 0)] {
            assert_eq!(pieces(&with_mask(mask), 512 * 512, pages).unwrap().len(), 1, "{pages}");
        }
        let single = with_mask(0);
        assert_eq!(pieces(&single, 1, MAX_PAGE_DESCRIPTORS).unwrap().len() as u64, MAX_PAGE_DESCRIPTORS);
        assert!(pieces(&single, 1, MAX_PAGE_DESCRIPTORS + 1).is_none());
        assert!(pieces(&single, 0, 1 << 35).is_none());
    }

    #[test]
    fn a_unit_that_cannot_name_pages_forgets_domains() {
        let iotlb = iotlb(Cap::new().with_dwd(true));
        assert!(pieces(&iotlb, 1, 1).is_none());
        assert_eq!(iotlb.domain(DomainTag(0x1234)).0, [0x1234_0062, 0]);
        assert_eq!(iotlb.all().0, [0x52, 0]);
    }

    #[test]
    fn the_whole_aperture_goes_by_domain_and_nothing_beyond_it_is_asked_for() {
        let iotlb = with_mask(63);
        assert!(iotlb.range(DomainTag(1), &GEOMETRY, IovaRange::ALL, true).is_none());
        let outside = IovaRange::new(1 << 48, u64::MAX).unwrap();
        assert_eq!(iotlb.range(DomainTag(1), &GEOMETRY, outside, true).unwrap().count(), 0);
        let across = IovaRange::new((1 << 48) - 0x1000, u64::MAX).unwrap();
        assert_eq!(iotlb.range(DomainTag(1), &GEOMETRY, across, true).unwrap().count(), 1);
    }

    #[test]
    fn the_hint_says_that_no_table_was_taken_out() {
        let range = IovaRange::new(0, 0xfff).unwrap();
        for tables in [false, true] {
            let mut found = with_mask(0).range(DomainTag(1), &GEOMETRY, range, tables).unwrap();
            assert_eq!(IotlbInvalidate1::from(found.next().unwrap().0[1]).leaves_only(), !tables);
        }
    }
}
