//! Physical memory and address spaces.
//!
//! The kernel lives in the upper half, at [`KERNEL_OFFSET`] above the physical address, and sees there only itself,
//! the image, its devices and, at [`BUFFERS`], the PDs' IPC buffers. A PD's address space is the lower half.
#![allow(unsafe_code, reason = "page tables, and the memory that the image fills")]

use core::arch::asm;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;

use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress};
use aarch64_paging::paging::{
    Constraints, El1And0, MemoryRegion, PageTable, RootTable, Translation, VaRange,
};
use embedded_image::{Image, Map, PAGE_BYTES, Pd, flags};

/// From a physical address to the kernel's address for it; as in the linker script.
const KERNEL_OFFSET: u64 = 0xffff_ff80_0000_0000;

/// The kernel's addresses for the IPC buffers, one page each; above what physical addresses of this board reach.
const BUFFERS: u64 = KERNEL_OFFSET + 0x30_0000_0000;

/// RAM of the board with 2 GiB.
const RAM: Range<u64> = 0x4000_0000..0xc000_0000;

/// The part of RAM for the kernel, the image and the page tables.
const WINDOW: Range<u64> = 0x7000_0000..0x8000_0000;

/// The interrupt controller, all of its frames.
const GIC: Range<u64> = 0x0800_0000..0x0805_0000;

pub(super) const GIC_DISTRIBUTOR: u64 = 0x0800_0000;
pub(super) const GIC_CPU: u64 = 0x0801_0000;
pub(super) const UART: u64 = 0x0900_0000;

/// Physical addresses have 40 bits.
const PHYSICAL_END: u64 = 1 << 40;

/// A PD's addresses have 48 bits.
const USER_END: u64 = 1 << 48;

/// TCR_EL1 but for T0SZ: the upper half has 39 bits; walks are write-back, inner shareable; granules are 4 KiB;
/// physical addresses have 40 bits.
pub(super) const TCR_FIXED: u64 =
    25 << 16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30 | 2 << 32;
/// T0SZ for [`USER_END`].
const TCR_USER: u64 = TCR_FIXED | 16;

const KERNEL_DATA: El1Attributes = El1Attributes::VALID
    .union(El1Attributes::ACCESSED)
    .union(El1Attributes::ATTRIBUTE_INDEX_1)
    .union(El1Attributes::INNER_SHAREABLE)
    .union(El1Attributes::UXN)
    .union(El1Attributes::PXN);
const KERNEL_CONSTANTS: El1Attributes = KERNEL_DATA.union(El1Attributes::READ_ONLY);
const KERNEL_CODE: El1Attributes = KERNEL_CONSTANTS.difference(El1Attributes::PXN);
/// The kernel's devices.
pub(super) const DEVICE_MEMORY: El1Attributes =
    El1Attributes::VALID.union(El1Attributes::ACCESSED).union(El1Attributes::UXN).union(El1Attributes::PXN);
/// RAM while booting, when the kernel still runs in it.
pub(super) const BOOT_MEMORY: El1Attributes = KERNEL_DATA.difference(El1Attributes::PXN);

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

/// The address at which the kernel sees a physical one.
pub(super) fn kernel_address(physical: u64) -> usize {
    (physical + KERNEL_OFFSET) as usize
}

/// The IPC buffer of `pd`, word by word: word 0 is the message tag, then the message words.
pub(super) fn ipc_buffer(pd: usize) -> *mut u64 {
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
        if overlap(&range, &WINDOW) || overlap(&range, &GIC) || range.end > PHYSICAL_END {
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
        // PDs may map it uncached, and devices read it past the caches.
        for line in (0..load.bytes as usize).step_by(CACHE_LINE) {
            let address = target.addr() + line;
            // SAFETY: cleaning a line writes back what is there.
            unsafe { asm!("dc civac, {}", in(reg) address, options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: no instruction of a PD has been fetched yet; the barriers order the maintenance before the first.
    unsafe { asm!("dsb sy", "ic iallu", "dsb sy", "isb", options(nostack, preserves_flags)) };
}

/// Bytes of a cache line, or less.
const CACHE_LINE: usize = 16;

/// Memory for page tables: what the image leaves of the kernel's part of RAM.
#[derive(Debug)]
pub(super) struct Pool {
    next: u64,
}

impl Pool {
    /// The memory behind `image`, if it is enough for its page tables.
    pub(super) fn behind(image: &Image<'_>) -> Result<Self, MemoryError> {
        /// What a level 3 table maps.
        const TABLE_BYTES: u64 = 512 * PAGE_BYTES;
        /// Tables that a range may need besides full level 3 tables, at its two ends and above.
        const ENDS: u64 = 6;
        let image_end = linker_address!(__image) - KERNEL_OFFSET + image.header.total_bytes;
        let next = image_end.next_multiple_of(PAGE_BYTES);
        let tables =
            image.maps.iter().fold(0_u64, |sum, map| sum.saturating_add(map.bytes / TABLE_BYTES + ENDS));
        let room = WINDOW.end.saturating_sub(next) / PAGE_BYTES;
        // The kernel's own ranges and everybody's root.
        if tables.saturating_add(64) > room {
            return Err(MemoryError::TooManyTables);
        }
        Ok(Self { next })
    }
}

impl Translation<El1Attributes> for &mut Pool {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
        assert!(self.next < WINDOW.end, "Pool::behind has counted the tables");
        let physical = self.next;
        self.next += PAGE_BYTES;
        let table = self.physical_to_virtual(PhysicalAddress(physical as usize));
        // SAFETY: a page of the pool, mapped by the boot table and nobody else's.
        unsafe { table.write_bytes(0, 1) };
        (table, PhysicalAddress(physical as usize))
    }

    unsafe fn deallocate_table(&mut self, _: NonNull<PageTable<El1Attributes>>) {}

    fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El1Attributes>> {
        let address = core::num::NonZeroUsize::new(kernel_address(pa.0 as u64));
        NonNull::with_exposed_provenance(address.expect("the kernel's addresses are not zero"))
    }
}

type Table<'a> = RootTable<El1And0, &'a mut Pool>;

fn map(table: &mut Table<'_>, at: u64, physical: u64, bytes: u64, attributes: El1Attributes) {
    if bytes == 0 {
        return;
    }
    let region = MemoryRegion::new(at as usize, at.wrapping_add(bytes) as usize);
    let physical = PhysicalAddress(physical as usize);
    let mapped = table.map_range(&region, physical, attributes, Constraints::NO_CONTIGUOUS_HINT);
    assert!(mapped.is_ok(), "`check` has found every range possible");
}

/// Builds the address space of `pd` and returns what TTBR0_EL1 has to hold for it.
pub(super) fn user_space(pool: &mut Pool, image: &Image<'_>, pd: usize) -> u64 {
    let mut table = Table::with_va_range(pool, 0, El1And0, VaRange::Lower);
    for entry in image.maps.iter().filter(|map| map.pd as usize == pd) {
        map(&mut table, entry.vaddr, entry.paddr, entry.bytes, user_attributes(entry.flags));
    }
    let asid = pd as u64 + 1;
    asid << 48 | keep(table)
}

/// What a PD may do with a map. A map that it may neither read nor write is the kernel's data to the hardware, and
/// the kernel never reaches for it.
fn user_attributes(rights: u32) -> El1Attributes {
    let mut attributes =
        El1Attributes::VALID | El1Attributes::ACCESSED | El1Attributes::NON_GLOBAL | El1Attributes::PXN;
    attributes.set(El1Attributes::USER, rights & (flags::READ | flags::WRITE) != 0);
    attributes.set(El1Attributes::READ_ONLY, rights & flags::WRITE == 0);
    let cached = rights & flags::CACHED != 0;
    attributes.set(El1Attributes::UXN, rights & flags::EXECUTE == 0 || !cached);
    attributes.set(El1Attributes::ATTRIBUTE_INDEX_1 | El1Attributes::INNER_SHAREABLE, cached);
    attributes
}

/// Leaves the boot table: from here on the kernel sees only what it needs, and no PD's memory but IPC buffers.
/// Returns what TTBR0_EL1 has to hold while no PD runs.
pub(super) fn enter_kernel_space(pool: &mut Pool, image: &Image<'_>) -> u64 {
    let nobody = keep(Table::with_va_range(pool, 0, El1And0, VaRange::Lower));
    let mut table = Table::with_va_range(pool, 1, El1And0, VaRange::Upper);
    let kernel = linker_address!(__kernel);
    let text_end = linker_address!(__text_end);
    let rodata_end = linker_address!(__rodata_end);
    let stack_guard = linker_address!(__stack_guard);
    let stack = linker_address!(__stack_bottom);
    let image_start = linker_address!(__image);
    let image_bytes = image.header.total_bytes.next_multiple_of(PAGE_BYTES);
    let parts = [
        (kernel..text_end, KERNEL_CODE),
        (text_end..rodata_end, KERNEL_CONSTANTS),
        (rodata_end..stack_guard, KERNEL_DATA),
        (stack..image_start, KERNEL_DATA),
        (image_start..image_start + image_bytes, KERNEL_CONSTANTS),
    ];
    for (part, attributes) in parts {
        map(&mut table, part.start, part.start - KERNEL_OFFSET, part.end - part.start, attributes);
    }
    for device in [GIC_DISTRIBUTOR, GIC_CPU, UART] {
        map(&mut table, device + KERNEL_OFFSET, device, PAGE_BYTES, DEVICE_MEMORY);
    }
    for (index, pd) in image.pds.iter().enumerate() {
        if let Some(physical) = buffer_address(image, index, pd) {
            map(&mut table, ipc_buffer(index).addr() as u64, physical, PAGE_BYTES, KERNEL_DATA);
        }
    }
    let root = keep(table);
    // SAFETY: the new table maps the kernel's code, data, stack and devices where the boot table had them; what else
    // that had is not used any more. The lower half is empty, and the identity that booted is not needed.
    unsafe {
        asm!(
            "dsb ish",
            "msr ttbr0_el1, {nobody}",
            "msr ttbr1_el1, {root}",
            "msr tcr_el1, {tcr}",
            "isb",
            "tlbi vmalle1",
            "dsb ish",
            "isb",
            nobody = in(reg) nobody,
            root = in(reg) root,
            tcr = in(reg) TCR_USER,
            options(nostack, preserves_flags),
        );
    }
    nobody
}

/// Keeps a table for ever and returns its physical address.
fn keep(table: Table<'_>) -> u64 {
    let address = table.to_physical().0 as u64;
    core::mem::forget(table);
    address
}
