//! PASID directory (9.5) and PASID table entries (9.6).

use intel_vtd::spec::pasid::{DirectoryEntry as D, PasidWord0 as W0, PasidWord1 as W1};

use super::{address_width, levels, where_present};
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, ignored, only, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// A PASID directory entry.
pub const DIRECTORY: Kind = Kind {
    name: "vtd-pasid-directory",
    title: "VT-d PASID directory entry",
    source: Source::Vtd,
    section: "9.5",
    word_bits: 64,
    words: 1,
    levels: None,
    fields: |words, _| where_present(words, DIRECTORY_FIELDS),
    verdict: |entry, _| directory_verdict(entry),
};

/// A PASID table entry.
pub const PASID: Kind = Kind {
    name: "vtd-pasid",
    title: "VT-d PASID table entry",
    section: "9.6",
    words: 8,
    fields: |words, _| pasid_fields(words),
    verdict: |entry, _| pasid_verdict(entry),
    ..DIRECTORY
};

const DIRECTORY_FIELDS: &[Field] = &[
    spec!(0, D, present, with_present, "P", Flag("absent: requests abort", "present")),
    spec!(
        0,
        D,
        fault_processing_disable,
        with_fault_processing_disable,
        "FPD",
        Flag("faults are recorded", "faults are not recorded"),
    ),
    reserved(0, 2, 10),
    spec!(0, D, table_12, with_table_12, "SMPTBLPTR", Address("PASID table")),
];

const PASID_FIELDS: &[Field] = &[
    spec!(0, W0, present, with_present, "P", Flag("absent: requests abort", "present")),
    spec!(
        0,
        W0,
        fault_processing_disable,
        with_fault_processing_disable,
        "FPD",
        Flag("faults are recorded", "faults are not recorded"),
    ),
    spec!(0, W0, address_width, with_address_width, "AW", With(address_width)),
    spec!(
        0,
        W0,
        execute,
        with_execute,
        "SSEE",
        Flag("X in second-stage tables is ignored", "X in them counts")
    ),
    spec!(
        0,
        W0,
        translation,
        with_translation,
        "PGTT",
        Values(&[
            (1, "the first stage translates"),
            (2, "the second stage translates"),
            (3, "the first stage, then the second translate"),
            (4, "requests pass untranslated"),
        ]),
    ),
    spec!(
        0,
        W0,
        access_dirty,
        with_access_dirty,
        "SSADE",
        Flag("no accessed and dirty bits in the second stage", "accessed and dirty bits in the second stage"),
    ),
    reserved(0, 10, 2),
    spec!(0, W0, root_12, with_root_12, "SSPTPTR", Address("second-stage root table")),
    spec!(1, W1, domain, with_domain, "DID", With(|value| format!("domain {value}"))),
    reserved(1, 16, 7),
    spec!(
        1,
        W1,
        walk_snoop,
        with_walk_snoop,
        "PWSNP",
        Flag("walks do not snoop the caches", "walks snoop the caches; reserved without ECAP.SMPWCS"),
    ),
    spec!(
        1,
        W1,
        page_snoop,
        with_page_snoop,
        "PGSNP",
        Flag("accesses snoop as they say", "accesses always snoop; reserved without ECAP.SC"),
    ),
    spec!(1, W1, cache_disable, with_cache_disable, "CD", Flag("", "reserved without ECAP.MTS")).quiet(),
    spec!(1, W1, memory_type_enable, with_memory_type_enable, "EMTE", Flag("", "reserved without ECAP.MTS"))
        .quiet(),
    field(1, 27, 3, "EMT", Text("memory type; reserved without ECAP.MTS")).quiet(),
    field(1, 30, 1, "PWT", Text("reserved without ECAP.MTS")).quiet(),
    field(1, 31, 1, "PCD", Text("reserved without ECAP.MTS")).quiet(),
    field(1, 32, 32, "PAT", Text("page attribute table; reserved without ECAP.MTS")).quiet(),
    field(2, 0, 1, "SRE", Flag("privileged requests are refused", "privileged requests are allowed")),
    field(2, 1, 1, "ERE", Flag("", "requests to execute are allowed")).quiet(),
    field(2, 2, 2, "FSPM", Values(&[(0, "first stage of 4 levels"), (1, "first stage of 5 levels")])),
    field(
        2,
        4,
        1,
        "WPE",
        Flag("privileged writes ignore read-only", "read-only holds for privileged writes too"),
    ),
    ignored(2, 5, 2),
    field(2, 7, 1, "EAFE", Flag("", "extended accessed flag in the first stage")).quiet(),
    reserved(2, 8, 4),
    field(2, 12, 52, "FSPTPTR", Address("first-stage root table")),
    reserved_word(3),
    reserved_word(4),
    reserved_word(5),
    reserved_word(6),
    reserved_word(7),
];

/// The fields, those idle that P and PGTT leave without use.
fn pasid_fields(words: &[u64]) -> Vec<Field> {
    let fields = where_present(words, PASID_FIELDS);
    let kind = W0::from(words.first().copied().unwrap_or_default()).translation().0;
    only(&fields, |name| match name {
        "AW" | "SSEE" | "SSADE" | "SSPTPTR" => kind & 2 != 0,
        "SRE" | "ERE" | "FSPM" | "WPE" | "EAFE" | "FSPTPTR" => kind & 1 != 0,
        _ => true,
    })
}

fn absent(entry: &Entry<'_>, reason: &str) -> Verdict {
    Verdict::new(match entry.is("FPD") {
        true => "every request under it aborts, and nothing is recorded".to_string(),
        false => format!("every request under it aborts, fault reason {reason}"),
    })
}

fn directory_verdict(entry: &Entry<'_>) -> Verdict {
    match entry.is("P") {
        true => Verdict::new(format!("its 64 PASIDs have entries at {:#x}", entry.address("SMPTBLPTR"))),
        false => absent(entry, "0x51"),
    }
}

fn pasid_verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("P") {
        return absent(entry, "0x59");
    }
    let (kind, width, domain) = (entry.get("PGTT"), entry.get("AW"), entry.get("DID"));
    let second_levels = levels(width);
    let shape = match second_levels {
        Some(levels) => format!("{levels} levels, {}-bit addresses", 12 + 9 * levels),
        None => "a number of levels that there is not".into(),
    };
    let first = format!("tables at {:#x}, {} levels", entry.address("FSPTPTR"), 4 + entry.get("FSPM").min(1));
    let second = format!("tables at {:#x}, {shape}", entry.address("SSPTPTR"));
    let does = match kind {
        1 => format!("the first stage translates by {first}, domain {domain}"),
        2 => format!("the second stage translates by {second}, domain {domain}"),
        3 => format!("the first stage translates by {first}, then the second by {second}, domain {domain}"),
        4 => format!("every request passes untranslated, domain {domain}: the device reaches all of memory"),
        _ => "every request aborts".into(),
    };
    let quiet = when(entry.is("FPD"), "faults are not recorded");
    let (uses_first, uses_second) = (kind == 1 || kind == 3, kind == 2 || kind == 3);
    Verdict::new(list(&[&does, quiet]))
        .wrong_if(
            !(1..=4).contains(&kind),
            format!("PGTT {kind} is reserved: requests abort, fault reason 0x5b (7.1.3, 9.6)"),
        )
        .wrong_if(
            uses_second && second_levels.is_none(),
            format!("AW {width} is reserved: requests abort, fault reason 0x5b (7.1.3, 9.6)"),
        )
        .wrong_if(
            uses_first && entry.get("FSPM") > 1,
            "FSPM has a reserved encoding: requests abort, fault reason 0x5b (7.1.3, 9.6)",
        )
}
