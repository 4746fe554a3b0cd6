//! Context descriptors: stage 1 (IHI 0070, 5.4).

use bitfield_struct::bitfield;

/// Bytes of a context descriptor.
pub const CD_BYTES: u64 = 64;

/// 64-bit word 0 of a context descriptor.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CdWord0 {
    /// T0SZ: 64 less the bits of an input address.
    #[bits(6)]
    pub t0sz: u8,
    /// TG0: granule; 0 is 4 KiB.
    #[bits(2)]
    pub tg0: u8,
    /// IR0: inner cacheability of walks; 1 is write-back, read and write allocate.
    #[bits(2)]
    pub ir0: u8,
    /// OR0: outer cacheability of walks.
    #[bits(2)]
    pub or0: u8,
    /// SH0: shareability of walks; 3 is inner.
    #[bits(2)]
    pub sh0: u8,
    /// EPD0: walks through TTB0 are off.
    pub epd0: bool,
    /// ENDI: big-endian tables.
    pub endi: bool,
    /// T1SZ.
    #[bits(6)]
    pub t1sz: u8,
    /// TG1: granule of TTB1.
    #[bits(2)]
    pub tg1: u8,
    #[bits(6)]
    __: u8,
    /// EPD1: walks through TTB1 are off.
    pub epd1: bool,
    /// V: the descriptor is valid.
    pub valid: bool,
    /// IPS: bits of an output address, encoded as IDR5.OAS.
    #[bits(3)]
    pub ips: u8,
    /// AFFD: a clear access flag does not fault.
    pub affd: bool,
    /// WXN.
    pub wxn: bool,
    /// UWXN.
    pub uwxn: bool,
    /// TBI0 and TBI1: the top byte of an address is ignored.
    #[bits(2)]
    pub tbi: u8,
    /// PAN.
    pub pan: bool,
    /// AA64: AArch64 tables.
    pub aa64: bool,
    /// HD.
    pub hd: bool,
    /// HA.
    pub ha: bool,
    /// S: faults stall.
    pub stall: bool,
    /// R: faults are recorded.
    pub record: bool,
    /// A: a faulting access aborts, rather than reads zero and ignores writes.
    pub abort: bool,
    /// ASET: the ASID is not shared with CPUs' broadcasts.
    pub aset: bool,
    /// ASID.
    pub asid: u16,
}

/// 64-bit word 1 of a context descriptor.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CdWord1 {
    #[bits(4)]
    __: u8,
    /// TTB0: address bits 55:4 of the root table.
    #[bits(52)]
    pub ttb0_4: u64,
    #[bits(8)]
    __: u8,
}

/// MAIR attribute 0 (Arm DDI 0487, MAIR_EL1): normal memory, write-back, read and write allocate. The tables
/// name attribute 0 alone.
pub const MAIR_NORMAL: u64 = 0xff;

/// A context descriptor: the words that this driver sets; the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cd {
    /// Word 0.
    pub word0: CdWord0,
    /// Word 1.
    pub word1: CdWord1,
    /// Word 3: MAIR0 and MAIR1.
    pub mair: u64,
}

impl Cd {
    /// The words as memory holds them.
    pub fn words(&self) -> [u64; 8] {
        [self.word0.into(), self.word1.into(), 0, self.mair, 0, 0, 0, 0]
    }
}

const _: () = assert!(size_of::<[u64; 8]>() as u64 == CD_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(CdWord0::EPD0_OFFSET, 14);
        assert_eq!(CdWord0::TG1_OFFSET, 22);
        assert_eq!(CdWord0::EPD1_OFFSET, 30);
        assert_eq!(CdWord0::VALID_OFFSET, 31);
        assert_eq!(CdWord0::IPS_OFFSET, 32);
        assert_eq!(CdWord0::AA64_OFFSET, 41);
        assert_eq!(CdWord0::STALL_OFFSET, 44);
        assert_eq!(CdWord0::RECORD_OFFSET, 45);
        assert_eq!(CdWord0::ABORT_OFFSET, 46);
        assert_eq!(CdWord0::ASID_OFFSET, 48);
        assert_eq!(CdWord1::TTB0_4_OFFSET, 4);
        assert_eq!(Cd { mair: MAIR_NORMAL, ..Cd::default() }.words()[3], 0xff);
    }
}
