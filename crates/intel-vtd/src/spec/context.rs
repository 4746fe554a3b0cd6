//! Context entries: one for each function of a bus.

use bitfield_struct::bitfield;

/// Bytes of a context entry in legacy mode (9.3).
pub const CONTEXT_BYTES: u64 = 16;
/// Bytes of a context entry in scalable mode (9.4).
pub const SCALABLE_CONTEXT_BYTES: u64 = 32;

/// TT: what is done with a device's requests (9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslationType(pub u8);

impl TranslationType {
    /// Untranslated requests are translated by the second stage; device TLBs are refused.
    pub const UNTRANSLATED_ONLY: Self = Self(0b00);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 0 of a legacy context entry (9.3): it alone decides between abort and translation.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextWord0 {
    /// P: present; else requests abort.
    pub present: bool,
    /// FPD: faults of this function are not recorded. It holds of absent entries too.
    pub fault_processing_disable: bool,
    /// TT.
    #[bits(2)]
    pub translation_type: TranslationType,
    #[bits(8)]
    __: u8,
    /// SSPTPTR: address bits 63:12 of the second stage's root table.
    #[bits(52)]
    pub root_12: u64,
}

/// 64-bit word 1 of a legacy context entry (9.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextWord1 {
    /// AW: levels of the tables, less two.
    #[bits(3)]
    pub address_width: u8,
    #[bits(5)]
    __: u8,
    /// DID.
    pub domain: u16,
    #[bits(40)]
    __: u64,
}

/// 64-bit word 0 of a scalable-mode context entry (9.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ScalableContextWord0 {
    /// P: present; else requests abort.
    pub present: bool,
    /// FPD: faults of this function are not recorded. It holds of absent entries too.
    pub fault_processing_disable: bool,
    /// DTE: device TLBs are allowed.
    pub device_tlb: bool,
    /// PASIDE: requests with PASID are allowed.
    pub pasid: bool,
    /// PRE: page requests are allowed.
    pub page_requests: bool,
    #[bits(4)]
    __: u8,
    /// PDTS: the PASID directory has `2^(pdts + 7)` entries.
    #[bits(3)]
    pub directory_size: u8,
    /// PASIDDIRPTR: address bits 63:12 of the PASID directory.
    #[bits(52)]
    pub directory_12: u64,
}

/// 64-bit word 1 of a scalable-mode context entry (9.4); words 2 and 3 are zero.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ScalableContextWord1 {
    /// RID_PASID: the PASID of requests that have none.
    #[bits(20)]
    pub rid_pasid: u32,
    /// RID_PRIV.
    pub rid_privileged: bool,
    #[bits(43)]
    __: u64,
}

const _: () = assert!((size_of::<ContextWord0>() + size_of::<ContextWord1>()) as u64 == CONTEXT_BYTES);
const _: () = assert!(size_of::<[u64; 4]>() as u64 == SCALABLE_CONTEXT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!((ContextWord0::TRANSLATION_TYPE_OFFSET, ContextWord0::ROOT_12_OFFSET), (2, 12));
        assert_eq!(ContextWord1::ADDRESS_WIDTH_OFFSET, 64 - 64);
        assert_eq!(ContextWord1::DOMAIN_OFFSET, 72 - 64);
        assert_eq!(ScalableContextWord0::PASID_OFFSET, 3);
        assert_eq!(ScalableContextWord0::PAGE_REQUESTS_OFFSET, 4);
        assert_eq!(ScalableContextWord0::DIRECTORY_SIZE_OFFSET, 9);
        assert_eq!(ScalableContextWord0::DIRECTORY_12_OFFSET, 12);
        assert_eq!(ScalableContextWord1::RID_PRIVILEGED_OFFSET, 84 - 64);
    }
}
