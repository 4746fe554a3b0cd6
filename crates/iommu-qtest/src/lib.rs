//! QEMU's device models as hardware for host tests.
//!
//! [`Qemu`] starts a QEMU whose CPU sleeps in a loop, and drives the machine through the qtest protocol
//! (QEMU's docs/devel/testing/qtest.rst): registers, memory and PCI configuration space, read and written from
//! outside. [`QemuRegisters`], [`QemuMemory`] and [`HostClock`] are the ports of [`iommu_hal`] on top of it.
//!
//! The protocol works under any accelerator; TCG is there in every distribution's build. With `-icount` and no
//! sleep, virtual time leaps to the next timer as soon as the CPU sleeps, so a DMA that takes QEMU's edu device
//! 100 ms of virtual time is done at once.

mod edu;
mod machine;
mod pci;
mod ports;
mod process;

pub use edu::Edu;
pub use machine::{Machine, Q35_ECAM, QEMU_PACKAGES, QEMU_PC_PACKAGES};
pub use pci::{Ecam, Function};
pub use ports::{HostClock, QemuMemory, QemuRegisters};
pub use process::{Error, Qemu, REPLY_LIMIT};
