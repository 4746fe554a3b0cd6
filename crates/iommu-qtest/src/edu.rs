//! QEMU's edu device as a source of DMA (QEMU's docs/specs/edu.rst).

use std::time::{Duration, Instant};

use crate::{Function, Qemu};

/// The longest wait for a DMA, in host time.
const DMA_LIMIT: Duration = Duration::from_secs(30);

const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const COMMAND: u64 = 0x98;
const RUN: u64 = 1 << 0;
const TO_RAM: u64 = 1 << 1;
/// Where the device's buffer lies in its own eyes.
const BUFFER: u64 = 0x4_0000;

/// One edu device with its BAR placed and bus mastering on.
#[derive(Debug, Clone)]
pub struct Edu {
    qemu: Qemu,
    bar: u64,
    requester: u16,
}

impl Edu {
    /// PCI vendor and device id.
    pub const IDS: (u16, u16) = (0x1234, 0x11e8);
    /// Bytes of the BAR, and its alignment.
    pub const BAR_BYTES: u32 = 1 << 20;
    /// Bytes of the device's buffer. A larger DMA corrupts QEMU itself.
    pub const BUFFER_BYTES: u64 = 4096;

    /// The device behind `function`, its BAR at physical address `bar`.
    pub fn new(function: &Function, bar: u32) -> Self {
        function.enable(bar);
        Self { qemu: function.qemu().clone(), bar: bar.into(), requester: function.number() }
    }

    /// The requester id of its DMA.
    pub fn requester(&self) -> u16 {
        self.requester
    }

    /// Has the device read `bytes` bytes at bus address `from` into its buffer.
    ///
    /// A read that the IOMMU stops puts zeroes there; the device does not tell.
    pub fn read_ram(&self, from: u64, bytes: u64) {
        self.transfer(from, BUFFER, bytes, RUN);
    }

    /// Has the device write the first `bytes` bytes of its buffer to bus address `to`.
    pub fn write_ram(&self, to: u64, bytes: u64) {
        self.transfer(BUFFER, to, bytes, RUN | TO_RAM);
    }

    fn transfer(&self, source: u64, destination: u64, bytes: u64, command: u64) {
        assert!((1..=Self::BUFFER_BYTES).contains(&bytes), "edu moves 1 to 4096 bytes");
        self.qemu.write64(self.bar + SOURCE, source);
        self.qemu.write64(self.bar + DESTINATION, destination);
        self.qemu.write64(self.bar + COUNT, bytes);
        self.qemu.write64(self.bar + COMMAND, command);
        let started = Instant::now();
        while self.qemu.read64(self.bar + COMMAND) & RUN != 0 {
            assert!(started.elapsed() < DMA_LIMIT, "the edu device did not finish its DMA");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ecam, Machine};

    #[test]
    fn dma_goes_both_ways_without_an_iommu_in_between() {
        let qemu = Qemu::start(&Machine::arm_virt().with("-device edu")).unwrap_or_else(|e| panic!("{e}"));
        let functions = Ecam::new(&qemu, 0x40_1000_0000).find(Edu::IDS.0, Edu::IDS.1);
        assert_eq!(functions.len(), 1);
        let edu = Edu::new(&functions[0], 0x1000_0000);
        let data: Vec<u8> = (0..=255).cycle().take(4096).collect();
        qemu.write(0x4000_0000, &data);
        edu.read_ram(0x4000_0000, 4096);
        edu.write_ram(0x4010_0000, 4096);
        // The device's DMA mask has 28 bits by default: it drops the rest of an address silently.
        assert_ne!(qemu.read(0x4010_0000, 4096), data);
        drop(qemu);

        let machine = Machine::arm_virt().with("-device edu,dma_mask=0xffffffffffffffff");
        let qemu = Qemu::start(&machine).unwrap_or_else(|e| panic!("{e}"));
        let edu = Edu::new(&Ecam::new(&qemu, 0x40_1000_0000).find(Edu::IDS.0, Edu::IDS.1)[0], 0x1000_0000);
        qemu.write(0x4000_0000, &data);
        edu.read_ram(0x4000_0000, 4096);
        edu.write_ram(0x4010_0000, 4096);
        assert_eq!(qemu.read(0x4010_0000, 4096), data);
    }
}
