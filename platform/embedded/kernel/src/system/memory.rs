//! Physical memory: what an image may ask of it, filling it, and what is left for page tables.
//!
//! The kernel lives in the upper half and sees there only itself, the image, its devices and, at
//! [`BUFFERS`](crate::arch::memory::BUFFERS), the PDs' IPC buffers. A PD's address space is the lower half.
#![allow(unsafe_code, reason = "the memory that the image fills")]

use core::fmt;
use core::ops::Range;

use embedded_image::{Image, Map, PAGE_BYTES, Pd, flags};

use crate::arch::memory::{
    BUFFERS, KERNEL_OFFSET, PHYSICAL_END, RAM, TAKEN, USER_END, WINDOW, filled, kernel_address,
};

/// Why the kernel does not boot an image.
#[derive(Debug)]
pub(super) enum MemoryError {
    /// A load, by index, outside RAM or in the kernel's part of it.
    LoadOutside(usize, u64, u64),
    /// A map, by index, of the kernel's memory or the interrupt controller, or of what no processor reaches.
    MapForbidden(usize, u64, u64),
    /// A map, by index, that is both writable and executable.
    WritableCode(usize),
    /// A map, by index, above a PD's addresses.
    MapTooHigh(usize, u64),
    /// A PD, by index, whose IPC buffer is not mapped readable, writable and cached.
    NoIpcBuffer(usize),
    /// The page tables need more memory than the kernel has.
    TooManyTables,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadOutside(index, paddr, bytes) => write!(
                f,
                "load {index} ({bytes:#x} bytes at {paddr:#x}) is not in RAM ({:#x} to {:#x}) or touches the \
                 kernel's part of it ({:#x} to {:#x})",
                RAM.start, RAM.end, WINDOW.start, WINDOW.end
            ),
            Self::MapForbidden(index, paddr, bytes) => write!(
                f,
                "map {index} ({bytes:#x} bytes at {paddr:#x}) touches the kernel's memory or interrupt \
                 controller, or ends above {PHYSICAL_END:#x}"
            ),
            Self::WritableCode(index) => write!(f, "map {index} is both writable and executable"),
            Self::MapTooHigh(index, vaddr) => {
                write!(f, "map {index} at {vaddr:#x} ends above {USER_END:#x}, where a PD's addresses end")
            }
            Self::NoIpcBuffer(pd) => {
                write!(
                    f,
                    "the IPC buffer of protection domain {pd} is not mapped readable, writable and cached"
                )
            }
            Self::TooManyTables => f.write_str("the page tables do not fit into the kernel's memory"),
        }
    }
}

/// The IPC buffer of `pd`, word by word: word 0 is the message tag, then the message words.
pub(crate) fn ipc_buffer(pd: usize) -> *mut u64 {
    core::ptr::with_exposed_provenance_mut((BUFFERS + pd as u64 * PAGE_BYTES) as usize)
}

/// An address that the linker script defines.
macro_rules! linker_address {
    ($name:ident) => {{
        unsafe extern "C" {
            static $name: u8;
        }
        (&raw const $name).addr() as u64
    }};
}

/// A part of the kernel's own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Code,
    Constants,
    Data,
}

/// The kernel's own memory and the image, at the kernel's addresses. A page below the stack is left out, so that an
/// overflow faults.
pub(crate) fn parts(image: &Image<'_>) -> [(Range<u64>, Part); 5] {
    let kernel = linker_address!(__kernel);
    let text_end = linker_address!(__text_end);
    let rodata_end = linker_address!(__rodata_end);
    let stack_guard = linker_address!(__stack_guard);
    let stack = linker_address!(__stack_bottom);
    let image_start = linker_address!(__image);
    let image_bytes = image.header.total_bytes.next_multiple_of(PAGE_BYTES);
    [
        (kernel..text_end, Part::Code),
        (text_end..rodata_end, Part::Constants),
        (rodata_end..stack_guard, Part::Data),
        (stack..image_start, Part::Data),
        (image_start..image_start + image_bytes, Part::Constants),
    ]
}

/// The image's bytes: all that follows the kernel in its part of RAM.
pub(super) fn image_bytes() -> &'static [u8] {
    let first = linker_address!(__image);
    let bytes = kernel_address(WINDOW.end) as u64 - first;
    // SAFETY: RAM that the boot table maps, after the kernel. Only page tables are written in it, behind the image
    // that is parsed, whose bytes alone stay in use.
    unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(first as usize), bytes as usize) }
}

/// Checks what an image asks of this board's memory.
pub(super) fn check(image: &Image<'_>) -> Result<(), MemoryError> {
    for (index, load) in image.loads.iter().enumerate() {
        let range = load.paddr..load.paddr + load.bytes;
        if range.start < RAM.start || range.end > RAM.end || overlap(&range, &WINDOW) {
            return Err(MemoryError::LoadOutside(index, load.paddr, load.bytes));
        }
    }
    for (index, map) in image.maps.iter().enumerate() {
        let range = map.paddr..map.paddr + map.bytes;
        let taken = TAKEN.iter().chain([&WINDOW]).any(|taken| overlap(&range, taken));
        if taken || range.end > PHYSICAL_END {
            return Err(MemoryError::MapForbidden(index, map.paddr, map.bytes));
        }
        if map.flags & (flags::WRITE | flags::EXECUTE) == flags::WRITE | flags::EXECUTE {
            return Err(MemoryError::WritableCode(index));
        }
        if map.vaddr + map.bytes > USER_END {
            return Err(MemoryError::MapTooHigh(index, map.vaddr));
        }
    }
    for (index, pd) in image.pds.iter().enumerate() {
        buffer_address(image, index, pd).ok_or(MemoryError::NoIpcBuffer(index))?;
    }
    Ok(())
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The physical address of a PD's IPC buffer.
fn buffer_address(image: &Image<'_>, index: usize, pd: &Pd) -> Option<u64> {
    let wanted = flags::READ | flags::WRITE | flags::CACHED;
    let holds = |map: &&Map| {
        map.pd as usize == index
            && map.flags & wanted == wanted
            && (map.vaddr..map.vaddr + map.bytes).contains(&pd.ipc_buffer)
            && pd.ipc_buffer.is_multiple_of(PAGE_BYTES)
    };
    image.maps.iter().find(holds).map(|map| map.paddr + (pd.ipc_buffer - map.vaddr))
}

/// Where each IPC buffer is: the kernel's address for it, and the physical one.
pub(crate) fn buffers(image: &Image<'_>) -> impl Iterator<Item = (u64, u64)> {
    image.pds.iter().enumerate().filter_map(|(index, pd)| {
        buffer_address(image, index, pd).map(|physical| (ipc_buffer(index).addr() as u64, physical))
    })
}

/// Fills the memory of the PDs, while the boot table maps all of RAM.
pub(super) fn load(image: &Image<'_>) {
    for load in image.loads {
        let target = core::ptr::with_exposed_provenance_mut::<u8>(kernel_address(load.paddr));
        let data = image.data(load);
        // SAFETY: `check` has found all of the load in RAM that the kernel does not use.
        unsafe { target.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
        // SAFETY: the rest of the load; `Image::parse` has found the data no longer than the load.
        let rest = unsafe { target.add(data.len()) };
        // SAFETY: as above.
        unsafe { rest.write_bytes(0, load.bytes as usize - data.len()) };
        filled(target.addr(), load.bytes as usize);
    }
}

/// Memory for page tables: what the image leaves of the kernel's part of RAM.
#[derive(Debug)]
pub(crate) struct Pool {
    next: u64,
}

impl Pool {
    /// The memory behind `image`, if it is enough for its page tables.
    pub(super) fn behind(image: &Image<'_>) -> Result<Self, MemoryError> {
        /// What a table of the lowest level maps.
        const TABLE_BYTES: u64 = 512 * PAGE_BYTES;
        /// Tables that a range may need besides full ones of the lowest level, at its two ends and above.
        const ENDS: u64 = 6;
        let image_end = linker_address!(__image) - KERNEL_OFFSET + image.header.total_bytes;
        let next = image_end.next_multiple_of(PAGE_BYTES);
        let tables =
            image.maps.iter().fold(0_u64, |sum, map| sum.saturating_add(map.bytes / TABLE_BYTES + ENDS));
        // The kernel's own: so many map the image, and a few the rest.
        let own = image.header.total_bytes / TABLE_BYTES + 64;
        let room = WINDOW.end.saturating_sub(next) / PAGE_BYTES;
        if tables.saturating_add(own) > room {
            return Err(MemoryError::TooManyTables);
        }
        Ok(Self { next })
    }

    /// A page of zeros: its physical address.
    ///
    /// # Panics
    /// If there is none left, which [`Pool::behind`] rules out.
    pub(crate) fn page(&mut self) -> u64 {
        assert!(self.next < WINDOW.end, "Pool::behind has counted the tables");
        let physical = self.next;
        self.next += PAGE_BYTES;
        let page = core::ptr::with_exposed_provenance_mut::<u8>(kernel_address(physical));
        // SAFETY: a page of the pool, mapped by the boot table and nobody else's.
        unsafe { page.write_bytes(0, PAGE_BYTES as usize) };
        physical
    }
}
