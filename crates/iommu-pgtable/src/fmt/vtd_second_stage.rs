//! VT-d second stage: Intel VT-d specification, 9.8 (second-stage paging entries) and 3.7 (second-stage translation).

use iommu_hal::{PhysAddr, Rights};

use super::EntryFormat;

/// R: reads are allowed.
const READ: u64 = 1 << 0;
/// W: writes are allowed. An entry that has neither is absent.
const WRITE: u64 = 1 << 1;
/// PS: above the pages, a block and not a table. Of a page it is ignored.
const PAGE_SIZE: u64 = 1 << 7;
/// Page or next-level table address, bits 51:12, of which geometries use 48.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// Second stage. Memory type, snoop control and transient mapping (bits 6:3, 11, 62) stay 0: they are reserved where
/// the unit has no such feature, and memory is write-back without them.
pub(crate) struct VtdSecondStage;

impl EntryFormat for VtdSecondStage {
    const PAGE_SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

    fn leaf(height: u32, rights: Rights) -> u64 {
        let read = if rights.read { READ } else { 0 };
        let write = if rights.write { WRITE } else { 0 };
        let block = if height > 0 { PAGE_SIZE } else { 0 };
        read | write | block
    }

    /// What a walk allows is what every entry on its way allows.
    fn table(table: PhysAddr) -> u64 {
        table.0 | READ | WRITE
    }

    fn is_present(entry: u64) -> bool {
        entry & (READ | WRITE) != 0
    }

    fn is_table(entry: u64, height: u32) -> bool {
        entry & PAGE_SIZE == 0 && height > 0
    }

    fn address(entry: u64) -> PhysAddr {
        PhysAddr(entry & ADDRESS)
    }

    fn rights(entry: u64) -> Rights {
        Rights { read: entry & READ != 0, write: entry & WRITE != 0 }
    }

    fn expressible(rights: Rights) -> bool {
        !rights.is_none()
    }
}
