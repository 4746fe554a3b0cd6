//! The ports on a board: volatile accesses to mapped registers and memory, barriers, the CPU's counter.
#![allow(unsafe_code)] // The one place where the drivers meet the machine.

mod cpu;
mod memory;
mod mmio;
mod shared;

pub use cpu::{CpuAlarm, CpuClock};
pub use memory::MappedMemory;
pub use mmio::MmioRegisters;
pub use shared::MappedPage;
