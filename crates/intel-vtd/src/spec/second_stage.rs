//! Second-stage paging entries (9.8).

use bitfield_struct::bitfield;

/// One entry of a second-stage table, at any level.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SecondStageEntry {
    /// R: reads are allowed.
    pub read: bool,
    /// W: writes are allowed. An entry that allows neither is absent.
    pub write: bool,
    /// X.
    pub execute: bool,
    /// EMT.
    #[bits(3)]
    pub memory_type: u8,
    /// IPAT.
    pub ignore_pat: bool,
    /// PS: above the last level, a page and not a table.
    pub page: bool,
    /// A.
    pub accessed: bool,
    /// D.
    pub dirty: bool,
    __: bool,
    /// SNP.
    pub snoop: bool,
    /// Address bits 51:12 of the page or the next table.
    #[bits(40)]
    pub address_12: u64,
    #[bits(12)]
    __: u16,
}

const _: () = assert!(size_of::<SecondStageEntry>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!((SecondStageEntry::PAGE_OFFSET, SecondStageEntry::SNOOP_OFFSET), (7, 11));
        assert_eq!(SecondStageEntry::ADDRESS_12_OFFSET, 12);
    }
}
