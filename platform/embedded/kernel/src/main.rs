//! The bootable kernel: the core of this package on a machine. What it boots and how is in the library's
//! documentation.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod system;

/// The kernel runs on no operating system: built for one, it is empty.
#[cfg(not(target_os = "none"))]
fn main() {}
