//! Lines that say whose they are.

use core::fmt;

/// Puts a name before each line that it writes, from a line's beginning on.
#[derive(Debug)]
pub struct Named<'a, W> {
    writer: &'a mut W,
    name: &'a str,
    at_start: bool,
}

impl<'a, W: fmt::Write> Named<'a, W> {
    /// Writes to `writer`, where a line begins, as `name`.
    pub const fn new(writer: &'a mut W, name: &'a str) -> Self {
        Self { writer, name, at_start: true }
    }
}

impl<W: fmt::Write> fmt::Write for Named<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.at_start {
                self.writer.write_str(self.name)?;
                self.writer.write_str(": ")?;
            }
            self.writer.write_str(piece)?;
            self.at_start = piece.ends_with('\n');
        }
        Ok(())
    }
}
