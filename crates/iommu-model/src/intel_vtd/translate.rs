//! The path of one request through the configuration (3.4, 7.1.3), and the caches of what it passes (6.2).

use super::{
    Vtd,
    entries::{
        Directory, Plan, context_table, directory, disables_faults, legacy_domain, legacy_plan, pasid_domain,
        pasid_entry_at, pasid_plan,
    },
    reason::Reason,
};
use crate::{SystemMemory, fields::bits};

/// A context entry as it was read, or why there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub words: [u64; 4],
    /// What was wrong before the entry was reached.
    pub missing: Option<Reason>,
    /// Invalidations that had been taken when it was read.
    pub born: u64,
}

/// A PASID-table entry likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PasidEntry {
    pub words: [u64; 8],
    pub missing: Option<Reason>,
    /// FPD of the entries that led to it.
    pub quiet: bool,
    pub born: u64,
}

/// A request that was blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Aborted without a fault: the mode that aborts all DMA (RTADDR.TTM 0b11).
    Silent,
    Fault {
        reason: Reason,
        /// An entry that was used has FPD. Conditions found before any such entry are always recorded.
        quiet: bool,
    },
}

impl Context {
    pub const fn legacy(&self) -> [u64; 2] {
        [self.words[0], self.words[1]]
    }

    /// The domain id that the cached entry is tagged with; in scalable mode it has none.
    pub const fn domain(&self, scalable: bool) -> Option<u16> {
        match (scalable, self.missing) {
            (true, _) => None,
            (false, Some(_)) => Some(0),
            (false, None) => Some(legacy_domain(self.legacy())),
        }
    }
}

impl PasidEntry {
    pub const fn domain(&self) -> Option<u16> {
        if self.missing.is_some() { None } else { pasid_domain(self.words) }
    }
}

impl Vtd {
    /// Whether requests go through scalable-mode tables.
    pub(super) const fn is_scalable(&self) -> bool {
        bits(self.registers.latched_root, 10, 11) == 0b01
    }

    /// Finds where a request of `source` to `input` goes.
    pub(super) fn translate(
        &mut self,
        memory: &SystemMemory,
        source: u16,
        pasid: Option<u32>,
        input: u64,
        write: bool,
    ) -> Result<u64, Stop> {
        if !self.registers.is_translating() {
            return Ok(input);
        }
        let loud = |reason| Stop::Fault { reason, quiet: false };
        match bits(self.registers.latched_root, 10, 11) {
            0b00 if pasid.is_some() => return Err(loud(Reason::PasidInLegacyMode)),
            0b00 | 0b01 => {}
            0b11 => return Err(Stop::Silent),
            _ => return Err(loud(Reason::Mode)),
        }
        let context = self.context(memory, source);
        let quiet = context.missing.is_none() && disables_faults(context.words[0]);
        let stop = |reason| Stop::Fault { reason, quiet };
        if let Some(reason) = context.missing {
            return Err(stop(reason));
        }
        if self.is_scalable() {
            return self.translate_scalable(memory, (source, &context), pasid, input, write);
        }
        let plan = legacy_plan(&self.config, context.legacy()).map_err(stop)?;
        self.carry_out(memory, plan, input, write).map_err(stop)
    }

    fn translate_scalable(
        &mut self,
        memory: &SystemMemory,
        (source, context): (u16, &Context),
        pasid: Option<u32>,
        input: u64,
        write: bool,
    ) -> Result<u64, Stop> {
        let quiet = disables_faults(context.words[0]);
        let stop = |reason| Stop::Fault { reason, quiet };
        let directory = directory(&self.config, context.words).map_err(stop)?;
        if let Some(pasid) = pasid {
            if !directory.pasids {
                return Err(stop(Reason::PasidsDisabled));
            }
            if u64::from(pasid) >= directory.limit {
                return Err(stop(Reason::PasidTooLarge));
            }
        }
        let pasid = pasid.unwrap_or(directory.own);
        let entry = self.pasid_entry(memory, (source, pasid), &directory, context);
        let quiet = quiet || entry.quiet || (entry.missing.is_none() && disables_faults(entry.words[0]));
        let stop = |reason| Stop::Fault { reason, quiet };
        if let Some(reason) = entry.missing {
            return Err(stop(reason));
        }
        let plan = pasid_plan(&self.config, entry.words).map_err(stop)?;
        self.carry_out(memory, plan, input, write).map_err(stop)
    }

    fn carry_out(
        &mut self,
        memory: &SystemMemory,
        plan: Plan,
        input: u64,
        write: bool,
    ) -> Result<u64, Reason> {
        match plan {
            Plan::PassThrough if input >> self.config.host_bits != 0 => Err(Reason::BeyondHost),
            Plan::PassThrough => Ok(input),
            Plan::SecondStage(space) => self.walk(memory, &space, input, write),
        }
    }

    /// The context entry of `source`, cached or in memory.
    fn context(&mut self, memory: &SystemMemory, source: u16) -> Context {
        if let Some(context) = self.contexts.get(&source) {
            return *context;
        }
        let context = self.read_context(memory, source);
        if self.may_cache_context(&context) {
            self.contexts.insert(source, context);
        }
        context
    }

    /// Whether a context entry may be kept: entries that are not present or wrong are in caching mode alone.
    pub(super) fn may_cache_context(&self, context: &Context) -> bool {
        let good = || match self.is_scalable() {
            true => directory(&self.config, context.words).is_ok(),
            false => legacy_plan(&self.config, context.legacy()).is_ok(),
        };
        self.config.caching_mode || (context.missing.is_none() && good())
    }

    fn read_context(&self, memory: &SystemMemory, source: u16) -> Context {
        let born = self.invalidations;
        let missing = |reason| Context { words: [0; 4], missing: Some(reason), born };
        let at = self.registers.root_table() + 16 * u64::from(source >> 8);
        let (Some(low), Some(high)) = (memory.fetch(at), memory.fetch(at + 8)) else {
            return missing(Reason::RootAccess);
        };
        match context_table(&self.config, self.is_scalable(), [low, high], source) {
            Ok(at) => self.read_context_at(memory, at).unwrap_or_else(|| missing(Reason::ContextAccess)),
            Err(reason) => missing(reason),
        }
    }

    /// The context entry in memory at `at`.
    pub(super) fn read_context_at(&self, memory: &SystemMemory, at: u64) -> Option<Context> {
        let mut words = [0; 4];
        let count = if self.is_scalable() { 4 } else { 2 };
        for (word, place) in (0..).zip(&mut words[..count]) {
            *place = memory.fetch(at + 8 * word)?;
        }
        Some(Context { words, missing: None, born: self.invalidations })
    }

    /// The PASID-table entry of a request, cached or in memory.
    fn pasid_entry(
        &mut self,
        memory: &SystemMemory,
        key: (u16, u32),
        directory: &Directory,
        context: &Context,
    ) -> PasidEntry {
        if let Some(entry) = self.pasids.get(&key) {
            return *entry;
        }
        let entry = PasidEntry { born: context.born, ..self.read_pasid(memory, key.1, directory) };
        if self.may_cache_pasid(&entry) {
            self.pasids.insert(key, entry);
        }
        entry
    }

    /// Whether a PASID-table entry may be kept.
    pub(super) fn may_cache_pasid(&self, entry: &PasidEntry) -> bool {
        self.config.caching_mode || (entry.missing.is_none() && pasid_plan(&self.config, entry.words).is_ok())
    }

    /// The PASID-table entry in memory.
    pub(super) fn read_pasid(
        &mut self,
        memory: &SystemMemory,
        pasid: u32,
        directory: &Directory,
    ) -> PasidEntry {
        let born = self.invalidations;
        let missing = |reason, quiet| PasidEntry { words: [0; 8], missing: Some(reason), quiet, born };
        let Some(word) = memory.fetch(directory.at + 8 * u64::from(pasid >> 6)) else {
            return missing(Reason::DirectoryAccess, false);
        };
        let quiet = disables_faults(word);
        match pasid_entry_at(&self.config, word, pasid) {
            Err(reason) => missing(reason, quiet),
            Ok(at) => match memory.fetch_entry(at) {
                Some(words) => {
                    self.watch.know_pasid_table(at);
                    PasidEntry { words, missing: None, quiet, born }
                }
                None => missing(Reason::PasidAccess, quiet),
            },
        }
    }
}
