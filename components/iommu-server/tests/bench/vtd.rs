//! VT-d units under the server.

use intel_vtd::{COMPLETION_LIMIT_NS, MAX_INVALIDATE_DESCRIPTORS, REGISTER_LIMIT_NS};
use iommu_model::intel_vtd::Config;
use iommu_protocol::ring::reason;
use iommu_server::policy::KIND_INTEL_VTD;

use super::unit::Facts;

/// The interrupt range (3.14): writes there are interrupts.
const INTERRUPTS: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

/// As many fault records as a page of registers has room for, and one for each fault: tests count them.
fn counting(config: Config) -> Config {
    Config { fault_records: 192, fault_offset: 0x400, iotlb_offset: 0xf0, collapses_faults: false, ..config }
}

pub fn usual() -> Config {
    counting(Config::default())
}

pub fn caching() -> Config {
    counting(Config::caching_mode())
}

pub fn scalable() -> Config {
    counting(Config::server())
}

pub fn others() -> [(&'static str, Config); 6] {
    [
        ("QEMU's", Config::default()),
        ("caching mode", Config::caching_mode()),
        ("three levels", Config::narrow()),
        ("scalable mode", Config::scalable()),
        ("a server's", Config::server()),
        ("old, with a queue", Config { queued_invalidation: true, ..Config::old() }),
    ]
}

pub fn facts(config: &Config) -> Facts {
    let large = |lg2| u64::from(config.large_pages.contains(&lg2)) << lg2;
    Facts {
        kind: KIND_INTEL_VTD,
        format: 3,
        input_bits: config.widths.iter().copied().max().unwrap_or(0).min(config.guest_bits),
        // A unit does not say how far physical addresses reach (only the DMAR table does).
        output_bits: 48,
        page_sizes: 1 << 12 | large(21) | large(30),
        // ECAP.C, in scalable mode ECAP.SMPWCS.
        needs_clean: !config.coherent,
        registers: [config.cap(), config.ecap(), config.version.into(), 0],
        reserved: &[INTERRUPTS],
        write_only: true,
        // Stores that a write buffer holds back are flushed by a command too (6.8).
        caches_absence: config.caching_mode || config.write_buffer,
        // An entry that was absent is not cached (6.1), but in caching mode.
        attach_waits: config.caching_mode,
        fault_room: config.fault_records.into(),
        // 04h, in scalable mode 84h: beyond MGAW or the tables.
        beyond: reason::ADDRESS_SIZE,
        fault_granule: 0x1000,
        // CAP.ESRTPS: a new root table pointer forgets everything cached.
        forgets_when_given_up: config.pointer_invalidates,
        wait_limit_ns: COMPLETION_LIMIT_NS,
        register_limit_ns: REGISTER_LIMIT_NS,
        commands_in_a_call: MAX_INVALIDATE_DESCRIPTORS + 1,
    }
}
