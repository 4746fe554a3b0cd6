//! Root entries: one for each bus.

use bitfield_struct::bitfield;

/// Bytes of a root entry, in either mode.
pub const ROOT_ENTRY_BYTES: u64 = 16;
/// Bytes of the root table: one entry for each of 256 buses.
pub const ROOT_TABLE_BYTES: u64 = 256 * ROOT_ENTRY_BYTES;

/// 64-bit word of a root entry. In legacy mode (9.1) the first of two, the other zero; in scalable mode (9.2) the first
/// is for devices 0 to 15 of the bus and the second for devices 16 to 31.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RootWord {
    /// P, LP, UP: there is a context table; else requests abort.
    pub present: bool,
    #[bits(11)]
    __: u16,
    /// CTP, LCTP, UCTP: address bits 63:12 of the context table.
    #[bits(52)]
    pub table_12: u64,
}

const _: () = assert!(2 * size_of::<RootWord>() as u64 == ROOT_ENTRY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!((RootWord::PRESENT_OFFSET, RootWord::TABLE_12_OFFSET), (0, 12));
    }
}
