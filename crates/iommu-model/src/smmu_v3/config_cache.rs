//! Cached configuration (IHI 0070, 4.3), and what may be cached before anybody asked for it (3.21).

use std::collections::HashMap;

use super::{
    Smmu,
    commands::ConfigScope,
    context::Cd,
    descriptor::entry_size_lg2,
    stream_table::{Ste, Treatment},
    tlb::{Limits, Target},
    walk::Context,
};
use crate::SystemMemory;

/// Cached configuration; nothing is ever evicted.
#[derive(Debug, Default)]
pub(super) struct ConfigCache {
    /// Level 1 descriptors by index.
    pub descriptors: HashMap<u32, u64>,
    pub entries: HashMap<u32, Ste>,
    pub contexts: HashMap<u32, Cd>,
}

impl Smmu {
    /// Caches what the unit could have read before the word at `at` changed from `old`: structures in any
    /// state, valid table entries of tables that it knows (3.21.1, 3.21.3).
    pub(super) fn read_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        if !self.config.reads_ahead || !self.registers.is_translating() {
            return;
        }
        for (stream, entry_at) in self.watch.entries_at(at) {
            let mut before = memory.fetch_entry(entry_at).unwrap_or_default();
            before[((at - entry_at) / 8) as usize] = old;
            self.cache.entries.entry(stream).or_insert(Ste(before));
        }
        for (stream, context_at) in self.watch.contexts_at(at) {
            let known = self.cache.entries.get(&stream);
            if known.is_some_and(|ste| ste.lets_pass() && ste.context_at() == context_at) {
                let mut before = memory.fetch_entry(context_at).unwrap_or_default();
                before[((at - context_at) / 8) as usize] = old;
                self.cache.contexts.entry(stream).or_insert(Cd(before));
            }
        }
        let table = self.registers.stream_table();
        if let Some(split) = table.split
            && (table.base..table.base + table.bytes()).contains(&at)
        {
            let index = ((at - table.base) / 8) as u32;
            if u64::from(index) << split >> self.config.stream_bits == 0 {
                self.cache.descriptors.entry(index).or_insert(old);
            }
        }
        self.read_table_ahead(at, old);
    }

    fn read_table_ahead(&mut self, at: u64, old: u64) {
        for context in self.known_contexts() {
            let root = context.root;
            let mut places = Vec::new();
            if (root.at..root.at + (8 << root.entries_lg2())).contains(&at) {
                places.push((root.start_level, 0, root.at, Limits::default()));
            }
            for parent in self.tlb.parents(at) {
                if let (Target::Table { next, limits }, true) = (parent.target, parent.tag == context.tag) {
                    places.push((parent.level + 1, parent.first, next, limits));
                }
            }
            for (level, base, table, limits) in places {
                let first = base + (((at - table) / 8) << entry_size_lg2(root.granule_lg2, level));
                let Some((entry, usable)) = self.entry_of(&context, level, first, limits, old) else {
                    continue;
                };
                let known = matches!(self.tlb.leaf(context.tag, first, false), Ok(Some(_)));
                if usable.accessed && usable.cached && !known {
                    self.tlb.insert(entry);
                }
            }
        }
    }

    /// The translations that cached configuration leads to.
    fn known_contexts(&self) -> Vec<Context> {
        let mut contexts = Vec::new();
        for (stream, ste) in &self.cache.entries {
            if !ste.lets_pass() || ste.is_illegal(&self.config) {
                continue;
            }
            let context = match ste.treatment() {
                Treatment::StageTwo => Some(ste.stage_two(&self.config)),
                Treatment::StageOne => {
                    let cd = self.cache.contexts.get(stream).filter(|cd| !cd.is_illegal(&self.config));
                    cd.and_then(|cd| cd.stage_one(&self.config, ste.vmid(&self.config)))
                }
                Treatment::Abort | Treatment::Bypass => None,
            };
            contexts.extend(context.filter(|context| !contexts.contains(context)));
        }
        contexts
    }

    /// Removes cached configuration.
    pub(super) fn forget_configuration(&mut self, scope: &ConfigScope) {
        let split = self.registers.stream_table().split;
        let cache = &mut self.cache;
        match *scope {
            ConfigScope::Streams { first, last, descriptors } => {
                cache.entries.retain(|stream, _| !(first..=last).contains(stream));
                cache.contexts.retain(|stream, _| !(first..=last).contains(stream));
                match split {
                    Some(split) if descriptors => {
                        cache
                            .descriptors
                            .retain(|index, _| !(first >> split..=last >> split).contains(index));
                    }
                    None if descriptors && first == 0 && last == u32::MAX => cache.descriptors.clear(),
                    _ => {}
                }
            }
            ConfigScope::Context(stream) => {
                cache.contexts.remove(&stream);
            }
        }
    }
}
