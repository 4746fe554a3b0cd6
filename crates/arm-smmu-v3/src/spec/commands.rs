//! Commands (IHI 0070, 4).

use bitfield_struct::bitfield;

/// Bytes of a command.
pub const COMMAND_BYTES: u64 = 16;

/// Command numbers (4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// CMD_CFGI_STE: forget one stream's entry (4.3.1).
    pub const CFGI_STE: Self = Self(0x03);
    /// CMD_CFGI_STE_RANGE; with range 31 it is CMD_CFGI_ALL (4.3.2, 4.3.5).
    pub const CFGI_STE_RANGE: Self = Self(0x04);
    /// CMD_TLBI_NH_ASID (4.4.2).
    pub const TLBI_NH_ASID: Self = Self(0x11);
    /// CMD_TLBI_NH_VA (4.4.2).
    pub const TLBI_NH_VA: Self = Self(0x12);
    /// CMD_TLBI_EL2_ALL (4.4.3).
    pub const TLBI_EL2_ALL: Self = Self(0x20);
    /// CMD_TLBI_S12_VMALL (4.4.4).
    pub const TLBI_S12_VMALL: Self = Self(0x28);
    /// CMD_TLBI_S2_IPA (4.4.4).
    pub const TLBI_S2_IPA: Self = Self(0x2a);
    /// CMD_TLBI_NSNH_ALL (4.4.2).
    pub const TLBI_NSNH_ALL: Self = Self(0x30);
    /// CMD_SYNC (4.7.3).
    pub const SYNC: Self = Self(0x46);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// CMDQ_CONS.ERR (4.1.4, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandError(pub u8);

impl CommandError {
    /// CERROR_ILL: the command is illegal.
    pub const ILLEGAL: Self = Self(1);
    /// CERROR_ABT: reading the command aborted.
    pub const FETCH_ABORT: Self = Self(2);
    /// CERROR_ATC_INV_SYNC: a CMD_SYNC found that an ATS invalidation before it timed out.
    pub const ATC_INV_SYNC: Self = Self(3);
}

/// 64-bit word 0 of the commands CFGI_* (4.3) and SYNC (4.7.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ConfigWord0 {
    /// The command.
    #[bits(8)]
    pub opcode: Opcode,
    #[bits(24)]
    __: u32,
    /// StreamID.
    pub stream: u32,
}

/// 64-bit word 1 of CFGI_*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ConfigWord1 {
    /// Leaf in CFGI_STE: a level 1 descriptor stays cached. Range in CFGI_STE_RANGE: base-2 logarithm of the
    /// number of streams, less one.
    #[bits(5)]
    pub leaf_or_range: u8,
    #[bits(59)]
    __: u64,
}

/// 64-bit word 0 of TLBI_* (4.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TlbiWord0 {
    /// The command.
    #[bits(8)]
    pub opcode: Opcode,
    #[bits(4)]
    __: u8,
    /// NUM: with RIL, `(num + 1) * 2^scale` pages.
    #[bits(5)]
    pub num: u8,
    #[bits(3)]
    __: u8,
    /// SCALE.
    #[bits(6)]
    pub scale: u8,
    #[bits(6)]
    __: u8,
    /// VMID.
    pub vmid: u16,
    /// ASID.
    pub asid: u16,
}

/// 64-bit word 1 of TLBI_* by address (4.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TlbiWord1 {
    /// Leaf: entries above the last level stay cached.
    pub leaf: bool,
    #[bits(7)]
    __: u8,
    /// TTL: level of the leaf; 0 for any.
    #[bits(2)]
    pub ttl: u8,
    /// TG: granule of a range; 0 for no range, 1 is 4 KiB.
    #[bits(2)]
    pub tg: u8,
    /// Address bits 63:12.
    #[bits(52)]
    pub page: u64,
}

/// Bits of NUM (4.4.1.1).
pub const RANGE_NUM_BITS: u32 = 5;
/// The largest SCALE that every unit with RIL takes (4.4.1.1).
pub const RANGE_SCALE_MAX: u32 = 31;

/// One command as the queue holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command(pub [u64; 2]);

impl Command {
    /// CMD_SYNC with CS = SIG_NONE: completion shows in CMDQ_CONS alone.
    pub const SYNC: Self = Self([ConfigWord0::new().with_opcode(Opcode::SYNC).into_bits(), 0]);

    /// CMD_CFGI_ALL.
    pub const CFGI_ALL: Self = Self([
        ConfigWord0::new().with_opcode(Opcode::CFGI_STE_RANGE).into_bits(),
        ConfigWord1::new().with_leaf_or_range(31).into_bits(),
    ]);

    /// CMD_TLBI_NSNH_ALL.
    pub const TLBI_NSNH_ALL: Self =
        Self([TlbiWord0::new().with_opcode(Opcode::TLBI_NSNH_ALL).into_bits(), 0]);

    /// CMD_TLBI_EL2_ALL.
    pub const TLBI_EL2_ALL: Self = Self([TlbiWord0::new().with_opcode(Opcode::TLBI_EL2_ALL).into_bits(), 0]);

    /// CMD_CFGI_STE of `stream`, the context descriptor that its entry names included; `leaf`: the level 1
    /// descriptor is unchanged.
    pub const fn cfgi_ste(stream: u32, leaf: bool) -> Self {
        Self([
            ConfigWord0::new().with_opcode(Opcode::CFGI_STE).with_stream(stream).into_bits(),
            ConfigWord1::new().with_leaf_or_range(leaf as u8).into_bits(),
        ])
    }
}

const _: () = assert!(size_of::<Command>() as u64 == COMMAND_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(TlbiWord0::NUM_OFFSET, 12);
        assert_eq!(TlbiWord0::SCALE_OFFSET, 20);
        assert_eq!(TlbiWord0::VMID_OFFSET, 32);
        assert_eq!(TlbiWord0::ASID_OFFSET, 48);
        assert_eq!(TlbiWord1::TTL_OFFSET, 8);
        assert_eq!(TlbiWord1::TG_OFFSET, 10);
        assert_eq!(TlbiWord1::PAGE_OFFSET, 12);
        assert_eq!(Command::SYNC.0, [0x46, 0]);
        assert_eq!(Command::CFGI_ALL.0, [0x04, 31]);
        assert_eq!(Command::cfgi_ste(0x10, true).0, [0x10_0000_0003, 1]);
    }
}
