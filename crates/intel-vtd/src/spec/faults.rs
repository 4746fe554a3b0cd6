//! Fault records (9.9, 11.4) and the reasons in them (7.2, 7.3).

use bitfield_struct::bitfield;

/// Bytes of a fault record.
pub const FAULT_RECORD_BYTES: u32 = 16;

/// FR: why a request was stopped. Those of scalable mode from 0x30 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// The root entry is absent.
    pub const ROOT_ABSENT: Self = Self(0x1);
    /// The context entry is absent.
    pub const CONTEXT_ABSENT: Self = Self(0x2);
    /// The context entry is invalid.
    pub const CONTEXT_INVALID: Self = Self(0x3);
    /// The address is wider than the tables or the unit.
    pub const ADDRESS: Self = Self(0x4);
    /// No right to write.
    pub const NO_WRITE: Self = Self(0x5);
    /// No right to read.
    pub const NO_READ: Self = Self(0x6);
    /// Reading a page table failed.
    pub const TABLE_ACCESS: Self = Self(0x7);
    /// Reading the root table failed.
    pub const ROOT_ACCESS: Self = Self(0x8);
    /// Reading a context table failed.
    pub const CONTEXT_ACCESS: Self = Self(0x9);
    /// The root entry has reserved bits set.
    pub const ROOT_RESERVED: Self = Self(0xa);
    /// The context entry has reserved bits set.
    pub const CONTEXT_RESERVED: Self = Self(0xb);
    /// A paging entry has reserved bits set.
    pub const TABLE_RESERVED: Self = Self(0xc);
    /// The first of interrupt remapping's.
    pub const INTERRUPTS_FIRST: Self = Self(0x20);
    /// The last of interrupt remapping's.
    pub const INTERRUPTS_LAST: Self = Self(0x2f);
    /// Reading the root table failed.
    pub const SM_ROOT_ACCESS: Self = Self(0x38);
    /// The root entry is absent.
    pub const SM_ROOT_ABSENT: Self = Self(0x39);
    /// The root entry has reserved bits set.
    pub const SM_ROOT_RESERVED: Self = Self(0x3a);
    /// Reading a context table failed.
    pub const SM_CONTEXT_ACCESS: Self = Self(0x40);
    /// The context entry is absent.
    pub const SM_CONTEXT_ABSENT: Self = Self(0x41);
    /// The last of a context entry's.
    pub const SM_CONTEXT_LAST: Self = Self(0x48);
    /// Reading a PASID directory failed.
    pub const SM_DIRECTORY_ACCESS: Self = Self(0x50);
    /// The PASID directory entry is absent.
    pub const SM_DIRECTORY_ABSENT: Self = Self(0x51);
    /// The PASID directory entry has reserved bits set.
    pub const SM_DIRECTORY_RESERVED: Self = Self(0x52);
    /// Reading a PASID table failed.
    pub const SM_PASID_ACCESS: Self = Self(0x58);
    /// The PASID table entry is absent.
    pub const SM_PASID_ABSENT: Self = Self(0x59);
    /// The last of a PASID table entry's.
    pub const SM_PASID_LAST: Self = Self(0x5d);
    /// Reading a second-stage table failed.
    pub const SM_TABLE_ACCESS: Self = Self(0x78);
    /// A second-stage entry takes the right away.
    pub const SM_NO_RIGHT: Self = Self(0x79);
    /// The address is wider than the unit's.
    pub const SM_ADDRESS: Self = Self(0x83);
    /// The address is wider than the second stage's tables.
    pub const SM_TABLE_ADDRESS: Self = Self(0x84);
    /// No right to write.
    pub const SM_NO_WRITE: Self = Self(0x85);
    /// No right to read.
    pub const SM_NO_READ: Self = Self(0x86);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 1 of a fault record. Word 0 is the address of the page that was asked for.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct FaultWord1 {
    /// SID: who asked.
    pub source: u16,
    #[bits(12)]
    __: u16,
    /// T2.
    pub type2: bool,
    /// PRIV.
    pub privileged: bool,
    /// EXE.
    pub execute: bool,
    /// PP: PV is valid.
    pub pasid_present: bool,
    /// FR.
    #[bits(8)]
    pub reason: Reason,
    /// PV: the PASID.
    #[bits(20)]
    pub pasid: u32,
    /// AT.
    #[bits(2)]
    pub address_type: u8,
    /// T1: with T2 clear, 0 a write and 1 a read; with T2 set, 0 a page request and 1 an atomic operation.
    pub type1: bool,
    /// F: the record holds a fault. Written 1: cleared.
    pub fault: bool,
}

const _: () = assert!((8 + size_of::<FaultWord1>()) as u32 == FAULT_RECORD_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(FaultWord1::TYPE2_OFFSET, 92 - 64);
        assert_eq!(FaultWord1::PASID_PRESENT_OFFSET, 95 - 64);
        assert_eq!(FaultWord1::REASON_OFFSET, 96 - 64);
        assert_eq!(FaultWord1::PASID_OFFSET, 104 - 64);
        assert_eq!(FaultWord1::ADDRESS_TYPE_OFFSET, 124 - 64);
        assert_eq!(FaultWord1::TYPE1_OFFSET, 126 - 64);
        assert_eq!(FaultWord1::FAULT_OFFSET, 127 - 64);
    }
}
