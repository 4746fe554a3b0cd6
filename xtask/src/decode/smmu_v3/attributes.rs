//! Memory attributes, sizes and granules as several structures encode them.

use arm_smmu_v3::spec::registers::oas_bits;

use crate::decode::field::Meaning;

/// Cacheability of table walks and fetches (IHI 0070, 5.2 and 5.4).
pub const CACHEABILITY: Meaning = Meaning::Values(&[
    (0, "not cacheable"),
    (1, "write-back, read and write allocate"),
    (2, "write-through, read allocate"),
    (3, "write-back, no read allocate"),
]);

/// Shareability (IHI 0070, 5.2 and 5.4).
pub const SHAREABILITY: Meaning = Meaning::Values(&[
    (0, "not shareable"),
    (1, "a reserved encoding: not shareable"),
    (2, "outer shareable"),
    (3, "inner shareable"),
]);

/// Shareability that replaces an access's own.
pub const SHAREABILITY_OVERRIDE: Meaning = Meaning::Values(&[
    (0, "not shareable"),
    (1, "as the access says"),
    (2, "outer shareable"),
    (3, "inner shareable"),
]);

/// PRIVCFG.
pub const PRIVILEGE_OVERRIDE: Meaning = Meaning::Values(&[
    (0, "as the access says"),
    (1, "a reserved encoding: as the access says"),
    (2, "unprivileged"),
    (3, "privileged"),
]);

/// INSTCFG.
pub const INSTRUCTION_OVERRIDE: Meaning = Meaning::Values(&[
    (0, "as the access says"),
    (1, "a reserved encoding: as the access says"),
    (2, "data"),
    (3, "instruction fetch, if it reads"),
]);

/// ALLOCCFG.
pub const ALLOCATION_OVERRIDE: Meaning = Meaning::With(|value| match value & 8 {
    0 => "allocation hints as the access says".into(),
    _ => format!(
        "allocation hints replaced: read {}, write {}, transient {}",
        value >> 2 & 1,
        value >> 1 & 1,
        value & 1
    ),
});

/// MemAttr of an override and of stage 2 without FWB (DDI 0487, D8.6).
pub const MEMORY: Meaning = Meaning::With(memory);

fn memory(value: u64) -> String {
    let cache = |value| match value & 3 {
        0 => "reserved",
        1 => "not cacheable",
        2 => "write-through",
        _ => "write-back",
    };
    match (value >> 2 & 3, value & 3) {
        (0, device) => {
            let kind = ["nGnRnE", "nGnRE", "nGRE", "GRE"][device as usize & 3];
            format!("Device-{kind}")
        }
        (_, 0) => "a reserved encoding".into(),
        (outer, inner) if outer == inner => format!("normal memory, {}", cache(inner)),
        (outer, inner) => format!("normal memory, outer {}, inner {}", cache(outer), cache(inner)),
    }
}

/// Size of an address: IDR5.OAS, STE.S2PS, CD.IPS.
pub const OUTPUT_SIZE: Meaning = Meaning::With(|value| match oas_bits(value as u8) {
    Some(bits) => format!("{bits}-bit output addresses"),
    None => "a reserved encoding".into(),
});

/// Base-2 logarithm of the granule that TG0 and S2TG encode.
pub const fn granule0_lg2(value: u64) -> Option<u32> {
    match value {
        0 => Some(12),
        1 => Some(16),
        2 => Some(14),
        _ => None,
    }
}

/// TG0 and S2TG.
pub const GRANULE0: Meaning =
    Meaning::Values(&[(0, "4 KiB granule"), (1, "64 KiB granule"), (2, "16 KiB granule")]);

/// TG1, which encodes the same otherwise.
pub const GRANULE1: Meaning =
    Meaning::Values(&[(1, "16 KiB granule"), (2, "4 KiB granule"), (3, "64 KiB granule")]);

/// T0SZ, T1SZ, S2T0SZ.
pub const INPUT_SIZE: Meaning = Meaning::With(|value| format!("{}-bit input addresses", 64 - value.min(63)));

/// The levels that a walk from `start` on has.
pub fn levels(start: u32) -> String {
    let count = 4 - start.min(3);
    format!("{count} level{} from level {start}", if count == 1 { "" } else { "s" })
}

/// The level at which stage 1 begins (DDI 0487, D8.2).
pub const fn start_level(input_bits: u32, granule_lg2: u32) -> u32 {
    4_u32.saturating_sub(input_bits.saturating_sub(granule_lg2).div_ceil(granule_lg2 - 3))
}

/// What faults do, and whether they are recorded.
pub fn faults(what: &str, recorded: bool) -> String {
    format!("{what} and are {}recorded", if recorded { "" } else { "not " })
}
