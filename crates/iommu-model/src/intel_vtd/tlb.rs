//! Cached translations: the IOTLB and the paging-structure caches (6.2.4, 6.2.5).

use super::reason::Reason;

/// What a chain of entries allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    pub read: bool,
    pub write: bool,
}

impl Allowed {
    pub const ALL: Self = Self { read: true, write: true };

    pub const fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The address of the next table.
    Table { next: u64, allowed: Allowed },
    /// A page, or a piece of one.
    Leaf { output: u64, allowed: Allowed },
    /// An entry that is not present or wrong, cached in caching mode.
    Fault(Reason),
}

/// One cached entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub domain: u16,
    /// The level that it was read at; 1 is the last.
    pub level: u32,
    /// The first address that it covers.
    pub first: u64,
    /// Log2 of the bytes that it covers.
    pub size_lg2: u32,
    pub target: Target,
    /// Invalidations that had been taken when it, or what led to it, was read.
    pub born: u64,
}

impl Entry {
    pub const fn last(&self) -> u64 {
        self.first + ((1 << self.size_lg2) - 1)
    }

    fn serves(&self, domain: u16, input: u64) -> bool {
        self.domain == domain && (self.first..=self.last()).contains(&input)
    }

    const fn is_table(&self) -> bool {
        matches!(self.target, Target::Table { .. })
    }

    /// The two halves of a page's entry: hardware may hold a page in pieces (6.5.2.3).
    fn halves(self) -> [Self; 2] {
        let size_lg2 = self.size_lg2 - 1;
        let half = 1 << size_lg2;
        let target = match self.target {
            Target::Leaf { output, allowed } => Target::Leaf { output: output + half, allowed },
            other => other,
        };
        [Self { size_lg2, ..self }, Self { size_lg2, first: self.first + half, target, ..self }]
    }

    /// Pushes the pieces of the entry that lie outside `first..=last`.
    fn push_rest(self, first: u64, last: u64, rest: &mut Vec<Self>) {
        if self.last() < first || last < self.first {
            rest.push(self);
        } else if self.first < first || last < self.last() {
            for half in self.halves() {
                half.push_rest(first, last, rest);
            }
        }
    }
}

/// Which entries an invalidation removes (6.5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Domain(u16),
    /// `tables`: the hint says that tables may have changed too (IH clear).
    Pages {
        domain: u16,
        first: u64,
        last: u64,
        tables: bool,
    },
}

impl Scope {
    pub const fn names(&self, entry: &Entry) -> bool {
        match *self {
            Self::All => true,
            Self::Domain(domain) => entry.domain == domain,
            Self::Pages { domain, first, last, tables } => {
                entry.domain == domain
                    && entry.first <= last
                    && first <= entry.last()
                    && (tables || !entry.is_table())
            }
        }
    }
}

/// Both caches. Nothing is ever evicted.
#[derive(Debug, Default)]
pub(super) struct Tlb(Vec<Entry>);

impl Tlb {
    /// The page, or the fault, cached for `input`; with several, the oldest.
    pub fn leaf(&self, domain: u16, input: u64) -> Option<Entry> {
        self.0.iter().find(|entry| !entry.is_table() && entry.serves(domain, input)).copied()
    }

    /// The table entry nearest to the page that is cached for `input`.
    pub fn table(&self, domain: u16, input: u64) -> Option<Entry> {
        let found = self.0.iter().filter(|entry| entry.is_table() && entry.serves(domain, input));
        found.min_by_key(|entry| entry.level).copied()
    }

    /// The cached table entries that point at a table which holds the word at `at`.
    pub fn parents(&self, at: u64) -> Vec<Entry> {
        let holds = |entry: &&Entry| match entry.target {
            Target::Table { next, .. } => next <= at && at < next + 0x1000,
            Target::Leaf { .. } | Target::Fault(_) => false,
        };
        self.0.iter().filter(holds).copied().collect()
    }

    /// Caches `entry` beside what is there. One for the same place is read afresh if it is the same, or if
    /// `dropped` says that the unit may have let go of it.
    pub fn insert(&mut self, entry: Entry, dropped: impl Fn(&Entry) -> bool) {
        let place = |of: &Entry| (of.domain, of.level, of.first, of.size_lg2, of.is_table());
        match self.0.iter_mut().find(|other| place(other) == place(&entry)) {
            Some(other) if other.target == entry.target => other.born = other.born.max(entry.born),
            Some(other) if dropped(other) => *other = entry,
            Some(_) => {}
            None => self.0.push(entry),
        }
    }

    /// Removes what the invalidation with this number reaches; the answer is what went.
    pub fn invalidate(&mut self, scope: &Scope, number: u64) -> Vec<Entry> {
        let mut gone = Vec::new();
        let mut left = Vec::with_capacity(self.0.len());
        for entry in self.0.drain(..) {
            if !scope.names(&entry) || entry.born >= number {
                left.push(entry);
                continue;
            }
            gone.push(entry);
            if let (Scope::Pages { first, last, .. }, false) = (*scope, entry.is_table()) {
                entry.push_rest(first, last, &mut left);
            }
        }
        self.0 = left;
        gone
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(domain: u16, first: u64, size_lg2: u32) -> Entry {
        let target = Target::Leaf { output: 0x8000_0000 + first, allowed: Allowed::ALL };
        Entry { domain, level: (size_lg2 - 12) / 9 + 1, first, size_lg2, target, born: 0 }
    }

    fn table(level: u32, first: u64) -> Entry {
        let target = Target::Table { next: 0x9000, allowed: Allowed::ALL };
        Entry { level, size_lg2: 3 + 9 * level, target, ..page(1, first, 12) }
    }

    fn left(scope: Scope) -> Tlb {
        let mut tlb = Tlb::default();
        for entry in [page(1, 0x1000, 12), page(1, 0x2000, 12), page(2, 0x1000, 12), table(2, 0), table(3, 0)]
        {
            tlb.insert(entry, |_| false);
        }
        tlb.invalidate(&scope, 1);
        tlb
    }

    #[test]
    fn each_scope_removes_what_it_names_and_no_more() {
        let pages = |first, last, tables| Scope::Pages { domain: 1, first, last, tables };
        assert_eq!(left(Scope::All).len(), 0);
        assert_eq!(left(Scope::Domain(1)).len(), 1);
        assert_eq!(left(Scope::Domain(3)).len(), 5);
        assert_eq!(left(pages(0x1000, 0x1fff, false)).len(), 4);
        assert_eq!(left(pages(0x1000, 0x1fff, true)).len(), 2);
        assert_eq!(left(pages(0, 0x3fff, false)).len(), 3);
        assert_eq!(left(pages(1 << 40, u64::MAX, true)).len(), 5);
    }

    #[test]
    fn a_large_page_may_be_held_in_pieces_and_lose_one_alone() {
        let mut tlb = Tlb::default();
        tlb.insert(page(1, 0, 21), |_| false);
        let one = Scope::Pages { domain: 1, first: 0x5000, last: 0x5fff, tables: true };
        assert_eq!(tlb.invalidate(&one, 1).len(), 1);
        assert_eq!(tlb.len(), 9);
        assert!(tlb.leaf(1, 0x5123).is_none());
        for input in [0, 0x4fff, 0x6000, 0x1f_ffff] {
            let piece = tlb.leaf(1, input).expect("the rest stays");
            let Target::Leaf { output, .. } = piece.target else { panic!() };
            assert_eq!(output + (input - piece.first), 0x8000_0000 + input);
        }
        let all = Scope::Pages { domain: 1, first: 0, last: 0x1f_ffff, tables: true };
        tlb.invalidate(&all, 1);
        assert_eq!(tlb.len(), 0);
    }

    #[test]
    fn what_was_read_afresh_outlives_an_older_invalidation() {
        let mut tlb = Tlb::default();
        tlb.insert(page(1, 0x1000, 12), |_| false);
        tlb.insert(Entry { born: 1, ..page(1, 0x2000, 12) }, |_| false);
        tlb.invalidate(&Scope::All, 1);
        assert_eq!(tlb.len(), 1);
    }
}
