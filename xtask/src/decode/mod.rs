//! `cargo xtask decode`: explains raw words of IOMMUs, as a person at a terminal has them.

pub mod entry;
pub mod field;
pub mod input;
pub mod intel_vtd;
pub mod kind;
pub mod print;
pub mod record;
pub mod smmu_v3;
#[cfg(test)]
mod tests;
pub mod trace;

use std::{fmt::Write, io::Read};

use anyhow::{Context, Result, bail, ensure};

use input::Width;
use kind::{Kind, Place, Source};

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";
/// The lowest level of a VT-d table is 1, of an Arm table 3: pages of the granule.
const LEAF_LEVELS: (u8, u8) = (1, 3);

/// What is to be explained.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Decode {
    /// What the words are; `decode kinds` lists all. `-`: lines of a trace from standard input.
    pub kind: String,
    /// The words in hexadecimal, several entries in a row, or `-` to read them from standard input.
    pub words: Vec<String>,
    /// The level of a table entry, as the specification counts it: 0 to 3 of Arm, 1 to 5 of VT-d.
    #[arg(long)]
    pub level: Option<u8>,
    /// The granule of an Arm table.
    #[arg(long, value_name = "4k|16k|64k", default_value = "4k")]
    pub granule: String,
    /// The words are 32-bit halves, the lower one first, as a dump of memory shows them.
    #[arg(long)]
    pub halves: bool,
    /// Shows fields too that are zero and seldom used, and reserved ones.
    #[arg(long)]
    pub all: bool,
}

/// The kind of lines: of a QEMU trace, or those that drivers print of faults.
const LINES: &str = "trace";

impl Decode {
    /// The explanation.
    ///
    /// # Errors
    /// An unknown kind, words that do not fit it, a level that its tables do not have; a line without raw words; input
    /// that cannot be read.
    pub fn run(&self) -> Result<String> {
        let typed = [std::slice::from_ref(&self.kind), &self.words].concat().join(" ");
        match self.kind.as_str() {
            "kinds" => Ok(kinds()),
            STANDARD_INPUT => self.lines(&standard_input()?),
            LINES | record::LINE if self.words == [STANDARD_INPUT] => self.lines(&standard_input()?),
            LINES | record::LINE => self.line(&self.words.join(" ")),
            record::RING => self.ring_records(),
            name => match kind::find(name) {
                Some(kind) => self.entries(kind),
                None if trace::is_line(&typed) || record::is_line(&typed) => self.line(&typed),
                None => bail!("there is no kind '{name}'; the kinds are:\n{}", kinds().trim_end()),
            },
        }
    }

    fn entries(&self, kind: &Kind) -> Result<String> {
        let place = self.place(kind, self.level)?;
        let entries = input::entries(kind.name, kind.word_bits, kind.words, &self.text()?, self.width())?;
        let texts: Vec<_> = entries.iter().map(|words| print::print(kind, words, place, self.all)).collect();
        Ok(texts.join("\n"))
    }

    fn ring_records(&self) -> Result<String> {
        let records = input::entries(record::RING, 64, record::RING_WORDS, &self.text()?, self.width())?;
        let mut texts = vec![];
        for words in records {
            let (mut text, raw) = record::ring(&words);
            match raw {
                Some(raw) => text.push_str(&self.raw(&raw)?),
                None => text.push_str("  no record of the hardware in it\n"),
            }
            texts.push(text);
        }
        Ok(texts.join("\n"))
    }

    /// The lines of `text` that carry raw words; how many do not.
    fn lines(&self, text: &str) -> Result<String> {
        let (mut texts, mut others) = (vec![], 0);
        for line in text.lines() {
            match self.line(line) {
                Ok(explained) => texts.push(format!("{}\n{explained}", line.trim())),
                Err(_) => others += 1,
            }
        }
        ensure!(!texts.is_empty(), "no line carries raw words of an SMMU or of VT-d");
        if others > 0 {
            texts.push(format!("Other lines, without raw words: {others}.\n"));
        }
        Ok(texts.join("\n"))
    }

    /// One line of a trace, or of a driver.
    fn line(&self, text: &str) -> Result<String> {
        if record::is_line(text) {
            return record::line(text);
        }
        let texts = trace::line(text)?.iter().map(|raw| self.raw(raw)).collect::<Result<Vec<_>>>()?;
        Ok(texts.join("\n"))
    }

    fn raw(&self, raw: &trace::Raw) -> Result<String> {
        let kind = kind::find(raw.kind).with_context(|| format!("there is no kind '{}'", raw.kind))?;
        let place = self.place(kind, self.level.filter(|_| kind.levels.is_some()).or(raw.level))?;
        let note = if raw.note.is_empty() { String::new() } else { format!("Note: {}\n", raw.note) };
        Ok(print::print(kind, &raw.words, place, self.all) + &note)
    }

    fn width(&self) -> Width {
        if self.halves { Width::Halves } else { Width::Own }
    }

    /// What was typed, or standard input.
    fn text(&self) -> Result<String> {
        if self.words == [STANDARD_INPUT] { standard_input() } else { Ok(self.words.join(" ")) }
    }

    fn place(&self, kind: &Kind, level: Option<u8>) -> Result<Place> {
        let granule_lg2 = match self.granule.to_ascii_lowercase().as_str() {
            "" | "4k" => 12,
            "16k" => 14,
            "64k" => 16,
            other => bail!("--granule {other}: there are 4k, 16k and 64k"),
        };
        let Some((lowest, highest)) = kind.levels else {
            ensure!(level.is_none(), "--level: {} has no levels", kind.name);
            return Ok(Place { level: 0, granule_lg2 });
        };
        let leaf = if kind.source == Source::Vtd { LEAF_LEVELS.0 } else { LEAF_LEVELS.1 };
        let Some(level) = level else {
            bail!(
                "{} needs --level, {lowest} to {highest}: {leaf} is the level of the smallest pages",
                kind.name
            );
        };
        let lowest = if granule_lg2 == 16 { lowest.max(1) } else { lowest };
        ensure!(
            (lowest..=highest).contains(&level),
            "--level {level}: {} has levels {lowest} to {highest}, {leaf} that of the smallest pages",
            kind.name
        );
        Ok(Place { level, granule_lg2 })
    }
}

fn standard_input() -> Result<String> {
    let mut bytes = vec![];
    std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All kinds, one on a line.
pub fn kinds() -> String {
    let others = [
        (record::RING, "record of the fault ring that a driver reads: 8 words of 64 bits"),
        (record::LINE, "line that a driver prints of a fault"),
        (LINES, "line of a QEMU trace, -trace 'smmu*' or 'vtd_*'; with - all lines of standard input"),
    ];
    let names = kind::all().map(|kind| kind.name).chain(others.map(|(name, _)| name));
    let width = names.map(str::len).max().unwrap_or_default();
    let mut text = String::new();
    for kind in kind::all() {
        let level = if kind.levels.is_some() { ", --level" } else { "" };
        let (name, shape) = (kind.name, kind.shape());
        let section = format!("{}, {}", kind.source.name(), kind.section);
        let _ = writeln!(text, "{name:width$}  {} ({section}): {shape}{level}", kind.title);
    }
    for (name, what) in others {
        let _ = writeln!(text, "{name:width$}  {what}");
    }
    text
}
