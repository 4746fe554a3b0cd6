//! dmar.toml: written from a table, read with a board.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use toml::Spanned;

use super::{Dmar, FILE, Table, rules};
use crate::{
    board::Board,
    refusal::{Place, Refusal},
};

/// The keys whose values are addresses or their differences, which the file has in hexadecimal.
const ADDRESSES: [&str; 4] = ["registers", "bytes", "first", "last"];

/// What stands before all else.
const HEAD: &str = "\
# The IOMMU's units, as this board's firmware tells them in its ACPI DMAR table: made by `cargo xtask dmar`, obeyed by the
# policy compiler. docs/dmar.md says what each key is. A scope may be given `buses`, the first and last bus behind it.
";

/// The content of dmar.toml for `table`.
///
/// # Errors
/// None of a table that was parsed.
pub fn text(table: &Table) -> Result<String> {
    let body = toml::to_string(&table.dmar).context("the table has no TOML")?;
    let mut text = format!("{HEAD}# Made by: {}.\n", table.maker);
    for skipped in &table.skipped {
        text += &format!("# Not in here: {skipped}.\n");
    }
    text.push('\n');
    for line in body.lines() {
        text += &hexadecimal(line).unwrap_or_else(|| line.to_string());
        text.push('\n');
    }
    Ok(text)
}

/// `line` with its number in hexadecimal, if it is an address.
fn hexadecimal(line: &str) -> Option<String> {
    let (key, value) = line.split_once(" = ")?;
    let number: u64 = value.parse().ok().filter(|_| ADDRESSES.contains(&key))?;
    Some(format!("{key} = {number:#x}"))
}

impl Dmar {
    /// Reads `text`, the content of `file`.
    ///
    /// # Errors
    /// It is no TOML of this form, or breaks a rule of DMAR tables.
    pub fn parse(file: &str, text: &str) -> Result<Self, Refusal> {
        let file: Arc<str> = file.into();
        let at = |offset| Place::of_offset(&file, text, offset);
        let dmar: Spanned<Self> = toml::from_str(text).map_err(|error| {
            at(error.span().map_or(0, |span| span.start)).refuse(error.message().replace('\n', "; "))
        })?;
        let dmar = dmar.into_inner();
        rules::check(&dmar).map_err(|broken| {
            let (header, index) = match broken.item {
                rules::Item::Table => ("address_bits", 0),
                rules::Item::Unit(index) => ("[[unit]]", index),
                rules::Item::Reserved(index) => ("[[reserved]]", index),
                rules::Item::Ats(index) => ("[[ats]]", index),
            };
            at(nth_line(text, header, index)).refuse(broken.rule)
        })?;
        Ok(dmar)
    }

    /// Reads the file of the board `name` of the repository at `root`, if it has one.
    ///
    /// # Errors
    /// It cannot be read, or as [`Self::parse`].
    pub fn of_board(root: &Path, name: &str) -> Result<Option<Self>> {
        let path = Board::folder(root, name).join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        Ok(Some(Self::parse(&shown, &text)?))
    }
}

/// Where the `index`th line that begins with `start` begins; 0 if there is none, as tables may be written in other ways.
fn nth_line(text: &str, start: &str, index: usize) -> usize {
    let lines = text.split_inclusive('\n').scan(0, |next, line| {
        let at = *next;
        *next += line.len();
        Some((at, line))
    });
    lines.filter(|(_, line)| line.trim_start().starts_with(start)).nth(index).map_or(0, |(at, _)| at)
}
