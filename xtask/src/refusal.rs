//! A refused input: where, which rule, what to do.

use std::{fmt, sync::Arc};

/// A place in an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// Finds the place `offset` bytes into `text`, the content of `file`.
    pub fn of_offset(file: &Arc<str>, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self { file: file.clone(), line: line as u32, column: column as u32 }
    }

    /// Refuses what stands here.
    pub fn refuse(&self, rule: impl Into<String>) -> Refusal {
        Refusal { place: self.clone(), rule: rule.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why an input is refused. Displays as `file:line:column: rule`, one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where.
    pub place: Place,
    /// The broken rule, and what to do.
    pub rule: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        // A rule may quote the input, which neither breaks the line nor steers the terminal.
        self.rule.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(f, "{}", letter.escape_default()),
            false => write!(f, "{letter}"),
        })
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_in_its_line() {
        let place = Place { file: "system.xml".into(), line: 5, column: 7 };
        let text = place.refuse("'pd\n\u{1b}[2Jé' is no name").to_string();
        assert_eq!(text, r"system.xml:5:7: 'pd\n\u{1b}[2Jé' is no name");
    }
}
