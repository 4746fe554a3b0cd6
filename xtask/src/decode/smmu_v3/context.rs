//! Context descriptors (IHI 0070, 5.4).

use arm_smmu_v3::spec::{
    cd::{CdWord0 as W0, CdWord1 as W1},
    registers::oas_bits,
};

use super::attributes::{
    CACHEABILITY, GRANULE0, GRANULE1, INPUT_SIZE, OUTPUT_SIZE, SHAREABILITY, faults, granule0_lg2, levels,
    start_level,
};
use crate::decode::{
    entry::{Entry, Verdict, list},
    field::{Field, Meaning::*, field, only, reserved, spec},
    kind::{Kind, Source},
};

/// A context descriptor.
pub const CD: Kind = Kind {
    name: "smmu-cd",
    title: "SMMUv3 context descriptor",
    source: Source::Smmu,
    section: "5.4",
    word_bits: 64,
    words: 8,
    levels: None,
    fields: |words, _| fields(words),
    verdict: |entry, _| verdict(entry),
};

const FIELDS: &[Field] = &[
    spec!(0, W0, t0sz, with_t0sz, "T0SZ", INPUT_SIZE),
    spec!(0, W0, tg0, with_tg0, "TG0", GRANULE0),
    spec!(0, W0, ir0, with_ir0, "IR0", CACHEABILITY),
    spec!(0, W0, or0, with_or0, "OR0", CACHEABILITY),
    spec!(0, W0, sh0, with_sh0, "SH0", SHAREABILITY),
    spec!(0, W0, epd0, with_epd0, "EPD0", Flag("walks through TTB0", "no walks through TTB0"))
        .section("5.4.1.1"),
    spec!(0, W0, endi, with_endi, "ENDI", Flag("little-endian tables", "big-endian tables")),
    spec!(0, W0, t1sz, with_t1sz, "T1SZ", INPUT_SIZE),
    spec!(0, W0, tg1, with_tg1, "TG1", GRANULE1),
    field(0, 24, 2, "IR1", CACHEABILITY),
    field(0, 26, 2, "OR1", CACHEABILITY),
    field(0, 28, 2, "SH1", SHAREABILITY),
    spec!(0, W0, epd1, with_epd1, "EPD1", Flag("walks through TTB1", "no walks through TTB1"))
        .section("5.4.1.1"),
    spec!(0, W0, valid, with_valid, "V", Flag("invalid: accesses abort with C_BAD_CD", "valid")),
    spec!(0, W0, ips, with_ips, "IPS", OUTPUT_SIZE),
    spec!(
        0,
        W0,
        affd,
        with_affd,
        "AFFD",
        Flag("a clear access flag faults", "a clear access flag does not fault"),
    ),
    spec!(0, W0, wxn, with_wxn, "WXN", Flag("", "what may be written is not executed")),
    spec!(
        0,
        W0,
        uwxn,
        with_uwxn,
        "UWXN",
        Flag("", "what unprivileged accesses may write is not executed by privileged ones"),
    ),
    spec!(
        0,
        W0,
        tbi,
        with_tbi,
        "TBI",
        Values(&[
            (0, "all bits of an address count"),
            (1, "TBI0: the top byte of addresses of TTB0 is ignored"),
            (2, "TBI1: the top byte of addresses of TTB1 is ignored"),
            (3, "TBI0, TBI1: the top byte of addresses is ignored"),
        ]),
    ),
    spec!(0, W0, pan, with_pan, "PAN", Flag("", "privileged accesses to unprivileged pages fault"),),
    spec!(
        0,
        W0,
        aa64,
        with_aa64,
        "AA64",
        Flag("VMSAv8-32 LPAE tables (VMSAv9-128 where IDR5.D128 is 1)", "VMSAv8-64 tables"),
    ),
    spec!(0, W0, hd, with_hd, "HD", Flag("no hardware dirty state", "hardware dirty state")),
    spec!(0, W0, ha, with_ha, "HA", Flag("no hardware access flag", "hardware access flag")),
    spec!(0, W0, stall, with_stall, "S", Flag("faults terminate", "faults stall")).section("5.5"),
    spec!(0, W0, record, with_record, "R", Flag("faults are not recorded", "faults are recorded"))
        .section("5.5"),
    spec!(
        0,
        W0,
        abort,
        with_abort,
        "A",
        Flag("a terminated access reads zero, ignores writes", "a terminated access aborts"),
    )
    .section("5.5"),
    spec!(
        0,
        W0,
        aset,
        with_aset,
        "ASET",
        Flag("the ASID is shared with CPUs' broadcasts", "the ASID is not shared with CPUs' broadcasts"),
    ),
    spec!(0, W0, asid, with_asid, "ASID", With(|value| format!("ASID {value}"))),
    field(1, 0, 1, "NSCFG0", Text("of Secure streams alone")).quiet(),
    field(1, 1, 1, "HAD0", Flag("tables may limit what is below them", "table attributes are ignored"))
        .quiet(),
    field(1, 2, 1, "E0PD0", Flag("", "unprivileged accesses through TTB0 fault")).quiet(),
    field(1, 3, 1, "HAFT", Text("hardware access flag in table descriptors")).quiet(),
    spec!(1, W1, ttb0_4, with_ttb0_4, "TTB0", Address("stage 1 root table")),
    reserved(1, 56, 2),
    field(1, 58, 1, "PnCH", Text("protected attribute")).quiet(),
    field(1, 59, 1, "EPAN", Text("PAN of executable pages too")).quiet(),
    field(1, 60, 1, "HWU059", Text("bit 59 of leaves is the implementation's")).quiet(),
    field(1, 61, 1, "HWU060", Text("bit 60 of leaves is the implementation's")).quiet(),
    field(1, 62, 2, "HWU061", Text("HWU061, HWU062; of VMSAv9-128 SKL0, levels to skip")).quiet(),
    field(2, 0, 1, "NSCFG1", Text("of Secure streams alone")).quiet(),
    field(2, 1, 1, "HAD1", Flag("tables may limit what is below them", "table attributes are ignored"))
        .quiet(),
    field(2, 2, 1, "E0PD1", Flag("", "unprivileged accesses through TTB1 fault")).quiet(),
    field(2, 3, 1, "AIE", Flag("8 memory attributes", "16 memory attributes")).quiet(),
    field(2, 4, 52, "TTB1", Address("stage 1 root table of the upper half")).quiet(),
    reserved(2, 56, 2),
    field(
        2,
        58,
        1,
        "DS",
        Flag("48-bit addresses in 4 and 16 KiB granules", "52-bit addresses in 4 and 16 KiB granules"),
    )
    .quiet(),
    field(2, 59, 1, "PIE", Text("permission indirection by PIIP and PIIU")).quiet(),
    field(2, 60, 1, "HWU159", Text("bit 59 of leaves is the implementation's")).quiet(),
    field(2, 61, 1, "HWU160", Text("bit 60 of leaves is the implementation's")).quiet(),
    field(2, 62, 2, "HWU161", Text("HWU161, HWU162; of VMSAv9-128 SKL1, levels to skip")).quiet(),
    field(3, 0, 32, "MAIR0", With(mair)),
    field(3, 32, 32, "MAIR1", With(mair)),
    field(4, 0, 32, "AMAIR0", Text("the implementation's memory attributes")).quiet(),
    field(4, 32, 32, "AMAIR1", Text("the implementation's memory attributes")).quiet(),
    field(5, 0, 32, "IMPDEF", Text("the implementation's; zero without knowledge of it")).quiet(),
    field(5, 32, 16, "PARTID", Text("MPAM partition")).quiet(),
    field(5, 48, 8, "PMG", Text("MPAM performance monitoring group")).quiet(),
    reserved(5, 56, 8),
    field(6, 0, 48, "PIIU", Text("unprivileged permissions by index, 16 of 3 bits")).quiet(),
    reserved(6, 48, 16),
    field(7, 0, 48, "PIIP", Text("privileged permissions by index, 16 of 3 bits")).quiet(),
    reserved(7, 48, 16),
];

/// The fields, those idle that V and EPD0, EPD1 leave without use (5.4.1.1).
fn fields(words: &[u64]) -> Vec<Field> {
    let word0 = W0::from(words.first().copied().unwrap_or_default());
    only(FIELDS, |name| match name {
        "V" => true,
        _ if !word0.valid() => false,
        "T0SZ" | "TG0" | "IR0" | "OR0" | "SH0" | "TTB0" => !word0.epd0(),
        "T1SZ" | "TG1" | "IR1" | "OR1" | "SH1" | "TTB1" => !word0.epd1(),
        _ => true,
    })
}

/// Four memory attributes (DDI 0487, MAIR_EL1).
fn mair(value: u64) -> String {
    let attribute = |value: u64| match value {
        0x00 => "Device-nGnRnE".to_string(),
        0x04 => "Device-nGnRE".to_string(),
        0x08 => "Device-nGRE".to_string(),
        0x0c => "Device-GRE".to_string(),
        0x44 => "normal not cacheable".to_string(),
        0xbb => "normal write-through".to_string(),
        0xff => "normal write-back".to_string(),
        other => format!("{other:#04x}"),
    };
    let texts = [0, 8, 16, 24].map(|lsb| attribute(value >> lsb & 0xff));
    texts.join(", ")
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("V") {
        return Verdict::new("every access through it aborts with C_BAD_CD; nothing else in it is looked at");
    }
    let input_bits = 64 - entry.get("T0SZ") as u32;
    let granule_lg2 = granule0_lg2(entry.get("TG0"));
    let shape = match (entry.is("AA64"), granule_lg2) {
        (false, _) => "VMSAv8-32 or VMSAv9-128 tables".to_string(),
        (true, None) => "a granule that there is not".to_string(),
        (true, Some(granule_lg2)) => levels(start_level(input_bits, granule_lg2)),
    };
    let low = if entry.is("EPD0") {
        "stage 1 has no lower half: every access to it faults".to_string()
    } else {
        format!(
            "stage 1 translates by tables at {:#x}, {shape}, {input_bits}-bit addresses",
            entry.address("TTB0")
        )
    };
    let high = if entry.is("EPD1") {
        String::new()
    } else {
        format!("the upper half by tables at {:#x}", entry.address("TTB1"))
    };
    let what = match (entry.is("S"), entry.is("A")) {
        (true, _) => "stall",
        (false, true) => "abort",
        (false, false) => "read as zero",
    };
    let faults = faults(what, entry.is("R"));
    let does = list(&[&low, &high, &format!("ASID {}", entry.get("ASID"))]);
    rules(entry, Verdict::new(format!("{does}; faults {faults}")))
}

fn rules(entry: &Entry<'_>, verdict: Verdict) -> Verdict {
    let mut verdict =
        verdict.wrong_if(entry.is("HAFT") && !entry.is("HA"), "HAFT without HA is illegal (5.4.2)").wrong_if(
            entry.is("HD") && !entry.is("HA"),
            "HD without HA is a reserved encoding: neither is done (5.4)",
        );
    if !entry.is("AA64") {
        return verdict;
    }
    let output_bits = oas_bits(entry.get("IPS") as u8).unwrap_or(64);
    let halves = [
        (["EPD0", "TTB0", "T0SZ", "TG0"], granule0_lg2(entry.get("TG0"))),
        (["EPD1", "TTB1", "T1SZ", "TG1"], granule1_lg2(entry.get("TG1"))),
    ];
    for ([off, root, size, granule], granule_lg2) in halves {
        if entry.is(off) {
            continue;
        }
        let Some(granule_lg2) = granule_lg2 else {
            verdict = verdict
                .wrong_if(true, format!("{granule} has a reserved encoding, which is illegal (5.4.2)"));
            continue;
        };
        let (root_name, root) = (root, entry.address(root));
        let (size_name, size) = (size, entry.get(size));
        let least = if granule_lg2 == 16 || entry.is("DS") { 12 } else { 16 };
        verdict = verdict
            .wrong_if(
                size < least || size > 48,
                format!("{size_name} {size} is out of range: {least} to 39, or to 48 with IDR3.STT (5.4.2)"),
            )
            .wrong_if(
                output_bits < 56 && root >> output_bits != 0,
                format!(
                    "{root_name} {root:#x} is beyond the {output_bits} bits of IPS, which is illegal (5.4.2)"
                ),
            );
    }
    verdict.wrong_if(
        entry.is("EPD0") && entry.is("EPD1"),
        "EPD0 and EPD1 are both set: there is nothing to translate by",
    )
}

const fn granule1_lg2(value: u64) -> Option<u32> {
    match value {
        1 => Some(14),
        2 => Some(12),
        3 => Some(16),
        _ => None,
    }
}
