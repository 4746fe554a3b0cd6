//! The printer: some lines of each writer in turn.

use heapless::Vec;

use crate::{
    reader::{Line, Reader},
    ring::Load,
};

/// Most lines that one step begins. More bytes than a UART's FIFO holds, so that the UART has something to send, and
/// wakes the printer, when a step ends early.
pub const LINES_PER_STEP: usize = 64;

/// Most lines of one writer while another has some: a report that is written at once stays together.
pub const LINES_PER_TURN: usize = 16;

/// What sends bytes.
pub trait Uart {
    /// Sends `byte`; `false` if there is no room now.
    fn put(&mut self, byte: u8) -> bool;
}

/// Prints the rings of up to `RINGS` writers.
#[derive(Debug)]
pub struct Printer<M, const RINGS: usize> {
    readers: Vec<Reader<M>, RINGS>,
    /// Whose turn it is.
    turn: usize,
    /// Lines that are left of the turn.
    left: usize,
    line: Line,
    /// Bytes of `line` that are sent.
    sent: usize,
}

impl<M: Load, const RINGS: usize> Printer<M, RINGS> {
    /// The printer of `rings`.
    pub fn new(rings: Vec<M, RINGS>) -> Self {
        let readers = rings.into_iter().map(Reader::new).collect();
        Self { readers, turn: 0, left: LINES_PER_TURN, line: Line::new(), sent: 0 }
    }

    /// Prints until there is nothing, no room, or enough done for one step. Returns whether to go on once the UART
    /// has room; else the next signal is what to wait for.
    pub fn step(&mut self, uart: &mut impl Uart) -> bool {
        for _ in 0..LINES_PER_STEP {
            if self.sent == self.line.len() && !self.next_line() {
                return false;
            }
            for &byte in &self.line.as_bytes()[self.sent..] {
                if !uart.put(byte) {
                    return true;
                }
                self.sent += 1;
            }
        }
        true
    }

    fn next_line(&mut self) -> bool {
        self.sent = 0;
        // Whoever has had a turn may have another one after all others.
        for _ in 0..=self.readers.len() {
            let reader = self.readers.get_mut(self.turn).filter(|_| self.left > 0);
            if reader.is_some_and(|reader| reader.poll(&mut self.line)) {
                self.left -= 1;
                return true;
            }
            self.turn = (self.turn + 1) % self.readers.len().max(1);
            self.left = LINES_PER_TURN;
        }
        self.line.clear();
        false
    }
}
