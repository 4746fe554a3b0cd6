//! VMSAv8-64 stage 1: Arm DDI 0487, D8.3 (descriptor formats) and D8.4 (permissions).

use iommu_hal::{PhysAddr, Rights};

use super::{EntryFormat, arm};

/// AP\[1\]: unprivileged accesses are allowed, as those of devices are.
const UNPRIVILEGED: u64 = 1 << 6;
/// AP\[2\]: read-only.
const READ_ONLY: u64 = 1 << 7;
/// nG: cached translations belong to one ASID.
const NOT_GLOBAL: u64 = 1 << 11;
/// PXN and UXN: no instruction fetch.
const EXECUTE_NEVER: u64 = 0b11 << 53;

/// Stage 1. AttrIndx (bits 4:2) is 0, for which the context descriptor's MAIR says normal write-back memory.
pub(crate) struct ArmStage1;

impl EntryFormat for ArmStage1 {
    const PAGE_SIZES: u64 = arm::PAGE_SIZES;

    fn leaf(height: u32, rights: Rights) -> u64 {
        let read_only = if rights.write { 0 } else { READ_ONLY };
        arm::leaf(height) | UNPRIVILEGED | NOT_GLOBAL | EXECUTE_NEVER | read_only
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
        Rights { read: true, write: entry & READ_ONLY == 0 }
    }

    fn expressible(rights: Rights) -> bool {
        rights.read
    }
}
