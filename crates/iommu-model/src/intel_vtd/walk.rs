//! Second-stage translation: caches, tables, permissions (3.6 and 9.8).

use super::{
    Vtd,
    config::Config,
    entries::{Space, frame},
    reason::Reason,
    tlb::{Allowed, Entry, Target},
};
use crate::{
    SystemMemory,
    fields::{bits, mask},
};

/// Log2 of the bytes that an entry of `level` covers.
pub(super) const fn entry_size_lg2(level: u32) -> u32 {
    3 + 9 * level
}

/// What a word of a second-stage table says; rights are its own.
fn decode(config: &Config, level: u32, word: u64) -> Target {
    let allowed = Allowed { read: word & 0b01 != 0, write: word & 0b10 != 0 };
    if !allowed.read && !allowed.write {
        return Target::Fault(Reason::NothingAllowed);
    }
    let large = level > 1 && bits(word, 7, 7) == 1;
    let possible = !large || (level < 4 && config.large_pages.contains(&entry_size_lg2(level)));
    // SNP is for pages of units with snoop control, TM for device TLBs.
    let is_page = level == 1 || large;
    let snoop = if is_page && config.snoop_control { 0 } else { mask(11, 11) };
    let unaligned = if large { mask(12, entry_size_lg2(level) - 1) } else { 0 };
    let address = mask(12, 51);
    let beyond = if config.host_bits < 52 { mask(config.host_bits, 51) } else { 0 };
    if !possible || word & (snoop | unaligned | beyond | mask(62, 62)) != 0 {
        return Target::Fault(Reason::TableReserved);
    }
    if is_page {
        Target::Leaf { output: word & address & !unaligned, allowed }
    } else {
        Target::Table { next: word & address, allowed }
    }
}

impl Vtd {
    /// Where `input` goes in `space`.
    pub(super) fn walk(
        &mut self,
        memory: &SystemMemory,
        space: &Space,
        input: u64,
        write: bool,
    ) -> Result<u64, Reason> {
        if input >> space.input_bits().min(self.config.guest_bits) != 0 {
            return Err(Reason::BeyondTables);
        }
        let entry = match self.tlb.leaf(space.domain, input) {
            Some(entry) => entry,
            None => self.walk_tables(memory, space, input),
        };
        let (output, allowed) = match entry.target {
            Target::Leaf { output, allowed } => (output, allowed),
            Target::Fault(reason) => return Err(reason),
            Target::Table { .. } => unreachable!("a walk ends at a page"),
        };
        match (allowed.read, allowed.write) {
            (false, false) => return Err(Reason::NothingAllowed),
            (_, false) if write => return Err(Reason::NoWrite),
            (false, _) if !write => return Err(Reason::NoRead),
            _ => {}
        }
        let output = output + (input - entry.first);
        if output >> 20 == 0xfee { Err(Reason::InterruptRange) } else { Ok(output) }
    }

    /// Walks the tables from the nearest cached entry on, and caches what may be cached.
    fn walk_tables(&mut self, memory: &SystemMemory, space: &Space, input: u64) -> Entry {
        let (mut level, mut table, mut allowed) = (space.levels, frame(space.root), Allowed::ALL);
        let mut born = self.invalidations;
        if let Some(above) = self.tlb.table(space.domain, input)
            && let Target::Table { next, allowed: cached } = above.target
        {
            (level, table, allowed, born) = (above.level - 1, next, cached, above.born);
        }
        loop {
            let size_lg2 = entry_size_lg2(level);
            let first = input >> size_lg2 << size_lg2;
            let word = memory.fetch(table + 8 * bits(input, size_lg2, size_lg2 + 8));
            let target = match word {
                Some(word) => self.target(level, allowed, word),
                None if level == space.levels => Target::Fault(Reason::FirstTableAccess),
                None => Target::Fault(Reason::TableAccess),
            };
            let entry = Entry { domain: space.domain, level, first, size_lg2, target, born };
            if self.may_cache(target) {
                self.tlb.insert(entry, |_| false);
            }
            match target {
                Target::Table { next, allowed: below } => (level, table, allowed) = (level - 1, next, below),
                Target::Leaf { .. } | Target::Fault(_) => return entry,
            }
        }
    }

    /// What a word of a table becomes in the caches, below entries that allow `above`.
    pub(super) fn target(&self, level: u32, above: Allowed, word: u64) -> Target {
        match decode(&self.config, level, word) {
            Target::Table { next, allowed } => Target::Table { next, allowed: allowed.and(above) },
            Target::Leaf { output, allowed } => Target::Leaf { output, allowed: allowed.and(above) },
            fault @ Target::Fault(_) => fault,
        }
    }

    /// Entries that are not present or wrong are cached in caching mode alone (6.1).
    pub(super) const fn may_cache(&self, target: Target) -> bool {
        self.config.caching_mode || !matches!(target, Target::Fault(_))
    }

    /// Whether the tables in memory lead from the root to the word at `at` as the entry of `level` for `input`.
    pub(super) fn leads_to(
        &self,
        memory: &SystemMemory,
        space: &Space,
        level: u32,
        input: u64,
        at: u64,
    ) -> bool {
        let mut table = frame(space.root);
        for step in (level..=space.levels).rev() {
            let size_lg2 = entry_size_lg2(step);
            let place = table + 8 * bits(input, size_lg2, size_lg2 + 8);
            if step == level {
                return place == at;
            }
            match memory.fetch(place).map(|word| decode(&self.config, step, word)) {
                Some(Target::Table { next, .. }) => table = next,
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_word_is_judged_bit_by_bit() {
        let config = Config { host_bits: 46, ..Config::default() };
        let reserved = Target::Fault(Reason::TableReserved);
        let is_reserved = |level, word| decode(&config, level, word) == reserved;
        assert_eq!(decode(&config, 1, 0x8000_0ffc & !3), Target::Fault(Reason::NothingAllowed));
        assert!(!is_reserved(1, 0x8000_07ff), "ignored bits");
        assert!(!is_reserved(1, 0xbff0_0000_8000_0003), "ignored bits");
        for bit in [11, 46, 51, 62] {
            assert!(
                is_reserved(1, 0x8000_0003 | 1 << bit) && is_reserved(3, 0x8000_0003 | 1 << bit),
                "{bit}"
            );
        }
        for (level, bit, is) in [(2, 20, true), (2, 21, false), (3, 21, true), (3, 29, true), (3, 30, false)]
        {
            assert_eq!(is_reserved(level, 0x83 | 1 << bit), is, "level {level}, bit {bit}");
        }
        assert!(is_reserved(4, 0x83), "no page of 512 GiB");
        let small = Config { large_pages: vec![], snoop_control: true, ..Config::default() };
        assert_eq!(decode(&small, 2, 0x83), reserved);
        assert!(matches!(decode(&small, 1, 0x803), Target::Leaf { .. }), "SNP");
        assert_eq!(decode(&small, 2, 0x803), reserved);
    }
}
