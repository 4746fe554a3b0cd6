//! PCI functions through memory-mapped configuration space (ECAM).

use crate::Qemu;

/// Functions on one bus: 32 devices of 8 functions.
const FUNCTIONS: u16 = 256;
/// Configuration space offsets.
const VENDOR_DEVICE: u16 = 0x00;
const COMMAND: u16 = 0x04;
const BAR0: u16 = 0x10;
/// Command register: memory space and bus mastering.
const MEMORY_SPACE: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;

/// The configuration space of a machine.
#[derive(Debug, Clone)]
pub struct Ecam {
    qemu: Qemu,
    base: u64,
}

impl Ecam {
    /// Configuration space at physical address `base`.
    pub fn new(qemu: &Qemu, base: u64) -> Self {
        Self { qemu: qemu.clone(), base }
    }

    /// The functions of bus 0 with these ids, in the order of their numbers.
    pub fn find(&self, vendor: u16, device: u16) -> Vec<Function> {
        let wanted = u32::from(device) << 16 | u32::from(vendor);
        (0..FUNCTIONS)
            .map(|number| Function { ecam: self.clone(), number })
            .filter(|function| function.read32(VENDOR_DEVICE) == wanted)
            .collect()
    }
}

/// One PCI function.
#[derive(Debug, Clone)]
pub struct Function {
    ecam: Ecam,
    number: u16,
}

impl Function {
    /// Bus, device and function: the requester id of its DMA.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The machine that it is in.
    pub fn qemu(&self) -> &Qemu {
        &self.ecam.qemu
    }

    fn register(&self, offset: u16) -> u64 {
        self.ecam.base + (u64::from(self.number) << 12) + u64::from(offset)
    }

    /// Reads 32 bits of its configuration space.
    pub fn read32(&self, offset: u16) -> u32 {
        self.ecam.qemu.read32(self.register(offset))
    }

    /// Writes 32 bits of its configuration space.
    pub fn write32(&self, offset: u16, value: u32) {
        self.ecam.qemu.write32(self.register(offset), value);
    }

    /// Puts its first BAR, of 32 bits, at physical address `bar` and lets it decode memory and master the bus.
    pub fn enable(&self, bar: u32) {
        self.write32(BAR0, bar);
        self.write32(COMMAND, MEMORY_SPACE | BUS_MASTER);
    }
}
