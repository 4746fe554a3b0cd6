//! What must hold after every request, whatever it was.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use iommu_hal::{IovaRange, PhysAddr};

use super::*;
use crate::area::State;
use crate::space::Space;
use crate::{MAX_CLIENTS, MAX_COMMANDS, MAX_GRANTS, MAX_SPACES, MAX_SPACES_PER_CLIENT, MAX_TABLE_WRITES};

/// One area as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub range: IovaRange,
    pub slot: u8,
    pub offset: u64,
    pub rights: Rights,
    pub state: State,
    pub cursor: u64,
    pub reserved: u32,
}

impl Seen {
    /// The part that its state says is mapped.
    fn mapped(&self) -> Option<IovaRange> {
        let (first, last) = (self.range.first(), self.range.last());
        match self.state {
            State::Live => Some(self.range),
            State::Filling => IovaRange::from_length(first, self.cursor),
            State::Removing => IovaRange::new(first + self.cursor, last),
        }
    }
}

/// A request: within its bounds, and everything holds afterwards.
pub fn request<T>(core: &mut TestCore, machine: &Machine, step: impl FnOnce(&mut TestCore) -> T) -> T {
    machine.take_calls();
    machine.0.stores.take();
    machine.0.zeroed.take();
    let result = step(core);
    assert!(machine.0.calls.borrow().len() <= MAX_COMMANDS as usize, "{:?}", machine.take_calls());
    assert!(machine.0.stores.get() <= MAX_TABLE_WRITES.into(), "{} stores", machine.0.stores.get());
    let tables = MAX_TABLE_WRITES / iommu_pgtable::Table::FRESH_TABLE_WRITES;
    assert!(machine.0.zeroed.get() <= tables.into(), "{} zeroed", machine.0.zeroed.get());
    check(core, machine);
    result
}

/// The space that `client` calls `id`.
pub fn space(core: &TestCore, client: ClientId, id: SpaceId) -> &Space {
    core.spaces.get(core.clients[client.number()].space(id).unwrap())
}

/// The areas of `space`, upwards.
pub fn areas(core: &TestCore, space: &Space) -> Vec<Seen> {
    let mut seen = vec![];
    let mut above = Some(0);
    while let Some(index) = above
        .and_then(|first| IovaRange::new(first, u64::MAX))
        .and_then(|range| space.tree.lowest_in(&core.areas, range))
    {
        let area = &core.areas[index as usize];
        seen.push(Seen {
            range: area.range(),
            slot: area.slot(),
            offset: area.offset(),
            rights: area.rights(),
            state: area.state(),
            cursor: area.cursor(),
            reserved: area.reserved.frames(),
        });
        above = area.range().last().checked_add(1);
    }
    seen
}

/// Checks the state of everything, then lets the units cache all that they could.
pub fn check(core: &mut TestCore, machine: &Machine) {
    let mut holders = [0; MAX_SPACES];
    for device in core.clients.iter().flat_map(|client| &client.devices) {
        device.attachment.holds().for_each(|slot| holders[usize::from(slot.0)] += 1);
    }
    let mut total = Quota::ZERO;
    let mut mapped = BTreeMap::new();
    for client in (0..MAX_CLIENTS).filter_map(ClientId::new) {
        let mut used = Quota::ZERO;
        let mut live_areas = [0; MAX_GRANTS];
        for id in (1..=MAX_SPACES_PER_CLIENT as u16).map(SpaceId) {
            let Ok(slot) = core.clients[client.number()].space(id) else { continue };
            let space = core.spaces.get(slot);
            let areas = areas(core, space);
            assert_eq!((space.id, space.devices), (id, holders[usize::from(slot.0)]));
            assert_eq!(space.tree.check(&core.areas).0, areas.len());
            assert!(space.unsure || space.quarantine.is_empty());
            let pages = pages(core, client, space, &areas);
            used.spaces += 1;
            used.areas += areas.len() as u32;
            let mut held = pages.clone();
            // A page that is not there, for the table that is kept for it.
            held.extend(space.table.spare().map(|spare| (spare.first(), (PhysAddr(0), spare_entry(spare)))));
            used.frames += 1 + tables(space, &held) + space.quarantine.len();
            used.frames += areas.iter().map(|area| area.reserved).sum::<u32>();
            areas.iter().for_each(|area| live_areas[usize::from(area.slot)] += 1);
            // Only a failed invalidation leaves what was taken out cached.
            let excused = if space.unsure { areas } else { vec![] };
            mapped.insert(space.tag().0, (pages, excused, space.unsure));
        }
        assert_eq!(core.usage(client), used, "charges of {client:?}");
        for (slot, live) in live_areas.into_iter().enumerate() {
            let told = core.region_info(client, slot as u16).map_or(0, |info| info.live_areas);
            assert_eq!(told, live);
        }
        total.frames += used.frames;
        total.areas += used.areas;
        total.spaces += used.spaces;
    }
    assert_eq!(core.spaces.iter().count(), total.spaces as usize);
    assert_eq!(core.areas.in_use(), total.areas);
    assert_eq!(core.frames.capacity() - core.frames.free(), total.frames);
    caches(machine, &mapped);
}

/// What is mapped: by first address of each page or block, where to and how large.
type Pages = BTreeMap<u64, (PhysAddr, u64)>;

/// The pages of `space`, each of which must lead where its area says, and nothing else anywhere.
fn pages(core: &TestCore, client: ClientId, space: &Space, areas: &[Seen]) -> Pages {
    let memory = &core.hardware.memory;
    let lookup = |iova: u64| space.table.lookup(memory, iova);
    let mut pages = Pages::new();
    let mut below = 0;
    for area in areas {
        let (first, last) = (area.range.first(), area.range.last());
        let grant = &core.clients[client.number()].grants[usize::from(area.slot)];
        let mapped = area.mapped();
        let (mut from, end) = mapped.map_or((first, first), |range| (range.first(), range.last() + 1));
        let edges = [below, first.wrapping_sub(1), last + 1];
        for edge in edges.into_iter().filter(|&edge| !areas.iter().any(|area| area.range.contains(edge))) {
            assert!(lookup(edge).is_none(), "{edge:#x} leads somewhere");
        }
        for edge in [first, last].into_iter().filter(|&edge| mapped.is_none_or(|part| !part.contains(edge))) {
            assert!(lookup(edge).is_none(), "{edge:#x} of {area:?} leads somewhere");
        }
        while from < end {
            let Some(page) = lookup(from) else {
                // Where a half-filled area was taken over, the rest was never written.
                assert_eq!(area.state, State::Removing, "{from:#x} of {area:?} leads nowhere");
                assert!((from..end).step_by(PAGE as usize).all(|iova| lookup(iova).is_none()));
                from = end;
                break;
            };
            assert_eq!(page.pa, grant.address(area.offset + (from - first)));
            assert_eq!(page.rights, area.rights);
            pages.insert(from, (page.pa, page.page_bytes));
            from += page.page_bytes;
        }
        assert_eq!(from, end);
        below = last + 1;
    }
    pages
}

/// The bytes that an entry of the table that serves `spare` spans.
fn spare_entry(spare: IovaRange) -> u64 {
    (spare.last() - spare.first() + 1) >> 9
}

/// The tables below the root that `pages` need.
fn tables(space: &Space, pages: &Pages) -> u32 {
    let levels = space.table.geometry().levels();
    let count = |height| {
        let span = 12 + 9 * height;
        let mut prefixes: Vec<_> =
            pages.iter().filter(|page| page.1.1 < 1_u64 << span).map(|page| page.0 >> span).collect();
        prefixes.dedup();
        prefixes.len() as u32
    };
    (1..levels).map(count).sum()
}

/// What a unit in caching mode is asked for besides what is mapped: where random requests meet.
fn elsewhere() -> impl Iterator<Item = u64> {
    (0..24).map(|n| n * PAGE).chain((1..34).map(|n| n * MIB))
}

/// The page or block of `pages` that `iova` lies in.
fn found(pages: &Pages, iova: u64) -> Option<PhysAddr> {
    let (&first, &(pa, bytes)) = pages.range(..=iova).next_back()?;
    (iova - first < bytes).then_some(pa)
}

/// What is mapped under each tag, the areas that may still be cached, and whether an invalidation is owed.
type Mapped = BTreeMap<u16, (Pages, Vec<Seen>, bool)>;

/// Nothing is cached that is not so, save in `excused` areas whose removal waits for the hardware, and nothing as absent
/// that is mapped, save where the hardware has failed; then the units walk everything that they reach.
fn caches(machine: &Machine, mapped: &Mapped) {
    let mut cached = machine.0.cached.borrow_mut();
    let under = |unit: &usize, tag: &u16| {
        mapped.get(tag).unwrap_or_else(|| panic!("unit {unit} caches the dead tag {tag}"))
    };
    for (unit, tag, iova, pa) in cached.iter() {
        let (pages, excused, _) = under(unit, tag);
        let true_still = pages.get(iova).is_some_and(|page| page.0 == *pa);
        let removing = |area: &Seen| area.state == State::Removing && area.range.contains(*iova);
        assert!(true_still || excused.iter().any(removing), "unit {unit} caches {iova:#x} of tag {tag}");
    }
    let mut absent = machine.0.absent.borrow_mut();
    for (unit, tag, iova) in absent.iter() {
        let (pages, _, unsure) = under(unit, tag);
        assert!(
            *unsure || found(pages, *iova).is_none(),
            "unit {unit} caches that {iova:#x} of tag {tag} is absent"
        );
    }
    for (&(unit, _), bindings) in machine.0.walking.borrow().iter() {
        for binding in bindings {
            let (pages, ..) = mapped.get(&binding.tag.0).expect("a stream walks a dead space");
            cached.extend(pages.iter().map(|(&iova, &(pa, _))| (unit, binding.tag.0, iova, pa)));
            if machine.0.caches_absence.get() {
                let nothing = elsewhere().filter(|&iova| found(pages, iova).is_none());
                absent.extend(nothing.map(|iova| (unit, binding.tag.0, iova)));
            }
        }
    }
}
