//! Physical memory and address spaces. The kernel's addresses are [`KERNEL_OFFSET`] above the physical ones.
#![allow(unsafe_code, reason = "page tables and caches")]

use core::arch::asm;
use core::ops::Range;
use core::ptr::NonNull;

use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress};
use aarch64_paging::paging::{
    Constraints, El1And0, MemoryRegion, PageTable, RootTable, Translation, VaRange,
};
use embedded_image::{Image, PAGE_BYTES, flags};

use crate::system::memory::{Part, Pool, buffers, parts};

/// From a physical address to the kernel's address for it; as in the linker script.
pub(crate) const KERNEL_OFFSET: u64 = 0xffff_ff80_0000_0000;

/// The kernel's addresses for the IPC buffers, one page each; above what physical addresses of this board reach.
pub(crate) const BUFFERS: u64 = KERNEL_OFFSET + 0x30_0000_0000;

/// RAM of the board with 2 GiB.
pub(crate) const RAM: Range<u64> = 0x4000_0000..0xc000_0000;

/// The part of RAM for the kernel, the image and the page tables.
pub(crate) const WINDOW: Range<u64> = 0x7000_0000..0x8000_0000;

/// What no PD may map: the interrupt controller, all of its frames.
pub(crate) const TAKEN: [Range<u64>; 1] = [0x0800_0000..0x0805_0000];

pub(super) const GIC_DISTRIBUTOR: u64 = 0x0800_0000;
pub(super) const GIC_CPU: u64 = 0x0801_0000;
pub(super) const UART: u64 = 0x0900_0000;

/// Physical addresses have 40 bits.
pub(crate) const PHYSICAL_END: u64 = 1 << 40;

/// A PD's addresses have 48 bits.
pub(crate) const USER_END: u64 = 1 << 48;

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

/// The address at which the kernel sees a physical one.
pub(crate) fn kernel_address(physical: u64) -> usize {
    (physical + KERNEL_OFFSET) as usize
}

/// So many bytes at `target` have been filled: PDs may map them uncached, devices read them past the caches, and what
/// is in them may be code.
pub(crate) fn filled(target: usize, bytes: usize) {
    for line in (0..bytes).step_by(CACHE_LINE) {
        let address = target + line;
        // SAFETY: cleaning a line writes back what is there.
        unsafe { asm!("dc civac, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: no instruction of a PD has been fetched yet; the barriers order the maintenance before the first.
    unsafe { asm!("dsb sy", "ic iallu", "dsb sy", "isb", options(nostack, preserves_flags)) };
}

/// Bytes of a cache line, or less.
const CACHE_LINE: usize = 16;

impl Translation<El1Attributes> for &mut Pool {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
        let physical = self.page();
        let table = self.physical_to_virtual(PhysicalAddress(physical as usize));
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

/// The kernel's own address space: what it needs, and no PD's memory but IPC buffers.
pub(crate) struct KernelSpace {
    /// What TTBR1_EL1 has to hold.
    root: u64,
    /// What TTBR0_EL1 has to hold while no PD runs.
    nobody: u64,
}

impl KernelSpace {
    pub(crate) fn new(pool: &mut Pool, image: &Image<'_>) -> Self {
        let nobody = keep(Table::with_va_range(pool, 0, El1And0, VaRange::Lower));
        let mut table = Table::with_va_range(pool, 1, El1And0, VaRange::Upper);
        for (range, part) in parts(image) {
            let attributes = match part {
                Part::Code => KERNEL_CODE,
                Part::Constants => KERNEL_CONSTANTS,
                Part::Data => KERNEL_DATA,
            };
            map(&mut table, range.start, range.start - KERNEL_OFFSET, range.end - range.start, attributes);
        }
        for device in [GIC_DISTRIBUTOR, GIC_CPU, UART] {
            map(&mut table, device + KERNEL_OFFSET, device, PAGE_BYTES, DEVICE_MEMORY);
        }
        for (at, physical) in buffers(image) {
            map(&mut table, at, physical, PAGE_BYTES, KERNEL_DATA);
        }
        Self { root: keep(table), nobody }
    }

    /// Builds the address space of `pd` and returns what TTBR0_EL1 has to hold for it.
    pub(crate) fn user_space(&self, pool: &mut Pool, image: &Image<'_>, pd: usize) -> u64 {
        let mut table = Table::with_va_range(pool, 0, El1And0, VaRange::Lower);
        for entry in image.maps.iter().filter(|map| map.pd as usize == pd) {
            map(&mut table, entry.vaddr, entry.paddr, entry.bytes, user_attributes(entry.flags));
        }
        let asid = pd as u64 + 1;
        asid << 48 | keep(table)
    }

    /// Leaves the boot table.
    pub(crate) fn enter(&self) {
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
                nobody = in(reg) self.nobody,
                root = in(reg) self.root,
                tcr = in(reg) TCR_USER,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Keeps a table for ever and returns its physical address.
fn keep(table: Table<'_>) -> u64 {
    let address = table.to_physical().0 as u64;
    core::mem::forget(table);
    address
}
