//! The figures of a benchmark: from the lines that it prints to a file of JSON, and back.

use std::{collections::HashSet, fmt, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::relative;

/// What every line with a figure begins with.
const PREFIX: &str = "ok bench: ";

/// What a benchmark ran on. Figures of another setup say nothing about this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The board's name.
    pub board: String,
    /// The kernel.
    pub kernel: Kernel,
    /// The configuration's name.
    pub config: String,
}

/// A kernel, as the file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// The embedded kernel.
    Embedded,
    /// seL4.
    Sel4,
}

/// What one measurement came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The mean, in guest instructions.
    pub mean: u64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

/// What a benchmark came to: rows with different names, in the order in which they were printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// What it ran on.
    pub setup: Setup,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    board: String,
    kernel: Kernel,
    config: String,
    mean: u64,
    min: u64,
    max: u64,
}

impl Row {
    /// The row that `line` prints, such as `ok bench: NAME: mean 3 min 2 max 4 instructions of 1000`. `None`: it
    /// prints none.
    ///
    /// # Errors
    /// It begins as one, but is none.
    pub fn parse(line: &str) -> Option<Result<Self>> {
        let text = line.trim_end().strip_prefix(PREFIX)?;
        let row = Self::parse_text(text);
        Some(row.with_context(|| format!("the benchmark printed a line that is no figure: {line}")))
    }

    fn parse_text(text: &str) -> Option<Self> {
        let (name, figures) = text.rsplit_once(": ")?;
        let words: Vec<&str> = figures.split(' ').collect();
        let ["mean", mean, "min", min, "max", max, "instructions", "of", count] = *words else { return None };
        let number = |text: &str| text.parse::<u64>().ok();
        number(count)?;
        Some(Self { name: name.into(), mean: number(mean)?, min: number(min)?, max: number(max)? })
    }
}

impl Figures {
    /// The row `name`.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Reads the file at `path`; `how` says how one comes by it.
    ///
    /// # Errors
    /// There is none, or it is no such file.
    pub fn read(path: &Path, how: &str) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read {}: {how}", relative(path).display()))?;
        Self::parse(&text).with_context(|| format!("{} is malformed: {how}", relative(path).display()))
    }

    /// Parses the text of a file.
    fn parse(text: &str) -> Result<Self> {
        let entries: Vec<Entry> = serde_json::from_str(text)?;
        let first = entries.first().context("it has no rows")?;
        let setup = first.setup();
        let mut rows = vec![];
        for entry in entries {
            let name = &entry.name;
            ensure!(
                entry.setup() == setup,
                "its rows are of different setups: {setup}, but '{name}' of {}",
                entry.setup()
            );
            ensure!(
                entry.mean != 0 && entry.min <= entry.mean && entry.mean <= entry.max,
                "the figures of '{name}' contradict each other"
            );
            rows.push(Row { name: entry.name, mean: entry.mean, min: entry.min, max: entry.max });
        }
        let figures = Self { setup, rows };
        figures.check()?;
        Ok(figures)
    }

    /// Checks that no name stands twice.
    ///
    /// # Errors
    /// One does.
    pub fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        let twice = self.rows.iter().find(|row| !names.insert(&row.name));
        ensure!(twice.is_none(), "'{}' is there twice", twice.map(|row| &*row.name).unwrap_or_default());
        Ok(())
    }

    /// Writes the file at `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let write = || -> Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            Ok(fs::write(path, self.text()?)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The text of a file: a list of objects, one a line, so that a change of one figure is a change of one line.
    fn text(&self) -> Result<String> {
        let line = |row: &Row| serde_json::to_string(&self.entry(row));
        let lines = self.rows.iter().map(line).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("[\n{}\n]\n", lines.join(",\n")))
    }

    fn entry(&self, row: &Row) -> Entry {
        let (Setup { board, kernel, config }, row) = (self.setup.clone(), row.clone());
        Entry { name: row.name, board, kernel, config, mean: row.mean, min: row.min, max: row.max }
    }
}

impl Entry {
    fn setup(&self) -> Setup {
        Setup { board: self.board.clone(), kernel: self.kernel, config: self.config.clone() }
    }
}

impl Setup {
    /// The name of the committed file for this setup.
    pub fn file_name(&self) -> String {
        let kernel = match self.kernel {
            Kernel::Embedded => "embedded",
            Kernel::Sel4 => "sel4",
        };
        format!("{}-{kernel}-{}.json", self.board, self.config)
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = match self.kernel {
            Kernel::Embedded => "the embedded kernel",
            Kernel::Sel4 => "seL4",
        };
        write!(f, "{kernel}, {}, on {}", self.config, self.board)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures whose rows have these names and means.
    pub fn figures(kernel: Kernel, rows: &[(&str, u64)]) -> Figures {
        let setup = Setup { board: "board".into(), kernel, config: "release".into() };
        let row = |&(name, mean): &(&str, u64)| Row { name: name.into(), mean, min: mean - 1, max: mean + 1 };
        Figures { setup, rows: rows.iter().map(row).collect() }
    }

    const ROW: &str = r#"{"name":"a","board":"b","kernel":"sel4","config":"c","mean":2,"min":1,"max":3}"#;

    fn refusal(text: &str) -> String {
        Figures::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn lines_become_rows() {
        let line =
            "ok bench: map + unmap 4 KiB, 100 other mappings: mean 3 min 2 max 4 instructions of 1000\r\n";
        let row = Row::parse(line).unwrap().unwrap();
        let name = "map + unmap 4 KiB, 100 other mappings".to_string();
        assert_eq!(row, Row { name, mean: 3, min: 2, max: 4 });
        for other in ["ok driver0: mapped", "done bench: 3 checks", "FAIL bench: x: mean 3", "bench: x"] {
            assert!(Row::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn lines_that_are_cut_are_no_rows() {
        for line in [
            "ok bench: map: mean 3 min 2 max 4 instructions of",
            "ok bench: map: mean 3 min 2 max 4x instructions of 1000",
            "ok bench: map: mean 3 min 2 max 4",
            "ok bench: mean 3 min 2 max 4 instructions of 1000",
            "ok bench: map: mean -3 min 2 max 4 instructions of 1000",
        ] {
            let error = Row::parse(line).unwrap().unwrap_err().to_string();
            assert_eq!(error, format!("the benchmark printed a line that is no figure: {line}"));
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let written = figures(Kernel::Embedded, &[("b", 3), ("a", 2)]);
        let path = std::env::temp_dir().join(format!("xtask-figures-{}/x.json", std::process::id()));
        written.write(&path).unwrap();
        assert_eq!(Figures::read(&path, "").unwrap(), written);
        let text = fs::read_to_string(&path).unwrap();
        let first = r#"{"name":"b","board":"board","kernel":"embedded","config":"release","mean":3,"min":2,"max":4},"#;
        assert_eq!(text.lines().nth(1), Some(first));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_or_malformed_is_named_with_what_to_do() {
        let path = std::env::temp_dir().join(format!("xtask-figures-{}.json", std::process::id()));
        let said = |how| format!("{:#}", Figures::read(&path, how).unwrap_err());
        assert!(said("run it").starts_with(&format!("cannot read {}: run it: ", path.display())));
        fs::write(&path, "[]").unwrap();
        assert_eq!(said("run it"), format!("{} is malformed: run it: it has no rows", path.display()));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_list_of_figures_is_refused() {
        assert!(Figures::parse(&format!("[{ROW}]")).is_ok());
        assert!(refusal("").contains("EOF"));
        assert!(refusal("{}").contains("expected a sequence at line 1"));
        assert!(refusal(&format!("[{ROW}")).contains("EOF while parsing a list at line 1"));
        assert!(refusal(&format!("[{}]", ROW.replace(r#""max":3"#, r#""max":-3"#))).contains("expected u64"));
        assert!(refusal(&format!("[{}]", ROW.replace("max", "most"))).contains("unknown field `most`"));
        assert!(refusal(&format!("[{}]", ROW.replace(r#","max":3"#, ""))).contains("missing field `max`"));
        assert!(refusal(&format!("[{}]", ROW.replace("sel4", "linux"))).contains("unknown variant `linux`"));
    }

    #[test]
    fn rows_that_do_not_go_together_are_refused() {
        assert_eq!(refusal(&format!("[{ROW},{ROW}]")), "'a' is there twice");
        let other = ROW.replace(r#""a""#, r#""d""#).replace(r#""c""#, r#""e""#);
        assert_eq!(
            refusal(&format!("[{ROW},{other}]")),
            "its rows are of different setups: seL4, c, on b, but 'd' of seL4, e, on b"
        );
        for figures in [r#""mean":0,"min":0,"max":3"#, r#""mean":2,"min":3,"max":3"#] {
            let row = ROW.replace(r#""mean":2,"min":1,"max":3"#, figures);
            assert_eq!(refusal(&format!("[{row}]")), "the figures of 'a' contradict each other");
        }
    }

    #[test]
    fn each_setup_has_a_file() {
        let mut setup = figures(Kernel::Sel4, &[]).setup;
        assert_eq!(setup.file_name(), "board-sel4-release.json");
        setup.kernel = Kernel::Embedded;
        assert_eq!(setup.file_name(), "board-embedded-release.json");
    }
}
