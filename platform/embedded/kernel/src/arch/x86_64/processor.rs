//! What the processor lets user level do, and what it keeps the kernel from.
#![allow(unsafe_code, reason = "control registers")]

use core::arch::x86_64::{__cpuid, __cpuid_count};

use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

/// IA32_PAT, and what a reset leaves there: entry 0 write-back, entry 3 (PCD and PWT) uncached.
const PAT: u32 = 0x277;
const PAT_AT_RESET: u64 = 0x0007_0406_0007_0406;

/// CPUID leaf 7, EBX.
const FSGSBASE: u32 = 1 << 0;
const SMEP: u32 = 1 << 7;
const SMAP: u32 = 1 << 20;

/// Has the processor keep user level out of everything but the time-stamp counter and, where there are such
/// instructions, its segment bases, as on seL4; and the kernel out of PDs' memory, where it can.
pub(crate) fn open_to_user() {
    // SAFETY: no page table uses another meaning of the entries.
    unsafe { Msr::new(PAT).write(PAT_AT_RESET) };
    let features = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
    let mut flags = Cr4::read();
    flags.remove(Cr4Flags::TIMESTAMP_DISABLE | Cr4Flags::PERFORMANCE_MONITOR_COUNTER);
    flags.insert(Cr4Flags::PAGE_GLOBAL);
    flags.set(Cr4Flags::FSGSBASE, features & FSGSBASE != 0);
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features & SMEP != 0);
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features & SMAP != 0);
    // SAFETY: the kernel runs from its own pages and reaches none of a PD's by the PD's addresses.
    unsafe { Cr4::write(flags) };
}
