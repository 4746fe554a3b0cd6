//! VMSAv8-64 stage 2: Arm DDI 0487, D8.3 (descriptor formats), D8.4 (permissions) and D8.6 (memory types).

use iommu_hal::{PhysAddr, Rights};

use super::{EntryFormat, arm};

/// MemAttr, bits 5:2: normal memory, outer and inner write-back.
const NORMAL_WRITE_BACK: u64 = 0b1111 << 2;
/// S2AP\[0\]: reads are allowed.
const READ: u64 = 1 << 6;
/// S2AP\[1\]: writes are allowed.
const WRITE: u64 = 1 << 7;
/// XN, bits 54:53 = 0b10: no instruction fetch.
const EXECUTE_NEVER: u64 = 0b10 << 53;

/// Stage 2.
pub(crate) struct ArmStage2;

impl EntryFormat for ArmStage2 {
    const PAGE_SIZES: u64 = arm::PAGE_SIZES;

    fn leaf(height: u32, rights: Rights) -> u64 {
        let read = if rights.read { READ } else { 0 };
        let write = if rights.write { WRITE } else { 0 };
        arm::leaf(height) | NORMAL_WRITE_BACK | EXECUTE_NEVER | read | write
    }

    fn table(table: PhysAddr) -> u64 {
        arm::table(table)
    }

    fn is_present(entry: u64) -> bool {
        arm::is_present(entry)
    }

    fn is_table(entry: u64, height: u32) -> bool {
        arm::is_table(entry, height)
    }

    fn address(entry: u64) -> PhysAddr {
        arm::address(entry)
    }

    fn rights(entry: u64) -> Rights {
        Rights { read: entry & READ != 0, write: entry & WRITE != 0 }
    }

    fn expressible(rights: Rights) -> bool {
        !rights.is_none()
    }
}
