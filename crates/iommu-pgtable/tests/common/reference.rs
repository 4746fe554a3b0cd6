//! What the tables should say, worked out from the mappings alone, the slow way.

use std::collections::BTreeSet;

use iommu_hal::Geometry;
use iommu_pgtable::Extent;

use super::hardware::Found;

/// The mappings, in no order.
#[derive(Debug, Clone)]
pub struct Reference {
    pub geometry: Geometry,
    pub areas: Vec<Extent>,
}

impl Reference {
    /// The levels' entry sizes, smallest first, the root's last.
    fn entry_sizes(&self) -> &'static [u64] {
        let sizes = &[1 << 12, 1 << 21, 1 << 30, 1 << 39];
        let levels = (1..=4).find(|levels| self.geometry.input_bits <= 12 + 9 * levels).unwrap();
        &sizes[..levels as usize]
    }

    /// The largest page around `iova` that the constraints allow: a size in use, at a level that there is, no
    /// byte outside `area`, both addresses multiples of it.
    pub fn best_page(&self, area: &Extent, iova: u64) -> u64 {
        let end = area.iova + area.bytes;
        let fits = |size: &u64| {
            let first = iova / size * size;
            self.geometry.page_sizes & size != 0
                && first >= area.iova
                && first + size <= end
                && (area.pa.0 + (first - area.iova)).is_multiple_of(*size)
        };
        self.entry_sizes().iter().copied().filter(fits).max().expect("4 KiB always fits")
    }

    /// The pages that map `area`: where each begins and its size.
    pub fn pages(&self, area: &Extent) -> impl Iterator<Item = (u64, u64)> {
        let mut iova = area.iova;
        std::iter::from_fn(move || {
            (iova < area.iova + area.bytes).then(|| {
                let page = self.best_page(area, iova);
                iova += page;
                (iova - page, page)
            })
        })
    }

    /// What `iova` leads to.
    pub fn translate(&self, iova: u64) -> Option<Found> {
        let area = self.areas.iter().find(|area| (area.iova..area.iova + area.bytes).contains(&iova))?;
        Some(Found {
            pa: area.pa.0 + (iova - area.iova),
            read: area.rights.read,
            write: area.rights.write,
            page_bytes: self.best_page(area, iova),
        })
    }

    /// Whether any mapping shares a byte with `first..=last`.
    pub fn overlaps(&self, first: u64, last: u64) -> bool {
        self.areas.iter().any(|area| area.iova <= last && first < area.iova + area.bytes)
    }

    /// The tables below the root that `area` needs: the size that each spans and its first address.
    pub fn tables_of(&self, area: &Extent) -> BTreeSet<(u64, u64)> {
        let above = |page| self.entry_sizes().iter().filter(move |&&size| size > page);
        let tables = |(iova, page)| above(page).map(move |size| (*size, iova / size * size));
        self.pages(area).flat_map(tables).collect()
    }

    /// The tables below the root that all mappings need.
    pub fn tables(&self) -> BTreeSet<(u64, u64)> {
        self.areas.iter().flat_map(|area| self.tables_of(area)).collect()
    }

    /// Addresses worth asking about: both ends of every mapping and what lies next to them, inside and outside,
    /// at every page size.
    pub fn probes(&self) -> BTreeSet<u64> {
        let mut probes = BTreeSet::from([0, (1 << self.geometry.input_bits) - 1]);
        for area in &self.areas {
            let (first, last) = (area.iova, area.iova + area.bytes - 1);
            for step in [0, 1, 0xfff, 0x1000, 0x1f_f000, 0x20_0000, 0x4000_0000] {
                let near = [first.saturating_sub(step), first + step, last.saturating_sub(step), last + step];
                probes.extend(near);
            }
        }
        probes
    }
}
