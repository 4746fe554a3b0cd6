//! The ports on a board: volatile accesses to mapped registers and memory, barriers, the CPU's counter, an alarm.
#![allow(unsafe_code)] // The one place where the drivers meet the machine.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod cpu;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod cpu;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("iommu-hal: feature `real` knows AArch64 and x86-64");

mod lines;
mod memory;
mod mmio;
mod shared;
mod time;

pub use cpu::{Alarm, CpuClock};
pub use memory::MappedMemory;
pub use mmio::MmioRegisters;
pub use shared::MappedPage;
pub use time::{TimeError, TimerRegisters};
