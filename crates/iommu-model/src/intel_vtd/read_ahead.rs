//! What the unit may have cached before anybody asked for it (6.2).

use super::{
    Vtd,
    descriptors::Removes,
    entries::{context_table, directory, frame, pasid_entry_at},
    invalidate::Pending,
    tlb::{Allowed, Entry, Target},
    translate::{Context, PasidEntry},
    walk::entry_size_lg2,
};
use crate::{SystemMemory, memory::Change};

impl Vtd {
    /// Caches what the unit could have read before these words changed.
    pub(super) fn changed(&mut self, memory: &SystemMemory, changes: &[Change]) {
        if !self.config.reads_ahead || !self.registers.is_translating() {
            return;
        }
        for &Change { at, old } in changes {
            self.contexts_ahead(memory, at, old);
            self.root_ahead(memory, at, old);
            if self.is_scalable() {
                self.pasids_ahead(memory, at, old);
            }
            self.tables_ahead(memory, at, old);
        }
    }

    fn keep_context(&mut self, source: u16, context: Context) {
        let scalable = self.is_scalable();
        let dropped = |held: &Context| {
            self.pending.iter().any(|pending| match pending.removes {
                Removes::Contexts(scope) => {
                    held.born < pending.number && scope.names(source, held.domain(scalable))
                }
                _ => false,
            })
        };
        if self.may_cache_context(&context) && self.contexts.get(&source).is_none_or(dropped) {
            self.contexts.insert(source, context);
        }
    }

    fn keep_pasid(&mut self, key: (u16, u32), entry: PasidEntry) {
        let dropped = |held: &PasidEntry| {
            self.pending.iter().any(|pending| match pending.removes {
                Removes::Pasids(scope) => held.born < pending.number && scope.names(key.1, held.domain()),
                _ => false,
            })
        };
        if self.may_cache_pasid(&entry) && self.pasids.get(&key).is_none_or(dropped) {
            self.pasids.insert(key, entry);
        }
    }

    fn contexts_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        for (source, entry_at) in self.contexts_at(memory, at, SystemMemory::fetch) {
            if let Some(mut context) = self.read_context_at(memory, entry_at) {
                context.words[((at - entry_at) / 8) as usize] = old;
                self.keep_context(source, context);
            }
        }
    }

    /// A root entry changed: every context entry that it led to.
    fn root_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        let root = self.registers.root_table();
        if frame(at) != root {
            return;
        }
        let (bus, half) = (((at - root) / 16) as u16, (at - root) / 8 % 2);
        let scalable = self.is_scalable();
        let entry_at = root + 16 * u64::from(bus);
        let mut entry = [memory.fetch(entry_at).unwrap_or(0), memory.fetch(entry_at + 8).unwrap_or(0)];
        entry[half as usize] = old;
        let sources = if scalable { half as u16 * 0x80..half as u16 * 0x80 + 0x80 } else { 0..256 };
        for source in sources.map(|function| bus << 8 | function) {
            if let Ok(context_at) = context_table(&self.config, scalable, entry, source)
                && let Some(context) = self.read_context_at(memory, context_at)
            {
                self.keep_context(source, context);
            }
        }
    }

    /// PASID-table entries that cached context entries lead to.
    fn pasids_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        let born = self.invalidations;
        for (source, context) in self.contexts.clone() {
            let Ok(directory) = directory(&self.config, context.words) else { continue };
            // Requests without a PASID, and those that were seen.
            let seen = self.pasids.keys().filter(|(of, _)| *of == source).map(|&(_, pasid)| pasid);
            let tables = (0..directory.limit / 64)
                .filter(|&table| table == u64::from(directory.own >> 6) || directory.pasids && table < 16);
            let mut pasids: Vec<u32> = seen.collect();
            for table in tables {
                let Some(word) = memory.fetch(directory.at + 8 * table) else { continue };
                if let Ok(first) = pasid_entry_at(&self.config, word, 0)
                    && frame(first) == frame(at)
                {
                    pasids.push((table * 64 + (at - first) / 64) as u32);
                }
            }
            for pasid in pasids {
                let word = memory.fetch(directory.at + 8 * u64::from(pasid >> 6)).unwrap_or(0);
                let Ok(entry_at) = pasid_entry_at(&self.config, word, pasid) else { continue };
                if !(entry_at..entry_at + 64).contains(&at) {
                    continue;
                }
                let mut words = memory.fetch_entry(entry_at).unwrap_or_default();
                words[((at - entry_at) / 8) as usize] = old;
                let entry = PasidEntry { words, missing: None, quiet: word & 0b10 != 0, born };
                self.keep_pasid((source, pasid), entry);
            }
        }
    }

    /// Second-stage entries of tables that cached entries lead to.
    fn tables_ahead(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        let now = self.invalidations;
        for space in self.known_spaces() {
            let mut places = Vec::new();
            if frame(at) == space.root {
                places.push((space.levels, 0, space.root, Allowed::ALL, now));
            }
            for parent in self.tlb.parents(at) {
                if let (Target::Table { next, allowed }, true) =
                    (parent.target, parent.domain == space.domain)
                {
                    places.push((parent.level - 1, parent.first, next, allowed, parent.born));
                }
            }
            for (level, base, table, above, born) in places {
                let size_lg2 = entry_size_lg2(level);
                let first = base + (((at - table) / 8) << size_lg2);
                let target = self.target(level, above, old);
                if !self.may_cache(target) {
                    continue;
                }
                let afresh = self.leads_to(memory, &space, level, first, at);
                let born = if afresh { now } else { born };
                let entry = Entry { domain: space.domain, level, first, size_lg2, target, born };
                let Self { tlb, pending, .. } = &mut *self;
                let dropped = |held: &Entry| is_dropped(pending, held);
                let held =
                    tlb.leaf(space.domain, first).is_some_and(|leaf| leaf.level == level && !dropped(&leaf));
                if !held {
                    tlb.insert(entry, dropped);
                }
            }
        }
    }
}

/// Whether an invalidation that was taken and has not completed lets the unit forget `held`.
fn is_dropped(pending: &[Pending], held: &Entry) -> bool {
    pending.iter().any(|pending| match pending.removes {
        Removes::Translations(scope) => held.born < pending.number && scope.names(held),
        _ => false,
    })
}
