//! Root entries of legacy (9.1) and scalable mode (9.2).

use intel_vtd::spec::root::RootWord as Root;

use super::where_present;
use crate::decode::{
    entry::{Entry, Verdict},
    field::{Field, Meaning::*, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// A root entry of legacy mode.
pub const ROOT: Kind = Kind {
    name: "vtd-root",
    title: "VT-d root entry, legacy mode",
    source: Source::Vtd,
    section: "9.1",
    word_bits: 64,
    words: 2,
    levels: None,
    fields: |words, _| where_present(words, FIELDS),
    verdict: |entry, _| verdict(entry),
};

/// A root entry of scalable mode.
pub const SCALABLE_ROOT: Kind = Kind {
    name: "vtd-scalable-root",
    title: "VT-d root entry, scalable mode",
    section: "9.2",
    fields: |words, _| scalable_fields(words),
    verdict: |entry, _| scalable_verdict(entry),
    ..ROOT
};

const FIELDS: &[Field] = &[
    spec!(0, Root, present, with_present, "P", Flag("absent: requests of the bus abort", "present")),
    reserved(0, 1, 11),
    spec!(0, Root, table_12, with_table_12, "CTP", Address("context table")),
    reserved_word(1),
];

const SCALABLE_FIELDS: &[Field] = &[
    spec!(0, Root, present, with_present, "LP", Flag("absent: requests of devices 0 to 15 abort", "present")),
    reserved(0, 1, 11),
    spec!(0, Root, table_12, with_table_12, "LCTP", Address("context table of devices 0 to 15")),
    spec!(
        1,
        Root,
        present,
        with_present,
        "UP",
        Flag("absent: requests of devices 16 to 31 abort", "present")
    ),
    reserved(1, 1, 11),
    spec!(1, Root, table_12, with_table_12, "UCTP", Address("context table of devices 16 to 31")),
];

/// The fields, those of a half idle that is absent.
fn scalable_fields(words: &[u64]) -> Vec<Field> {
    let absent = |word: usize| words.get(word).is_none_or(|word| word & 1 == 0);
    let idle = |field: &Field| match field.name {
        "LP" | "UP" => *field,
        _ if absent(field.word) => field.idle(),
        _ => *field,
    };
    SCALABLE_FIELDS.iter().map(idle).collect()
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    Verdict::new(match entry.is("P") {
        true => format!("the functions of the bus have context entries at {:#x}", entry.address("CTP")),
        false => "every request of the bus aborts, fault reason 0x1".into(),
    })
}

fn scalable_verdict(entry: &Entry<'_>) -> Verdict {
    let half = |present, table, devices| match entry.is(present) {
        true => format!("devices {devices} of the bus have context entries at {:#x}", entry.address(table)),
        false => format!("requests of devices {devices} abort, fault reason 0x39"),
    };
    Verdict::new(format!("{}; {}", half("LP", "LCTP", "0 to 15"), half("UP", "UCTP", "16 to 31")))
}
