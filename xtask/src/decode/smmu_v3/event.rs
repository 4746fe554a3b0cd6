//! Event records (IHI 0070, 7.3).

use arm_smmu_v3::spec::events::{EventType as Event, EventWord0 as W0, EventWord1 as W1};

use crate::decode::{
    entry::{Entry, Verdict, list},
    field::{Field, Meaning::*, field, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// An event record.
pub const EVENT: Kind = Kind {
    name: "smmu-event",
    title: "SMMUv3 event record",
    source: Source::Smmu,
    section: "7.3",
    word_bits: 64,
    words: 4,
    levels: None,
    fields: |words, _| fields(words),
    verdict: |entry, _| verdict(entry),
};

/// The layouts of what follows the head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Nothing.
    Empty,
    /// An access that was not even looked up.
    Refused,
    /// A structure that could not be read.
    Fetch,
    /// A table that could not be read.
    Walk,
    /// A translation fault of any sort.
    Translation,
    /// An ATS request.
    Ats,
    /// Nothing that this knows.
    Unknown,
}

struct About {
    event: u8,
    name: &'static str,
    section: &'static str,
    body: Body,
    means: &'static str,
}

const fn about(
    event: Event,
    name: &'static str,
    section: &'static str,
    body: Body,
    means: &'static str,
) -> About {
    About { event: event.0, name, section, body, means }
}

const EVENTS: &[About] = &[
    about(
        Event::F_UUT,
        "F_UUT",
        "7.3.2",
        Body::Refused,
        "the device made an access that the unit does not support",
    ),
    about(
        Event::C_BAD_STREAMID,
        "C_BAD_STREAMID",
        "7.3.3",
        Body::Empty,
        "the stream has no entry in the stream table",
    ),
    about(Event::F_STE_FETCH, "F_STE_FETCH", "7.3.4", Body::Fetch, "reading the stream table entry aborted"),
    about(
        Event::C_BAD_STE,
        "C_BAD_STE",
        "7.3.5",
        Body::Empty,
        "the stream table entry is invalid or illegal: decode it with smmu-ste",
    ),
    about(
        Event::F_BAD_ATS_TREQ,
        "F_BAD_ATS_TREQ",
        "7.3.6",
        Body::Ats,
        "an ATS request that the entry forbids",
    ),
    about(
        Event::F_STREAM_DISABLED,
        "F_STREAM_DISABLED",
        "7.3.7",
        Body::Empty,
        "an access without SubstreamID, or with SubstreamID 0, where the entry allows none",
    ),
    about(
        Event::F_TRANSL_FORBIDDEN,
        "F_TRANSL_FORBIDDEN",
        "7.3.8",
        Body::Refused,
        "an access that claims to be translated, which the entry forbids",
    ),
    about(
        Event::C_BAD_SUBSTREAMID,
        "C_BAD_SUBSTREAMID",
        "7.3.9",
        Body::Empty,
        "the SubstreamID has no context descriptor",
    ),
    about(Event::F_CD_FETCH, "F_CD_FETCH", "7.3.10", Body::Fetch, "reading the context descriptor aborted"),
    about(
        Event::C_BAD_CD,
        "C_BAD_CD",
        "7.3.11",
        Body::Empty,
        "the context descriptor is invalid or illegal: decode it with smmu-cd",
    ),
    about(Event::F_WALK_EABT, "F_WALK_EABT", "7.3.12", Body::Walk, "reading a translation table aborted"),
    about(
        Event::F_TRANSLATION,
        "F_TRANSLATION",
        "7.3.13",
        Body::Translation,
        "nothing is mapped at the address",
    ),
    about(
        Event::F_ADDR_SIZE,
        "F_ADDR_SIZE",
        "7.3.14",
        Body::Translation,
        "an address in the tables is wider than they allow",
    ),
    about(Event::F_ACCESS, "F_ACCESS", "7.3.15", Body::Translation, "the access flag of the page is clear"),
    about(
        Event::F_PERMISSION,
        "F_PERMISSION",
        "7.3.16",
        Body::Translation,
        "the mapping does not allow the access",
    ),
    about(Event(0x20), "F_TLB_CONFLICT", "7.3.17", Body::Unknown, "the TLB holds entries that contradict"),
    about(Event(0x21), "F_CFG_CONFLICT", "7.3.18", Body::Unknown, "the configuration caches contradict"),
    about(Event(0x24), "E_PAGE_REQUEST", "7.3.19", Body::Unknown, "a hint that a page will be asked for"),
    about(
        Event(0x25),
        "F_VMS_FETCH",
        "7.3.20",
        Body::Unknown,
        "reading the virtual machine structure aborted",
    ),
];

fn find(event: u8) -> Option<&'static About> {
    EVENTS.iter().find(|about| about.event == event)
}

/// The name of an event, as QEMU and Linux print it too.
fn name(value: u64) -> String {
    match find(value as u8) {
        Some(about) => format!("{}: {}", about.name, about.means),
        None if (0xe0..0xf0).contains(&value) => "an event of the implementation".into(),
        None => "no event of the specification".into(),
    }
}

const HEAD: &[Field] = &[
    spec!(0, W0, event, with_event, "type", With(name)),
    reserved(0, 8, 3),
    spec!(0, W0, ssv, with_ssv, "SSV", Flag("no SubstreamID", "the SubstreamID is valid")),
    spec!(0, W0, substream, with_substream, "SubstreamID", Text("of the access, with SSV")),
    spec!(0, W0, stream, with_stream, "StreamID", Text("of the device")),
];

const EMPTY: &[Field] = &[reserved_word(1), reserved_word(2), reserved_word(3)];

const UNKNOWN: &[Field] = &[
    field(1, 0, 64, "word1", Text("not explained here")),
    field(2, 0, 64, "word2", Text("not explained here")),
    field(3, 0, 64, "word3", Text("not explained here")),
];

const PRIVILEGED: Field =
    spec!(1, W1, privileged, with_privileged, "PnU", Flag("unprivileged", "privileged"));
const INSTRUCTION: Field =
    spec!(1, W1, instruction, with_instruction, "InD", Flag("data", "instruction fetch"));
const READ: Field = spec!(1, W1, read, with_read, "RnW", Flag("a write", "a read"));
const STAGE2: Field = spec!(1, W1, stage2, with_stage2, "S2", Flag("stage 1", "stage 2"));
const CLASS: Field = spec!(
    1,
    W1,
    class,
    with_class,
    "CLASS",
    Values(&[
        (0, "met when the context descriptor was read"),
        (1, "met when a stage 1 table was read"),
        (2, "met by the access itself"),
    ]),
);
const INPUT: Field = field(2, 0, 64, "InputAddr", Text("the address that the device used"));
const REASON: Field = field(1, 0, 16, "Reason", Text("the implementation's")).quiet();
const GPCF: Field = field(1, 16, 1, "GPCF", Flag("", "the granule protection check refused")).quiet();
const FETCHED: Field = field(3, 3, 53, "FetchAddr", Address("what was read lies"));

const REFUSED: &[Field] = &[
    REASON,
    reserved(1, 16, 17),
    PRIVILEGED,
    INSTRUCTION,
    READ,
    reserved(1, 36, 28),
    INPUT,
    reserved_word(3),
];

const FETCH: &[Field] =
    &[REASON, GPCF, reserved(1, 17, 47), reserved_word(2), reserved(3, 0, 3), FETCHED, reserved(3, 56, 8)];

const WALK: &[Field] = &[
    REASON,
    GPCF,
    reserved(1, 17, 16),
    PRIVILEGED,
    INSTRUCTION,
    READ,
    reserved(1, 36, 3),
    STAGE2,
    CLASS,
    reserved(1, 42, 22),
    INPUT,
    reserved(3, 0, 3),
    FETCHED,
    reserved(3, 56, 8),
];

const TRANSLATION: &[Field] = &[
    spec!(1, W1, stag, with_stag, "STAG", Text("to be named in CMD_RESUME, with Stall")),
    reserved(1, 16, 15),
    spec!(1, W1, stall, with_stall, "Stall", Flag("the access was terminated", "it waits: CMD_RESUME"),),
    reserved(1, 32, 1),
    PRIVILEGED,
    INSTRUCTION,
    READ,
    field(1, 36, 1, "NSIPA", Text("of Secure streams alone")).quiet(),
    reserved(1, 37, 2),
    STAGE2,
    CLASS,
    field(1, 42, 1, "TTRnW", Flag("", "the table was read, not written")).quiet(),
    reserved(1, 43, 5),
    field(1, 48, 16, "IMPDEF", Text("the implementation's")).quiet(),
    INPUT,
    reserved(3, 0, 12),
    field(3, 12, 44, "IPA", Address("of stage 2 faults: intermediate address")),
    reserved(3, 56, 8),
];

const ATS: &[Field] = &[
    field(1, 0, 64, "word1", Text("rights that were asked for, length")),
    field(2, 0, 12, "low", Text("not explained here")).quiet(),
    field(2, 12, 52, "InputAddr", Address("the page asked for lies")),
    reserved_word(3),
];

fn fields(words: &[u64]) -> Vec<Field> {
    let event = words.first().copied().unwrap_or_default() as u8;
    let (body, section) = find(event).map_or((Body::Unknown, ""), |about| (about.body, about.section));
    let body = match body {
        Body::Empty => EMPTY,
        Body::Refused => REFUSED,
        Body::Fetch => FETCH,
        Body::Walk => WALK,
        Body::Translation => TRANSLATION,
        Body::Ats => ATS,
        Body::Unknown => UNKNOWN,
    };
    [HEAD, body].concat().into_iter().map(|field| field.section(section)).collect()
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    let stream = entry.get("StreamID");
    let Some(about) = find(entry.get("type") as u8) else {
        return Verdict::new(format!("stream {stream:#x}: an event that is not explained here"));
    };
    let substream = match entry.is("SSV") {
        true => format!(" with SubstreamID {:#x}", entry.get("SubstreamID")),
        false => String::new(),
    };
    let access = || {
        let what = match (entry.is("InD"), entry.is("RnW")) {
            (true, _) => "an instruction fetch",
            (false, true) => "a read",
            (false, false) => "a write",
        };
        format!("{what} at {:#x} by stream {stream:#x}{substream}", entry.get("InputAddr"))
    };
    let class =
        |entry: &Entry<'_>| ["context descriptor", "stage 1 table", "", ""][entry.get("CLASS") as usize & 3];
    match about.body {
        Body::Refused => Verdict::new(format!("{} was stopped: {}", access(), about.means)),
        Body::Walk => {
            let stage = if entry.is("S2") { "stage 2" } else { "stage 1" };
            let at = entry.address("FetchAddr");
            Verdict::new(format!("{} was stopped: {}, {stage}, at {at:#x}", access(), about.means))
        }
        Body::Translation => {
            let stage = if entry.is("S2") { "stage 2" } else { "stage 1" };
            let met = match class(entry) {
                "" => String::new(),
                what => format!("met reading the {what}"),
            };
            let stall = if entry.is("Stall") { "stalls" } else { "was stopped" };
            let why = list(&[about.means, stage, &met]);
            Verdict::new(format!("{} {stall}: {why}", access()))
                .wrong_if(entry.get("CLASS") == 3, "CLASS 3 is a reserved encoding (7.3)")
        }
        Body::Fetch => {
            let at = entry.address("FetchAddr");
            Verdict::new(format!("stream {stream:#x}{substream}: {}, at {at:#x}", about.means))
        }
        Body::Empty | Body::Ats | Body::Unknown => {
            Verdict::new(format!("stream {stream:#x}{substream}: {}", about.means))
        }
    }
}
