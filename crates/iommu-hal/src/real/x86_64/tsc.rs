//! The time stamp counter (Intel SDM volume 3, "Time-Stamp Counter"), and what CPUID says of it.

use core::arch::asm;

use raw_cpuid::CpuId;

/// The counter, in program order.
pub fn counter() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter, which seL4 leaves readable at ring 3; `lfence` keeps it in program order.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// What CPUID says of the frequency in hertz: leaf 15H, with leaf 16H where that lacks the crystal's (Intel SDM volume 3,
/// "Determining the Processor Base Frequency").
pub fn told_hz() -> Option<u64> {
    let cpuid = CpuId::new();
    let tsc = cpuid.get_tsc_info().filter(|tsc| tsc.numerator() != 0 && tsc.denominator() != 0)?;
    let base =
        || Some(u64::from(cpuid.get_processor_frequency_info()?.processor_base_frequency()) * 1_000_000);
    tsc.tsc_frequency().or_else(base).filter(|&hz| hz >= 1_000_000)
}
