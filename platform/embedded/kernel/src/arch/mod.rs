//! Machines that the core runs on.

#[cfg(target_arch = "aarch64")]
mod aarch64;

#[cfg(not(target_arch = "aarch64"))]
compile_error!("embedded-kernel: AArch64 alone so far");
