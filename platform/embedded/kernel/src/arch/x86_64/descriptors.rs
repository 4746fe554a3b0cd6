//! Segments, the task state segment and the interrupt descriptor table.
#![allow(unsafe_code, reason = "tables that the processor reads")]

use core::cell::UnsafeCell;

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use super::entry;

/// Selectors, in the order that the table is filled in. SYSCALL takes the kernel's as neighbours.
pub(super) const KERNEL_CODE: u16 = 1 << 3;
const KERNEL_DATA: u16 = 2 << 3;
pub(super) const USER_DATA: u16 = 3 << 3 | 3;
pub(super) const USER_CODE: u16 = 4 << 3 | 3;

/// The stack of exceptions that may find the kernel's own unusable: in the interrupt stack table, index 0.
const LAST_STACK_BYTES: usize = 8192;

#[repr(C, align(16))]
struct Stack([u8; LAST_STACK_BYTES]);

/// What the processor refers to for ever.
struct Tables(UnsafeCell<(GlobalDescriptorTable, InterruptDescriptorTable, Stack)>);

// SAFETY: there is one processor, and `load` alone reaches it.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables(UnsafeCell::new((
    GlobalDescriptorTable::new(),
    InterruptDescriptorTable::new(),
    Stack([0; LAST_STACK_BYTES]),
)));

/// The task state segment: its stack pointer of ring 0, which the entry's assembler finds and sets.
#[repr(transparent)]
pub(super) struct Tss(UnsafeCell<TaskStateSegment>);

// SAFETY: there is one processor; `load` writes it first, then the entry's assembler alone.
unsafe impl Sync for Tss {}

pub(super) static TSS: Tss = Tss(UnsafeCell::new(TaskStateSegment::new()));

/// Bytes from the segment's start to the stack pointer of ring 0 (Intel SDM volume 3, section 9.7).
pub(super) const RSP0: usize = 4;

/// Fills the tables and has the processor use them.
pub(super) fn load() {
    let tables = TABLES.0.get();
    // SAFETY: this runs once, so that it is the only reference.
    let (gdt, idt, stack) = unsafe { &mut *tables };
    let tss = TSS.0.get();
    // SAFETY: as above.
    let tss = unsafe { &mut *tss };
    tss.interrupt_stack_table[0] = VirtAddr::from_ptr(stack) + LAST_STACK_BYTES as u64;
    gdt.append(Descriptor::kernel_code_segment());
    gdt.append(Descriptor::kernel_data_segment());
    gdt.append(Descriptor::user_data_segment());
    gdt.append(Descriptor::user_code_segment());
    // SAFETY: the segment lives for ever.
    let task = gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
    // SAFETY: the table lives for ever.
    unsafe { gdt.load_unsafe() };
    // SAFETY: a code segment of ring 0, as before.
    unsafe { CS::set_reg(SegmentSelector(KERNEL_CODE)) };
    // SAFETY: a data segment of ring 0.
    unsafe { SS::set_reg(SegmentSelector(KERNEL_DATA)) };
    // SAFETY: the selector of the task state segment.
    unsafe { load_tss(task) };
    fill(idt);
    // SAFETY: the table lives for ever, and its gates lead to the entries.
    unsafe { idt.load_unsafe() };
}

/// Gives `entry` of `idt` the address of the vector's stub.
macro_rules! gates {
    ($idt:ident: $($vector:literal $name:ident),* $(,)?) => {$(
        // SAFETY: the stub takes its exception as the processor delivers it.
        unsafe { $idt.$name.set_handler_addr(entry::stub($vector)) };
    )*};
}

fn fill(idt: &mut InterruptDescriptorTable) {
    gates!(idt: 0 divide_error, 1 debug, 4 overflow, 5 bound_range_exceeded, 6 invalid_opcode,
        7 device_not_available, 10 invalid_tss, 11 segment_not_present, 12 stack_segment_fault,
        13 general_protection_fault, 14 page_fault, 16 x87_floating_point, 17 alignment_check,
        19 simd_floating_point, 20 virtualization, 21 cp_protection_exception, 28 hv_injection_exception,
        29 vmm_communication_exception, 30 security_exception);
    // SAFETY: the stub takes its exception as the processor delivers it.
    let breakpoint = unsafe { idt.breakpoint.set_handler_addr(entry::stub(3)) };
    breakpoint.set_privilege_level(x86_64::PrivilegeLevel::Ring3);
    // SAFETY: as above.
    let last = unsafe { idt.double_fault.set_handler_addr(entry::stub(8)) };
    // SAFETY: the stack is in the table and nobody else's.
    unsafe { last.set_stack_index(0) };
    // SAFETY: as above.
    let last = unsafe { idt.non_maskable_interrupt.set_handler_addr(entry::stub(2)) };
    // SAFETY: as above; whichever comes second, the kernel is past going on.
    unsafe { last.set_stack_index(0) };
    // SAFETY: as above.
    let last = unsafe { idt.machine_check.set_handler_addr(entry::stub(18)) };
    // SAFETY: as above.
    unsafe { last.set_stack_index(0) };
    for vector in 32..=255 {
        // SAFETY: as above.
        unsafe { idt[vector].set_handler_addr(entry::stub(vector)) };
    }
}
