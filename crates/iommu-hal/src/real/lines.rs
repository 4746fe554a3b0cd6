//! Cache lines.

use core::ops::Range;

/// Calls `each` with an address in each line of `line` bytes, a power of two, that `range` touches. `range` does not end in
/// the last line of the address space. (No `step_by`: it divides.)
#[inline(always)]
pub fn for_each_line(range: Range<usize>, line: usize, mut each: impl FnMut(usize)) {
    let mut at = range.start & !(line - 1);
    while at < range.end {
        each(at);
        at = at.wrapping_add(line);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_line_that_is_touched_comes_once() {
        let lines = |range, line| {
            let mut found = Vec::new();
            for_each_line(range, line, |at| found.push(at));
            found
        };
        assert_eq!(lines(0x1000..0x1008, 64), [0x1000]);
        assert_eq!(lines(0x103f..0x1041, 64), [0x1000, 0x1040]);
        assert_eq!(lines(0x1008..0x1090, 64), [0x1000, 0x1040, 0x1080]);
        assert_eq!(lines(0x1000..0x1010, 4), [0x1000, 0x1004, 0x1008, 0x100c]);
        assert_eq!(lines(0x1008..0x1008, 64), [0x1000; 1], "an empty range names the line that it is in");
    }
}
