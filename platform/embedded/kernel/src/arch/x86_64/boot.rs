//! From the loader's entry to Rust at ring 0 in long mode.
//!
//! The loader is any that knows Multiboot 0.6.96, such as QEMU's `-kernel`: it enters in 32-bit protected mode without
//! paging, with interrupts off. The header says where the flat file goes (its "a.out kludge"), so that the image behind
//! the kernel comes along. Register fields: Intel SDM volume 3, sections 2.5 and 4.5; MSRs: volume 4.
#![allow(unsafe_code, reason = "the first instructions of the machine")]

use core::arch::global_asm;

use super::memory::{BOOT_ALIAS, KERNEL_OFFSET};

/// Bytes of the kernel's stack, whole pages; the linker script puts a guard page below. Booting needs most of it.
const STACK_BYTES: usize = 512 * 1024;

/// Multiboot: what a header begins with, and that it has addresses.
const MAGIC: u32 = 0x1bad_b002;
const HAS_ADDRESSES: u32 = 1 << 16;

/// CR4: 5-level paging off, 4 KiB pages of 8-byte entries (PAE), FXSAVE and SSE exceptions (OSFXSR, OSXMMEXCPT).
const CR4: u32 = 1 << 5 | 1 << 9 | 1 << 10;
/// CR0: paging, write protection at ring 0 too, x87 exceptions are exceptions, x87 waits trap (MP), protected mode.
const CR0: u32 = 1 << 31 | 1 << 16 | 1 << 5 | 1 << 1 | 1;
/// EFER and its number: long mode, SYSCALL, no-execute.
const EFER: u32 = 0xc000_0080;
const EFER_BITS: u32 = 1 << 8 | 1 | 1 << 11;

/// Page table entries: present, writable; the same for 2 MiB; the same uncached.
const TABLE: u32 = 0b11;
const MEMORY: u32 = TABLE | 1 << 7;
const DEVICE: u32 = MEMORY | 1 << 3 | 1 << 4;

global_asm!(
    // While booting, physical addresses below 4 GiB are seen at three places: where they are, for the instructions that
    // turn paging on; from `BOOT_ALIAS` on; and the lowest 2 GiB, of RAM, at the kernel's addresses.
    ".section .text.boot, \"ax\"",
    ".code32",
    ".balign 4",
    "header:",
    "    .long {magic}",
    "    .long {flags}",
    "    .long -({magic} + {flags})",
    "    .long header - {offset}",
    "    .long __kernel - {offset}",
    "    .long 0",
    "    .long 0",
    "    .long _start - {offset}",
    ".global _start",
    "_start:",
    "    cli",
    "    cld",
    "    movl $(boot_root - {offset}), %edi",
    "    movl $(boot_top - {offset} + {table}), %eax",
    "    movl %eax, (%edi)",
    "    movl %eax, 511*8(%edi)",
    "    movl $(boot_top - {offset}), %edi",
    "    movl $(boot_tables - {offset} + {table}), %eax",
    "    movl %eax, 0*8(%edi)",
    "    movl %eax, 510*8(%edi)",
    "    addl $4096, %eax",
    "    movl %eax, 1*8(%edi)",
    "    movl %eax, 511*8(%edi)",
    "    addl $4096, %eax",
    "    movl %eax, 3*8(%edi)",
    "    movl $(boot_tables - {offset}), %edi",
    "    movl ${memory}, %eax",
    "    movl $1024, %ecx",
    "1:  movl %eax, (%edi)",
    "    addl $0x200000, %eax",
    "    addl $8, %edi",
    "    loop 1b",
    "    movl $(3 << 30 | {device}), %eax",
    "    movl $512, %ecx",
    "2:  movl %eax, (%edi)",
    "    addl $0x200000, %eax",
    "    addl $8, %edi",
    "    loop 2b",
    "    movl ${cr4}, %eax",
    "    movl %eax, %cr4",
    "    movl $(boot_root - {offset}), %eax",
    "    movl %eax, %cr3",
    "    movl ${efer}, %ecx",
    "    movl ${efer_bits}, %eax",
    "    xorl %edx, %edx",
    "    wrmsr",
    "    movl ${cr0}, %eax",
    "    movl %eax, %cr0",
    "    lgdtl boot_gdt_pointer - {offset}",
    "    ljmpl $8, $(3f - {offset})",
    ".code64",
    "3:  xorl %eax, %eax",
    "    movl %eax, %ds",
    "    movl %eax, %es",
    "    movl %eax, %ss",
    "    movl %eax, %fs",
    "    movl %eax, %gs",
    "    xorl %ebp, %ebp",
    "    movabsq $__stack_top, %rsp",
    "    movabsq ${start}, %rax",
    // As after a call: what it returns to is nothing.
    "    pushq $0",
    "    jmpq *%rax",
    ".balign 8",
    "boot_gdt:",
    "    .quad 0",
    "    .quad 0x00209a0000000000",
    "boot_gdt_pointer:",
    "    .word 15",
    "    .long boot_gdt - {offset}",
    // In data, as .bss is in the file too.
    ".section .data.boot, \"aw\", @progbits",
    ".balign 4096",
    "boot_root: .zero 4096",
    "boot_top: .zero 4096",
    "boot_tables: .zero 3 * 4096",
    ".section .stack, \"aw\", @progbits",
    ".zero {stack}",
    magic = const MAGIC,
    flags = const HAS_ADDRESSES,
    offset = const KERNEL_OFFSET,
    table = const TABLE,
    memory = const MEMORY,
    device = const DEVICE,
    cr4 = const CR4,
    cr0 = const CR0,
    efer = const EFER,
    efer_bits = const EFER_BITS,
    start = sym super::start,
    stack = const STACK_BYTES,
    options(att_syntax),
);

// The tables above say so.
const _: () = assert!(BOOT_ALIAS == 0xffff_ff80_0000_0000 && KERNEL_OFFSET == 0xffff_ffff_8000_0000);
