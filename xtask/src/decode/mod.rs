//! `cargo xtask decode`: explains raw words of IOMMUs, as a person at a terminal has them.

pub mod entry;
pub mod field;
pub mod input;
pub mod intel_vtd;
pub mod kind;
pub mod print;
pub mod smmu_v3;
#[cfg(test)]
mod tests;

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
    /// What the words are; `decode kinds` lists all.
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

impl Decode {
    /// The explanation.
    ///
    /// # Errors
    /// An unknown kind, words that do not fit it, a level that its tables do not have; input that cannot be read.
    pub fn run(&self) -> Result<String> {
        if self.kind == "kinds" {
            return Ok(kinds());
        }
        let Some(kind) = kind::find(&self.kind) else {
            bail!("there is no kind '{}'; the kinds are:\n{}", self.kind, kinds().trim_end());
        };
        let width = if self.halves { Width::Halves } else { Width::Own };
        let place = self.place(kind)?;
        let mut text = String::new();
        for (number, words) in input::entries(kind, &self.text()?, width)?.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&print::print(kind, words, place, self.all));
        }
        Ok(text)
    }

    /// What was typed, or standard input.
    fn text(&self) -> Result<String> {
        if self.words != [STANDARD_INPUT] {
            return Ok(self.words.join(" "));
        }
        let mut bytes = vec![];
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn place(&self, kind: &Kind) -> Result<Place> {
        let granule_lg2 = match self.granule.to_ascii_lowercase().as_str() {
            "" | "4k" => 12,
            "16k" => 14,
            "64k" => 16,
            other => bail!("--granule {other}: there are 4k, 16k and 64k"),
        };
        let Some((lowest, highest)) = kind.levels else {
            ensure!(self.level.is_none(), "--level: {} has no levels", kind.name);
            return Ok(Place { level: 0, granule_lg2 });
        };
        let leaf = if kind.source == Source::Vtd { LEAF_LEVELS.0 } else { LEAF_LEVELS.1 };
        let Some(level) = self.level else {
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

/// All kinds, one on a line.
pub fn kinds() -> String {
    let width = kind::all().map(|kind| kind.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for kind in kind::all() {
        let level = if kind.levels.is_some() { ", --level" } else { "" };
        let (name, shape) = (kind.name, kind.shape());
        let section = format!("{}, {}", kind.source.name(), kind.section);
        let _ = writeln!(text, "{name:width$}  {} ({section}): {shape}{level}", kind.title);
    }
    text
}
