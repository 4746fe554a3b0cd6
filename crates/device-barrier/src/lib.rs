//! Order between a program's memory accesses and a device's, for every architecture that the project knows.
#![no_std]
#![allow(unsafe_code)] // Barrier instructions have no safe form.

/// Orders every earlier load and store before every later one, as all observers see them, devices included.
#[cfg(target_arch = "aarch64")]
#[inline]
pub fn device_barrier() {
    // SAFETY: a barrier has no effect but order.
    unsafe { core::arch::asm!("dmb osh", options(nostack, preserves_flags)) };
}

/// Orders every earlier load and store before every later one, as all observers see them, devices included.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn device_barrier() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("device-barrier: no barrier is known for this architecture");
