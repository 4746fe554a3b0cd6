//! Physical placement: every page that protection domains see gets a place of its own in RAM.

use super::elf::Program;
use crate::{
    board::{Board, Interval},
    refusal::{Place, Refusal},
    sdf::{PAGE_BYTES, System},
};

/// Where everything lies in physical memory.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Each memory region.
    pub regions: Vec<Interval>,
    /// Each protection domain.
    pub pds: Vec<PdLayout>,
}

/// Where the memory of a protection domain lies that is no memory region.
#[derive(Debug, Clone)]
pub struct PdLayout {
    /// Its program's segments.
    pub segments: Vec<Interval>,
    /// Its stack.
    pub stack: Interval,
    /// Its IPC buffer.
    pub ipc_buffer: Interval,
}

impl Layout {
    /// Places `system` and its programs in the RAM of `board`.
    ///
    /// # Errors
    /// What does not fit any more.
    pub fn place(system: &System, board: &Board, programs: &[Program]) -> Result<Self, Refusal> {
        let mut free = Free { ranges: vec![board.memory.ram] };
        free.take(board.memory.kernel);
        for range in system.regions.iter().filter_map(|region| region.fixed()) {
            free.take(range);
        }
        let mut regions = vec![];
        for (index, region) in system.regions.iter().enumerate() {
            regions.push(match region.fixed() {
                Some(range) => range,
                None => {
                    let what = format!("the region '{}'", region.name);
                    free.place(region.bytes, system.page_bytes(index), &region.place, &what)?
                }
            });
        }
        let mut pds = vec![];
        for (pd, program) in system.pds.iter().zip(programs) {
            let mut place = |bytes, what: &str| {
                free.place(bytes, PAGE_BYTES, &pd.place, &format!("{what} of '{}'", pd.name))
            };
            let segments = program.segments.iter().map(|segment| place(segment.bytes, "the program"));
            let segments = segments.collect::<Result<_, _>>()?;
            let (stack, ipc_buffer) =
                (place(pd.stack_bytes, "the stack")?, place(PAGE_BYTES, "the IPC buffer")?);
            pds.push(PdLayout { segments, stack, ipc_buffer });
        }
        Ok(Self { regions, pds })
    }
}

/// What is still free, in ascending order.
struct Free {
    ranges: Vec<Interval>,
}

impl Free {
    /// Takes what is free of `range`.
    fn take(&mut self, range: Interval) {
        let whole = std::mem::take(&mut self.ranges);
        for free in whole {
            if !free.meets(range) {
                self.ranges.push(free);
                continue;
            }
            if free.first < range.first {
                self.ranges.push(Interval { first: free.first, last: range.first - 1 });
            }
            if range.last < free.last {
                self.ranges.push(Interval { first: range.last + 1, last: free.last });
            }
        }
    }

    /// Takes the lowest free `bytes` at a multiple of `align`.
    fn place(&mut self, bytes: u64, align: u64, at: &Place, what: &str) -> Result<Interval, Refusal> {
        let fit = |free: &Interval| {
            let range = Interval::of(free.first.checked_next_multiple_of(align)?, bytes)?;
            free.holds(range).then_some(range)
        };
        let Some(range) = self.ranges.iter().find_map(fit) else {
            return Err(
                at.refuse(format!("{what} ({bytes:#x} bytes) does not fit into the RAM that is left"))
            );
        };
        self.take(range);
        Ok(range)
    }
}
