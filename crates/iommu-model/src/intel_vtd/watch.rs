//! Stores to entries that the unit may read at any moment (6.5.3).
//!
//! The unit reads an entry that is present whenever it likes. So while an entry stays present, one store may
//! change it between two completed invalidations; more of them, and the unit could use what is neither the old
//! entry nor the new one. An entry that is not present may be filled in any number of stores.

use std::collections::{HashMap, HashSet};

use super::{
    Vtd,
    entries::{PASID_ENTRY_BYTES, context_bytes, context_table, frame, is_present, legacy_domain},
};
use crate::SystemMemory;

/// Whose entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Context(u16),
    Pasid,
}

/// Present entries by address, with the changes since the last invalidation.
#[derive(Debug, Default)]
pub(super) struct Watch {
    changed: HashMap<u64, (Owner, u32)>,
    pasid_tables: HashSet<u64>,
}

impl Watch {
    /// Notes that the unit has read the entry at `at` of a PASID table.
    pub fn know_pasid_table(&mut self, at: u64) {
        self.pasid_tables.insert(frame(at));
    }

    pub fn forget_all(&mut self) {
        self.changed.clear();
    }

    /// Notes an invalidation that has completed, of the context entries of the sources that `names` names.
    pub fn settled(&mut self, names: impl Fn(u16) -> bool) {
        self.changed.retain(|_, (owner, _)| match *owner {
            Owner::Context(source) => !names(source),
            Owner::Pasid => true,
        });
    }

    /// Likewise of PASID-table entries.
    pub fn settled_pasids(&mut self) {
        self.changed.retain(|_, (owner, _)| *owner != Owner::Pasid);
    }

    fn note(&mut self, at: u64, owner: Owner, before: u64, after: u64) {
        if !is_present(before) || !is_present(after) {
            self.changed.remove(&at);
            return;
        }
        let changes = &mut self.changed.entry(at).or_insert((owner, 0)).1;
        *changes += 1;
        assert!(
            *changes < 2,
            "{owner:x?}: a present entry changed by two stores without a completed invalidation between: the unit \
             could use a mix (6.5.3)"
        );
    }
}

impl Vtd {
    /// Notes that the CPU stored the word at `at`, which held `old`.
    pub(super) fn stored(&mut self, memory: &SystemMemory, at: u64, old: u64) {
        if !self.registers.is_translating() || memory.load(at) == old {
            return;
        }
        if self.watch.pasid_tables.contains(&frame(at)) {
            self.stored_entry(memory, Owner::Pasid, at - at % PASID_ENTRY_BYTES, at, old);
        }
        for (source, entry_at) in self.contexts_at(memory, at, SystemMemory::stored_word) {
            self.stored_entry(memory, Owner::Context(source), entry_at, at, old);
            let words = [memory.load(entry_at), memory.load(entry_at + 8)];
            assert!(
                !self.config.caching_mode
                    || self.is_scalable()
                    || !is_present(words[0])
                    || legacy_domain(words) != 0,
                "context entry of {source:#x}: domain id 0 is the unit's own in caching mode (6.1)"
            );
        }
    }

    fn stored_entry(&mut self, memory: &SystemMemory, owner: Owner, entry_at: u64, at: u64, old: u64) {
        let after = memory.load(entry_at);
        let before = if at == entry_at { old } else { after };
        self.watch.note(entry_at, owner, before, after);
    }

    /// The devices whose context entries hold the word at `at`, and where each entry starts.
    pub(super) fn contexts_at(
        &self,
        memory: &SystemMemory,
        at: u64,
        load: impl Fn(&SystemMemory, u64) -> Option<u64>,
    ) -> Vec<(u16, u64)> {
        let scalable = self.is_scalable();
        let bytes = context_bytes(scalable);
        let mut found = Vec::new();
        let root = self.registers.root_table();
        for bus in 0..256u16 {
            let entry = root + 16 * u64::from(bus);
            let (Some(low), Some(high)) = (load(memory, entry), load(memory, entry + 8)) else { continue };
            for half in [0, 0x80] {
                if half != 0 && !scalable {
                    continue;
                }
                let first = bus << 8 | half;
                if let Ok(table) = context_table(&self.config, scalable, [low, high], first)
                    && frame(at) == table
                {
                    let place = (at - table) / bytes;
                    found.push((first + place as u16, table + bytes * place));
                }
            }
        }
        found
    }
}
