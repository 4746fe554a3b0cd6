//! What the hardware can see between any two stores.
//!
//! Every store of a request is replayed against two views, one for a unit that snoops and one for a unit that
//! does not, and both times in two ways: as if the stores were seen in order, and as if this one alone were seen
//! before all others that are not yet ordered before it.

mod common;

use std::collections::BTreeSet;

use common::{
    GIB1, KIB4, MIB2, PAGE_SIZES, geometries,
    hardware::{Found, View},
    ram::{BASE, Event, Ram},
    rig::Rig,
};
use iommu_hal::{Format, Geometry, PhysAddr, Rights};
use iommu_pgtable::Extent;

/// Words of a cache line.
const LINE: usize = 8;

/// What the addresses of interest lead to.
type Seen = Vec<(u64, Option<Found>)>;

fn seen(rig: &Rig, words: &[u64], probes: &BTreeSet<u64>) -> Seen {
    let view = View { words, ..rig.view() };
    probes.iter().map(|&iova| (iova, view.translate(iova))).collect()
}

/// What the hardware has seen so far.
struct Observer {
    probes: BTreeSet<u64>,
    stored: Vec<u64>,
    /// What a unit that snoops must have seen.
    published: Vec<u64>,
    /// What a unit that does not snoop must have seen.
    cleaned: Vec<u64>,
}

impl Observer {
    /// Begins with the memory before the root was made.
    fn new(rig: &mut Rig, frames: u64, probes: BTreeSet<u64>) -> Self {
        let words = Ram::new(frames).words;
        let mut observer = Self { probes, stored: words.clone(), published: words.clone(), cleaned: words };
        for event in std::mem::take(&mut rig.ram.log) {
            observer.apply(event);
        }
        observer
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Store { at, value } => self.stored[word(at)] = value,
            Event::Publish => self.published.copy_from_slice(&self.stored),
            Event::Clean { at, bytes } => {
                let lines = word(at) / LINE * LINE..word(at + bytes).next_multiple_of(LINE);
                self.cleaned[lines.clone()].copy_from_slice(&self.stored[lines]);
            }
        }
    }

    /// Runs `request`. At each of its stores each address must lead where it led before or where it leads
    /// afterwards.
    fn watch(&mut self, rig: &mut Rig, request: impl FnOnce(&mut Rig)) {
        let before = seen(rig, &rig.ram.words, &self.probes);
        request(rig);
        let after = seen(rig, &rig.ram.words, &self.probes);
        assert_ne!(before, after);
        let probes = self.probes.clone();
        let check = |words: &[u64]| {
            let view = View { words, ..rig.view() };
            for (n, &iova) in probes.iter().enumerate() {
                let now = view.translate(iova);
                let (old, new) = (before[n].1, after[n].1);
                assert!(now == old || now == new, "{iova:#x}: {old:x?}, {now:x?}, {new:x?}");
            }
        };
        for &event in &rig.ram.log {
            self.apply(event);
            if let Event::Store { at, value } = event {
                check(&self.stored);
                let word = word(at);
                let hidden = std::mem::replace(&mut self.published[word], value);
                check(&self.published);
                self.published[word] = hidden;
                if rig.clean {
                    // A cache may write a line back at any time.
                    let line = word / LINE * LINE..word / LINE * LINE + LINE;
                    let hidden: [u64; LINE] = self.cleaned[line.clone()].try_into().unwrap();
                    self.cleaned[line.clone()].copy_from_slice(&self.stored[line.clone()]);
                    check(&self.cleaned);
                    self.cleaned[line].copy_from_slice(&hidden);
                }
            }
        }
        rig.ram.log.clear();
        assert_eq!(seen(rig, &self.published, &probes), after, "published");
        if rig.clean {
            assert_eq!(seen(rig, &self.cleaned, &probes), after, "cleaned");
        }
        rig.check();
    }
}

fn word(at: u64) -> usize {
    ((at - BASE) / 8) as usize
}

/// Mappings that share tables, fill one, cross into the next, and use every page size.
fn mappings(input_bits: u8) -> Vec<Extent> {
    let extent = |iova, pa, bytes| Extent { iova, pa: PhysAddr(pa), bytes, rights: Rights::READ_WRITE };
    let mut mappings = vec![
        extent(3 * KIB4, 0x7000, KIB4),
        // Into the next cache line of entries, with one.
        extent(14 * KIB4, 0xa000, 3 * KIB4),
        extent(MIB2 - 2 * KIB4, 9 * MIB2 - 2 * KIB4, 2 * KIB4),
    ];
    if input_bits > 21 {
        mappings.push(extent(MIB2, 3 * MIB2, 2 * MIB2 + 5 * KIB4));
        mappings.push(extent(7 * MIB2 - KIB4, 0, 7 * KIB4));
        // Not on a block boundary in memory: a full table of pages.
        mappings.push(extent(8 * MIB2, KIB4, MIB2));
    }
    if input_bits > 30 {
        mappings.push(extent(GIB1 - 3 * KIB4, 7 * GIB1 - 3 * KIB4, 6 * KIB4));
    }
    mappings
}

/// Addresses at which to look: the ends of all mappings and their neighbours, fewer than `Reference::probes`.
fn probes(mappings: &[Extent]) -> BTreeSet<u64> {
    let ends = |m: &Extent| [m.iova, m.iova + m.bytes];
    mappings.iter().flat_map(ends).flat_map(|at| [at.saturating_sub(1), at, at + MIB2]).collect()
}

#[test]
fn the_hardware_sees_old_or_new_at_every_store() {
    const FRAMES: u32 = 16;
    let is_typical = |geometry: &Geometry| {
        [21, 30, 39, 48].contains(&geometry.input_bits)
            && [PAGE_SIZES[0], PAGE_SIZES[3]].contains(&geometry.page_sizes)
    };
    for (geometry, clean) in geometries().filter(is_typical).flat_map(|g| [(g, false), (g, true)]) {
        // Slices that end everywhere, or none.
        let slice = if geometry.format == Format::ArmStage1 { 37 } else { u32::MAX };
        let mappings = mappings(geometry.input_bits);
        let mut rig = Rig::new(geometry, FRAMES, clean);
        let mut observer = Observer::new(&mut rig, u64::from(FRAMES), probes(&mappings));
        for extent in &mappings {
            observer.watch(&mut rig, |rig| rig.map(*extent, slice).unwrap());
        }
        // Odd ones first, so that tables lose a part before they lose all.
        let (odd, even): (Vec<_>, Vec<_>) = (0..mappings.len()).partition(|n| n % 2 == 1);
        for n in odd.into_iter().chain(even) {
            let Extent { iova, bytes, .. } = mappings[n];
            observer.watch(&mut rig, |rig| rig.unmap(iova, iova + (bytes - 1), slice));
        }
        // Frames that were used before.
        rig.recycle();
        for extent in mappings.iter().rev() {
            observer.watch(&mut rig, |rig| rig.map(*extent, slice).unwrap());
        }
        observer.watch(&mut rig, |rig| rig.unmap(0, (1 << geometry.input_bits) - 1, slice));
    }
}

#[test]
fn stale_frames_are_left_alone_until_they_are_recycled() {
    for geometry in geometries() {
        let mut rig = Rig::new(geometry, 32, true);
        let mappings = mappings(geometry.input_bits);
        for extent in &mappings {
            rig.map(*extent, u32::MAX).unwrap();
        }
        let tables = rig.view().reachable();
        rig.unmap(0, (1 << geometry.input_bits) - 1, 11);
        let stale: BTreeSet<u64> = tables.difference(&rig.view().reachable()).copied().collect();
        assert_eq!(stale.len() as u32, rig.stale.len());
        let is_stale = |at: u64| stale.contains(&(at & !0xfff));
        let words = rig.ram.words.clone();
        rig.ram.log.clear();
        for extent in &mappings {
            rig.map(*extent, u32::MAX).unwrap();
        }
        rig.unmap(0, (1 << geometry.input_bits) - 1, 1);
        let touched = |event: &Event| matches!(event, Event::Store { at, .. } if is_stale(*at));
        assert!(!rig.ram.log.iter().any(touched));
        for frame in &stale {
            let first = ((frame - BASE) / 8) as usize;
            assert_eq!(words[first..first + 512], rig.ram.words[first..first + 512]);
        }
    }
}

#[test]
fn clearing_stores_nothing_in_the_tables_that_it_takes_out_at_once() {
    for geometry in geometries().filter(|geometry| geometry.input_bits > 21) {
        let mut rig = Rig::new(geometry, 16, false);
        let extent = Extent { iova: MIB2, pa: PhysAddr(KIB4), bytes: MIB2, rights: Rights::READ };
        rig.map(extent, u32::MAX).unwrap();
        rig.ram.log.clear();
        rig.unmap(MIB2, 2 * MIB2 - 1, u32::MAX);
        assert_eq!(rig.ram.writes(), 1);
        assert_eq!(rig.stale.len(), geometry.levels() - 1);
    }
}
