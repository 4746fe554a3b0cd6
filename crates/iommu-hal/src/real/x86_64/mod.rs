//! x86-64: order, cache maintenance, the time stamp counter, and an HPET's comparator as alarm.
//!
//! Memory is mapped write-back and registers uncached, so that the CPU itself keeps stores, and loads, in program order, and
//! stores to registers after those to memory (Intel SDM volume 3, 10.2.2 and 13.3): only the compiler is to be told.

use core::{
    arch::asm,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering, compiler_fence},
};

use raw_cpuid::CpuId;

use super::lines::for_each_line;

mod time;
mod tsc;

pub use time::{Alarm, CpuClock};

/// Bytes of a cache line where CPUID says nothing: what every CPU with 64 bits has.
const USUAL_LINE_BYTES: usize = 64;

/// CPUID gives a cache line's size in this unit (Intel SDM volume 2, CPUID leaf 01H, EBX bits 15:8).
const LINE_UNIT_BYTES: usize = 8;

/// [`line_bytes`], once it is known.
static LINE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of a cache line. CPUID is asked once: under a hypervisor each time is expensive.
#[inline(always)]
fn line_bytes() -> usize {
    match LINE_BYTES.load(Ordering::Relaxed) {
        0 => find_line_bytes(),
        bytes => bytes,
    }
}

#[cold]
fn find_line_bytes() -> usize {
    let said = CpuId::new().get_feature_info().map(|features| features.cflush_cache_line_size());
    let bytes = said.map_or(0, usize::from) * LINE_UNIT_BYTES;
    let bytes = if bytes.is_power_of_two() { bytes } else { USUAL_LINE_BYTES };
    LINE_BYTES.store(bytes, Ordering::Relaxed);
    bytes
}

pub(super) fn barrier_stores() {
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn barrier_before_device_write() {
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn barrier_after_device_read() {
    compiler_fence(Ordering::SeqCst);
}

/// Writes lines back to memory, and drops them (`clflush` keeps its place among stores, unlike its younger relatives).
#[inline]
pub(super) fn clean_lines(range: Range<usize>) {
    for_each_line(range, line_bytes(), |at| {
        // SAFETY: flushing a line writes back what is there; the address is mapped.
        unsafe { asm!("clflush [{}]", in(reg) at, options(nostack, preserves_flags)) };
    });
    // SAFETY: a barrier has no effect but order: the lines are in memory before anything that follows.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
}

pub(super) fn invalidate_lines(range: Range<usize>) {
    // There is no pure invalidate; nothing of ours is dirty in the range.
    clean_lines(range);
}
