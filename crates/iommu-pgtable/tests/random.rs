//! Random sequences of requests against the reference.

mod common;

use common::{GIB1, KIB4, MIB2, geometries, rig::Rig, rig::rest};
use iommu_hal::{Format, Geometry, IovaRange, PhysAddr, Rights};
use iommu_pgtable::Extent;
use proptest::prelude::*;

/// So few that some sequences exhaust them.
const FRAMES: u32 = 20;

/// The most pages of a mapping, to keep the reference quick.
const MOST_PAGES: usize = 1500;

#[derive(Debug, Clone)]
enum Step {
    Map {
        extent: Extent,
        slice: u32,
    },
    /// Maps into one table that is there, if that can be, else as [`Step::Map`].
    MapLeaves {
        extent: Extent,
    },
    /// A mapping that is given up half done.
    Abandon {
        extent: Extent,
        budget: u32,
    },
    /// Unmaps from the `from`th mapping to the `to`th.
    Unmap {
        from: usize,
        to: usize,
        slice: u32,
    },
    /// Unmaps the `at`th mapping in place, if that can be, and maybe maps a page or a block at the same place.
    UnmapLeaves {
        at: usize,
        again: Option<u64>,
    },
    Shed,
    Recycle,
}

fn rights(format: Format) -> impl Strategy<Value = Rights> {
    let any = [Rights::READ, Rights::READ_WRITE, Rights::WRITE];
    let known = if format == Format::ArmStage1 { &any[..2] } else { &any[..] };
    prop::sample::select(known.to_vec())
}

/// Addresses crowd round the places where tables end, so that mappings share tables and cross from one to the
/// next.
fn extents(geometry: Geometry) -> impl Strategy<Value = Extent> {
    let corners = vec![0, MIB2, GIB1, 3 * GIB1, 512 * GIB1, 1 << (geometry.input_bits - 1)];
    let length = prop_oneof![
        6 => (1..40_u64).prop_map(|pages| pages * KIB4),
        2 => (500..530_u64).prop_map(|pages| pages * KIB4),
        2 => (1..6_u64).prop_map(|blocks| blocks * MIB2),
        1 => Just(GIB1 - MIB2),
        1 => (1..3_u64, 0..3_u64).prop_map(|(big, small)| big * GIB1 + small * KIB4),
    ];
    let shift = prop_oneof![(0..600_u64).prop_map(|n| n * KIB4), (0..4_u64).prop_map(|n| n * MIB2)];
    let pa = prop_oneof![
        3 => Just(0),
        1 => Just(MIB2),
        1 => (0..512_u64).prop_map(|n| n * KIB4),
    ];
    (prop::sample::select(corners), shift, any::<bool>(), length, pa, rights(geometry.format)).prop_map(
        |(corner, shift, below, bytes, pa, rights)| {
            let iova = if below { corner.saturating_sub(shift) } else { corner + shift };
            // Aligned with the address as far as 1 GiB, then moved by `pa`.
            Extent { iova, pa: PhysAddr(iova % GIB1 + 8 * GIB1 + pa), bytes, rights }
        },
    )
}

fn slices() -> impl Strategy<Value = u32> {
    prop_oneof![1..8_u32, 20..200_u32, Just(u32::MAX)]
}

fn steps(geometry: Geometry) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (extents(geometry), slices()).prop_map(|(extent, slice)| Step::Map { extent, slice }),
        3 => extents(geometry).prop_map(|extent| Step::MapLeaves { extent }),
        1 => (extents(geometry), 0..700_u32).prop_map(|(extent, budget)| Step::Abandon { extent, budget }),
        3 => (any::<usize>(), 0..2_usize, slices())
            .prop_map(|(from, more, slice)| Step::Unmap { from, to: from.saturating_add(more), slice }),
        3 => (any::<usize>(), prop::option::of(prop::sample::select(vec![KIB4, MIB2])))
            .prop_map(|(at, again)| Step::UnmapLeaves { at, again }),
        1 => Just(Step::Shed),
        1 => Just(Step::Recycle),
    ];
    prop::collection::vec(step, 1..40)
}

fn cases() -> impl Strategy<Value = (Geometry, bool, Vec<Step>)> {
    let geometry = prop::sample::select(geometries().collect::<Vec<_>>());
    geometry.prop_flat_map(|geometry| (Just(geometry), any::<bool>(), steps(geometry)))
}

/// Whether `extent` can be asked for now.
fn is_allowed(rig: &Rig, extent: &Extent) -> bool {
    let last = extent.iova + (extent.bytes - 1);
    last >> rig.reference.geometry.input_bits == 0
        && !rig.reference.overlaps(extent.iova, last)
        && rig.reference.pages(extent).nth(MOST_PAGES).is_none()
}

fn abandon(rig: &mut Rig, extent: &Extent, mut budget: u32) {
    let whole = IovaRange::from_length(extent.iova, extent.bytes).unwrap();
    if rig.table.spare().is_some_and(|spare| whole.covers(spare)) {
        rig.shed();
    }
    let Some(mut reservation) = rig.reserve(extent) else { return };
    let mut done = rig.fill(&mut reservation, extent, &mut budget);
    for iova in [extent.iova, extent.iova + done.saturating_sub(KIB4), extent.iova + done] {
        let is_done = iova < extent.iova + done;
        let expected = is_done.then(|| extent.pa.0 + (iova - extent.iova));
        if is_done || done < extent.bytes {
            assert_eq!(rig.view().translate(iova).map(|found| found.pa), expected);
        }
    }
    if done < extent.bytes {
        // A second slice, so that the place where it stops is not only that of the first.
        let mut budget = 7;
        done += rig.fill(&mut reservation, &rest(extent, done), &mut budget);
    }
    rig.pool.release(reservation);
    let range = IovaRange::from_length(extent.iova, extent.bytes).unwrap();
    let cleared = rig.table.clear(&mut rig.pool, &mut rig.ram, rig.clean, range, &mut { u32::MAX });
    assert_eq!(cleared.next, None);
    // What was mapped in the spare's window made a table of it like any other.
    let in_spare = |(size, first): (u64, u64)| extent.iova < first + size && first < extent.iova + done;
    if done > 0 && rig.spare.is_some_and(in_spare) {
        rig.spare = None;
    }
    rig.stale.append(&mut rig.pool, cleared.frames);
}

fn run(geometry: Geometry, clean: bool, steps: Vec<Step>) {
    let mut rig = Rig::new(geometry, FRAMES, clean);
    for step in steps {
        match step {
            Step::Map { extent, slice } if is_allowed(&rig, &extent) => drop(rig.map(extent, slice)),
            Step::MapLeaves { extent } if is_allowed(&rig, &extent) => {
                if !rig.map_leaves(extent) {
                    rig.map(extent, u32::MAX);
                }
            }
            Step::Abandon { extent, budget } if is_allowed(&rig, &extent) => {
                abandon(&mut rig, &extent, budget);
            }
            Step::Unmap { from, to, slice } if !rig.reference.areas.is_empty() => {
                let mut areas = rig.reference.areas.clone();
                areas.sort_by_key(|area| area.iova);
                let from = from % areas.len();
                let last = areas[(from + (to % 2)).min(areas.len() - 1)];
                rig.unmap(areas[from].iova, last.iova + (last.bytes - 1), slice);
            }
            Step::UnmapLeaves { at, again } if !rig.reference.areas.is_empty() => {
                let area = rig.reference.areas[at % rig.reference.areas.len()];
                if rig.unmap_leaves(area) {
                    rig.check();
                }
                let extent = again.map(|bytes| Extent { bytes, ..area });
                if let Some(extent) = extent.filter(|extent| is_allowed(&rig, extent)) {
                    rig.map(extent, u32::MAX);
                }
            }
            Step::Shed => rig.shed(),
            Step::Recycle => rig.recycle(),
            _ => continue,
        }
        rig.check();
    }
    rig.unmap(0, (1 << geometry.input_bits) - 1, u32::MAX);
    rig.check();
    rig.recycle();
    assert_eq!(rig.pool.free(), FRAMES - 1);
    let root = rig.table.destroy(&mut rig.pool);
    rig.stale.append(&mut rig.pool, root);
    let stale = rig.stale;
    rig.pool.recycle(stale, &iommu_hal::Completed::by_hardware());
    assert_eq!(rig.pool.free(), FRAMES);
}

/// A case that random steps found once: the last leaf of a table goes, but the way to the spare stays in it.
#[test]
fn a_table_that_leads_to_the_spare_is_not_empty() {
    for geometry in geometries().filter(|g| g.input_bits > 30 && g.page_sizes & MIB2 != 0) {
        let extent =
            |iova, bytes| Extent { iova, pa: PhysAddr(8 * GIB1 + iova), bytes, rights: Rights::READ };
        let steps = vec![
            Step::Map { extent: extent(MIB2, MIB2), slice: 1 },
            Step::Map { extent: extent(0, KIB4), slice: u32::MAX },
            Step::UnmapLeaves { at: 1, again: None },
            Step::UnmapLeaves { at: 0, again: None },
        ];
        run(geometry, false, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_says_what_the_reference_says((geometry, clean, steps) in cases()) {
        run(geometry, clean, steps);
    }
}

/// Found by [`any_sequence_says_what_the_reference_says`].
#[test]
fn a_spare_that_a_fill_stops_short_of_stays_one() {
    let geometry =
        Geometry { format: Format::ArmStage2, input_bits: 40, output_bits: 48, page_sizes: KIB4 | GIB1 };
    let at = |iova, bytes| Extent { iova, pa: PhysAddr(0x2_0000_0000), bytes, rights: Rights::READ };
    let steps = vec![
        Step::Map { extent: at(512 * GIB1, KIB4), slice: 1 },
        Step::UnmapLeaves { at: 0, again: None },
        Step::Abandon { extent: at(512 * GIB1 - 330 * KIB4, 500 * KIB4), budget: 76 },
    ];
    run(geometry, false, steps);
}
