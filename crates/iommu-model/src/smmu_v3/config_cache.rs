//! Cached configuration (IHI 0070, 4.3), and what may be cached before anybody asked for it (3.21).

use std::collections::HashMap;

use super::{
    Smmu,
    command_queue::{Pending, Removes},
    commands::ConfigScope,
    context::Cd,
    descriptor::entry_size_lg2,
    stream_table::{Ste, Treatment},
    tlb::{Entry, Limits, Target},
    walk::Context,
};
use crate::SystemMemory;

/// Something that the unit has read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cached<T> {
    pub value: T,
    /// Invalidations that had been consumed when it, or what led to it, was read.
    pub born: u64,
}

/// Cached configuration; nothing is ever evicted.
#[derive(Debug, Default)]
pub(super) struct ConfigCache {
    /// Level 1 descriptors by index.
    pub descriptors: HashMap<u32, Cached<u64>>,
    pub entries: HashMap<u32, Cached<Ste>>,
    pub contexts: HashMap<u32, Cached<Cd>>,
}

/// Caches `value` if the place is free, or if the unit may have let go of what it holds.
fn read<T>(
    cache: &mut HashMap<u32, Cached<T>>,
    key: u32,
    value: T,
    born: u64,
    pending: &[Pending],
    names: impl Fn(&ConfigScope) -> bool,
) {
    let held = cache.get(&key).is_some_and(|held| {
        !pending.iter().any(|pending| match pending.removes {
            Removes::Configuration(scope) => held.born < pending.number && names(&scope),
            Removes::Translations(_) | Removes::HypervisorTranslations => false,
        })
    });
    if !held {
        cache.insert(key, Cached { value, born });
    }
}

impl Smmu {
    /// Caches what the unit could have read before the word at `at` changed from `old`: structures in any
    /// state, valid table entries of tables that it knows (3.21.1, 3.21.3).
    pub(super) fn read_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        if !self.config.reads_ahead || !self.registers.is_translating() {
            return;
        }
        let Self { cache, pending, invalidations: born, .. } = self;
        let before = |entry_at: u64| {
            let mut words = memory.fetch_entry(entry_at).unwrap_or_default();
            words[((at - entry_at) / 8) as usize] = old;
            words
        };
        for (stream, entry_at) in self.watch.entries_at(at) {
            let names = |scope: &ConfigScope| scope.names_entry(stream);
            read(&mut cache.entries, stream, Ste(before(entry_at)), *born, pending, names);
        }
        for (stream, context_at) in self.watch.contexts_at(at) {
            let known = cache
                .entries
                .get(&stream)
                .filter(|ste| ste.value.lets_pass() && ste.value.context_at() == context_at);
            if let Some(known) = known {
                let names = |scope: &ConfigScope| scope.names_context(stream);
                read(&mut cache.contexts, stream, Cd(before(context_at)), known.born, pending, names);
            }
        }
        let table = self.registers.stream_table();
        if let Some(split) = table.split
            && (table.base..table.base + table.bytes()).contains(&at)
        {
            let index = ((at - table.base) / 8) as u32;
            if u64::from(index) << split >> self.config.stream_bits == 0 {
                let names = |scope: &ConfigScope| scope.names_descriptor(index, Some(split));
                read(&mut cache.descriptors, index, old, *born, pending, names);
            }
        }
        self.read_table_ahead(memory, at, old);
    }

    fn read_table_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        for context in self.known_contexts() {
            let root = context.root;
            let now = self.invalidations;
            let mut places = Vec::new();
            if (root.at..root.at + (8 << root.entries_lg2())).contains(&at) {
                places.push((root.start_level, 0, root.at, Limits::default(), now));
            }
            for parent in self.tlb.parents(at) {
                if let (Target::Table { next, limits }, true) = (parent.target, parent.tag == context.tag) {
                    places.push((parent.level + 1, parent.first, next, limits, parent.born));
                }
            }
            for (level, base, table, limits, born) in places {
                let first = base + (((at - table) / 8) << entry_size_lg2(root.granule_lg2, level));
                let Some((mut entry, usable)) = self.entry_of(&context, level, first, limits, old) else {
                    continue;
                };
                let afresh = self.leads_to(memory, &root, context.tag, (level, first), at);
                entry.born = if afresh { now } else { born };
                let dropped = |held: &Entry| {
                    self.pending.iter().any(|pending| match pending.removes {
                        Removes::Translations(scope) => held.born < pending.number && scope.names(held),
                        Removes::Configuration(_) | Removes::HypervisorTranslations => false,
                    })
                };
                let held = match self.tlb.leaf(context.tag, first, false) {
                    Ok(Some(leaf)) => leaf.first != first || leaf.level != level,
                    _ => false,
                };
                if usable.accessed && usable.cached && !held {
                    self.tlb.insert(entry, dropped);
                }
            }
        }
    }

    /// The translations that cached configuration leads to.
    fn known_contexts(&self) -> Vec<Context> {
        let mut contexts = Vec::new();
        for (stream, ste) in &self.cache.entries {
            let ste = ste.value;
            if !ste.lets_pass() || ste.is_illegal(&self.config) {
                continue;
            }
            let context = match ste.treatment() {
                Treatment::StageTwo => Some(ste.stage_two(&self.config)),
                Treatment::StageOne => {
                    let cd = self.cache.contexts.get(stream).map(|cd| cd.value);
                    let cd = cd.filter(|cd| !cd.is_illegal(&self.config));
                    cd.and_then(|cd| cd.stage_one(&self.config, ste.vmid(&self.config)))
                }
                Treatment::Abort | Treatment::Bypass => None,
            };
            contexts.extend(context.filter(|context| !contexts.contains(context)));
        }
        contexts
    }

    /// Removes the cached configuration that the invalidation with this number reaches.
    pub(super) fn forget_configuration(&mut self, scope: &ConfigScope, number: u64) {
        let split = self.registers.stream_table().split;
        let cache = &mut self.cache;
        cache.entries.retain(|&stream, entry| !(scope.names_entry(stream) && entry.born < number));
        cache.contexts.retain(|&stream, context| !(scope.names_context(stream) && context.born < number));
        cache
            .descriptors
            .retain(|&index, held| !(scope.names_descriptor(index, split) && held.born < number));
    }
}
