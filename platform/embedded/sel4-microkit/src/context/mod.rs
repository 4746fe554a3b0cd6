//! A thread's registers, as far as a parent writes them. On a host they are AArch64's.

#[cfg(any(test, not(all(target_os = "none", target_arch = "x86_64"))))]
mod aarch64;
#[cfg(any(test, all(target_os = "none", target_arch = "x86_64")))]
#[cfg_attr(test, allow(dead_code))] // The tests are of both.
mod x86_64;

#[cfg(not(all(target_os = "none", target_arch = "x86_64")))]
pub use aarch64::*;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64::*;
