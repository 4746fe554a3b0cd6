//! How the unit tells of faults: a message to a CPU (7.3, 11.4).

use iommu_hal::Registers;

use crate::spec::registers::{EventControl, offset};

/// A message-signalled interrupt: a store of `data` to `address` (Intel SDM volume 3, 12.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Where it is stored: 0xfeexxxxx, which says the CPU.
    pub address: u64,
    /// What is stored: bits 7:0 are the vector.
    pub data: u32,
}

impl InterruptMessage {
    /// Whether stores to `address` are messages to a CPU.
    pub const fn is_address(address: u64) -> bool {
        address >> 20 == 0xfee && address.is_multiple_of(4)
    }
}

/// Has the unit hold fault events back.
pub(crate) fn mask<R: Registers>(regs: &mut R) {
    regs.write32(offset::FECTL, EventControl::new().with_mask(true).into());
}

/// Has the unit tell of faults by `message`, of one that it held back at once.
pub(crate) fn tell<R: Registers>(regs: &mut R, message: InterruptMessage) {
    regs.write32(offset::FEDATA, message.data);
    regs.write32(offset::FEADDR, message.address as u32);
    regs.write32(offset::FEUADDR, (message.address >> 32) as u32);
    regs.write32(offset::FECTL, EventControl::new().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_the_interrupt_range_alone() {
        for address in [0xfee0_0000, 0xfeef_fffc] {
            assert!(InterruptMessage::is_address(address));
        }
        for address in [0xfedf_fffc, 0xfee0_0002, 0xfef0_0000, 0x1_fee0_0000, 0] {
            assert!(!InterruptMessage::is_address(address), "{address:#x}");
        }
    }
}
