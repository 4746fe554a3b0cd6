//! The units that the target `server` has under the server.

use std::rc::Rc;

use iommu_model::{board::Board, intel_vtd, smmu_v3};
use iommu_server::policy::{KIND_ARM_SMMU_V3, KIND_INTEL_VTD};

/// The bit of a choice that says VT-d.
pub const VTD: u8 = 0x40;

const TABLE_BYTES: u64 = 0x3_0000;

/// What the clock moves on by at each look: a wait in vain is a few hundred.
const STEP_NS: u64 = 500_000;

/// The policy's name for the kind of unit that `choice` names.
pub const fn kind(choice: u8) -> u32 {
    if choice & VTD != 0 { KIND_INTEL_VTD } else { KIND_ARM_SMMU_V3 }
}

/// The unit that `choice` names.
pub fn board(choice: u8) -> Rc<dyn Board> {
    if choice & VTD != 0 {
        Rc::new(intel_vtd::Bench::new(vtd(choice)))
    } else {
        Rc::new(smmu_v3::Bench::new(smmu(choice)))
    }
}

fn smmu(choice: u8) -> smmu_v3::Config {
    let usual = smmu_v3::Config {
        table_bytes: TABLE_BYTES,
        event_queue_lg2: 4,
        clock_step_ns: STEP_NS,
        ..Default::default()
    };
    match choice & 7 {
        0 => usual,
        1 => smmu_v3::Config { stage2: false, ..usual },
        2 => smmu_v3::Config { stage1: false, ..usual },
        3 => smmu_v3::Config { coherent: false, ..usual },
        4 => smmu_v3::Config { range_invalidation: false, command_queue_lg2: 3, ..usual },
        5 => smmu_v3::Config { command_queue_lg2: 0, event_queue_lg2: 0, ..usual },
        6 => smmu_v3::Config { stage2: false, coherent: false, two_level: false, ..usual },
        _ => smmu_v3::Config { output_bits: 32, hypervisor: true, asid16: false, vmid16: false, ..usual },
    }
}

fn vtd(choice: u8) -> intel_vtd::Config {
    let kind = match choice & 7 {
        0 => intel_vtd::Config::default(),
        1 => intel_vtd::Config::caching_mode(),
        2 => intel_vtd::Config::scalable(),
        3 => intel_vtd::Config::server(),
        4 => intel_vtd::Config { queued_invalidation: true, ..intel_vtd::Config::old() },
        5 => {
            intel_vtd::Config { fault_records: 16, collapses_faults: false, ..intel_vtd::Config::coherent() }
        }
        6 => intel_vtd::Config { caching_mode: true, ..intel_vtd::Config::server() },
        _ => intel_vtd::Config { page_selective: false, domain_bits: 4, ..intel_vtd::Config::narrow() },
    };
    intel_vtd::Config { table_bytes: TABLE_BYTES, clock_step_ns: STEP_NS, ..kind }
}
