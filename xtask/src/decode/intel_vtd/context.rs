//! Context entries of legacy (9.3) and scalable mode (9.4).

use intel_vtd::spec::context::{
    ContextWord0 as W0, ContextWord1 as W1, ScalableContextWord0 as S0, ScalableContextWord1 as S1,
};

use super::{address_width, levels, where_present};
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, ignored, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// A context entry of legacy mode.
pub const CONTEXT: Kind = Kind {
    name: "vtd-context",
    title: "VT-d context entry, legacy mode",
    source: Source::Vtd,
    section: "9.3",
    word_bits: 64,
    words: 2,
    levels: None,
    fields: |words, _| where_present(words, FIELDS),
    verdict: |entry, _| verdict(entry),
};

/// A context entry of scalable mode.
pub const SCALABLE_CONTEXT: Kind = Kind {
    name: "vtd-scalable-context",
    title: "VT-d context entry, scalable mode",
    section: "9.4",
    words: 4,
    fields: |words, _| where_present(words, SCALABLE_FIELDS),
    verdict: |entry, _| scalable_verdict(entry),
    ..CONTEXT
};

const FIELDS: &[Field] = &[
    spec!(0, W0, present, with_present, "P", Flag("absent: requests abort", "present")),
    spec!(
        0,
        W0,
        fault_processing_disable,
        with_fault_processing_disable,
        "FPD",
        Flag("faults are recorded", "faults are not recorded"),
    ),
    spec!(
        0,
        W0,
        translation_type,
        with_translation_type,
        "TT",
        Values(&[
            (0, "the second stage translates, device TLBs are refused"),
            (1, "the second stage translates, device TLBs are allowed"),
            (2, "requests pass untranslated"),
        ]),
    ),
    reserved(0, 4, 8),
    spec!(0, W0, root_12, with_root_12, "SSPTPTR", Address("second-stage root table")),
    spec!(1, W1, address_width, with_address_width, "AW", With(address_width)),
    ignored(1, 3, 4),
    reserved(1, 7, 1),
    spec!(1, W1, domain, with_domain, "DID", With(|value| format!("domain {value}"))),
    reserved(1, 24, 40),
];

const SCALABLE_FIELDS: &[Field] = &[
    spec!(0, S0, present, with_present, "P", Flag("absent: requests abort", "present")),
    spec!(
        0,
        S0,
        fault_processing_disable,
        with_fault_processing_disable,
        "FPD",
        Flag("faults are recorded", "faults are not recorded"),
    ),
    spec!(
        0,
        S0,
        device_tlb,
        with_device_tlb,
        "DTE",
        Flag("device TLBs are refused", "device TLBs are allowed")
    ),
    spec!(
        0,
        S0,
        pasid,
        with_pasid,
        "PASIDE",
        Flag("requests with PASID are refused", "requests with PASID are allowed"),
    ),
    spec!(
        0,
        S0,
        page_requests,
        with_page_requests,
        "PRE",
        Flag("page requests are refused", "page requests are allowed"),
    ),
    reserved(0, 5, 4),
    spec!(
        0,
        S0,
        directory_size,
        with_directory_size,
        "PDTS",
        With(|value| format!("PASID directory of {} entries", 1 << (value + 7))),
    ),
    spec!(0, S0, directory_12, with_directory_12, "PASIDDIRPTR", Address("PASID directory")),
    spec!(
        1,
        S1,
        rid_pasid,
        with_rid_pasid,
        "RID_PASID",
        Text("the PASID of requests that have none, with ECAP.RPS")
    ),
    spec!(
        1,
        S1,
        rid_privileged,
        with_rid_privileged,
        "RID_PRIV",
        Flag("requests without PASID are unprivileged", "requests without PASID are privileged"),
    ),
    reserved(1, 21, 43),
    reserved_word(2),
    reserved_word(3),
];

fn absent(entry: &Entry<'_>, reason: &str) -> Verdict {
    Verdict::new(match entry.is("FPD") {
        true => "every request aborts, and nothing is recorded".to_string(),
        false => format!("every request aborts, fault reason {reason}"),
    })
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("P") {
        return absent(entry, "0x2");
    }
    let (kind, width, domain) = (entry.get("TT"), entry.get("AW"), entry.get("DID"));
    let quiet = when(entry.is("FPD"), "faults are not recorded");
    let levels = levels(width);
    let tables = match levels {
        Some(levels) => format!("{levels} levels, {}-bit addresses", 12 + 9 * levels),
        None => "a number of levels that there is not".into(),
    };
    let does = match kind {
        0 | 1 => format!(
            "the second stage translates by tables at {:#x}, domain {domain}, {tables}",
            entry.address("SSPTPTR")
        ),
        2 => format!("every request passes untranslated, domain {domain}: the device reaches all of memory"),
        _ => "every request aborts".into(),
    };
    let device_tlb = when(kind == 1, "device TLBs are trusted");
    Verdict::new(list(&[&does, device_tlb, quiet]))
        .wrong_if(kind == 3, "TT 3 is reserved: requests abort, fault reason 0x3 (7.1.3, 9.3)")
        .wrong_if(
            levels.is_none(),
            format!("AW {width} is reserved: requests abort, fault reason 0x3 (7.1.3, 9.3)"),
        )
}

fn scalable_verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("P") {
        return absent(entry, "0x41");
    }
    let own = entry.get("RID_PASID");
    let limit = 64_u64 << (entry.get("PDTS") + 7);
    let does = format!(
        "the PASID directory at {:#x} decides, requests without PASID as PASID {own:#x}",
        entry.address("PASIDDIRPTR")
    );
    Verdict::new(list(&[
        &does,
        when(entry.is("PASIDE"), "requests with PASID are allowed"),
        when(entry.is("DTE"), "device TLBs are trusted"),
        when(entry.is("PRE"), "page requests are allowed"),
        when(entry.is("FPD"), "faults are not recorded"),
    ]))
    .wrong_if(
        own >= limit,
        format!(
            "RID_PASID {own:#x} is beyond the directory's {limit:#x}: requests abort, fault reason 0x43 (9.4)"
        ),
    )
    .wrong_if(entry.is("PRE") && !entry.is("DTE"), "PRE without DTE: page requests need device TLBs (9.4)")
}
