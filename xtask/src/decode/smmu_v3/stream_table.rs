//! Stream table entries (IHI 0070, 5.2) and level 1 descriptors (5.1).

use arm_smmu_v3::spec::{
    registers::oas_bits,
    ste::{L1Descriptor as L1, SteWord0 as W0, SteWord1 as W1, SteWord2 as W2, SteWord3 as W3},
};

use super::attributes::{
    ALLOCATION_OVERRIDE, CACHEABILITY, GRANULE0, INPUT_SIZE, INSTRUCTION_OVERRIDE, MEMORY, OUTPUT_SIZE,
    PRIVILEGE_OVERRIDE, SHAREABILITY, SHAREABILITY_OVERRIDE, faults, granule0_lg2, levels,
};
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, only, reserved, spec},
    kind::{Kind, Source},
};

/// A stream table entry.
pub const STE: Kind = Kind {
    name: "smmu-ste",
    title: "SMMUv3 stream table entry",
    source: Source::Smmu,
    section: "5.2",
    word_bits: 64,
    words: 8,
    levels: None,
    fields: |words, _| ste_fields(words),
    verdict: |entry, _| ste_verdict(entry),
};

/// A level 1 stream table descriptor.
pub const L1STD: Kind = Kind {
    name: "smmu-l1std",
    title: "SMMUv3 level 1 stream table descriptor",
    source: Source::Smmu,
    section: "5.1",
    word_bits: 64,
    words: 1,
    levels: None,
    fields: |_, _| L1STD_FIELDS.to_vec(),
    verdict: |entry, _| l1std_verdict(entry),
};

const STE_FIELDS: &[Field] = &[
    spec!(0, W0, valid, with_valid, "V", Flag("invalid: accesses abort with C_BAD_STE", "valid")),
    spec!(
        0,
        W0,
        config,
        with_config,
        "Config",
        Values(&[
            (0, "abort, and record nothing"),
            (1, "abort, and record nothing (reserved, as 0)"),
            (2, "abort, and record nothing (reserved, as 0)"),
            (3, "abort, and record nothing (reserved, as 0)"),
            (4, "pass untranslated"),
            (5, "stage 1 translates"),
            (6, "stage 2 translates"),
            (7, "stage 1, then stage 2 translate"),
        ]),
    ),
    spec!(
        0,
        W0,
        s1fmt,
        with_s1fmt,
        "S1Fmt",
        Values(&[
            (0, "linear table of context descriptors"),
            (1, "two-level table of context descriptors, leaf tables of 4 KiB"),
            (2, "two-level table of context descriptors, leaf tables of 64 KiB"),
        ]),
    ),
    spec!(0, W0, s1contextptr_6, with_s1contextptr_6, "S1ContextPtr", Address("context descriptor"),),
    reserved(0, 56, 3),
    spec!(
        0,
        W0,
        s1cdmax,
        with_s1cdmax,
        "S1CDMax",
        With(|value| match value {
            0 => "one context descriptor: no substreams".into(),
            bits => format!("2^{bits} context descriptors"),
        }),
    ),
    spec!(
        1,
        W1,
        s1dss,
        with_s1dss,
        "S1DSS",
        Values(&[
            (0, "with substreams, an access without SubstreamID aborts"),
            (1, "with substreams, an access without SubstreamID passes stage 1 by"),
            (2, "with substreams, an access without SubstreamID uses descriptor 0"),
            (3, "a reserved encoding: as 0"),
        ]),
    ),
    spec!(1, W1, s1cir, with_s1cir, "S1CIR", CACHEABILITY),
    spec!(1, W1, s1cor, with_s1cor, "S1COR", CACHEABILITY),
    spec!(1, W1, s1csh, with_s1csh, "S1CSH", SHAREABILITY),
    field(1, 8, 1, "S2HWU59", Text("bit 59 of stage 2 leaves is the implementation's")).quiet(),
    field(1, 9, 1, "S2HWU60", Text("bit 60 of stage 2 leaves is the implementation's")).quiet(),
    field(1, 10, 1, "S2HWU61", Text("bit 61 of stage 2 leaves is the implementation's")).quiet(),
    field(1, 11, 1, "S2HWU62", Text("bit 62 of stage 2 leaves is the implementation's")).quiet(),
    field(1, 12, 1, "DRE", Flag("destructive reads become plain reads", "destructive reads are allowed"))
        .quiet(),
    field(1, 13, 4, "CONT", With(|value| format!("alike for 2^{value} streams, aligned"))).quiet(),
    field(
        1,
        17,
        1,
        "DCP",
        Flag("directed cache prefetches do nothing", "directed cache prefetches are allowed"),
    )
    .quiet(),
    field(1, 18, 1, "PPAR", Flag("automatic PRI responses have no PASID", "automatic PRI responses have it"))
        .quiet(),
    spec!(
        1,
        W1,
        mev,
        with_mev,
        "MEV",
        Flag("like events are not merged", "like events may be merged into one record"),
    ),
    field(1, 20, 4, "SW_RESERVED", Ignored).quiet(),
    field(1, 24, 1, "S1PIE", Flag("no stage 1 permission indirection", "stage 1 permission indirection"))
        .quiet(),
    field(
        1,
        25,
        1,
        "S2FWB",
        Flag("memory types of both stages are combined", "stage 2 decides over memory types alone"),
    )
    .quiet(),
    field(1, 26, 1, "S1MPAM", Flag("PARTID and PMG are this entry's", "they are the context descriptor's"))
        .quiet(),
    spec!(1, W1, s1stalld, with_s1stalld, "S1STALLD", Flag("stage 1 may stall", "stage 1 must not stall"),),
    spec!(
        1,
        W1,
        eats,
        with_eats,
        "EATS",
        Values(&[
            (0, "ATS is refused"),
            (1, "full ATS: translated accesses are trusted"),
            (2, "split-stage ATS: translated accesses go through stage 2"),
            (3, "full ATS with checks against the device permission table"),
        ]),
    ),
    spec!(
        1,
        W1,
        strw,
        with_strw,
        "STRW",
        Values(&[
            (0, "StreamWorld NS-EL1"),
            (1, "EL3 (secure), illegal otherwise"),
            (2, "StreamWorld EL2, or EL2-E2H"),
        ]),
    ),
    field(1, 32, 4, "MemAttr", MEMORY).quiet(),
    field(1, 36, 1, "MTCFG", Flag("memory type as the access says", "memory type is MemAttr")).quiet(),
    field(1, 37, 4, "ALLOCCFG", ALLOCATION_OVERRIDE).quiet(),
    reserved(1, 41, 3),
    spec!(1, W1, shcfg, with_shcfg, "SHCFG", SHAREABILITY_OVERRIDE),
    field(1, 46, 2, "NSCFG", Text("NS attribute; ignored of Non-secure streams")).quiet(),
    field(1, 48, 2, "PRIVCFG", PRIVILEGE_OVERRIDE).quiet(),
    field(1, 50, 2, "INSTCFG", INSTRUCTION_OVERRIDE).quiet(),
    field(1, 52, 12, "IMPDEF", Text("the implementation's; zero without knowledge of it")).quiet(),
    spec!(2, W2, s2vmid, with_s2vmid, "S2VMID", With(|value| format!("VMID {value}"))),
    field(2, 16, 16, "IMPDEF", Text("the implementation's; zero without knowledge of it")).quiet(),
    spec!(2, W2, s2t0sz, with_s2t0sz, "S2T0SZ", INPUT_SIZE),
    spec!(2, W2, s2sl0, with_s2sl0, "S2SL0", Text("start level, by granule")).section("DDI 0487 D8.2"),
    spec!(2, W2, s2ir0, with_s2ir0, "S2IR0", CACHEABILITY),
    spec!(2, W2, s2or0, with_s2or0, "S2OR0", CACHEABILITY),
    spec!(2, W2, s2sh0, with_s2sh0, "S2SH0", SHAREABILITY),
    spec!(2, W2, s2tg, with_s2tg, "S2TG", GRANULE0),
    spec!(2, W2, s2ps, with_s2ps, "S2PS", OUTPUT_SIZE),
    spec!(
        2,
        W2,
        s2aa64,
        with_s2aa64,
        "S2AA64",
        Flag("VMSAv8-32 LPAE tables (VMSAv9-128 where IDR5.D128 is 1)", "VMSAv8-64 tables"),
    ),
    spec!(2, W2, s2endi, with_s2endi, "S2ENDI", Flag("little-endian tables", "big-endian tables")),
    spec!(
        2,
        W2,
        s2affd,
        with_s2affd,
        "S2AFFD",
        Flag("a clear access flag faults", "a clear access flag does not fault"),
    ),
    spec!(
        2,
        W2,
        s2ptw,
        with_s2ptw,
        "S2PTW",
        Flag("walks of stage 1 may go to any memory", "walks of stage 1 through device memory fault"),
    ),
    spec!(2, W2, s2hd, with_s2hd, "S2HD", Flag("no hardware dirty state", "hardware dirty state")),
    spec!(2, W2, s2ha, with_s2ha, "S2HA", Flag("no hardware access flag", "hardware access flag")),
    spec!(2, W2, s2s, with_s2s, "S2S", Flag("faults terminate", "faults stall")).section("5.5"),
    spec!(2, W2, s2r, with_s2r, "S2R", Flag("faults are not recorded", "faults are recorded")).section("5.5"),
    field(2, 59, 1, "S2HAFT", Text("hardware access flag in table descriptors")).quiet(),
    field(2, 60, 1, "S2PIE", Text("stage 2 permission indirection")).quiet(),
    field(2, 61, 1, "S2POE", Text("stage 2 permission overlay")).quiet(),
    field(2, 62, 2, "DPT_VMATCH", Text("how the device permission table matches VMIDs")).quiet(),
    field(3, 0, 1, "S2NSW", Text("of Secure streams alone")).quiet(),
    field(3, 1, 1, "S2NSA", Text("of Secure streams alone")).quiet(),
    field(3, 2, 1, "S2SL0_2", Text("bit 2 of S2SL0, with S2DS")).section("DDI 0487 D8.2").quiet(),
    field(
        3,
        3,
        1,
        "S2DS",
        Flag("48-bit addresses in 4 and 16 KiB granules", "52-bit addresses in 4 and 16 KiB granules"),
    )
    .quiet(),
    spec!(3, W3, s2ttb_4, with_s2ttb_4, "S2TTB", Address("stage 2 root table")),
    reserved(3, 56, 5),
    field(3, 61, 2, "S2SKL", Text("levels to skip, of VMSAv9-128 tables alone")).quiet(),
    reserved(3, 63, 1),
    field(4, 0, 16, "IMPDEF", Text("the implementation's; zero without knowledge of it")).quiet(),
    field(4, 16, 16, "PARTID", Text("MPAM partition")).quiet(),
    field(4, 32, 6, "S_S2T0SZ", Text("of Secure streams alone")).quiet(),
    field(4, 38, 2, "S_S2SL0", Text("of Secure streams alone")).quiet(),
    reserved(4, 40, 6),
    field(4, 46, 2, "S_S2TG", Text("of Secure streams alone")).quiet(),
    field(4, 48, 16, "MECID", Text("of Realm streams alone: memory encryption context")).quiet(),
    field(5, 0, 8, "PMG", Text("MPAM performance monitoring group")).quiet(),
    field(5, 8, 1, "MPAM_NS", Text("of Secure and Realm streams alone")).quiet(),
    field(5, 9, 1, "AssuredOnly", Text("translation hardening")).quiet(),
    field(5, 10, 1, "TL0", Text("translation hardening")).quiet(),
    field(5, 11, 1, "TL1", Text("translation hardening")).quiet(),
    field(5, 12, 44, "VMSPtr", Address("virtual machine structure")).quiet(),
    reserved(5, 56, 8),
    field(6, 0, 1, "S2SW", Text("of Secure streams alone")).quiet(),
    field(6, 1, 1, "S2SA", Text("of Secure streams alone")).quiet(),
    field(6, 2, 1, "S_S2SL0_2", Text("of Secure streams alone")).quiet(),
    reserved(6, 3, 1),
    field(6, 4, 52, "S_S2TTB", Address("of Secure streams alone: stage 2 root table")).quiet(),
    reserved(6, 56, 5),
    field(6, 61, 2, "S_S2SKL", Text("of Secure streams alone")).quiet(),
    reserved(6, 63, 1),
    field(7, 0, 64, "S2POI", Text("stage 2 permission overlays, 16 of 4 bits")).quiet(),
];

const L1STD_FIELDS: &[Field] = &[
    spec!(
        0,
        L1,
        span,
        with_span,
        "Span",
        With(|value| match value {
            0 => "no level 2 table".into(),
            1..=11 => format!("level 2 table of {} entries", 1 << (value - 1)),
            _ => "a reserved encoding: as 0".into(),
        }),
    ),
    reserved(0, 5, 1),
    spec!(0, L1, l2ptr_6, with_l2ptr_6, "L2Ptr", Address("level 2 table")),
    reserved(0, 56, 8),
];

/// The fields, those idle that Config leaves without use (5.2).
fn ste_fields(words: &[u64]) -> Vec<Field> {
    let word0 = W0::from(words.first().copied().unwrap_or_default());
    let config = word0.config().0;
    only(STE_FIELDS, |name| match name {
        "V" => true,
        _ if !word0.valid() => false,
        "Config" => true,
        _ if config & 4 == 0 => false,
        "S1PIE" | "S1MPAM" | "STRW" => config & 1 != 0,
        "DPT_VMATCH" | "AssuredOnly" | "TL0" | "TL1" => config & 2 != 0,
        "S2VMID" => config & 3 != 0,
        _ if name.starts_with("S1") => config & 1 != 0,
        _ if name.starts_with("S2") => config & 2 != 0,
        _ => true,
    })
}

/// The level at which stage 2 begins, by S2TG, S2SL0 and S2SL0_2 (DDI 0487, D8.2).
fn start_level(granule_lg2: u32, sl0: u64) -> Option<u32> {
    match (granule_lg2, sl0) {
        (12, 0) => Some(2),
        (12, 1) => Some(1),
        (12, 2) => Some(0),
        (_, 0) | (12, 3) => Some(3),
        (_, 1) => Some(2),
        (_, 2) => Some(1),
        (14, 3) => Some(0),
        _ => None,
    }
}

fn ste_verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("V") {
        return Verdict::new("every access aborts with C_BAD_STE; nothing else in the entry is looked at");
    }
    let mut verdict = match entry.get("Config") {
        0..4 => return Verdict::new("every access aborts, and nothing is recorded"),
        4 => Verdict::new("every access passes untranslated: the device reaches all of memory"),
        5 => Verdict::new(stage1(entry)),
        6 => Verdict::new(stage2(entry)),
        _ => Verdict::new(format!("{}; what it puts out, {}", stage1(entry), stage2(entry))),
    };
    let config = entry.get("Config");
    if config & 1 == 1 {
        verdict = stage1_rules(entry, verdict);
    }
    if config & 2 == 2 {
        verdict = stage2_rules(entry, verdict);
    }
    ats_rules(entry, verdict)
}

fn stage1(entry: &Entry<'_>) -> String {
    let at = entry.address("S1ContextPtr");
    match entry.get("S1CDMax") {
        0 => format!("stage 1 translates by the context descriptor at {at:#x}"),
        bits => format!("stage 1 translates by a table of 2^{bits} context descriptors at {at:#x}"),
    }
}

fn stage2(entry: &Entry<'_>) -> String {
    let input_bits = 64 - entry.get("S2T0SZ") as u32;
    let shape = match (entry.is("S2AA64"), granule0_lg2(entry.get("S2TG"))) {
        (false, _) => "VMSAv8-32 or VMSAv9-128 tables".to_string(),
        (true, None) => "a granule that there is not".to_string(),
        (true, Some(granule_lg2)) => match start_level(granule_lg2, entry.get("S2SL0")) {
            Some(start) => levels(start),
            None => "a start level that there is not".to_string(),
        },
    };
    format!(
        "stage 2 translates by tables at {:#x}, VMID {}, {shape}, {input_bits}-bit addresses; faults {}",
        entry.address("S2TTB"),
        entry.get("S2VMID"),
        faults(if entry.is("S2S") { "stall" } else { "terminate" }, entry.is("S2R")),
    )
}

fn stage1_rules(entry: &Entry<'_>, verdict: Verdict) -> Verdict {
    let format = entry.get("S1Fmt");
    let world = entry.get("STRW");
    verdict
        .wrong_if(format == 3 && entry.is("S1CDMax"), "S1Fmt 3 is a reserved encoding (5.2)")
        .wrong_if(
            entry.get("Config") == 5 && world & 1 == 1,
            format!("STRW {world} is illegal in a Non-secure entry (5.2.2)"),
        )
        .wrong_if(
            entry.is("S1CDMax")
                && format == 0
                && !aligned(entry.address("S1ContextPtr"), entry.get("S1CDMax") + 6),
            "S1ContextPtr is not aligned to its table: the low bits are taken as zero (5.2)",
        )
}

fn stage2_rules(entry: &Entry<'_>, verdict: Verdict) -> Verdict {
    let mut verdict = verdict
        .wrong_if(entry.is("S2HAFT") && !entry.is("S2HA"), "S2HAFT without S2HA is illegal (5.2.2)")
        .wrong_if(
            entry.is("S2POE") && !entry.is("S2PIE") && entry.is("S2AA64"),
            "S2POE without S2PIE is illegal (5.2.2)",
        )
        .wrong_if(
            entry.is("S2HD") && !entry.is("S2HA"),
            "S2HD without S2HA is a reserved encoding: neither is done (5.2)",
        );
    if !entry.is("S2AA64") {
        return verdict
            .wrong_if(
                entry.is("S2HA") || entry.is("S2HD"),
                "S2HA and S2HD are illegal with VMSAv8-32 tables (5.2.2)",
            )
            .wrong_if(entry.is("S2FWB"), "S2FWB is illegal with VMSAv8-32 tables (5.2)");
    }
    let Some(granule_lg2) = granule0_lg2(entry.get("S2TG")) else {
        return verdict.wrong_if(true, "S2TG 3 is a reserved encoding, which is illegal (5.2.2)");
    };
    let size = entry.get("S2T0SZ") as u32;
    let input_bits = 64 - size;
    let root = entry.address("S2TTB");
    let output_bits = oas_bits(entry.get("S2PS") as u8).unwrap_or(64);
    verdict = verdict.wrong_if(
        output_bits < 56 && root >> output_bits != 0,
        format!("S2TTB {root:#x} is beyond the {output_bits} bits of S2PS, which is illegal (5.2.2)"),
    );
    // With 52-bit addresses start levels and sizes follow other rules.
    if entry.is("S2DS") || entry.is("S2SL0_2") {
        return verdict;
    }
    let least = if granule_lg2 == 16 { 12 } else { 16 };
    verdict = verdict.wrong_if(
        size < least || size > 48,
        format!("S2T0SZ {size} is out of range: {least} to 39, or to 48 with IDR3.STT (5.2)"),
    );
    let Some(start) = start_level(granule_lg2, entry.get("S2SL0")) else {
        return verdict.wrong_if(true, "S2SL0 is a reserved encoding with this granule (5.2.2)");
    };
    // Up to 16 tables side by side resolve 4 bits more than one (DDI 0487, D8.2).
    let below = granule_lg2 + (granule_lg2 - 3) * (3 - start);
    let fits = input_bits > below && input_bits <= below + granule_lg2 - 3 + 4;
    verdict = verdict.wrong_if(
        !fits,
        format!("S2SL0: tables from level {start} on do not resolve {input_bits}-bit addresses (5.2.2)"),
    );
    let entries_lg2 = u64::from(input_bits.saturating_sub(below)).min(16) + 3;
    verdict.wrong_if(
        fits && !aligned(root, entries_lg2),
        format!(
            "S2TTB {root:#x} is not aligned to the root's {} bytes (DDI 0487, D8.2)",
            1_u64 << entries_lg2
        ),
    )
}

fn ats_rules(entry: &Entry<'_>, verdict: Verdict) -> Verdict {
    let nested = entry.get("Config") == 7;
    let stalls = entry.get("Config") & 2 != 0 && entry.is("S2S");
    match entry.get("EATS") {
        1 | 3 => verdict.wrong_if(stalls, "EATS with S2S is illegal: ATS cannot stall (5.2.2)"),
        2 => verdict.wrong_if(
            !nested || stalls,
            list(&[
                "EATS 2 is illegal",
                when(!nested, "without both stages"),
                when(stalls, "with S2S"),
                "(5.2.2)",
            ])
            .replace(", ", " "),
        ),
        _ => verdict,
    }
}

fn l1std_verdict(entry: &Entry<'_>) -> Verdict {
    let (span, at) = (entry.get("Span"), entry.address("L2Ptr"));
    match span {
        0 => {
            Verdict::new("the streams that it stands for have no entry: their accesses abort, C_BAD_STREAMID")
        }
        1..=11 => {
            Verdict::new(format!("the first {} of its streams have entries at {at:#x}", 1 << (span - 1)))
                .wrong_if(
                    !aligned(at, span + 5),
                    format!(
                        "L2Ptr {at:#x} is not aligned to its table: the low bits are taken as zero (5.1)"
                    ),
                )
        }
        _ => {
            Verdict::new("no entry, as with Span 0").wrong_if(true, format!("Span {span} is reserved (5.1)"))
        }
    }
}

const fn aligned(address: u64, lg2: u64) -> bool {
    lg2 >= 64 || address & ((1 << lg2) - 1) == 0
}
