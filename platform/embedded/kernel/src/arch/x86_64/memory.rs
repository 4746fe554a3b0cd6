//! Physical memory and address spaces.
//!
//! The kernel runs in the highest 2 GiB, [`KERNEL_OFFSET`] above physical addresses. Every space has the kernel's last
//! entry of the highest level: kernel, image, its devices at [`BOOT_ALIAS`] above physical addresses, IPC buffers.
#![allow(unsafe_code, reason = "page tables")]

use core::ops::Range;

use embedded_image::{Image, PAGE_BYTES, flags};
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::mapper::MapToError;
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags, PhysFrame, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

use crate::system::memory::{Part, Pool, buffers, parts};

/// From a physical address of RAM to the kernel's address for it; as in the linker script.
pub(crate) const KERNEL_OFFSET: u64 = 0xffff_ffff_8000_0000;

/// From a physical address below 4 GiB to that by which it is seen while booting, a device also after.
pub(super) const BOOT_ALIAS: u64 = 0xffff_ff80_0000_0000;

/// The kernel's addresses for the IPC buffers, one page each.
pub(crate) const BUFFERS: u64 = BOOT_ALIAS + 0x30_0000_0000;

/// RAM of the board with 2 GiB, up to the firmware's tables.
pub(crate) const RAM: Range<u64> = 0..0x7ffe_0000;

/// The part of RAM for the kernel, the image and the page tables.
pub(crate) const WINDOW: Range<u64> = 0..0x800_0000;

pub(super) const IO_APIC: u64 = 0xfec0_0000;
pub(super) const LOCAL_APIC: u64 = 0xfee0_0000;

/// What no PD may map: the I/O APIC, and where messages to the local APIC go, with its registers.
pub(crate) const TAKEN: [Range<u64>; 2] = [IO_APIC..IO_APIC + PAGE_BYTES, LOCAL_APIC..LOCAL_APIC + 0x10_0000];

/// Physical addresses have 40 bits, on QEMU's processors.
pub(crate) const PHYSICAL_END: u64 = 1 << 40;

/// A PD's addresses have 47 bits. The last page is kept from it, as on seL4: behind code at its end the program counter
/// would be an address that the kernel cannot return to.
pub(crate) const USER_END: u64 = (1 << 47) - PAGE_BYTES;

/// Entry of the highest level that all spaces share.
const KERNEL_ENTRY: usize = 511;

const KERNEL_CONSTANTS: PageTableFlags =
    PageTableFlags::PRESENT.union(PageTableFlags::GLOBAL).union(PageTableFlags::NO_EXECUTE);
const KERNEL_DATA: PageTableFlags = KERNEL_CONSTANTS.union(PageTableFlags::WRITABLE);
const KERNEL_CODE: PageTableFlags = KERNEL_CONSTANTS.difference(PageTableFlags::NO_EXECUTE);
/// Uncached, whatever the memory type range registers say.
const DEVICE: PageTableFlags = PageTableFlags::NO_CACHE.union(PageTableFlags::WRITE_THROUGH);
/// What tables above allow, which those below narrow.
const TABLE: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::WRITABLE);

/// The address at which the kernel sees RAM, while booting all of it.
pub(crate) fn kernel_address(physical: u64) -> usize {
    (physical + KERNEL_OFFSET) as usize
}

/// The address at which the kernel sees a device.
pub(super) fn device_address(physical: u64) -> u64 {
    physical + BOOT_ALIAS
}

/// So many bytes at `target` have been filled. Caches are coherent with everything.
pub(crate) fn filled(_target: usize, _bytes: usize) {}

// SAFETY: `Pool::page` gives each page of the kernel's memory away once.
unsafe impl FrameAllocator<Size4KiB> for Pool {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        Some(PhysFrame::containing_address(PhysAddr::new(self.page())))
    }
}

/// The table at a physical address of the pool.
///
/// # Safety
/// The caller holds no other reference to it, nor to a table below.
unsafe fn table(physical: u64) -> OffsetPageTable<'static> {
    let root = core::ptr::with_exposed_provenance_mut::<PageTable>(kernel_address(physical));
    // SAFETY: a page of the pool, which is zero or holds a table.
    let root = unsafe { &mut *root };
    // SAFETY: while booting, all of RAM is seen at the kernel's addresses.
    unsafe { OffsetPageTable::new(root, VirtAddr::new(KERNEL_OFFSET)) }
}

fn map(
    table: &mut OffsetPageTable<'_>,
    pool: &mut Pool,
    at: u64,
    physical: u64,
    bytes: u64,
    attributes: PageTableFlags,
) {
    let above = TABLE | attributes & PageTableFlags::USER_ACCESSIBLE;
    for offset in (0..bytes).step_by(PAGE_BYTES as usize) {
        let page = Page::<Size4KiB>::containing_address(VirtAddr::new(at + offset));
        let frame = PhysFrame::containing_address(PhysAddr::new(physical + offset));
        // SAFETY: the tables are in use by no processor yet.
        let mapped = unsafe { table.map_to_with_table_flags(page, frame, attributes, above, pool) };
        match mapped {
            Ok(flush) => flush.ignore(),
            // The image has the same page twice: the first is what the PD gets.
            Err(MapToError::PageAlreadyMapped(_)) => {}
            Err(_) => panic!("`check` has found every range possible"),
        }
    }
}

/// The kernel's own address space, of which every other has the upper half.
pub(crate) struct KernelSpace {
    /// Physical address of the highest table.
    root: u64,
}

impl KernelSpace {
    pub(crate) fn new(pool: &mut Pool, image: &Image<'_>) -> Self {
        let root = pool.page();
        // SAFETY: the page is new.
        let mut table = unsafe { table(root) };
        for (range, part) in parts(image) {
            let attributes = match part {
                Part::Code => KERNEL_CODE,
                Part::Constants => KERNEL_CONSTANTS,
                Part::Data => KERNEL_DATA,
            };
            let bytes = range.end - range.start;
            map(&mut table, pool, range.start, range.start - KERNEL_OFFSET, bytes, attributes);
        }
        for device in [IO_APIC, LOCAL_APIC] {
            map(&mut table, pool, device_address(device), device, PAGE_BYTES, KERNEL_DATA | DEVICE);
        }
        for (at, physical) in buffers(image) {
            map(&mut table, pool, at, physical, PAGE_BYTES, KERNEL_DATA);
        }
        Self { root }
    }

    /// Builds the address space of `pd` and returns what CR3 has to hold for it.
    pub(crate) fn user_space(&self, pool: &mut Pool, image: &Image<'_>, pd: usize) -> u64 {
        let root = pool.page();
        // SAFETY: the kernel's table, which nobody else refers to now.
        let kernel = unsafe { table(self.root) }.level_4_table()[KERNEL_ENTRY].clone();
        // SAFETY: the page is new.
        let mut table = unsafe { table(root) };
        table.level_4_table_mut()[KERNEL_ENTRY] = kernel;
        for entry in image.maps.iter().filter(|map| map.pd as usize == pd) {
            if let Some(attributes) = user_attributes(entry.flags) {
                map(&mut table, pool, entry.vaddr, entry.paddr, entry.bytes, attributes);
            }
        }
        root
    }

    /// Leaves the boot table.
    pub(crate) fn enter(&self) {
        let root = PhysFrame::containing_address(PhysAddr::new(self.root));
        // SAFETY: the new table maps the kernel's code, data, stack and devices where the boot table had them; what else
        // that had is not used any more.
        unsafe { Cr3::write(root, Cr3Flags::empty()) };
    }
}

/// What a PD may do with a map; nothing: it is not mapped. What may be written or executed may also be read.
fn user_attributes(rights: u32) -> Option<PageTableFlags> {
    if rights & (flags::READ | flags::WRITE | flags::EXECUTE) == 0 {
        return None;
    }
    let mut attributes = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
    let cached = rights & flags::CACHED != 0;
    attributes.set(PageTableFlags::WRITABLE, rights & flags::WRITE != 0);
    attributes.set(PageTableFlags::NO_EXECUTE, rights & flags::EXECUTE == 0 || !cached);
    attributes.set(DEVICE, !cached);
    Some(attributes)
}
