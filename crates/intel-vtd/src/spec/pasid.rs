//! PASID directory (9.5) and PASID table (9.6): scalable mode's last step before the page tables.

use bitfield_struct::bitfield;

/// Bytes of a PASID directory entry.
pub const DIRECTORY_ENTRY_BYTES: u64 = 8;
/// Entries of the smallest PASID directory.
pub const DIRECTORY_ENTRIES: u64 = 128;
/// Bytes of a PASID table entry.
pub const PASID_ENTRY_BYTES: u64 = 64;
/// Entries of a PASID table.
pub const PASID_ENTRIES: u64 = 64;

/// A PASID directory entry (9.5).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DirectoryEntry {
    /// P: present.
    pub present: bool,
    /// FPD: faults are not recorded.
    pub fault_processing_disable: bool,
    #[bits(10)]
    __: u16,
    /// SMPTBLPTR: address bits 63:12 of the PASID table.
    #[bits(52)]
    pub table_12: u64,
}

/// PGTT: which stages translate (9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestTranslation(pub u8);

impl GuestTranslation {
    /// The second stage alone.
    pub const SECOND_STAGE: Self = Self(0b010);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// 64-bit word 0 of a PASID table entry (9.6): it alone decides between abort and translation.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidWord0 {
    /// P: present; else requests abort.
    pub present: bool,
    /// FPD: faults are not recorded. It holds of absent entries too.
    pub fault_processing_disable: bool,
    /// AW: levels of the second stage, less two.
    #[bits(3)]
    pub address_width: u8,
    /// SSEE.
    pub execute: bool,
    /// PGTT.
    #[bits(3)]
    pub translation: GuestTranslation,
    /// SSADE: accessed and dirty bits.
    pub access_dirty: bool,
    #[bits(2)]
    __: u8,
    /// SSPTPTR: address bits 63:12 of the second stage's root table.
    #[bits(52)]
    pub root_12: u64,
}

/// 64-bit word 1 of a PASID table entry (9.6); words 2 to 7 concern the first stage and stay zero.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidWord1 {
    /// DID.
    pub domain: u16,
    #[bits(7)]
    __: u8,
    /// PWSNP: walks snoop. Reserved without ECAP.SMPWCS.
    pub walk_snoop: bool,
    /// PGSNP.
    pub page_snoop: bool,
    /// CD.
    pub cache_disable: bool,
    /// EMTE.
    pub memory_type_enable: bool,
    #[bits(37)]
    __: u64,
}

const _: () = assert!(size_of::<DirectoryEntry>() as u64 == DIRECTORY_ENTRY_BYTES);
const _: () = assert!(size_of::<[u64; 8]>() as u64 == PASID_ENTRY_BYTES);
const _: () = assert!(PASID_ENTRIES * PASID_ENTRY_BYTES == 4096);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(DirectoryEntry::TABLE_12_OFFSET, 12);
        assert_eq!(PasidWord0::ADDRESS_WIDTH_OFFSET, 2);
        assert_eq!(PasidWord0::TRANSLATION_OFFSET, 6);
        assert_eq!(PasidWord0::ACCESS_DIRTY_OFFSET, 9);
        assert_eq!(PasidWord0::ROOT_12_OFFSET, 12);
        assert_eq!(PasidWord1::DOMAIN_OFFSET, 64 - 64);
        assert_eq!(PasidWord1::WALK_SNOOP_OFFSET, 87 - 64);
        assert_eq!(PasidWord1::MEMORY_TYPE_ENABLE_OFFSET, 90 - 64);
    }
}
