//! From the loader's entry to Rust at EL1 with the MMU on.
//!
//! Register fields: Arm DDI 0487, chapter D24.
#![allow(unsafe_code, reason = "the first instructions of the machine")]

use core::arch::global_asm;

use super::memory::{BOOT_MEMORY, DEVICE_MEMORY, TCR_FIXED};

/// Bytes of the kernel's stack, whole pages; the linker script puts a guard page below. Booting needs most of it, to
/// build the tables.
const STACK_BYTES: usize = 512 * 1024;

/// HCR_EL2: EL1 is AArch64 and nothing is trapped.
const HCR: u64 = 1 << 31;
/// CNTHCTL_EL2: EL1 may use the physical counter and timer.
const CNTHCTL: u64 = 0b11;
/// CPTR_EL2: nothing is trapped.
const CPTR: u64 = 0x33ff;
/// SPSR_EL2: EL1 with its own stack pointer, all exceptions masked.
const SPSR: u64 = 0x3c5;
/// SCTLR_EL1: MMU, caches, stack alignment at EL1; CTR_EL0 (UCT), cache maintenance (UCI) and waiting (nTWI, nTWE)
/// at EL0; and the bits that are one in Armv8.0.
const SCTLR: u64 = 0x30d0_0800 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;
/// MAIR_EL1: attribute 0 is Device-nGnRnE, attribute 1 Normal write-back.
const MAIR: u64 = 0xff00;
/// TCR_EL1: both halves have 39 bits while booting.
const TCR: u64 = TCR_FIXED | 25;

/// The level 1 table of both halves while booting: devices in the first GiB, RAM in the next two. In the lower half
/// it is the identity, for the instructions that turn the MMU on.
#[repr(C, align(4096))]
struct BootTable([u64; 512]);

static BOOT_TABLE: BootTable = BootTable({
    let mut table = [0; 512];
    table[0] = DEVICE_MEMORY.bits() as u64;
    table[1] = 0x4000_0000 | BOOT_MEMORY.bits() as u64;
    table[2] = 0x8000_0000 | BOOT_MEMORY.bits() as u64;
    table
});

global_asm!(
    ".section .text.boot, \"ax\"",
    ".global _start",
    "_start:",
    "    msr daifset, #0xf",
    "    mrs x0, CurrentEL",
    "    cmp x0, #(2 << 2)",
    "    b.ne 1f",
    "    ldr x0, ={hcr}",
    "    msr hcr_el2, x0",
    "    mov x0, #{cnthctl}",
    "    msr cnthctl_el2, x0",
    "    msr cntvoff_el2, xzr",
    "    mov x0, #{cptr}",
    "    msr cptr_el2, x0",
    "    msr hstr_el2, xzr",
    "    msr vttbr_el2, xzr",
    "    mrs x0, midr_el1",
    "    msr vpidr_el2, x0",
    "    mrs x0, mpidr_el1",
    "    msr vmpidr_el2, x0",
    "    mov x0, #{spsr}",
    "    msr spsr_el2, x0",
    "    adr x0, 1f",
    "    msr elr_el2, x0",
    "    isb",
    "    eret",
    "1:",
    "    ldr x0, ={mair}",
    "    msr mair_el1, x0",
    "    ldr x0, ={tcr}",
    "    msr tcr_el1, x0",
    "    adrp x0, {table}",
    "    msr ttbr0_el1, x0",
    "    msr ttbr1_el1, x0",
    "    isb",
    "    tlbi vmalle1",
    "    ic iallu",
    "    dsb nsh",
    "    isb",
    "    ldr x0, ={sctlr}",
    "    msr sctlr_el1, x0",
    "    isb",
    "    ldr x0, =__stack_top",
    "    mov sp, x0",
    "    mov x29, xzr",
    "    mov x30, xzr",
    "    ldr x0, ={start}",
    "    br x0",
    ".ltorg",
    ".section .stack, \"aw\", @progbits",
    ".zero {stack}",
    stack = const STACK_BYTES,
    hcr = const HCR,
    cnthctl = const CNTHCTL,
    cptr = const CPTR,
    spsr = const SPSR,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    table = sym BOOT_TABLE,
    start = sym super::start,
);
