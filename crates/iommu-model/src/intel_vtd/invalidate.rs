//! What invalidations remove, in which order, and what must be removed (6.2, 6.5).

use super::{
    Vtd,
    descriptors::{ContextScope, InterruptScope, PasidScope, Removes},
    entries::{Plan, directory, legacy_plan, pasid_plan},
    tlb::{Scope, Target},
};
use crate::SystemMemory;

/// An invalidation that was taken and has not completed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub number: u64,
    pub removes: Removes,
}

/// Global invalidations that are due since a table pointer was set (6.6, 11.4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owed {
    pub contexts: bool,
    pub pasids: bool,
    pub translations: bool,
    pub interrupts: bool,
    /// Invalidations taken when the root table pointer was set: they do not count.
    pub since: u64,
    /// Likewise for the interrupt table pointer.
    pub interrupts_since: u64,
}

impl Owed {
    /// Whether any for translation is due.
    pub const fn any(&self) -> bool {
        self.contexts || self.pasids || self.translations
    }
}

impl Vtd {
    pub(super) fn owe_after_root_pointer(&mut self) {
        let (pasids, since) = (self.is_scalable(), self.invalidations);
        self.owed = Owed { contexts: true, pasids, translations: true, since, ..self.owed };
    }

    pub(super) fn forget_everything(&mut self) {
        self.contexts.clear();
        self.pasids.clear();
        self.tlb.clear();
        self.watch.forget_all();
        self.owed = Owed { contexts: false, pasids: false, translations: false, ..self.owed };
    }

    /// Takes an invalidation. One of the IOTLB runs only after those of the context and PASID caches before it
    /// have completed, one of the PASID cache after those of the context cache (6.5.2.11).
    pub(super) fn take(&mut self, memory: &mut SystemMemory, removes: Removes) {
        match removes {
            Removes::Translations(_) => {
                self.complete(memory, |of| matches!(of, Removes::Contexts(_) | Removes::Pasids(_)));
                self.flush(memory);
            }
            Removes::Pasids(_) => self.complete(memory, |of| matches!(of, Removes::Contexts(_))),
            Removes::Contexts(_) => self.flush(memory),
            Removes::Interrupts(_) | Removes::Nothing => {}
        }
        self.invalidations += 1;
        self.pending.push(Pending { number: self.invalidations, removes });
    }

    /// Completes the pending invalidations that `chosen` picks, in order.
    pub(super) fn complete(&mut self, memory: &SystemMemory, chosen: impl Fn(&Removes) -> bool) {
        let (now, later) = self.pending.drain(..).partition(|pending| chosen(&pending.removes));
        self.pending = later;
        for Pending { number, removes } in now {
            match removes {
                Removes::Contexts(scope) => self.forget_contexts(&scope, number),
                Removes::Pasids(scope) => self.forget_pasids(memory, &scope, number),
                Removes::Translations(scope) => self.forget_translations(memory, &scope, number),
                Removes::Interrupts(scope) => {
                    self.interrupts.retain(|&index, held| !(scope.names(index) && held.born < number));
                    if scope == InterruptScope(None) && number > self.owed.interrupts_since {
                        self.owed.interrupts = false;
                    }
                }
                Removes::Nothing => {}
            }
        }
    }

    fn forget_contexts(&mut self, scope: &ContextScope, number: u64) {
        let scalable = self.is_scalable();
        let gone = |source: u16, domain| scope.names(source, domain);
        self.contexts.retain(|&source, held| !(gone(source, held.domain(scalable)) && held.born < number));
        self.watch.settled(|source| match *scope {
            ContextScope::All | ContextScope::Domain(_) => true,
            ContextScope::Device { source: of, mask, .. } => source & !mask == of & !mask,
        });
        if *scope == ContextScope::All && number > self.owed.since {
            self.owed.contexts = false;
        }
    }

    fn forget_pasids(&mut self, memory: &SystemMemory, scope: &PasidScope, number: u64) {
        let names = |pasid, domain| scope.names(pasid, domain);
        let gone: Vec<_> = self
            .pasids
            .iter()
            .filter(|((_, pasid), held)| names(*pasid, held.domain()) && held.born < number)
            .map(|(&key, _)| key)
            .collect();
        for key in &gone {
            self.pasids.remove(key);
        }
        self.watch.settled_pasids();
        if *scope == PasidScope::All && !self.owed.contexts && number > self.owed.since {
            self.owed.pasids = false;
        }
        // A context entry that is still cached leads to the old entries again.
        if self.config.reads_ahead && self.is_scalable() {
            for (source, pasid) in gone {
                if let Some(context) = self.contexts.get(&source)
                    && let Ok(directory) = directory(&self.config, context.words)
                    && u64::from(pasid) < directory.limit
                {
                    let entry = self.read_pasid(memory, pasid, &directory);
                    if self.may_cache_pasid(&entry) {
                        self.pasids.insert((source, pasid), entry);
                    }
                }
            }
        }
    }

    fn forget_translations(&mut self, memory: &SystemMemory, scope: &Scope, number: u64) {
        let gone = self.tlb.invalidate(scope, number);
        let in_order = !self.owed.contexts && !self.owed.pasids;
        if *scope == Scope::All && in_order && number > self.owed.since {
            self.owed.translations = false;
        }
        // What a cached entry still leads to may be read again at once.
        if self.config.reads_ahead {
            let spaces = self.known_spaces();
            for entry in gone {
                let Target::Leaf { .. } = entry.target else { continue };
                for space in spaces.iter().filter(|space| space.domain == entry.domain) {
                    let _ = self.walk(memory, space, entry.first, false);
                }
            }
        }
    }

    /// The second-stage tables that cached entries lead to.
    pub(super) fn known_spaces(&self) -> Vec<super::entries::Space> {
        let mut spaces = Vec::new();
        let mut note = |plan| {
            if let Ok(Plan::SecondStage(space)) = plan
                && !spaces.contains(&space)
            {
                spaces.push(space);
            }
        };
        if self.is_scalable() {
            self.pasids
                .values()
                .filter(|entry| entry.missing.is_none())
                .for_each(|entry| note(pasid_plan(&self.config, entry.words)));
        } else {
            self.contexts
                .values()
                .filter(|context| context.missing.is_none())
                .for_each(|context| note(legacy_plan(&self.config, context.legacy())));
        }
        spaces
    }
}
