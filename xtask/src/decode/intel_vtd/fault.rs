//! Fault records (11.4, FRCD_REG).

use intel_vtd::spec::faults::FaultWord1 as W1;

use super::reason::{is_interrupt, meaning};
use crate::decode::{
    entry::{Entry, Verdict},
    field::{Field, Meaning::*, field, reserved, spec},
    kind::{Kind, Source},
};

/// A fault record.
pub const FAULT: Kind = Kind {
    name: "vtd-fault",
    title: "VT-d fault record, FRCD_REG",
    source: Source::Vtd,
    section: "11.4",
    word_bits: 64,
    words: 2,
    levels: None,
    fields: |_, _| FIELDS.to_vec(),
    verdict: |entry, _| verdict(entry),
};

const FIELDS: &[Field] = &[
    reserved(0, 0, 12),
    field(0, 12, 52, "FI", Address("the page asked for lies")),
    spec!(1, W1, source, with_source, "SID", With(function)),
    reserved(1, 16, 12),
    spec!(1, W1, type2, with_type2, "T2", Text("upper bit of the type, with T1")),
    spec!(1, W1, privileged, with_privileged, "PRIV", Flag("unprivileged", "privileged")),
    spec!(1, W1, execute, with_execute, "EXE", Flag("no request to execute", "a request to execute")),
    spec!(
        1,
        W1,
        pasid_present,
        with_pasid_present,
        "PP",
        Flag("a request without PASID", "a request with PASID")
    ),
    spec!(
        1,
        W1,
        reason,
        with_reason,
        "FR",
        With(|value| meaning(value as u8).unwrap_or("a reason that is not explained here").into()),
    )
    .section("7.1.3"),
    spec!(1, W1, pasid, with_pasid, "PV", Text("the PASID, with PP")),
    spec!(
        1,
        W1,
        address_type,
        with_address_type,
        "AT",
        Values(&[(0, "an untranslated request"), (1, "a translation request"), (2, "a translated request")]),
    ),
    spec!(
        1,
        W1,
        type1,
        with_type1,
        "T1",
        Flag("a write, or with T2 a page request", "a read, or with T2 an atomic")
    ),
    spec!(1, W1, fault, with_fault, "F", Flag("the record is free", "the record holds a fault")),
];

/// A requester id as bus:device.function.
pub fn function(value: u64) -> String {
    format!("function {:02x}:{:02x}.{}", value >> 8 & 0xff, value >> 3 & 0x1f, value & 7)
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    if !entry.is("F") {
        return Verdict::new("the record is free: the rest is left from earlier");
    }
    let reason = entry.get("FR") as u8;
    let who = function(entry.get("SID"));
    let why = meaning(reason).map_or_else(|| format!("reason {reason:#x}"), String::from);
    if is_interrupt(reason) {
        return Verdict::new(format!(
            "an interrupt of {who}, index {:#x}, was stopped: {why}",
            entry.words.first().map_or(0, |word| word >> 48)
        ));
    }
    let what = match (entry.is("T2"), entry.is("T1")) {
        (false, false) => "a write",
        (false, true) => "a read",
        (true, false) => "a page request",
        (true, true) => "an atomic operation",
    };
    let pasid = match entry.is("PP") {
        true => format!(" with PASID {:#x}", entry.get("PV")),
        false => String::new(),
    };
    Verdict::new(format!("{what} in the page {:#x} by {who}{pasid} was stopped: {why}", entry.address("FI")))
        .wrong_if(entry.get("AT") == 3, "AT 3 is a reserved encoding (11.4)")
}
