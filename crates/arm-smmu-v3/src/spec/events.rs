//! Event records (IHI 0070, 7.3).

use bitfield_struct::bitfield;

/// Bytes of an event record.
pub const EVENT_BYTES: u64 = 32;

/// Event numbers (7.3, table 7-3 and the sections of each event).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType(pub u8);

impl EventType {
    /// F_UUT: an unsupported upstream transaction.
    pub const F_UUT: Self = Self(0x01);
    /// C_BAD_STREAMID: no stream table entry.
    pub const C_BAD_STREAMID: Self = Self(0x02);
    /// F_STE_FETCH: reading the stream table aborted.
    pub const F_STE_FETCH: Self = Self(0x03);
    /// C_BAD_STE: the stream table entry is invalid.
    pub const C_BAD_STE: Self = Self(0x04);
    /// F_BAD_ATS_TREQ: an ATS request that is not allowed.
    pub const F_BAD_ATS_TREQ: Self = Self(0x05);
    /// F_STREAM_DISABLED: an access without SubstreamID where none is allowed.
    pub const F_STREAM_DISABLED: Self = Self(0x06);
    /// F_TRANSL_FORBIDDEN: an access that claims to be translated.
    pub const F_TRANSL_FORBIDDEN: Self = Self(0x07);
    /// C_BAD_SUBSTREAMID: a SubstreamID without context descriptor.
    pub const C_BAD_SUBSTREAMID: Self = Self(0x08);
    /// F_CD_FETCH: reading the context descriptor aborted.
    pub const F_CD_FETCH: Self = Self(0x09);
    /// C_BAD_CD: the context descriptor is invalid.
    pub const C_BAD_CD: Self = Self(0x0a);
    /// F_WALK_EABT: a table walk aborted.
    pub const F_WALK_EABT: Self = Self(0x0b);
    /// F_TRANSLATION: no mapping.
    pub const F_TRANSLATION: Self = Self(0x10);
    /// F_ADDR_SIZE: an address is too wide.
    pub const F_ADDR_SIZE: Self = Self(0x11);
    /// F_ACCESS: the access flag is clear.
    pub const F_ACCESS: Self = Self(0x12);
    /// F_PERMISSION: the mapping forbids the access.
    pub const F_PERMISSION: Self = Self(0x13);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 0 of an event record, alike for all types.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct EventWord0 {
    /// Type.
    #[bits(8)]
    pub event: EventType,
    #[bits(3)]
    __: u8,
    /// SSV: the SubstreamID is valid.
    pub ssv: bool,
    /// SubstreamID.
    #[bits(20)]
    pub substream: u32,
    /// StreamID.
    pub stream: u32,
}

/// 64-bit word 1 of the records of stopped accesses. Word 2 is the input address.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct EventWord1 {
    /// STAG: tag of a stalled access.
    pub stag: u16,
    #[bits(15)]
    __: u16,
    /// Stall: the access is stalled.
    pub stall: bool,
    __: bool,
    /// PnU: privileged.
    pub privileged: bool,
    /// InD: instruction fetch.
    pub instruction: bool,
    /// RnW: a read.
    pub read: bool,
    #[bits(3)]
    __: u8,
    /// S2: stage 2 found it.
    pub stage2: bool,
    /// CLASS: 0 context descriptor fetch, 1 walk, 2 the access itself.
    #[bits(2)]
    pub class: u8,
    #[bits(22)]
    __: u32,
}

const _: () = assert!(size_of::<[u64; 4]>() as u64 == EVENT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(EventWord0::SUBSTREAM_OFFSET, 12);
        assert_eq!(EventWord0::STREAM_OFFSET, 32);
        assert_eq!(EventWord1::STALL_OFFSET, 95 - 64);
        assert_eq!(EventWord1::READ_OFFSET, 99 - 64);
        assert_eq!(EventWord1::STAGE2_OFFSET, 103 - 64);
        assert_eq!(EventWord1::CLASS_OFFSET, 104 - 64);
    }
}
