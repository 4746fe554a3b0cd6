//! The path of one access: Stream table, context, tables, permissions (IHI 0070, 3.4, 7.3.22; DDI 0487, D8).

use super::{
    Smmu,
    commands::ConfigScope,
    context::Cd,
    descriptor::{Descriptor, decode, entry_size_lg2},
    events::{Event, Found, Why},
    stream_table::{STE_BYTES, Ste, StreamTable, Treatment, bits, second_level},
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
    const fn entries_lg2(&self) -> u32 {
        self.input_bits - entry_size_lg2(self.granule_lg2, self.start_level)
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

/// How an access ended that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Aborted, and nothing recorded.
    Silent,
    /// For this reason; recorded, aborted.
    Event(Event),
    /// A fault of translation, recorded or aborted as configured (5.5).
    Translation { event: Event, recorded: bool, aborted: bool },
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
    /// Finds where an access of `stream` to `input` goes.
    pub(super) fn translate(
        &mut self,
        memory: &SystemMemory,
        stream: u32,
        input: u64,
        write: bool,
    ) -> Result<u64, Stop> {
        if self.service_failure {
            return Err(Stop::Silent);
        }
        if !self.registers.is_translating() {
            let passes = !self.registers.aborts_globally() && input >> self.config.output_bits == 0;
            return if passes { Ok(input) } else { Err(Stop::Silent) };
        }
        let plain = Access { write, privileged: false, instruction: false };
        let event = |why| Stop::Event(Event { why, stream, input, access: plain });
        let ste = self.stream_entry(memory, stream).map_err(|why| match why {
            Why::BadStreamId if !self.registers.records_invalid_streams() => Stop::Silent,
            why => event(why),
        })?;
        if ste.is_illegal(&self.config) {
            return Err(event(Why::BadSte));
        }
        let (privileged, instruction) = ste.attributes();
        let access = Access { write, privileged, instruction: instruction && !write };
        let event = |why| Event { why, stream, input, access };
        let too_wide = Stop::Event(event(Why::AddressSize(Found::STAGE_ONE)));
        let fits = input >> self.config.output_bits == 0;
        match ste.treatment() {
            Treatment::Abort => Err(Stop::Silent),
            Treatment::Bypass => {
                if fits {
                    Ok(input)
                } else {
                    Err(too_wide)
                }
            }
            Treatment::StageTwo if !fits => Err(too_wide),
            Treatment::StageTwo => {
                let context = ste.stage_two(&self.config);
                self.walk(memory, &context, input, access).map_err(|why| Stop::Translation {
                    event: event(why),
                    recorded: ste.records(),
                    aborted: true,
                })
            }
            Treatment::StageOne => {
                if ste.substreams(&self.config) != 0 {
                    match ste.default_substream() {
                        0b01 => return if fits { Ok(input) } else { Err(too_wide) },
                        0b10 => {}
                        _ => return Err(Stop::Event(event(Why::StreamDisabled))),
                    }
                }
                let cd = self.context(memory, stream, &ste).map_err(|why| Stop::Event(event(why)))?;
                if cd.is_illegal(&self.config) {
                    return Err(Stop::Event(event(Why::BadCd)));
                }
                let stop = |why| Stop::Translation {
                    event: event(why),
                    recorded: cd.records(),
                    aborted: cd.aborts() || self_aborts(why),
                };
                let context = cd.stage_one(&self.config, ste.vmid(&self.config));
                let context = context.ok_or_else(|| stop(Why::Translation(Found::STAGE_ONE)))?;
                self.walk(memory, &context, input, access).map_err(stop)
            }
        }
    }

    /// Finds `stream`'s entry, cached or in memory.
    fn stream_entry(&mut self, memory: &SystemMemory, stream: u32) -> Result<Ste, Why> {
        let table = self.registers.stream_table();
        if !table.contains(stream) || u64::from(stream) >> self.config.stream_bits != 0 {
            return Err(Why::BadStreamId);
        }
        if let Some(ste) = self.cache.entries.get(&stream) {
            return Ok(*ste);
        }
        let at = self.entry_address(memory, &table, stream)?;
        let ste = Ste(memory.fetch_entry(at).ok_or(Why::SteFetch(at))?);
        ste.check_reserved(&self.config, stream);
        self.cache.entries.insert(stream, ste);
        Ok(ste)
    }

    fn entry_address(&mut self, memory: &SystemMemory, table: &StreamTable, stream: u32) -> Result<u64, Why> {
        let Some(split) = table.split else { return Ok(table.base + STE_BYTES * u64::from(stream)) };
        let index = stream >> split;
        let descriptor = match self.cache.descriptors.get(&index) {
            Some(&descriptor) => descriptor,
            None => {
                let at = table.base + 8 * u64::from(index);
                let descriptor = memory.fetch(at).ok_or(Why::SteFetch(at))?;
                self.cache.descriptors.insert(index, descriptor);
                descriptor
            }
        };
        let (at, entries) = second_level(&self.config, descriptor, split, index).ok_or(Why::BadStreamId)?;
        let place = bits(u64::from(stream), 0, split - 1);
        if place < entries { Ok(at + STE_BYTES * place) } else { Err(Why::BadStreamId) }
    }

    fn context(&mut self, memory: &SystemMemory, stream: u32, ste: &Ste) -> Result<Cd, Why> {
        if let Some(cd) = self.cache.contexts.get(&stream) {
            return Ok(*cd);
        }
        let at = ste.context_at();
        let cd = Cd(memory.fetch_entry(at).ok_or(Why::CdFetch(at))?);
        cd.check_reserved(stream);
        self.cache.contexts.insert(stream, cd);
        Ok(cd)
    }

    fn walk(
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
        if let Some(Entry { level: above, target: Target::Table { next, limits: cached }, .. }) =
            self.tlb.table(context.tag, input)
        {
            (level, table, limits) = (above + 1, next, cached);
        }
        loop {
            let size_lg2 = entry_size_lg2(root.granule_lg2, level);
            let width = if level == root.start_level { root.entries_lg2() } else { root.granule_lg2 - 3 };
            let at = table + 8 * bits(input, size_lg2, size_lg2 + width - 1);
            let word = memory.fetch(at).ok_or(Why::WalkAbort { found, fetched: at })?;
            let entry = self.entry_of(context, level, input >> size_lg2 << size_lg2, limits, word);
            let Some((entry, usable)) = entry else { return Err(Why::Translation(found)) };
            let output = match entry.target {
                Target::Table { next, .. } => next,
                Target::Leaf { output, .. } => output,
            };
            if output >> context.output_bits != 0 {
                return Err(Why::AddressSize(found));
            }
            if usable.accessed && usable.cached {
                self.tlb.insert(entry);
            }
            match entry.target {
                Target::Table { next, limits: below } => (level, table, limits) = (level + 1, next, below),
                Target::Leaf { .. } if usable.accessed => return Ok(entry),
                Target::Leaf { .. } => return Err(Why::Access(found)),
            }
        }
    }

    /// What the word of a table becomes in the TLB; `None`: invalid.
    fn entry_of(
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

/// Faults that CD.A says nothing about.
const fn self_aborts(why: Why) -> bool {
    !matches!(why, Why::Translation(_) | Why::AddressSize(_) | Why::Access(_) | Why::Permission(_))
}

/// How a valid descriptor may be used.
#[derive(Debug, Clone, Copy)]
struct Usable {
    accessed: bool,
    cached: bool,
}

impl Found {
    const fn at(stage: Stage, input: u64) -> Self {
        match stage {
            Stage::One => Self::STAGE_ONE,
            Stage::Two => Self { second_stage: true, intermediate: input },
        }
    }
}
