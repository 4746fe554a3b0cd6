//! What PDs print, a line at a time: PDs that preempt each other do not mix their words.

use embedded_image::MAX_PDS;

/// Bytes of a line that are kept together; a longer one comes in pieces.
pub const LINE_BYTES: usize = 256;

/// The unfinished line of every PD.
#[derive(Debug)]
pub struct Lines {
    lines: [Line; MAX_PDS],
}

#[derive(Debug, Clone, Copy)]
struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Lines {
    /// No output yet.
    pub const NEW: Self = Self { lines: [Line { bytes: [0; LINE_BYTES], length: 0 }; MAX_PDS] };

    /// Takes one byte of the PD `pd`, and prints its line if that is the end of it.
    pub fn put(&mut self, pd: usize, byte: u8, print: impl FnMut(u8)) {
        let line = &mut self.lines[pd];
        line.bytes[line.length] = byte;
        line.length += 1;
        if byte == b'\n' || line.length == LINE_BYTES {
            self.flush(pd, print);
        }
    }

    /// Prints what `pd` has begun, for the last time before something else concerns it.
    pub fn end(&mut self, pd: usize, mut print: impl FnMut(u8)) {
        if self.lines[pd].length > 0 {
            self.flush(pd, &mut print);
            print(b'\n');
        }
    }

    fn flush(&mut self, pd: usize, print: impl FnMut(u8)) {
        let line = &mut self.lines[pd];
        line.bytes[..line.length].iter().copied().for_each(print);
        line.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    #[test]
    fn lines_of_two_pds_do_not_mix() {
        let mut lines = Lines::NEW;
        let mut out = String::new();
        for (pd, text) in [(0, "on"), (1, "tw"), (0, "e\nrest"), (1, "o\n")] {
            text.bytes().for_each(|byte| lines.put(pd, byte, |byte| out.push(byte.into())));
        }
        assert_eq!(out, "one\ntwo\n");
        lines.end(0, |byte| out.push(byte.into()));
        lines.end(1, |byte| out.push(byte.into()));
        assert_eq!(out, "one\ntwo\nrest\n");
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let mut lines = Lines::NEW;
        let mut printed = 0;
        for _ in 0..LINE_BYTES * 3 - 1 {
            lines.put(0, b'x', |_| printed += 1);
        }
        assert_eq!(printed, LINE_BYTES * 2);
    }
}
