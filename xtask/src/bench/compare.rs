//! Two benchmarks of one setup: what became slower, and what faster.

use std::fmt;

use super::{figures::Figures, marks::grouped};

/// A row that became slower by more than this is a regression.
const TOLERANCE_PERCENT: u64 = 10;

/// How the figures of a benchmark differ from those of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The rows of both whose mean changed by a tenth of a percent or more, rounded; the ones that became slowest first.
    changes: Vec<Change>,
    /// How many rows of both are as they were.
    same: usize,
    /// The rows that only the earlier one has.
    missing: Vec<String>,
    /// The rows that only the later one has.
    new: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    name: String,
    before: u64,
    now: u64,
}

impl Change {
    /// In tenths of a percent, rounded; positive: slower.
    fn permille(&self) -> i128 {
        let (before, now) = (i128::from(self.before), i128::from(self.now));
        let twice = (now - before) * 2000 / before.max(1);
        (twice + twice.signum()) / 2
    }

    fn is_regression(&self) -> bool {
        u128::from(self.now) * 100 > u128::from(self.before) * u128::from(100 + TOLERANCE_PERCENT)
    }
}

impl Comparison {
    /// Compares the means of `now` with those of `before`.
    pub fn of(before: &Figures, now: &Figures) -> Self {
        let (mut changes, mut same, mut missing) = (vec![], 0, vec![]);
        for row in &before.rows {
            match now.row(&row.name) {
                None => missing.push(row.name.clone()),
                Some(later) => {
                    let change = Change { name: row.name.clone(), before: row.mean, now: later.mean };
                    if change.permille() == 0 { same += 1 } else { changes.push(change) }
                }
            }
        }
        changes.sort_by_key(|change| -change.permille());
        let new = now.rows.iter().filter(|row| before.row(&row.name).is_none());
        let new = new.map(|row| row.name.clone()).collect();
        Self { changes, same, missing, new }
    }

    /// Whether no row is missing and none became slower by more than is tolerated.
    pub fn is_well(&self) -> bool {
        self.missing.is_empty() && self.regressions() == 0
    }

    fn regressions(&self) -> usize {
        self.changes.iter().filter(|change| change.is_regression()).count()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, slower) in [("slower", true), ("faster", false)] {
            let changes = self.changes.iter().filter(|change| (change.now > change.before) == slower);
            for (index, change) in changes.enumerate() {
                if index == 0 {
                    writeln!(f, "{title}:")?;
                }
                let sign = if slower { '+' } else { '-' };
                let permille = change.permille().abs();
                let percent = format!("{sign}{}.{}", permille / 10, permille % 10);
                let (before, now) = (grouped(change.before), grouped(change.now));
                let mark = if change.is_regression() { "FAIL" } else { "" };
                writeln!(f, "{mark:4} {percent:>7} %  {}: {before}, now {now}", change.name)?;
            }
        }
        for name in &self.missing {
            writeln!(f, "FAIL missing: {name}")?;
        }
        for name in &self.new {
            writeln!(f, "new: {name}")?;
        }
        writeln!(
            f,
            "rows: {} as before, {} changed, of which {} slower by more than {TOLERANCE_PERCENT} %; {} missing, {} new",
            self.same,
            self.changes.len(),
            self.regressions(),
            self.missing.len(),
            self.new.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Kernel, tests::figures};

    fn compare(before: &[(&str, u64)], now: &[(&str, u64)]) -> Comparison {
        Comparison::of(&figures(Kernel::Sel4, before), &figures(Kernel::Sel4, now))
    }

    #[test]
    fn what_changed_is_said_in_percent() {
        let comparison = compare(
            &[("a", 1000), ("b", 1000), ("c", 1000), ("d", 3000), ("e", 3000)],
            &[("d", 2000), ("c", 1000), ("b", 1100), ("a", 1005), ("e", 3001)],
        );
        assert!(comparison.is_well());
        assert_eq!(
            comparison.to_string(),
            "slower:\n       +10.0 %  b: 1,000, now 1,100\n        +0.5 %  a: 1,000, now 1,005\n\
             faster:\n       -33.3 %  d: 3,000, now 2,000\n\
             rows: 2 as before, 3 changed, of which 0 slower by more than 10 %; 0 missing, 0 new\n"
        );
    }

    #[test]
    fn more_than_a_tenth_slower_is_too_much() {
        assert!(compare(&[("a", 1000)], &[("a", 1100)]).is_well());
        let comparison = compare(&[("a", 1000), ("b", 10)], &[("a", 1101), ("b", 20)]);
        assert!(!comparison.is_well());
        let text = comparison.to_string();
        assert!(
            text.contains("FAIL  +100.0 %  b: 10, now 20\nFAIL   +10.1 %  a: 1,000, now 1,101\n"),
            "{text}"
        );
        assert!(text.contains("2 slower by more than 10 %"), "{text}");
    }

    #[test]
    fn the_largest_figures_do_not_overflow() {
        let most = u64::MAX - 1;
        assert!(!compare(&[("a", 1)], &[("a", most)]).is_well());
        assert!(compare(&[("a", most)], &[("a", 1)]).is_well());
        assert!(compare(&[("a", 1)], &[("a", most)]).to_string().contains(" %  a: 1, now 18,446,"));
    }

    #[test]
    fn a_row_must_not_go_missing_but_may_be_new() {
        let comparison = compare(&[("a", 5), ("b", 5)], &[("a", 5), ("c", 5)]);
        assert!(!comparison.is_well());
        assert_eq!(
            comparison.to_string(),
            "FAIL missing: b\nnew: c\n\
             rows: 1 as before, 0 changed, of which 0 slower by more than 10 %; 1 missing, 1 new\n"
        );
        assert!(compare(&[("a", 5)], &[("a", 5), ("c", 5)]).is_well());
    }
}
