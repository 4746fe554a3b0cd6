//! The ports of [`iommu_hal`] on QEMU.

use std::time::Instant;

use iommu_hal::{Clock, FRAME_BYTES, PhysAddr, Registers, TableMemory};

use crate::Qemu;

/// One unit's registers in QEMU.
#[derive(Debug, Clone)]
pub struct QemuRegisters {
    qemu: Qemu,
    base: u64,
}

impl QemuRegisters {
    /// The registers at physical address `base`.
    pub fn new(qemu: &Qemu, base: u64) -> Self {
        Self { qemu: qemu.clone(), base }
    }
}

impl Registers for QemuRegisters {
    fn read32(&mut self, offset: u32) -> u32 {
        self.qemu.read32(self.base + u64::from(offset))
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.qemu.write32(self.base + u64::from(offset), value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        self.qemu.read64(self.base + u64::from(offset))
    }

    fn write64(&mut self, offset: u32, value: u64) {
        self.qemu.write64(self.base + u64::from(offset), value);
    }
}

/// Table memory in QEMU's RAM. Its device models see each store at once.
#[derive(Debug, Clone)]
pub struct QemuMemory {
    qemu: Qemu,
    base: u64,
    bytes: u64,
}

impl QemuMemory {
    /// The `bytes` bytes at physical address `base`, whole frames in RAM.
    pub fn new(qemu: &Qemu, base: PhysAddr, bytes: u64) -> Self {
        assert!(base.0.is_multiple_of(FRAME_BYTES) && bytes.is_multiple_of(FRAME_BYTES));
        Self { qemu: qemu.clone(), base: base.0, bytes }
    }

    fn check(&self, at: PhysAddr, bytes: u64) {
        let offset = at.0.wrapping_sub(self.base);
        assert!(
            bytes <= self.bytes && offset <= self.bytes - bytes && at.0.is_multiple_of(8),
            "{bytes:#x} bytes at {at:?} are no table memory"
        );
    }
}

impl TableMemory for QemuMemory {
    fn base(&self) -> PhysAddr {
        PhysAddr(self.base)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, at: PhysAddr) -> u64 {
        self.check(at, 8);
        self.qemu.read64(at.0)
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        self.check(at, 8);
        self.qemu.write64(at.0, value);
    }

    fn zero(&mut self, at: PhysAddr, bytes: u64) {
        self.check(at, bytes);
        self.qemu.fill(at.0, bytes, 0);
    }

    fn publish(&mut self) {}

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        self.check(at, bytes);
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        self.check(at, bytes);
    }
}

/// The host's time.
#[derive(Debug, Clone, Copy)]
pub struct HostClock(Instant);

impl HostClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
