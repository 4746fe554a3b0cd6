//! Stream table: level 1 descriptors (IHI 0070, 5.1) and entries (5.2).

use bitfield_struct::bitfield;

/// Bytes of a stream table entry.
pub const STE_BYTES: u64 = 64;
/// Bytes of a level 1 stream table descriptor.
pub const L1_DESCRIPTOR_BYTES: u64 = 8;

/// A level 1 stream table descriptor (5.1). All zero: the streams it stands for have no entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct L1Descriptor {
    /// Span: 0 for none, else the level 2 table holds `2^(span - 1)` entries.
    #[bits(5)]
    pub span: u8,
    __: bool,
    /// L2Ptr: address bits 55:6.
    #[bits(50)]
    pub l2ptr_6: u64,
    #[bits(8)]
    __: u8,
}

/// Config: what happens to a stream's accesses (5.2, STE.Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamConfig(pub u8);

impl StreamConfig {
    /// Every access aborts, and nothing is recorded.
    pub const ABORT: Self = Self(0b000);
    /// Stage 1 translates, stage 2 is passed by.
    pub const STAGE1: Self = Self(0b101);
    /// Stage 2 translates, stage 1 is passed by.
    pub const STAGE2: Self = Self(0b110);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 0 of a stream table entry: it alone decides between abort and translation.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SteWord0 {
    /// V: the entry is valid; else accesses abort with C_BAD_STE.
    pub valid: bool,
    /// Config.
    #[bits(3)]
    pub config: StreamConfig,
    /// S1Fmt: 0 for a linear table of context descriptors.
    #[bits(2)]
    pub s1fmt: u8,
    /// S1ContextPtr: address bits 55:6 of the context descriptor.
    #[bits(50)]
    pub s1contextptr_6: u64,
    #[bits(3)]
    __: u8,
    /// S1CDMax: base-2 logarithm of the number of context descriptors.
    #[bits(5)]
    pub s1cdmax: u8,
}

/// 64-bit word 1 of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SteWord1 {
    /// S1DSS.
    #[bits(2)]
    pub s1dss: u8,
    /// S1CIR: inner cacheability of context descriptor fetches; 1 is write-back.
    #[bits(2)]
    pub s1cir: u8,
    /// S1COR: outer cacheability of the same.
    #[bits(2)]
    pub s1cor: u8,
    /// S1CSH: shareability of the same; 3 is inner.
    #[bits(2)]
    pub s1csh: u8,
    #[bits(11)]
    __: u16,
    /// MEV: like events of this stream may be merged into one record.
    pub mev: bool,
    #[bits(7)]
    __: u8,
    /// S1STALLD: stage 1 must not stall.
    pub s1stalld: bool,
    /// EATS: 0 when the device must not use ATS.
    #[bits(2)]
    pub eats: u8,
    /// STRW: StreamWorld; 0 is Non-secure EL1.
    #[bits(2)]
    pub strw: u8,
    #[bits(12)]
    __: u16,
    /// SHCFG: shareability; 1 is as the access says.
    #[bits(2)]
    pub shcfg: u8,
    #[bits(18)]
    __: u32,
}

/// 64-bit word 2 of a stream table entry: stage 2.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SteWord2 {
    /// S2VMID.
    pub s2vmid: u16,
    #[bits(16)]
    __: u16,
    /// S2T0SZ: 64 less the bits of an input address.
    #[bits(6)]
    pub s2t0sz: u8,
    /// S2SL0: start level; 4 KiB granule: 0 is level 2, 1 is level 1, 2 is level 0.
    #[bits(2)]
    pub s2sl0: u8,
    /// S2IR0: inner cacheability of walks; 1 is write-back, read and write allocate.
    #[bits(2)]
    pub s2ir0: u8,
    /// S2OR0: outer cacheability of walks.
    #[bits(2)]
    pub s2or0: u8,
    /// S2SH0: shareability of walks; 3 is inner.
    #[bits(2)]
    pub s2sh0: u8,
    /// S2TG: granule; 0 is 4 KiB.
    #[bits(2)]
    pub s2tg: u8,
    /// S2PS: bits of a physical address, encoded as IDR5.OAS.
    #[bits(3)]
    pub s2ps: u8,
    /// S2AA64: AArch64 tables.
    pub s2aa64: bool,
    /// S2ENDI: big-endian tables.
    pub s2endi: bool,
    /// S2AFFD: a clear access flag does not fault.
    pub s2affd: bool,
    /// S2PTW.
    pub s2ptw: bool,
    /// S2HD.
    pub s2hd: bool,
    /// S2HA.
    pub s2ha: bool,
    /// S2S: stage 2 faults stall.
    pub s2s: bool,
    /// S2R: stage 2 faults are recorded.
    pub s2r: bool,
    #[bits(5)]
    __: u8,
}

/// 64-bit word 3 of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SteWord3 {
    #[bits(4)]
    __: u8,
    /// S2TTB: address bits 55:4 of the stage 2 root table.
    #[bits(52)]
    pub s2ttb_4: u64,
    #[bits(8)]
    __: u8,
}

/// The words of an entry that this driver writes; words 4 to 7 stay zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ste {
    /// Word 0.
    pub word0: SteWord0,
    /// Word 1.
    pub word1: SteWord1,
    /// Word 2.
    pub word2: SteWord2,
    /// Word 3.
    pub word3: SteWord3,
}

impl Ste {
    /// The number of words held here.
    pub const WORDS: usize = 4;

    /// The words as memory holds them.
    pub fn words(&self) -> [u64; Self::WORDS] {
        [self.word0.into(), self.word1.into(), self.word2.into(), self.word3.into()]
    }
}

const _: () = assert!(size_of::<[u64; 8]>() as u64 == STE_BYTES);
const _: () = assert!(size_of::<L1Descriptor>() as u64 == L1_DESCRIPTOR_BYTES);
const _: () = assert!(size_of::<Ste>() == 8 * Ste::WORDS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(SteWord0::S1CONTEXTPTR_6_OFFSET, 6);
        assert_eq!(SteWord0::S1CDMAX_OFFSET, 59);
        assert_eq!(SteWord1::MEV_OFFSET, 83 - 64);
        assert_eq!(SteWord1::S1STALLD_OFFSET, 91 - 64);
        assert_eq!(SteWord1::STRW_OFFSET, 94 - 64);
        assert_eq!(SteWord1::SHCFG_OFFSET, 108 - 64);
        assert_eq!(SteWord2::S2T0SZ_OFFSET, 160 - 128);
        assert_eq!(SteWord2::S2PS_OFFSET, 176 - 128);
        assert_eq!(SteWord2::S2AA64_OFFSET, 179 - 128);
        assert_eq!(SteWord2::S2S_OFFSET, 185 - 128);
        assert_eq!(SteWord2::S2R_OFFSET, 186 - 128);
        assert_eq!(SteWord3::S2TTB_4_OFFSET, 196 - 192);
        assert_eq!(L1Descriptor::L2PTR_6_OFFSET, 6);
    }
}
