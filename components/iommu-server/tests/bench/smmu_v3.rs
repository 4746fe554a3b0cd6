//! SMMUv3s under the server.

use arm_smmu_v3::{REGISTER_LIMIT_NS, SYNC_LIMIT_NS};
use iommu_model::smmu_v3::Config;
use iommu_protocol::ring::reason;
use iommu_server::policy::KIND_ARM_SMMU_V3;

use super::unit::Facts;

/// Records of the event queue that the driver makes.
const EVENTS: u64 = 1 << 11;
/// IIDR of the model, of no implementer (6.3.7).
const IIDR: u64 = 0x0043_b000;

pub fn usual() -> Config {
    Config::default()
}

pub fn others() -> [(&'static str, Config); 4] {
    [
        ("stage 1 alone", Config { stage2: false, ..usual() }),
        ("stage 2 alone", Config { stage1: false, ..usual() }),
        ("not coherent", Config { coherent: false, ..usual() }),
        ("no range invalidation", Config { range_invalidation: false, ..usual() }),
    ]
}

pub fn facts(config: &Config) -> Facts {
    let bits = |shift: u32, on: bool| u64::from(on) << shift;
    // IDR0, as 6.3.1 numbers its fields; IDR1, 6.3.2; IDR3 and IDR5, 6.3.4 and 6.3.6. No stalls, little-endian tables.
    let idr0 = bits(0, config.stage2)
        | bits(1, config.stage1)
        | u64::from(config.formats) << 2
        | bits(4, config.coherent)
        | bits(12, config.asid16)
        | bits(18, config.vmid16)
        | 0b10 << 21
        | 0b01 << 24
        | bits(26, config.always_aborts)
        | bits(27, config.two_level);
    let idr1 = config.stream_bits | config.event_queue_lg2 << 16 | config.command_queue_lg2 << 21;
    let idr3 = bits(2, config.hierarchy_disable)
        | bits(10, config.range_invalidation)
        | u64::from(config.block_change_level) << 11;
    // 44 bits of output, and all three granules.
    let idr5 = 4 | 0b111 << 4;
    assert!(config.output_bits == 44 && config.granules.len() == 3 && !config.hypervisor && !config.msi);
    Facts {
        kind: KIND_ARM_SMMU_V3,
        format: if config.stage2 { 2 } else { 1 },
        input_bits: 44,
        output_bits: 44,
        page_sizes: 1 << 12 | 1 << 21 | 1 << 30,
        needs_clean: !config.coherent,
        registers: [
            idr0 | u64::from(idr1) << 32,
            idr3 << 32,
            idr5 << 32,
            IIDR | u64::from(config.minor_version) << 32,
        ],
        reserved: &[],
        write_only: config.stage2,
        caches_absence: false,
        attach_waits: true,
        fault_room: EVENTS,
        // Where stage 1 is bypassed, what passes the output size is its F_ADDR_SIZE (3.4); else F_TRANSLATION.
        beyond: if config.stage2 { reason::ADDRESS_SIZE } else { reason::NOT_MAPPED },
        fault_granule: 1,
        forgets_when_given_up: true,
        wait_limit_ns: SYNC_LIMIT_NS,
        register_limit_ns: REGISTER_LIMIT_NS,
        commands_in_a_call: 16,
    }
}
