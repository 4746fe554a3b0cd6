//! Cached translations (IHI 0070, 3.21.1 and 4.4): every valid entry of every level that a walk met.

/// Which translation an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    One,
    Two,
}

/// What a lookup must match besides the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub stage: Stage,
    /// 0 where the unit has no stage 2.
    pub vmid: u16,
    /// 0 at stage 2.
    pub asid: u16,
}

/// Restrictions that table entries put on what lies below (DDI 0487, D8.4: APTable, PXNTable, UXNTable).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limits {
    pub no_unprivileged: bool,
    pub no_write: bool,
    pub no_privileged_execute: bool,
    pub no_unprivileged_execute: bool,
}

/// What a page or block allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    pub unprivileged_read: bool,
    pub unprivileged_write: bool,
    pub unprivileged_execute: bool,
    pub privileged_read: bool,
    pub privileged_write: bool,
    pub privileged_execute: bool,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The address of the next table.
    Table { next: u64, limits: Limits },
    /// A page or block.
    Leaf { output: u64, allowed: Allowed },
}

/// One cached entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub tag: Tag,
    /// Matches any ASID.
    pub global: bool,
    pub granule_lg2: u32,
    /// The level that it was read at.
    pub level: u32,
    /// The first input address that it covers.
    pub first: u64,
    /// Log2 of the bytes that it covers.
    pub size_lg2: u32,
    pub target: Target,
    /// Invalidations that had been consumed when it, or what led to it, was read.
    pub born: u64,
}

impl Entry {
    pub const fn last(&self) -> u64 {
        self.first + ((1 << self.size_lg2) - 1)
    }

    fn covers(&self, input: u64) -> bool {
        (self.first..=self.last()).contains(&input)
    }

    const fn is_leaf(&self) -> bool {
        matches!(self.target, Target::Leaf { .. })
    }

    fn serves(&self, tag: Tag, input: u64) -> bool {
        let same_space = self.tag == tag || (self.global && Tag { asid: tag.asid, ..self.tag } == tag);
        same_space && self.covers(input)
    }
}

/// The addresses that an invalidation names (4.4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first: u64,
    pub last: u64,
    /// Only entries of this granule.
    pub granule_lg2: Option<u32>,
    /// Only leaves of this level, and tables above it.
    pub level: Option<u32>,
    /// No tables.
    pub leaf_only: bool,
}

impl Span {
    fn names(&self, entry: &Entry) -> bool {
        let in_span = entry.first <= self.last && self.first <= entry.last();
        let granule = self.granule_lg2.is_none_or(|granule| granule == entry.granule_lg2);
        let kind = if entry.is_leaf() {
            self.level.is_none_or(|level| level == entry.level)
        } else {
            !self.leaf_only && self.level.is_none_or(|level| entry.level < level)
        };
        in_span && granule && kind
    }
}

/// Which entries an invalidation removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// CMD_TLBI_NSNH_ALL.
    All,
    /// CMD_TLBI_S12_VMALL.
    Vmid(u16),
    /// CMD_TLBI_NH_ALL.
    StageOne(u16),
    /// CMD_TLBI_NH_ASID.
    Asid(u16, u16),
    /// CMD_TLBI_NH_VA; without an ASID CMD_TLBI_NH_VAA.
    Address(u16, Option<u16>, Span),
    /// CMD_TLBI_S2_IPA.
    Intermediate(u16, Span),
}

impl Scope {
    pub fn names(&self, entry: &Entry) -> bool {
        let stage_one = |vmid| entry.tag.stage == Stage::One && entry.tag.vmid == vmid;
        match *self {
            Self::All => true,
            Self::Vmid(vmid) => entry.tag.vmid == vmid,
            Self::StageOne(vmid) => stage_one(vmid),
            Self::Asid(vmid, asid) => stage_one(vmid) && !entry.global && entry.tag.asid == asid,
            Self::Address(vmid, asid, span) => {
                let asid = entry.global || asid.is_none_or(|asid| entry.tag.asid == asid);
                stage_one(vmid) && asid && span.names(entry)
            }
            Self::Intermediate(vmid, span) => {
                entry.tag.stage == Stage::Two && entry.tag.vmid == vmid && span.names(entry)
            }
        }
    }
}

/// A lookup found two pages or blocks that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conflict;

/// The cache. Nothing is ever evicted.
#[derive(Debug, Default)]
pub(super) struct Tlb(Vec<Entry>);

impl Tlb {
    /// The page or block cached for `input`. With several, the oldest; a unit that cannot bear several
    /// (`exclusive`) has a conflict.
    pub fn leaf(&self, tag: Tag, input: u64, exclusive: bool) -> Result<Option<Entry>, Conflict> {
        let mut found = self.0.iter().filter(|entry| entry.is_leaf() && entry.serves(tag, input));
        let first = found.next();
        if exclusive && found.next().is_some() {
            return Err(Conflict);
        }
        Ok(first.copied())
    }

    /// The table entry nearest to the leaf that is cached for `input`.
    pub fn table(&self, tag: Tag, input: u64) -> Option<Entry> {
        let found = self.0.iter().filter(|entry| !entry.is_leaf() && entry.serves(tag, input));
        found.max_by_key(|entry| entry.level).copied()
    }

    /// The cached table entries that point at a table which holds the word at `at`.
    pub fn parents(&self, at: u64) -> Vec<Entry> {
        let holds = |entry: &&Entry| match entry.target {
            Target::Table { next, .. } => next <= at && at < next + (1 << entry.granule_lg2),
            Target::Leaf { .. } => false,
        };
        self.0.iter().filter(holds).copied().collect()
    }

    /// Caches `entry` beside what is there. One for the same place is read afresh if it is the same, or if
    /// `dropped` says that the unit may have let go of it.
    pub fn insert(&mut self, entry: Entry, dropped: impl Fn(&Entry) -> bool) {
        let place = |of: &Entry| (of.tag, of.global, of.level, of.first, of.size_lg2, of.is_leaf());
        match self.0.iter_mut().find(|other| place(other) == place(&entry)) {
            Some(other) if other.target == entry.target => other.born = other.born.max(entry.born),
            Some(other) if dropped(other) => *other = entry,
            Some(_) => {}
            None => self.0.push(entry),
        }
    }

    /// Removes what the invalidation with this number reaches.
    pub fn invalidate(&mut self, scope: &Scope, number: u64) {
        self.0.retain(|entry| !(scope.names(entry) && entry.born < number));
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Allowed = Allowed {
        unprivileged_read: true,
        unprivileged_write: true,
        unprivileged_execute: true,
        privileged_read: true,
        privileged_write: true,
        privileged_execute: true,
    };

    fn page(asid: u16, first: u64) -> Entry {
        Entry {
            tag: Tag { stage: Stage::One, vmid: 3, asid },
            global: false,
            granule_lg2: 12,
            level: 3,
            first,
            size_lg2: 12,
            target: Target::Leaf { output: 0x8000, allowed: ALL },
            born: 0,
        }
    }

    fn table(level: u32, first: u64) -> Entry {
        let target = Target::Table { next: 0x9000, limits: Limits::default() };
        Entry { level, size_lg2: 12 + 9 * (3 - level), target, ..page(1, first) }
    }

    fn span(first: u64, last: u64) -> Span {
        Span { first, last, granule_lg2: None, level: None, leaf_only: false }
    }

    fn left(scope: Scope) -> Vec<Entry> {
        let mut tlb = Tlb::default();
        let global = Entry { global: true, ..page(2, 0x3000) };
        for entry in [page(1, 0x1000), page(1, 0x2000), page(2, 0x1000), global, table(2, 0), table(1, 0)] {
            tlb.insert(entry, |_| false);
        }
        tlb.invalidate(&scope, 1);
        tlb.0
    }

    #[test]
    fn each_scope_removes_what_it_names_and_no_more() {
        assert_eq!(left(Scope::All).len(), 0);
        assert_eq!(left(Scope::Vmid(3)).len(), 0);
        assert_eq!(left(Scope::Vmid(4)).len(), 6);
        assert_eq!(left(Scope::StageOne(3)).len(), 0);
        assert_eq!(left(Scope::Asid(3, 1)).len(), 2);
        assert_eq!(left(Scope::Asid(3, 2)).len(), 5, "the global page stays");
        assert_eq!(left(Scope::Address(3, Some(1), span(0x1fff, 0x1fff))).len(), 3);
        assert_eq!(
            left(Scope::Address(3, Some(1), Span { leaf_only: true, ..span(0x1000, 0x1000) })).len(),
            5
        );
        assert_eq!(left(Scope::Address(3, None, span(0x1000, 0x1000))).len(), 2);
        assert_eq!(
            left(Scope::Address(3, Some(9), Span { leaf_only: true, ..span(0x3000, 0x3000) })).len(),
            5
        );
        assert_eq!(left(Scope::Intermediate(3, span(0, u64::MAX))).len(), 6);
    }

    #[test]
    fn hints_narrow_the_scope() {
        let all = span(0, u64::MAX);
        let by = |hint| left(Scope::Address(3, Some(1), hint)).len();
        assert_eq!(by(Span { granule_lg2: Some(14), ..all }), 6);
        assert_eq!(by(Span { level: Some(3), leaf_only: true, ..all }), 3);
        assert_eq!(by(Span { level: Some(2), ..all }), 5, "no leaf of level 2, the table of level 1");
    }

    #[test]
    fn an_entry_serves_its_own_space_only_unless_it_is_global() {
        let mut tlb = Tlb::default();
        tlb.insert(page(1, 0x1000), |_| false);
        tlb.insert(Entry { global: true, ..page(2, 0x3000) }, |_| false);
        let tag = |asid| Tag { stage: Stage::One, vmid: 3, asid };
        assert!(tlb.leaf(tag(1), 0x1fff, true).unwrap().is_some());
        assert!(tlb.leaf(tag(2), 0x1000, true).unwrap().is_none());
        assert!(tlb.leaf(tag(1), 0x3000, true).unwrap().is_some());
        assert!(tlb.leaf(Tag { vmid: 4, ..tag(1) }, 0x1000, true).unwrap().is_none());
    }

    #[test]
    fn two_sizes_for_one_address_conflict_where_the_unit_cannot_bear_them() {
        let mut tlb = Tlb::default();
        tlb.insert(page(1, 0x1000), |_| false);
        tlb.insert(Entry { level: 2, first: 0, size_lg2: 21, ..page(1, 0) }, |_| false);
        let tag = Tag { stage: Stage::One, vmid: 3, asid: 1 };
        assert_eq!(tlb.leaf(tag, 0x1000, true), Err(Conflict));
        assert_eq!(tlb.leaf(tag, 0x1000, false).unwrap().unwrap().level, 3);
        assert_eq!(tlb.leaf(tag, 0x2000, true).unwrap().unwrap().level, 2);
    }
    #[test]
    fn what_was_read_afresh_outlives_an_older_invalidation() {
        let mut tlb = Tlb::default();
        tlb.insert(page(1, 0x1000), |_| false);
        tlb.insert(Entry { born: 1, ..page(1, 0x2000) }, |_| false);
        tlb.invalidate(&Scope::All, 1);
        assert_eq!(tlb.len(), 1);
        let other = Entry { target: Target::Leaf { output: 0, allowed: ALL }, ..page(1, 0x2000) };
        tlb.insert(Entry { born: 2, ..other }, |_| false);
        assert_eq!(tlb.0[0].born, 1, "the old one stays");
        tlb.insert(Entry { born: 2, ..other }, |_| true);
        assert_eq!(tlb.0[0], Entry { born: 2, ..other });
    }
}
