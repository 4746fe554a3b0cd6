//! One stage of translation: TLB, tables, permissions (DDI 0487, D8; IHI 0070, 7.3.22).

use super::{
    Smmu,
    descriptor::{Descriptor, decode, entry_size_lg2},
    events::{Found, Why},
    stream_table::bits,
    tlb::{Allowed, Entry, Limits, Stage, Tag, Target},
};
use crate::SystemMemory;

/// What an access wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub write: bool,
    pub privileged: bool,
    pub instruction: bool,
}

/// The start of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub at: u64,
    pub start_level: u32,
    pub granule_lg2: u32,
    /// Bits of an input address.
    pub input_bits: u32,
}

impl Root {
    /// Log2 of the entries of the starting table; tables side by side count as one.
    pub const fn entries_lg2(&self) -> u32 {
        self.input_bits - entry_size_lg2(self.granule_lg2, self.start_level)
    }

    /// The index that `input` has in a table of `level`.
    const fn index(&self, level: u32, input: u64) -> u64 {
        let first = entry_size_lg2(self.granule_lg2, level);
        let width = if level == self.start_level { self.entries_lg2() } else { self.granule_lg2 - 3 };
        bits(input, first, first + width - 1)
    }

    /// Panics where the unit would silently round the address down.
    pub fn check_alignment(&self, field: &str) {
        let bytes = 8u64 << self.entries_lg2();
        assert!(self.at.is_multiple_of(bytes), "{field} {:#x} is not aligned to its {bytes} bytes", self.at);
    }
}

/// One stage of translation, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub tag: Tag,
    pub root: Root,
    pub output_bits: u32,
    pub ignores_access_flag: bool,
    /// Table entries restrict what lies below them.
    pub hierarchy: bool,
    pub ignores_top_byte: bool,
    pub privileged_access_never: bool,
}

impl Allowed {
    fn limited(self, limits: Limits) -> Self {
        Self {
            unprivileged_read: self.unprivileged_read && !limits.no_unprivileged,
            unprivileged_write: self.unprivileged_write && !limits.no_unprivileged && !limits.no_write,
            unprivileged_execute: self.unprivileged_execute && !limits.no_unprivileged_execute,
            privileged_read: self.privileged_read,
            privileged_write: self.privileged_write && !limits.no_write,
            privileged_execute: self.privileged_execute && !limits.no_privileged_execute,
        }
    }

    const fn covers(&self, access: Access) -> bool {
        match (access.privileged, access.write, access.instruction) {
            (false, true, _) => self.unprivileged_write,
            (false, false, true) => self.unprivileged_read && self.unprivileged_execute,
            (false, false, false) => self.unprivileged_read,
            (true, true, _) => self.privileged_write,
            (true, false, true) => self.privileged_read && self.privileged_execute,
            (true, false, false) => self.privileged_read,
        }
    }
}

impl Limits {
    const fn and(self, other: Self) -> Self {
        Self {
            no_unprivileged: self.no_unprivileged || other.no_unprivileged,
            no_write: self.no_write || other.no_write,
            no_privileged_execute: self.no_privileged_execute || other.no_privileged_execute,
            no_unprivileged_execute: self.no_unprivileged_execute || other.no_unprivileged_execute,
        }
    }
}

impl Smmu {
    pub(super) fn walk(
        &mut self,
        memory: &SystemMemory,
        context: &Context,
        input: u64,
        access: Access,
    ) -> Result<u64, Why> {
        let stage = context.tag.stage;
        let found = Found::at(stage, input);
        let top = if context.ignores_top_byte { 55 } else { 63 };
        if bits(input, context.root.input_bits, top) != 0 {
            return Err(Why::Translation(found));
        }
        let input = bits(input, 0, top);
        let exclusive = self.config.block_change_level < 2;
        let cached = self.tlb.leaf(context.tag, input, exclusive).map_err(|_| Why::TlbConflict(found))?;
        let leaf = match cached {
            Some(entry) => entry,
            None => self.walk_tables(memory, context, input)?,
        };
        let Target::Leaf { output, allowed } = leaf.target else { unreachable!("a walk ends at a leaf") };
        let never = context.privileged_access_never && access.privileged && !access.instruction;
        if !allowed.covers(access) || (never && allowed.unprivileged_read) {
            return Err(Why::Permission(found));
        }
        Ok(output + (input - leaf.first))
    }

    fn walk_tables(&mut self, memory: &SystemMemory, context: &Context, input: u64) -> Result<Entry, Why> {
        let found = Found::at(context.tag.stage, input);
        let root = &context.root;
        let (mut level, mut table, mut limits) = (root.start_level, root.at, Limits::default());
        let mut born = self.invalidations;
        if let Some(above) = self.tlb.table(context.tag, input)
            && let Target::Table { next, limits: cached } = above.target
        {
            (level, table, limits, born) = (above.level + 1, next, cached, above.born);
        }
        loop {
            let size_lg2 = entry_size_lg2(root.granule_lg2, level);
            let at = table + 8 * root.index(level, input);
            let word = memory.fetch(at).ok_or(Why::WalkAbort { found, fetched: at })?;
            let entry = self.entry_of(context, level, input >> size_lg2 << size_lg2, limits, word);
            let Some((mut entry, usable)) = entry else { return Err(Why::Translation(found)) };
            entry.born = born;
            let output = match entry.target {
                Target::Table { next, .. } => next,
                Target::Leaf { output, .. } => output,
            };
            if output >> context.output_bits != 0 {
                return Err(Why::AddressSize(found));
            }
            if usable.accessed && usable.cached {
                self.tlb.insert(entry, |_| false);
            }
            match entry.target {
                Target::Table { next, limits: below } => (level, table, limits) = (level + 1, next, below),
                Target::Leaf { .. } if usable.accessed => return Ok(entry),
                Target::Leaf { .. } => return Err(Why::Access(found)),
            }
        }
    }

    /// Whether the tables in memory lead from the root to the word at `at` as the entry of `level` for `input`.
    pub(super) fn leads_to(
        &self,
        memory: &SystemMemory,
        root: &Root,
        tag: Tag,
        (level, input): (u32, u64),
        at: u64,
    ) -> bool {
        let mut table = root.at;
        for step in root.start_level..=level {
            let place = table + 8 * root.index(step, input);
            if step == level {
                return place == at;
            }
            match memory.fetch(place).map(|word| decode(word, tag.stage, root.granule_lg2, step)) {
                Some(Descriptor::Table { next, .. }) => table = next,
                _ => return false,
            }
        }
        false
    }

    /// What the word of a table becomes in the TLB; `None`: invalid.
    pub(super) fn entry_of(
        &self,
        context: &Context,
        level: u32,
        first: u64,
        limits: Limits,
        word: u64,
    ) -> Option<(Entry, Usable)> {
        let granule_lg2 = context.root.granule_lg2;
        let entry = |target, global| Entry {
            tag: context.tag,
            global,
            granule_lg2,
            level,
            first,
            size_lg2: entry_size_lg2(granule_lg2, level),
            target,
            born: self.invalidations,
        };
        match decode(word, context.tag.stage, granule_lg2, level) {
            Descriptor::Invalid => None,
            Descriptor::Table { next, limits: own } => {
                let own = if context.hierarchy { own } else { Limits::default() };
                let target = Target::Table { next, limits: limits.and(own) };
                Some((entry(target, false), Usable { accessed: true, cached: true }))
            }
            Descriptor::Leaf { output, allowed, accessed, global, not_cached } => {
                let target = Target::Leaf { output, allowed: allowed.limited(limits) };
                let cached = !(not_cached && self.config.block_change_level < 2);
                let accessed = accessed || context.ignores_access_flag;
                Some((entry(target, global), Usable { accessed, cached }))
            }
        }
    }
}

/// How a valid descriptor may be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usable {
    pub accessed: bool,
    pub cached: bool,
}

impl Found {
    const fn at(stage: Stage, input: u64) -> Self {
        match stage {
            Stage::One => Self::STAGE_ONE,
            Stage::Two => Self { second_stage: true, intermediate: input },
        }
    }
}
