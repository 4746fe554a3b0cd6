//! The marks that the server is to beat, and what Linux needs for the same.
//!
//! The marks are for seL4's release kernel: driver to server and back, each invalidation waited for. Linux's figures
//! are medians of 6.12.95 with strict invalidation, in the same QEMU on the same emulated unit under `-icount shift=0`, on
//! AArch64 (Cortex-A57, SMMUv3) or x86-64 (VT-d) as the board is: of the system calls with iommufd and with VFIO's type 1,
//! pinning and accounting included, and of the DMA API inside the kernel.

use super::figures::{Figures, Kernel, Setup};
use crate::board::Arch;

/// What the benchmark should achieve.
struct Mark {
    /// What is measured.
    name: &'static str,
    /// The row that has it.
    row: &'static str,
    limit: Limit,
    /// What Linux needs.
    linux: Linux,
}

/// What Linux needs for the same, where that was measured.
struct Linux {
    aarch64: &'static str,
    x86_64: &'static str,
}

impl Linux {
    const NOT_MEASURED: Self = Self::on_aarch64("");

    const fn on_aarch64(aarch64: &'static str) -> Self {
        Self { aarch64, x86_64: "" }
    }

    const fn on(&self, arch: Arch) -> &'static str {
        match arch {
            Arch::Aarch64 => self.aarch64,
            Arch::X86_64 => self.x86_64,
        }
    }
}

enum Limit {
    /// Instructions.
    AtMost(u64),
    /// Percent of another row.
    PercentOf(u64, &'static str),
    /// Percent of the row of the same name for one client, for each of the rows that begin with the name and go on with
    /// the largest number of clients. The one that grows most counts.
    PercentOfOneClient(u64),
}

const PAIR: &str = "map + unmap 4 KiB";
const ATTACH: &str = "attach, space of 1000 mappings";

const MARKS: [Mark; 7] = [
    Mark {
        name: PAIR,
        row: PAIR,
        limit: Limit::AtMost(2_900),
        linux: Linux {
            aarch64: "iommufd 13,969, type 1 9,396, DMA API 3,020",
            x86_64: "iommufd 12,572, DMA API 2,574",
        },
    },
    Mark {
        name: "map + unmap 2 MiB, contiguous",
        row: "map + unmap 2 MiB",
        limit: Limit::AtMost(3_000),
        linux: Linux::on_aarch64("iommufd 131,878, DMA API 3,447"),
    },
    Mark {
        name: "4 KiB beside 10,000 other mappings, against none",
        row: "map + unmap 4 KiB, 10000 other mappings",
        limit: Limit::PercentOf(115, PAIR),
        linux: Linux::on_aarch64("iommufd 1.02 x"),
    },
    Mark {
        name: "4 KiB among 10,000 other mappings, against none",
        row: "map + unmap 4 KiB, in a random hole of 10000 other mappings",
        limit: Limit::PercentOf(115, PAIR),
        linux: Linux::NOT_MEASURED,
    },
    Mark {
        name: "attach a space of 1,000 mappings",
        row: ATTACH,
        limit: Limit::AtMost(4_000),
        linux: Linux::on_aarch64("iommufd 2,890,000"),
    },
    Mark {
        name: "attach a space of 1,000 mappings, against an empty one",
        row: ATTACH,
        // The same, but for the counter's ticks.
        limit: Limit::PercentOf(102, "attach, empty space"),
        linux: Linux::on_aarch64("iommufd 202 x"),
    },
    Mark {
        name: "worst case of any request among many clients, against one",
        row: "largest ",
        // Looking a client's things up takes longer by the logarithm of all.
        limit: Limit::PercentOfOneClient(110),
        linux: Linux { aarch64: "none published", x86_64: "none published" },
    },
];

/// Compares `figures`, of a board of `arch`, with the marks: a table. A mark that is missed is said, and no fault.
///
/// # Errors
/// The names of rows that the marks want and `figures` lack.
pub fn table(figures: &Figures, arch: Arch) -> Result<String, Vec<&'static str>> {
    let (mut lines, mut lacking) = (vec![["", "measured", "mark", "", "Linux"].map(String::from)], vec![]);
    for mark in &MARKS {
        match line(mark, figures, arch) {
            Ok(line) => lines.push(line),
            Err(row) => lacking.push(row),
        }
    }
    if !lacking.is_empty() {
        return Err(lacking);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let [w0, w1, w2, w3] = [0, 1, 2, 3].map(width);
    let mut table = String::new();
    for [name, measured, mark, verdict, linux] in &lines {
        let line = format!("{name:w0$}  {measured:>w1$}  {mark:>w2$}  {verdict:w3$}  {linux}");
        table += line.trim_end();
        table += "\n";
    }
    let Setup { kernel, config, .. } = &figures.setup;
    if (*kernel, &**config) != (Kernel::Sel4, "release") {
        table += &format!("The marks are for seL4, release; this was {}.\n", figures.setup);
    }
    Ok(table)
}

/// A mark's line.
///
/// # Errors
/// The name of a row that is not there.
fn line(mark: &Mark, figures: &Figures, arch: Arch) -> Result<[String; 5], &'static str> {
    let mean = |row| figures.row(row).map(|of| of.mean).ok_or(row);
    let against = |percent, limit| [times(percent), times(limit), verdict(percent, limit, times)];
    let cells = match mark.limit {
        Limit::AtMost(limit) => {
            let measured = mean(mark.row)?;
            [grouped(measured), grouped(limit), verdict(measured, limit, grouped)]
        }
        Limit::PercentOf(limit, base) => against(percent(mean(mark.row)?, mean(base)?), limit),
        Limit::PercentOfOneClient(limit) => {
            let (percent, request) = growth(mark.row, figures).ok_or(mark.row)?;
            let [measured, limit, verdict] = against(percent, limit);
            [measured, limit, format!("{verdict}: {request}")]
        }
    };
    let [measured, limit, verdict] = cells;
    Ok([mark.name.into(), measured, limit, verdict, mark.linux.on(arch).into()])
}

/// The percentage that the worst of the rows that begin with `start` is of its row for one client, and what follows
/// `start` there.
fn growth<'a>(start: &str, figures: &'a Figures) -> Option<(u64, &'a str)> {
    let rows = figures.rows.iter().filter_map(|row| {
        let (one, clients) = row.name.strip_suffix(" clients")?.rsplit_once(", ")?;
        let clients: u64 = clients.parse().ok()?;
        Some((clients, percent(row.mean, figures.row(one)?.mean), one.strip_prefix(start)?))
    });
    // Those with most clients, and of them the one that grew most.
    rows.max().map(|(_, percent, request)| (percent, request))
}

/// What percentage `part` is of `whole`, rounded up: a limit that is just missed shows as missed.
fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from((u128::from(part) * 100).div_ceil(u128::from(whole.max(1)))).unwrap_or(u64::MAX)
}

fn verdict(measured: u64, limit: u64, show: impl Fn(u64) -> String) -> String {
    match measured.checked_sub(limit) {
        None | Some(0) => "met".into(),
        Some(over) => format!("missed by {}", show(over)),
    }
}

/// `percent` as a factor, such as `1.15 x`.
fn times(percent: u64) -> String {
    format!("{}.{:02} x", percent / 100, percent % 100)
}

/// `number` with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figures;

    /// One of everything, with the rows of `other` instead.
    fn measured(kernel: Kernel, other: &[(&'static str, u64)]) -> Figures {
        let mut rows = vec![
            (PAIR, 2_900),
            ("map + unmap 2 MiB", 2_000),
            ("map + unmap 4 KiB, 10000 other mappings", 3_335),
            ("map + unmap 4 KiB, in a random hole of 10000 other mappings", 2_900),
            ("attach, empty space", 1_000),
            (ATTACH, 1_000),
            ("largest Map", 1_000),
            ("largest Unmap", 1_000),
            ("largest Map, 8 clients", 2_000),
            ("largest Map, 32 clients", 1_080),
            ("largest Unmap, 32 clients", 1_100),
        ];
        for (name, mean) in other {
            rows.retain(|(row, _)| row != name);
            rows.push((name, *mean));
        }
        figures(kernel, &rows)
    }

    fn line_of(table: &str, name: &str) -> String {
        let line = table.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_mark_is_met_up_to_its_limit() {
        let table = table(&measured(Kernel::Sel4, &[]), Arch::Aarch64).unwrap();
        assert!(!table.contains("missed") && !table.contains("The marks are for"), "{table}");
        assert_eq!(table.matches(" met").count(), MARKS.len());
        assert_eq!(
            line_of(&table, PAIR),
            "map + unmap 4 KiB 2,900 2,900 met iommufd 13,969, type 1 9,396, DMA API 3,020"
        );
        let name = "4 KiB beside 10,000 other mappings, against none";
        assert_eq!(line_of(&table, name), format!("{name} 1.15 x 1.15 x met iommufd 1.02 x"));
    }

    #[test]
    fn what_linux_needs_is_that_of_the_boards_architecture() {
        let table = table(&measured(Kernel::Sel4, &[]), Arch::X86_64).unwrap();
        let pair = line_of(&table, PAIR);
        assert_eq!(pair, "map + unmap 4 KiB 2,900 2,900 met iommufd 12,572, DMA API 2,574");
        let name = "4 KiB beside 10,000 other mappings, against none";
        assert_eq!(line_of(&table, name), format!("{name} 1.15 x 1.15 x met"));
    }

    #[test]
    fn a_missed_mark_says_by_how_much() {
        let rows = [(PAIR, 3_525), ("map + unmap 2 MiB", 1_203_001), (ATTACH, 1_021)];
        let rows = [&rows[..], &[("largest Map, 32 clients", 1_321)]].concat();
        let table = table(&measured(Kernel::Sel4, &rows), Arch::Aarch64).unwrap();
        let line = line_of(&table, "worst case of any request among many clients, against one");
        assert!(line.contains("1.33 x 1.10 x missed by 0.23 x: Map none"), "{table}");
        assert!(line_of(&table, PAIR).contains("3,525 2,900 missed by 625 iommufd"), "{table}");
        let line = line_of(&table, "map + unmap 2 MiB, contiguous");
        assert!(line.contains("1,203,001 3,000 missed by 1,200,001"), "{table}");
        let line = line_of(&table, "attach a space of 1,000 mappings, against an empty one");
        assert!(line.contains("1.03 x 1.02 x missed by 0.01 x"), "{table}");
    }

    #[test]
    fn figures_of_another_setup_are_said_to_be() {
        let table = table(&measured(Kernel::Embedded, &[]), Arch::Aarch64).unwrap();
        let last = "The marks are for seL4, release; this was the embedded kernel, release, on board.";
        assert_eq!(table.lines().last(), Some(last));
    }

    #[test]
    fn a_row_that_is_not_there_is_no_mark_met() {
        let rows = figures(Kernel::Sel4, &[(ATTACH, 1), ("map + unmap 2 MiB", 1)]);
        let lacking = table(&rows, Arch::X86_64).unwrap_err();
        let beside = "map + unmap 4 KiB, 10000 other mappings";
        let among = "map + unmap 4 KiB, in a random hole of 10000 other mappings";
        assert_eq!(lacking, [PAIR, beside, among, "attach, empty space", "largest "]);
    }

    #[test]
    fn digits_come_in_groups() {
        let groups = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        groups.iter().for_each(|&(number, text)| assert_eq!(grouped(number), text));
        assert_eq!(times(100), "1.00 x");
    }
}
