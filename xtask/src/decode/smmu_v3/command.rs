//! Commands (IHI 0070, 4).

use arm_smmu_v3::spec::commands::{
    ConfigWord0 as C0, ConfigWord1 as C1, Opcode, TlbiWord0 as T0, TlbiWord1 as T1,
};

use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, reserved, reserved_word, spec},
    kind::{Kind, Source},
};

/// A command.
pub const COMMAND: Kind = Kind {
    name: "smmu-command",
    title: "SMMUv3 command",
    source: Source::Smmu,
    section: "4",
    word_bits: 64,
    words: 2,
    levels: None,
    fields: |words, _| fields(words),
    verdict: |entry, _| verdict(entry),
};

/// The layouts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A stream's configuration, with Leaf.
    Stream,
    /// Several streams' or all configuration.
    StreamRange,
    /// One context descriptor, with Leaf.
    Substream,
    /// A stream, and nothing else.
    StreamAlone,
    /// Nothing.
    Plain,
    /// A VMID.
    Vmid,
    /// An ASID, and a VMID where the name has NH.
    Asid,
    /// Addresses under ASID and VMID, or intermediate addresses under a VMID.
    Addresses,
    /// A PCIe function's own TLB.
    Atc,
    /// A response to a page request.
    PriResponse,
    /// A stalled access.
    Resume,
    /// CMD_SYNC.
    Sync,
    /// Not explained further.
    Other,
}

struct About {
    opcode: u8,
    name: &'static str,
    section: &'static str,
    shape: Shape,
}

const fn about(opcode: Opcode, name: &'static str, section: &'static str, shape: Shape) -> About {
    About { opcode: opcode.0, name, section, shape }
}

const COMMANDS: &[About] = &[
    about(Opcode(0x01), "CMD_PREFETCH_CONFIG", "4.2.1", Shape::Substream),
    about(Opcode(0x02), "CMD_PREFETCH_ADDR", "4.2.2", Shape::Other),
    about(Opcode::CFGI_STE, "CMD_CFGI_STE", "4.3.1", Shape::Stream),
    about(Opcode::CFGI_STE_RANGE, "CMD_CFGI_STE_RANGE", "4.3.2", Shape::StreamRange),
    about(Opcode(0x05), "CMD_CFGI_CD", "4.3.3", Shape::Substream),
    about(Opcode(0x06), "CMD_CFGI_CD_ALL", "4.3.4", Shape::StreamAlone),
    about(Opcode(0x07), "CMD_CFGI_VMS_PIDM", "4.3.6", Shape::Vmid),
    about(Opcode(0x10), "CMD_TLBI_NH_ALL", "4.4.2", Shape::Vmid),
    about(Opcode::TLBI_NH_ASID, "CMD_TLBI_NH_ASID", "4.4.2", Shape::Asid),
    about(Opcode::TLBI_NH_VA, "CMD_TLBI_NH_VA", "4.4.2", Shape::Addresses),
    about(Opcode(0x13), "CMD_TLBI_NH_VAA", "4.4.2", Shape::Addresses),
    about(Opcode(0x18), "CMD_TLBI_EL3_ALL", "4.4", Shape::Plain),
    about(Opcode(0x1a), "CMD_TLBI_EL3_VA", "4.4", Shape::Addresses),
    about(Opcode::TLBI_EL2_ALL, "CMD_TLBI_EL2_ALL", "4.4.3", Shape::Plain),
    about(Opcode(0x21), "CMD_TLBI_EL2_ASID", "4.4.3", Shape::Asid),
    about(Opcode(0x22), "CMD_TLBI_EL2_VA", "4.4.3", Shape::Addresses),
    about(Opcode(0x23), "CMD_TLBI_EL2_VAA", "4.4.3", Shape::Addresses),
    about(Opcode::TLBI_S12_VMALL, "CMD_TLBI_S12_VMALL", "4.4.4", Shape::Vmid),
    about(Opcode::TLBI_S2_IPA, "CMD_TLBI_S2_IPA", "4.4.4", Shape::Addresses),
    about(Opcode::TLBI_NSNH_ALL, "CMD_TLBI_NSNH_ALL", "4.4.2", Shape::Plain),
    about(Opcode(0x40), "CMD_ATC_INV", "4.5.1", Shape::Atc),
    about(Opcode(0x41), "CMD_PRI_RESP", "4.5.2", Shape::PriResponse),
    about(Opcode(0x44), "CMD_RESUME", "4.7.1", Shape::Resume),
    about(Opcode(0x45), "CMD_STALL_TERM", "4.7.2", Shape::StreamAlone),
    about(Opcode::SYNC, "CMD_SYNC", "4.7.3", Shape::Sync),
    about(Opcode(0x50), "CMD_TLBI_S_EL2_ALL", "4.4", Shape::Other),
    about(Opcode(0x51), "CMD_TLBI_S_EL2_ASID", "4.4", Shape::Other),
    about(Opcode(0x52), "CMD_TLBI_S_EL2_VA", "4.4", Shape::Other),
    about(Opcode(0x53), "CMD_TLBI_S_EL2_VAA", "4.4", Shape::Other),
    about(Opcode(0x58), "CMD_TLBI_S_S12_VMALL", "4.4", Shape::Other),
    about(Opcode(0x5a), "CMD_TLBI_S_S2_IPA", "4.4", Shape::Other),
    about(Opcode(0x60), "CMD_TLBI_SNH_ALL", "4.4", Shape::Other),
    about(Opcode(0x70), "CMD_DPTI_ALL", "4.6.1", Shape::Plain),
    about(Opcode(0x73), "CMD_DPTI_PA", "4.6.2", Shape::Other),
];

fn find(opcode: u8) -> Option<&'static About> {
    COMMANDS.iter().find(|about| about.opcode == opcode)
}

fn name(value: u64) -> String {
    match find(value as u8) {
        Some(about) => about.name.into(),
        None if (0x80..0x90).contains(&value) => "a command of the implementation".into(),
        None => "a reserved opcode".into(),
    }
}

const OPCODE: Field = spec!(0, C0, opcode, with_opcode, "opcode", With(name)).section("4.1.1");
const SSEC: Field = field(0, 10, 1, "SSec", Text("of the Secure queue alone")).section("4.1.6").quiet();
const SSV: Field = field(0, 11, 1, "SSV", Flag("no SubstreamID", "the SubstreamID is valid"));
const SUBSTREAM: Field = field(0, 12, 20, "SubstreamID", Text("with SSV"));
const STREAM: Field = spec!(0, C0, stream, with_stream, "StreamID", Text("of the device"));
const VMID: Field = spec!(0, T0, vmid, with_vmid, "VMID", With(|value| format!("VMID {value}")));
const ASID: Field = spec!(0, T0, asid, with_asid, "ASID", With(|value| format!("ASID {value}")));
const LEAF: Field =
    field(1, 0, 1, "Leaf", Flag("what leads to it is forgotten too", "the level 1 descriptor stays cached"));

const STREAM_WITH_LEAF: &[Field] =
    &[OPCODE, reserved(0, 8, 2), SSEC, reserved(0, 11, 21), STREAM, LEAF, reserved(1, 1, 63)];

const STREAM_RANGE: &[Field] = &[
    OPCODE,
    reserved(0, 8, 2),
    SSEC,
    reserved(0, 11, 21),
    STREAM,
    spec!(
        1,
        C1,
        leaf_or_range,
        with_leaf_or_range,
        "Range",
        With(|value| match value {
            31 => "everything: this is CMD_CFGI_ALL".into(),
            _ => format!("{} streams, aligned", 1_u64 << (value + 1)),
        }),
    ),
    reserved(1, 5, 59),
];

const SUBSTREAM_WITH_LEAF: &[Field] =
    &[OPCODE, reserved(0, 8, 2), SSEC, SSV, SUBSTREAM, STREAM, LEAF, reserved(1, 1, 63)];

const STREAM_ALONE: &[Field] =
    &[OPCODE, reserved(0, 8, 2), SSEC, reserved(0, 11, 21), STREAM, reserved_word(1)];

const PLAIN: &[Field] = &[OPCODE, reserved(0, 8, 56), reserved_word(1)];

const VMID_ALONE: &[Field] = &[OPCODE, reserved(0, 8, 24), VMID, reserved(0, 48, 16), reserved_word(1)];

const ASID_AND_VMID: &[Field] = &[OPCODE, reserved(0, 8, 24), VMID, ASID, reserved_word(1)];

const ADDRESSES: &[Field] = &[
    OPCODE,
    reserved(0, 8, 4),
    spec!(0, T0, num, with_num, "NUM", Text("of a range: one less than how often 2^SCALE pages"))
        .section("4.4.1.1"),
    reserved(0, 17, 3),
    spec!(0, T0, scale, with_scale, "SCALE", Text("of a range: base-2 logarithm of pages"))
        .section("4.4.1.1"),
    reserved(0, 26, 6),
    VMID,
    ASID,
    spec!(
        1,
        T1,
        leaf,
        with_leaf,
        "Leaf",
        Flag("entries of all levels are forgotten", "entries above the last level stay cached"),
    ),
    reserved(1, 1, 6),
    field(1, 7, 1, "TTL128", Text("the level is of 128-bit descriptors")).section("4.4.1.1").quiet(),
    spec!(
        1,
        T1,
        ttl,
        with_ttl,
        "TTL",
        With(|value| {
            if value == 0 { "leaves of any level".into() } else { format!("leaves of level {value}") }
        },),
    )
    .section("4.4.1.1"),
    spec!(
        1,
        T1,
        tg,
        with_tg,
        "TG",
        Values(&[(0, "no range: one address"), (1, "a range of 4 KiB pages"), (2, "16 KiB"), (3, "64 KiB")]),
    )
    .section("4.4.1.1"),
    spec!(1, T1, page, with_page, "Address", Address("the first page lies")),
];

const ATC: &[Field] = &[
    OPCODE,
    reserved(0, 8, 1),
    field(0, 9, 1, "Global", Text("for all PASIDs")),
    SSEC,
    SSV,
    SUBSTREAM,
    STREAM,
    field(
        1,
        0,
        6,
        "Size",
        With(|value| match value {
            52.. => "everything".into(),
            _ => format!("{} pages of 4 KiB, aligned", 1_u64 << value),
        }),
    ),
    reserved(1, 6, 6),
    field(1, 12, 52, "Address", Address("the first page lies")),
];

const PRI_RESPONSE: &[Field] = &[
    OPCODE,
    reserved(0, 8, 2),
    SSEC,
    SSV,
    SUBSTREAM,
    STREAM,
    field(1, 0, 9, "PRGIndex", Text("the page request group")),
    reserved(1, 9, 3),
    field(
        1,
        12,
        2,
        "Resp",
        Values(&[
            (0, "ResponseFailure: no page request of the device is served"),
            (1, "InvalidRequest: some page was not paged in"),
            (2, "Success"),
            (3, "reserved: illegal"),
        ]),
    ),
    reserved(1, 14, 50),
];

const RESUME: &[Field] = &[
    OPCODE,
    reserved(0, 8, 2),
    SSEC,
    reserved(0, 11, 1),
    field(0, 12, 1, "Ac", Flag("the access is terminated", "the access is tried again")),
    field(0, 13, 1, "Ab", Flag("it reads zero, ignores writes", "it aborts")),
    reserved(0, 14, 18),
    STREAM,
    field(1, 0, 16, "STAG", Text("of the event record")),
    reserved(1, 16, 48),
];

const SYNC: &[Field] = &[
    OPCODE,
    reserved(0, 8, 4),
    field(
        0,
        12,
        2,
        "CS",
        Values(&[
            (0, "SIG_NONE: CMDQ_CONS alone shows completion"),
            (1, "SIG_IRQ: an interrupt"),
            (2, "SIG_SEV: an event"),
        ]),
    ),
    reserved(0, 14, 8),
    field(0, 22, 2, "MSH", Text("shareability of the message")).quiet(),
    field(0, 24, 4, "MSIAttr", Text("memory type of the message")).quiet(),
    reserved(0, 28, 4),
    field(0, 32, 32, "MSIData", Text("the message of SIG_IRQ")),
    reserved(1, 0, 2),
    field(1, 2, 54, "MSIAddress", Address("the message of SIG_IRQ is stored")),
    reserved(1, 56, 8),
];

const OTHER: &[Field] = &[
    OPCODE,
    field(0, 8, 56, "word0", Text("not explained here")),
    field(1, 0, 64, "word1", Text("not explained here")),
];

fn fields(words: &[u64]) -> Vec<Field> {
    let opcode = words.first().copied().unwrap_or_default() as u8;
    let (shape, section) = find(opcode).map_or((Shape::Other, ""), |about| (about.shape, about.section));
    let fields = match shape {
        Shape::Stream => STREAM_WITH_LEAF,
        Shape::StreamRange => STREAM_RANGE,
        Shape::Substream => SUBSTREAM_WITH_LEAF,
        Shape::StreamAlone => STREAM_ALONE,
        Shape::Plain => PLAIN,
        Shape::Vmid => VMID_ALONE,
        Shape::Asid => ASID_AND_VMID,
        Shape::Addresses => ADDRESSES,
        Shape::Atc => ATC,
        Shape::PriResponse => PRI_RESPONSE,
        Shape::Resume => RESUME,
        Shape::Sync => SYNC,
        Shape::Other => OTHER,
    };
    let own = |field: &Field| if field.section.is_empty() { field.section(section) } else { *field };
    fields.iter().map(own).collect()
}

fn verdict(entry: &Entry<'_>) -> Verdict {
    let opcode = entry.get("opcode") as u8;
    let Some(about) = find(opcode) else {
        let wrong = format!("opcode {opcode:#04x} is reserved: the queue stops with CERROR_ILL (4.1.3)");
        return Verdict::new("the unit has no such command").wrong_if(!(0x80..0x90).contains(&opcode), wrong);
    };
    let plain = |does: &str| Verdict::new(format!("{}: {does}", about.name));
    let stream = || format!("stream {:#x}", entry.get("StreamID"));
    match about.shape {
        Shape::Stream => {
            let leaf = if entry.is("Leaf") { "" } else { "the level 1 descriptor" };
            plain(&list(&[
                &format!("forgets the entry of {} and the context descriptors that it leads to", stream()),
                leaf,
            ]))
        }
        Shape::StreamRange if entry.get("Range") == 31 => {
            Verdict::new("CMD_CFGI_ALL: forgets all stream table entries and context descriptors")
        }
        Shape::StreamRange => {
            let count = 1_u64 << (entry.get("Range") + 1);
            let first = entry.get("StreamID") & !(count - 1);
            plain(&format!("forgets the entries of streams {first:#x} to {:#x}", first + count - 1))
        }
        Shape::Substream if opcode == 1 => plain(&format!("prefetches the configuration of {}", stream())),
        Shape::Substream => plain(&format!("forgets a context descriptor of {}", stream())),
        Shape::StreamAlone if opcode == 0x45 => {
            plain(&format!("terminates all stalled accesses of {}", stream()))
        }
        Shape::StreamAlone => plain(&format!("forgets all context descriptors of {}", stream())),
        Shape::Plain => plain(match opcode {
            0x20 => "forgets all translations of EL2",
            0x30 => "forgets all Non-secure translations but those of EL2",
            0x18 => "forgets all translations of EL3",
            _ => "forgets all that is cached of the device permission table",
        }),
        Shape::Vmid => plain(&match opcode {
            0x07 => format!("forgets the partition map of VMID {}", entry.get("VMID")),
            0x10 => format!("forgets all stage 1 translations under VMID {}", entry.get("VMID")),
            _ => format!("forgets all translations of both stages under VMID {}", entry.get("VMID")),
        }),
        Shape::Asid => plain(&format!("forgets all translations under {}", tag(entry, opcode))),
        Shape::Addresses => addresses(entry, about, opcode),
        Shape::Atc => plain(&format!(
            "{} forgets {}",
            stream(),
            if entry.get("Size") >= 52 { "all translations" } else { "translations" }
        )),
        Shape::PriResponse => {
            plain(&format!("answers page request group {:#x} of {}", entry.get("PRGIndex"), stream()))
                .wrong_if(
                    entry.get("Resp") == 3,
                    "Resp 3 is illegal: the queue stops with CERROR_ILL (4.5.2)",
                )
        }
        Shape::Resume => plain(&match (entry.is("Ac"), entry.is("Ab")) {
            (true, _) => {
                format!("the stalled access {:#x} of {} is tried again", entry.get("STAG"), stream())
            }
            (false, true) => format!("the stalled access {:#x} of {} aborts", entry.get("STAG"), stream()),
            (false, false) => {
                format!("the stalled access {:#x} of {} reads zero", entry.get("STAG"), stream())
            }
        }),
        Shape::Sync => {
            let told = match entry.get("CS") {
                0 => "CMDQ_CONS alone shows it".to_string(),
                1 if entry.is("MSIAddress") => format!(
                    "then {:#x} is stored at {:#x}",
                    entry.get("MSIData"),
                    entry.address("MSIAddress")
                ),
                1 => "then an interrupt is raised".to_string(),
                _ => "then a wake-up event is sent".to_string(),
            };
            plain(&format!("waits until all commands before it are complete; {told}"))
                .wrong_if(entry.get("CS") == 3, "CS 3 is illegal: the queue stops with CERROR_ILL (4.7.3)")
        }
        Shape::Other => plain("not explained further here"),
    }
}

fn tag(entry: &Entry<'_>, opcode: u8) -> String {
    let (asid, vmid) = (entry.get("ASID"), entry.get("VMID"));
    match opcode {
        0x11 | 0x12 => format!("ASID {asid}, VMID {vmid}"),
        0x13 | 0x2a => format!("VMID {vmid}"),
        0x21 | 0x22 => format!("ASID {asid} of EL2"),
        0x23 => "EL2".into(),
        _ => "EL3".into(),
    }
}

fn addresses(entry: &Entry<'_>, about: &About, opcode: u8) -> Verdict {
    let at = entry.address("Address");
    let (num, scale, tg) = (entry.get("NUM"), entry.get("SCALE"), entry.get("TG"));
    let what = match tg {
        0 => format!("the translation of {at:#x}"),
        _ => {
            let pages = u128::from(num + 1) << scale;
            let page_lg2 = [12, 12, 14, 16][tg as usize & 3];
            let last = u128::from(at) + (pages << page_lg2) - 1;
            format!("translations of {at:#x} to {last:#x}")
        }
    };
    let leaf = when(entry.is("Leaf"), "leaves alone");
    let does = list(&[&format!("{}: forgets {what} under {}", about.name, tag(entry, opcode)), leaf]);
    Verdict::new(does)
        .wrong_if(tg == 0 && (num != 0 || scale != 0), "NUM and SCALE must be zero without TG (4.4.1.1)")
        .wrong_if(tg == 0 && entry.is("TTL"), "TTL must be zero without TG (4.4.1.1)")
        .wrong_if(
            tg != 0 && num == 0 && scale == 0 && !entry.is("TTL"),
            "TG without range and without TTL is reserved: the queue stops with CERROR_ILL (4.4.1.1)",
        )
}
