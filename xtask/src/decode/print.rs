//! How an entry is printed: stable columns of plain text.

use std::fmt::Write;

use super::{
    entry::Entry,
    kind::{Kind, Place, Source},
};

/// Words on a line.
const WORDS_PER_LINE: usize = 4;

/// The text for one entry of `kind`. `all`: fields that are zero and seldom used are shown too.
pub fn print(kind: &Kind, words: &[u64], place: Place, all: bool) -> String {
    let entry = kind.entry(words, place);
    let mut text = heading(kind, place);
    let digits = kind.word_bits / 4 + 2;
    for line in words.chunks(WORDS_PER_LINE) {
        let line: Vec<_> = line.iter().map(|word| format!("{word:#0digits$x}")).collect();
        let _ = writeln!(text, "  {}", line.join(" "));
    }
    columns(&mut text, kind, &entry, all);
    let verdict = (kind.verdict)(&entry, place);
    let _ = writeln!(text, "In short: {}.", verdict.does);
    for wrong in verdict.wrong.into_iter().chain(entry.reserved(kind.word_bits)) {
        let _ = writeln!(text, "Wrong: {wrong}.");
    }
    text
}

fn heading(kind: &Kind, place: Place) -> String {
    let mut text = format!("{} ({}, {})", kind.title, kind.source.name(), kind.section);
    if kind.levels.is_some() {
        let _ = write!(text, ", level {}", place.level);
        if kind.source == Source::Arm {
            let _ = write!(text, ", {} granule", super::field::size(place.granule_lg2));
        }
    }
    text.push('\n');
    text
}

fn columns(text: &mut String, kind: &Kind, entry: &Entry<'_>, all: bool) {
    let mut rows = vec![["bits", "field", "value", "section", "meaning"].map(String::from)];
    let mut hidden = 0;
    for field in &entry.fields {
        let value = field.value(entry.words);
        if field.quiet && value == 0 && !all {
            hidden += 1;
            continue;
        }
        let section = if field.section.is_empty() { kind.section } else { field.section };
        rows.push([
            field.place(kind.word_bits),
            field.name.into(),
            field.number(value),
            section.into(),
            field.explain(value),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3].map(width);
    for row in &rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, " {cell:width$} ");
        }
        let _ = writeln!(text, "{}", format!("{line} {}", row[4]).trim_end());
    }
    if hidden > 0 {
        let _ = writeln!(text, "  ({hidden} fields that are zero and seldom used are not shown: --all)");
    }
}
