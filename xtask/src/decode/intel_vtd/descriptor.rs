//! Invalidation descriptors (6.5.2): 128 bits in legacy mode, 256 where IQA.DW is set.

use intel_vtd::spec::descriptors::{
    ContextInvalidate as C, DescriptorType as Type, IotlbInvalidate0 as I0, IotlbInvalidate1 as I1,
    PasidInvalidate as P, Wait as W,
};

use super::fault::function;
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// A descriptor of 128 bits.
pub const DESCRIPTOR: Kind = Kind {
    name: "vtd-descriptor",
    title: "VT-d invalidation descriptor",
    source: Source::Vtd,
    section: "6.5.2",
    word_bits: 64,
    words: 2,
    levels: None,
    fields: |words, _| fields(words).to_vec(),
    verdict: |entry, _| verdict(entry),
};

/// A descriptor of 256 bits, the upper half zero in all that are explained here.
pub const WIDE_DESCRIPTOR: Kind = Kind {
    name: "vtd-wide-descriptor",
    title: "VT-d invalidation descriptor of 256 bits",
    words: 4,
    fields: |words, _| [fields(words), &[reserved_word(2), reserved_word(3)]].concat(),
    ..DESCRIPTOR
};

/// IOTLB invalidation under a PASID, of which the driver has none.
const PASID_IOTLB: u8 = 6;
/// The others of which the driver has none.
const DEVICE_TLB: u8 = 3;
const INTERRUPTS: u8 = 4;
const PASID_DEVICE_TLB: u8 = 8;
const PAGE_RESPONSE: u8 = 9;

const KIND: Field = spec!(
    0,
    C,
    kind,
    with_kind,
    "type",
    Values(&[
        (1, "context-cache invalidate"),
        (2, "IOTLB invalidate"),
        (3, "device TLB invalidate"),
        (4, "interrupt entry cache invalidate"),
        (5, "invalidation wait"),
        (6, "IOTLB invalidate under a PASID"),
        (7, "PASID-cache invalidate"),
        (8, "device TLB invalidate under a PASID"),
        (9, "page group response"),
    ]),
);
/// The upper bits of the type.
const KIND_HIGH: Field = field(0, 9, 3, "type_high", Text("upper bits of the type: 0")).quiet();

const CONTEXT: &[Field] = &[
    KIND,
    spec!(
        0,
        C,
        granularity,
        with_granularity,
        "G",
        Values(&[(1, "everything"), (2, "of one domain"), (3, "of one device")]),
    ),
    reserved(0, 6, 3),
    KIND_HIGH,
    reserved(0, 12, 4),
    spec!(0, C, domain, with_domain, "DID", Text("the domain under which it was cached")),
    spec!(0, C, source, with_source, "SID", With(function)),
    spec!(
        0,
        C,
        function_mask,
        with_function_mask,
        "FM",
        Values(&[
            (0, "all bits of the function number count"),
            (1, "bit 2 of the function number does not count"),
            (2, "bits 2:1 of the function number do not count"),
            (3, "the function number does not count"),
        ]),
    ),
    reserved(0, 50, 14),
    reserved_word(1),
];

const IOTLB: &[Field] = &[
    KIND,
    spec!(
        0,
        I0,
        granularity,
        with_granularity,
        "G",
        Values(&[(1, "everything"), (2, "of one domain"), (3, "pages of one domain")]),
    ),
    spec!(0, I0, drain_writes, with_drain_writes, "DW", Flag("writes are not drained", "writes are drained")),
    spec!(0, I0, drain_reads, with_drain_reads, "DR", Flag("reads are not drained", "reads are drained")),
    reserved(0, 8, 1),
    KIND_HIGH,
    reserved(0, 12, 4),
    spec!(0, I0, domain, with_domain, "DID", With(|value| format!("domain {value}"))),
    reserved(0, 32, 32),
    spec!(1, I1, address_mask, with_address_mask, "AM", With(pages)),
    spec!(
        1,
        I1,
        leaves_only,
        with_leaves_only,
        "IH",
        Flag("entries above the leaves are forgotten too", "entries above the leaves are unchanged"),
    ),
    reserved(1, 7, 5),
    spec!(1, I1, page, with_page, "ADDR", Address("the first page lies")),
];

const PASID_IOTLB_FIELDS: &[Field] = &[
    KIND,
    field(0, 4, 2, "G", Values(&[(2, "of one PASID"), (3, "pages of one PASID")])),
    reserved(0, 6, 3),
    KIND_HIGH,
    reserved(0, 12, 4),
    field(0, 16, 16, "DID", With(|value| format!("domain {value}"))),
    field(0, 32, 20, "PASID", Text("whose")),
    reserved(0, 52, 12),
    field(1, 0, 6, "AM", With(pages)),
    field(
        1,
        6,
        1,
        "IH",
        Flag("entries above the leaves are forgotten too", "entries above the leaves are unchanged"),
    ),
    reserved(1, 7, 5),
    field(1, 12, 52, "ADDR", Address("the first page lies")),
];

const PASID: &[Field] = &[
    KIND,
    spec!(
        0,
        P,
        granularity,
        with_granularity,
        "G",
        Values(&[(0, "of one domain"), (1, "of one PASID of a domain"), (3, "everything")]),
    ),
    reserved(0, 6, 3),
    KIND_HIGH,
    reserved(0, 12, 4),
    spec!(0, P, domain, with_domain, "DID", With(|value| format!("domain {value}"))),
    spec!(0, P, pasid, with_pasid, "PASID", Text("whose")),
    reserved(0, 52, 12),
    reserved_word(1),
];

const WAIT: &[Field] = &[
    KIND,
    spec!(0, W, interrupt, with_interrupt, "IF", Flag("no interrupt", "an interrupt on completion")),
    spec!(0, W, store, with_store, "SW", Flag("nothing is stored", "the status is stored on completion")),
    spec!(
        0,
        W,
        fence,
        with_fence,
        "FN",
        Flag("later descriptors need not wait", "later descriptors begin after all before have completed"),
    ),
    spec!(
        0,
        W,
        page_drain,
        with_page_drain,
        "PD",
        Flag("page requests are not drained", "page requests are drained")
    ),
    reserved(0, 8, 1),
    KIND_HIGH,
    reserved(0, 12, 20),
    spec!(0, W, status, with_status, "status data", Text("what is stored")),
    reserved(1, 0, 2),
    field(1, 2, 62, "status address", Address("it is stored")),
];

const DEVICE_TLB_FIELDS: &[Field] = &[
    KIND,
    reserved(0, 4, 5),
    KIND_HIGH,
    field(0, 12, 4, "PFSID_low", Text("the physical function, bits 3:0")),
    field(0, 16, 5, "MIP", Text("how many invalidations the device may have pending")),
    reserved(0, 21, 11),
    field(0, 32, 16, "SID", With(function)),
    reserved(0, 48, 4),
    field(0, 52, 12, "PFSID_high", Text("the physical function, bits 15:4")),
    field(1, 0, 1, "S", Flag("one page", "more pages, by the lowest clear bit of ADDR")),
    reserved(1, 1, 11),
    field(1, 12, 52, "ADDR", Address("the first page lies")),
];

const INTERRUPT_FIELDS: &[Field] = &[
    KIND,
    field(0, 4, 1, "G", Flag("everything", "by index")),
    reserved(0, 5, 4),
    KIND_HIGH,
    reserved(0, 12, 15),
    field(0, 27, 5, "IM", With(|value| format!("2^{value} entries, aligned"))),
    field(0, 32, 16, "IIDX", Text("the first entry")),
    reserved(0, 48, 16),
    reserved_word(1),
];

const PASID_DEVICE_TLB_FIELDS: &[Field] = &[
    KIND,
    field(0, 4, 5, "MIP", Text("how many invalidations the device may have pending")),
    KIND_HIGH,
    field(0, 12, 4, "PFSID_low", Text("the physical function, bits 3:0")),
    field(0, 16, 16, "SID", With(function)),
    field(0, 32, 20, "PASID", Text("whose")),
    field(0, 52, 12, "PFSID_high", Text("the physical function, bits 15:4")),
    field(1, 0, 1, "G", Flag("of the PASID", "of all PASIDs")),
    reserved(1, 1, 10),
    field(1, 11, 1, "S", Flag("one page", "more pages, by the lowest clear bit of ADDR")),
    field(1, 12, 52, "ADDR", Address("the first page lies")),
];

const OTHER: &[Field] = &[
    KIND,
    field(0, 4, 5, "word0_low", Text("not explained here")),
    KIND_HIGH,
    field(0, 12, 52, "word0_high", Text("not explained here")),
    field(1, 0, 64, "word1", Text("not explained here")),
];

fn pages(value: u64) -> String {
    match value {
        0 => "1 page of 4 KiB".into(),
        1..52 => format!("{} pages of 4 KiB, aligned", 1_u64 << value),
        _ => "all of the address space".into(),
    }
}

fn kind_of(words: &[u64]) -> Type {
    Type(words.first().map_or(0, |word| (word & 0xf) as u8))
}

fn fields(words: &[u64]) -> &'static [Field] {
    match kind_of(words) {
        Type::CONTEXT => CONTEXT,
        Type::IOTLB => IOTLB,
        Type::WAIT => WAIT,
        Type::PASID => PASID,
        Type(PASID_IOTLB) => PASID_IOTLB_FIELDS,
        Type(DEVICE_TLB) => DEVICE_TLB_FIELDS,
        Type(INTERRUPTS) => INTERRUPT_FIELDS,
        Type(PASID_DEVICE_TLB) => PASID_DEVICE_TLB_FIELDS,
        _ => OTHER,
    }
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    let kind = kind_of(entry.words);
    let high = entry.is("type_high");
    let verdict = match kind {
        Type::CONTEXT => context(entry),
        Type::IOTLB => iotlb(entry),
        Type::PASID => pasid(entry),
        Type(PASID_IOTLB) => pasid_iotlb(entry),
        Type::WAIT => wait(entry),
        Type(DEVICE_TLB) => Verdict::new(format!(
            "{} forgets translations in its own TLB from {:#x} on",
            function(entry.get("SID")),
            entry.address("ADDR")
        )),
        Type(PASID_DEVICE_TLB) => Verdict::new(format!(
            "{} forgets translations of PASID {:#x} in its own TLB from {:#x} on",
            function(entry.get("SID")),
            entry.get("PASID"),
            entry.address("ADDR")
        )),
        Type(INTERRUPTS) => Verdict::new(match entry.is("G") {
            false => "forgets all interrupt remapping entries".to_string(),
            true => format!(
                "forgets 2^{} interrupt remapping entries from {:#x} on",
                entry.get("IM"),
                entry.get("IIDX")
            ),
        }),
        Type(PAGE_RESPONSE) => Verdict::new("answers a page request group; not explained further here"),
        Type(kind) => Verdict::new("the unit has no such descriptor")
            .wrong_if(true, invalid(format!("type {kind} is reserved"), 3)),
    };
    verdict.wrong_if(high, invalid("the upper bits of the type are not zero".into(), 3))
}

/// What the unit does with an invalid descriptor (6.5.2.10).
fn invalid(what: String, reason: u8) -> String {
    format!("{what}: the queue stops, FSTS.IQE, IQERCD.IQEI {reason} (6.5.2.10)")
}

fn context(entry: &Entry<'_>) -> Verdict {
    let (domain, granularity) = (entry.get("DID"), entry.get("G"));
    Verdict::new(match granularity {
        1 => "forgets all context entries".to_string(),
        2 => format!("forgets the context entries of domain {domain}"),
        3 => format!(
            "forgets the context entry of {}, cached under domain {domain}",
            function(entry.get("SID"))
        ),
        _ => "forgets nothing".into(),
    })
    .wrong_if(granularity == 0, invalid("G 0 is reserved".into(), 4))
}

fn drains(entry: &Entry<'_>) -> String {
    list(&[when(entry.is("DW"), "drains writes"), when(entry.is("DR"), "drains reads")])
}

/// The pages that ADDR and AM name.
fn range(entry: &Entry<'_>) -> String {
    let (at, mask) = (entry.address("ADDR"), entry.get("AM"));
    let bytes = 1_u128 << (12 + mask);
    let last = (u128::from(at) & !(bytes - 1)) + bytes - 1;
    format!("{at:#x} to {last:#x}")
}

fn misaligned(entry: &Entry<'_>) -> bool {
    let (page, mask) = (entry.address("ADDR") >> 12, entry.get("AM"));
    mask < 52 && page & ((1 << mask) - 1) != 0
}

fn iotlb(entry: &Entry<'_>) -> Verdict {
    let (domain, granularity) = (entry.get("DID"), entry.get("G"));
    let does = match granularity {
        1 => "forgets all translations".to_string(),
        2 => format!("forgets all translations of domain {domain}"),
        3 => format!("forgets translations of {} in domain {domain}", range(entry)),
        _ => "forgets nothing".into(),
    };
    let leaves = when(granularity == 3 && entry.is("IH"), "leaves alone");
    Verdict::new(list(&[&does, leaves, &drains(entry)]))
        .wrong_if(granularity == 0, invalid("G 0 is reserved".into(), 4))
        .wrong_if(granularity == 3 && misaligned(entry), "ADDR is not aligned as AM says (6.5.2.3)")
}

fn pasid_iotlb(entry: &Entry<'_>) -> Verdict {
    let (domain, pasid, granularity) = (entry.get("DID"), entry.get("PASID"), entry.get("G"));
    Verdict::new(match granularity {
        2 => format!("forgets all translations of PASID {pasid:#x} in domain {domain}"),
        3 => format!("forgets translations of {} of PASID {pasid:#x} in domain {domain}", range(entry)),
        _ => "forgets nothing".into(),
    })
    .wrong_if(granularity < 2, invalid(format!("G {granularity} is reserved"), 4))
    .wrong_if(granularity == 3 && misaligned(entry), "ADDR is not aligned as AM says (6.5.2.4)")
}

fn pasid(entry: &Entry<'_>) -> Verdict {
    let (domain, granularity) = (entry.get("DID"), entry.get("G"));
    Verdict::new(match granularity {
        0 => format!("forgets the PASID table entries of domain {domain}"),
        1 => format!("forgets the entry of PASID {:#x} in domain {domain}", entry.get("PASID")),
        3 => "forgets all PASID table entries".into(),
        _ => "forgets nothing".into(),
    })
    .wrong_if(granularity == 2, invalid("G 2 is reserved".into(), 4))
}

fn wait(entry: &Entry<'_>) -> Verdict {
    let store = match entry.is("SW") {
        true => format!("stores {:#x} at {:#x}", entry.get("status data"), entry.address("status address")),
        false => String::new(),
    };
    let does = list(&[&store, when(entry.is("IF"), "raises an interrupt")]);
    let does = if does.is_empty() { "does nothing more".into() } else { does };
    let fence = when(entry.is("FN"), "; what follows begins after that");
    Verdict::new(format!("waits until all invalidations before it are complete, then {does}{fence}"))
}
