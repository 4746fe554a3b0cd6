//! Registers of the Non-secure programming interface (IHI 0070, 6.3).

use arm_smmu_v3::spec::registers::{Cr0, Gbpa, GlobalErrors as Errors, Idr0, Idr1, Idr3, Idr5, oas_bits};

use super::attributes::{
    ALLOCATION_OVERRIDE, INSTRUCTION_OVERRIDE, MEMORY, OUTPUT_SIZE, PRIVILEGE_OVERRIDE, SHAREABILITY_OVERRIDE,
};
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, reserved, spec},
    kind::{Kind, Source},
};

const fn register(
    name: &'static str,
    title: &'static str,
    section: &'static str,
    fields: fn(&[u64], crate::decode::kind::Place) -> Vec<Field>,
    verdict: fn(&Entry<'_>, crate::decode::kind::Place) -> Verdict,
) -> Kind {
    Kind {
        name,
        title,
        source: Source::Smmu,
        section,
        word_bits: 32,
        words: 1,
        levels: None,
        fields,
        verdict,
    }
}

/// SMMU_IDR0.
pub const IDR0: Kind = register(
    "smmu-idr0",
    "SMMU_IDR0: features",
    "6.3.1",
    |_, _| IDR0_FIELDS.to_vec(),
    |entry, _| idr0_verdict(entry),
);
/// SMMU_IDR1.
pub const IDR1: Kind = register(
    "smmu-idr1",
    "SMMU_IDR1: sizes",
    "6.3.2",
    |_, _| IDR1_FIELDS.to_vec(),
    |entry, _| idr1_verdict(entry),
);
/// SMMU_IDR2.
pub const IDR2: Kind = register(
    "smmu-idr2",
    "SMMU_IDR2: where VATOS is",
    "6.3.3",
    |_, _| IDR2_FIELDS.to_vec(),
    |entry, _| {
        let at = 0x2_0000 + 0x1_0000 * entry.get("BA_VATOS");
        Verdict::new(format!("with IDR0.VATOS, the VATOS page lies {at:#x} bytes behind the unit's base"))
    },
);
/// SMMU_IDR3.
pub const IDR3: Kind = register(
    "smmu-idr3",
    "SMMU_IDR3: features",
    "6.3.4",
    |_, _| IDR3_FIELDS.to_vec(),
    |entry, _| idr3_verdict(entry),
);
/// SMMU_IDR4.
pub const IDR4: Kind = register(
    "smmu-idr4",
    "SMMU_IDR4: the implementation's",
    "6.3.5",
    |_, _| vec![field(0, 0, 32, "IMPDEF", Text("the implementation's own"))],
    |_, _| Verdict::new("only the unit's manual explains it"),
);
/// SMMU_IDR5.
pub const IDR5: Kind = register(
    "smmu-idr5",
    "SMMU_IDR5: addresses and granules",
    "6.3.6",
    |_, _| IDR5_FIELDS.to_vec(),
    |entry, _| idr5_verdict(entry),
);
/// SMMU_GERROR.
pub const GERROR: Kind = register(
    "smmu-gerror",
    "SMMU_GERROR: global errors, active where GERRORN differs",
    "6.3.18",
    |_, _| GERROR_FIELDS.to_vec(),
    |entry, _| gerror_verdict(entry),
);
/// SMMU_CR0.
pub const CR0: Kind = register(
    "smmu-cr0",
    "SMMU_CR0: what is on",
    "6.3.9",
    |_, _| CR0_FIELDS.to_vec(),
    |entry, _| cr0_verdict(entry),
);
/// SMMU_GBPA.
pub const GBPA: Kind = register(
    "smmu-gbpa",
    "SMMU_GBPA: what happens while SMMUEN is 0",
    "6.3.14",
    |_, _| GBPA_FIELDS.to_vec(),
    |entry, _| gbpa_verdict(entry),
);

const fn no_yes(name: &'static str, lsb: usize, bits: usize, yes: &'static str) -> Field {
    field(0, lsb, bits, name, Flag("no", yes))
}

const IDR0_FIELDS: &[Field] = &[
    spec!(0, Idr0, s2p, with_s2p, "S2P", Flag("no", "stage 2")),
    spec!(0, Idr0, s1p, with_s1p, "S1P", Flag("no", "stage 1")),
    spec!(
        0,
        Idr0,
        ttf,
        with_ttf,
        "TTF",
        Values(&[(1, "VMSAv8-32 tables"), (2, "VMSAv8-64 tables"), (3, "VMSAv8-32 and VMSAv8-64 tables")]),
    ),
    spec!(
        0,
        Idr0,
        cohacc,
        with_cohacc,
        "COHACC",
        Flag("tables and queues are read past the caches", "tables and queues are read through the caches"),
    ),
    spec!(0, Idr0, btm, with_btm, "BTM", Flag("no", "broadcast TLB maintenance")),
    spec!(
        0,
        Idr0,
        httu,
        with_httu,
        "HTTU",
        Values(&[
            (0, "no hardware flags"),
            (1, "hardware access flag"),
            (2, "hardware access flag and dirty state"),
            (3, "hardware access flag, of tables too, and dirty state"),
        ]),
    ),
    spec!(0, Idr0, dormhint, with_dormhint, "DORMHINT", Flag("no", "dormant hint")),
    spec!(0, Idr0, hyp, with_hyp, "Hyp", Flag("no", "StreamWorlds EL2 and EL2-E2H")),
    spec!(0, Idr0, ats, with_ats, "ATS", Flag("no", "PCIe ATS")),
    spec!(0, Idr0, ns1ats, with_ns1ats, "NS1ATS", Flag("split-stage ATS, with ATS", "no split-stage ATS"),),
    spec!(0, Idr0, asid16, with_asid16, "ASID16", Flag("8-bit ASIDs", "16-bit ASIDs")),
    spec!(0, Idr0, msi, with_msi, "MSI", Flag("no", "interrupts as messages")),
    spec!(0, Idr0, sev, with_sev, "SEV", Flag("no", "wake-up events")),
    spec!(0, Idr0, atos, with_atos, "ATOS", Flag("no", "address translation registers")),
    spec!(0, Idr0, pri, with_pri, "PRI", Flag("no", "page requests")),
    spec!(0, Idr0, vmw, with_vmw, "VMW", Flag("no", "VMID wildcards")),
    spec!(0, Idr0, vmid16, with_vmid16, "VMID16", Flag("8-bit VMIDs", "16-bit VMIDs")),
    spec!(0, Idr0, cd2l, with_cd2l, "CD2L", Flag("no", "two-level tables of context descriptors")),
    spec!(0, Idr0, vatos, with_vatos, "VATOS", Flag("no", "virtual address translation registers")),
    spec!(
        0,
        Idr0,
        ttendian,
        with_ttendian,
        "TTENDIAN",
        Values(&[(0, "tables of either endianness"), (2, "little-endian tables"), (3, "big-endian tables")]),
    ),
    spec!(0, Idr0, atsrecerr, with_atsrecerr, "ATSRECERR", Flag("no", "records errors of ATS requests")),
    spec!(
        0,
        Idr0,
        stall_model,
        with_stall_model,
        "STALL_MODEL",
        Values(&[(0, "faults stall or terminate"), (1, "faults terminate"), (2, "faults stall")]),
    ),
    spec!(
        0,
        Idr0,
        term_model,
        with_term_model,
        "TERM_MODEL",
        Flag("a terminated access aborts or reads zero", "a terminated access aborts"),
    ),
    spec!(
        0,
        Idr0,
        st_level,
        with_st_level,
        "ST_LEVEL",
        Values(&[(0, "linear stream tables"), (1, "linear and two-level stream tables")]),
    ),
    reserved(0, 29, 1),
    field(0, 30, 1, "RME_IMPL", Flag("no", "Realm management extension")).quiet(),
    reserved(0, 31, 1),
];

const IDR1_FIELDS: &[Field] = &[
    spec!(0, Idr1, sidsize, with_sidsize, "SIDSIZE", With(|value| format!("{value}-bit StreamIDs")),),
    spec!(
        0,
        Idr1,
        ssidsize,
        with_ssidsize,
        "SSIDSIZE",
        With(|value| if value == 0 { "no SubstreamIDs".into() } else { format!("{value}-bit SubstreamIDs") }),
    ),
    spec!(0, Idr1, priqs, with_priqs, "PRIQS", With(|value| format!("at most 2^{value} page requests")),),
    spec!(0, Idr1, eventqs, with_eventqs, "EVENTQS", With(|value| format!("at most 2^{value} events")),),
    spec!(0, Idr1, cmdqs, with_cmdqs, "CMDQS", With(|value| format!("at most 2^{value} commands")),),
    spec!(
        0,
        Idr1,
        attr_perms_ovr,
        with_attr_perms_ovr,
        "ATTR_PERMS_OVR",
        Flag("no", "entries can override privilege and instruction")
    ),
    spec!(
        0,
        Idr1,
        attr_types_ovr,
        with_attr_types_ovr,
        "ATTR_TYPES_OVR",
        Flag("no", "entries can override memory type and shareability")
    ),
    spec!(0, Idr1, rel, with_rel, "REL", Flag("no", "preset addresses are relative to the unit's base")),
    spec!(
        0,
        Idr1,
        queues_preset,
        with_queues_preset,
        "QUEUES_PRESET",
        Flag("no", "the queues' places are fixed")
    ),
    spec!(
        0,
        Idr1,
        tables_preset,
        with_tables_preset,
        "TABLES_PRESET",
        Flag("no", "the stream table's place is fixed")
    ),
    spec!(0, Idr1, ecmdq, with_ecmdq, "ECMDQ", Flag("no", "enhanced command queues")),
];

const IDR2_FIELDS: &[Field] =
    &[field(0, 0, 10, "BA_VATOS", Text("64 KiB pages behind page 2, with IDR0.VATOS")), reserved(0, 10, 22)];

const IDR3_FIELDS: &[Field] = &[
    reserved(0, 0, 2),
    spec!(0, Idr3, had, with_had, "HAD", Flag("no", "table attributes can be ignored")),
    spec!(0, Idr3, pbha, with_pbha, "PBHA", Flag("no", "page-based hardware attributes")),
    spec!(0, Idr3, xnx, with_xnx, "XNX", Flag("no", "execute-never by privilege in stage 2")),
    spec!(0, Idr3, pps, with_pps, "PPS", Flag("no", "automatic PRI responses have the PASID")),
    reserved(0, 6, 1),
    spec!(0, Idr3, mpam, with_mpam, "MPAM", Flag("no", "memory partitioning and monitoring")),
    spec!(0, Idr3, fwb, with_fwb, "FWB", Flag("no", "stage 2 can decide over memory types alone")),
    spec!(0, Idr3, stt, with_stt, "STT", Flag("no", "small translation tables")),
    spec!(0, Idr3, ril, with_ril, "RIL", Flag("no", "invalidation by range and level")),
    spec!(
        0,
        Idr3,
        bbml,
        with_bbml,
        "BBML",
        Values(&[
            (0, "a block changes size through an invalid entry"),
            (1, "a block changes size through nT"),
            (2, "a block may change size at once"),
        ]),
    )
    .section("3.21.1"),
    no_yes("E0PD", 13, 1, "unprivileged accesses can be kept out of a half"),
    no_yes("PTWNNC", 14, 1, "walks through device memory are made as to normal memory"),
    no_yes("DPT", 15, 1, "device permission table"),
    no_yes("PASIDTT", 16, 1, "PASIDs on translated accesses"),
    no_yes("EPAN", 17, 1, "enhanced PAN"),
    no_yes("S1PI", 18, 1, "stage 1 permission indirection"),
    no_yes("S2PI", 19, 1, "stage 2 permission indirection"),
    no_yes("S2PO", 20, 1, "stage 2 permission overlay"),
    no_yes("THE", 21, 1, "translation hardening"),
    no_yes("MTEPERM", 22, 1, "NoTagAccess in stage 2"),
    no_yes("AIE", 23, 1, "16 memory attributes in stage 1"),
    reserved(0, 24, 8),
];

const IDR5_FIELDS: &[Field] = &[
    spec!(0, Idr5, oas, with_oas, "OAS", OUTPUT_SIZE),
    reserved(0, 3, 1),
    spec!(0, Idr5, gran4k, with_gran4k, "GRAN4K", Flag("no", "4 KiB granule")),
    spec!(0, Idr5, gran16k, with_gran16k, "GRAN16K", Flag("no", "16 KiB granule")),
    spec!(0, Idr5, gran64k, with_gran64k, "GRAN64K", Flag("no", "64 KiB granule")),
    no_yes("DS", 7, 1, "52-bit addresses in 4 and 16 KiB granules"),
    no_yes("D128", 8, 1, "VMSAv9-128 tables"),
    reserved(0, 9, 1),
    spec!(
        0,
        Idr5,
        vax,
        with_vax,
        "VAX",
        Values(&[
            (0, "48-bit virtual addresses"),
            (1, "52-bit virtual addresses"),
            (2, "56-bit virtual addresses"),
        ]),
    ),
    reserved(0, 12, 4),
    spec!(
        0,
        Idr5,
        stall_max,
        with_stall_max,
        "STALL_MAX",
        With(|value| format!("at most {value} stalled accesses")),
    ),
];

const GERROR_FIELDS: &[Field] = &[
    spec!(
        0,
        Errors,
        cmdq,
        with_cmdq,
        "CMDQ_ERR",
        Flag("no", "the command queue stopped: CMDQ_CONS.ERR says why")
    ),
    reserved(0, 1, 1),
    spec!(
        0,
        Errors,
        eventq_abt,
        with_eventq_abt,
        "EVENTQ_ABT_ERR",
        Flag("no", "writing an event aborted: events are lost")
    ),
    spec!(0, Errors, priq_abt, with_priq_abt, "PRIQ_ABT_ERR", Flag("no", "writing a page request aborted")),
    no_yes("MSI_CMDQ_ABT_ERR", 4, 1, "the message of a CMD_SYNC aborted"),
    no_yes("MSI_EVENTQ_ABT_ERR", 5, 1, "the message of the event queue aborted"),
    no_yes("MSI_PRIQ_ABT_ERR", 6, 1, "the message of the page request queue aborted"),
    no_yes("MSI_GERROR_ABT_ERR", 7, 1, "the message of a global error aborted"),
    spec!(0, Errors, sfm, with_sfm, "SFM_ERR", Flag("no", "the unit is in service failure mode: it stopped")),
    no_yes("CMDQP_ERR", 9, 1, "an enhanced command queue stopped"),
    no_yes("DPT_ERR", 10, 1, "a look-up in the device permission table failed"),
    reserved(0, 11, 21),
];

const CR0_FIELDS: &[Field] = &[
    spec!(
        0,
        Cr0,
        smmuen,
        with_smmuen,
        "SMMUEN",
        Flag("off: GBPA rules over all streams", "on: the stream table rules"),
    ),
    spec!(
        0,
        Cr0,
        priqen,
        with_priqen,
        "PRIQEN",
        Flag("page requests are refused", "page requests are queued"),
    ),
    spec!(0, Cr0, eventqen, with_eventqen, "EVENTQEN", Flag("events are lost", "events are queued"),),
    spec!(0, Cr0, cmdqen, with_cmdqen, "CMDQEN", Flag("commands are not read", "commands are read"),),
    spec!(
        0,
        Cr0,
        atschk,
        with_atschk,
        "ATSCHK",
        Flag(
            "translated accesses pass unchecked",
            "translated accesses are checked against the stream table",
        ),
    ),
    reserved(0, 5, 1),
    spec!(
        0,
        Cr0,
        vmw,
        with_vmw,
        "VMW",
        With(|value| match value {
            0 => "a VMID in a command means itself".into(),
            1..=4 => format!("the {} lowest bits of a VMID in a command do not count", value),
            _ => "a reserved encoding: as 0".into(),
        }),
    ),
    reserved(0, 9, 1),
    field(0, 10, 1, "DPT_WALK_EN", Flag("no", "the device permission table is walked")).quiet(),
    reserved(0, 11, 21),
];

const GBPA_FIELDS: &[Field] = &[
    field(0, 0, 4, "MemAttr", MEMORY),
    field(0, 4, 1, "MTCFG", Flag("memory type as the access says", "memory type is MemAttr")),
    reserved(0, 5, 3),
    field(0, 8, 4, "ALLOCCFG", ALLOCATION_OVERRIDE),
    field(0, 12, 2, "SHCFG", SHAREABILITY_OVERRIDE),
    reserved(0, 14, 2),
    field(0, 16, 2, "PRIVCFG", PRIVILEGE_OVERRIDE),
    field(0, 18, 2, "INSTCFG", INSTRUCTION_OVERRIDE),
    spec!(0, Gbpa, abort, with_abort, "ABORT", Flag("accesses pass untranslated", "accesses abort"),),
    reserved(0, 21, 10),
    spec!(0, Gbpa, update, with_update, "Update", Flag("the value is in effect", "an update is under way"),),
];

fn idr0_verdict(entry: &Entry<'_>) -> Verdict {
    let stages = match (entry.is("S1P"), entry.is("S2P")) {
        (true, true) => "stages 1 and 2",
        (true, false) => "stage 1 alone",
        (false, true) => "stage 2 alone",
        (false, false) => "no stage at all",
    };
    let tables =
        if entry.is("ST_LEVEL") { "linear and two-level stream tables" } else { "linear stream tables" };
    let walks = if entry.is("COHACC") { "walks through the caches" } else { "walks past the caches" };
    Verdict::new(list(&[
        stages,
        tables,
        walks,
        when(entry.is("ATS"), "ATS"),
        when(entry.is("PRI"), "page requests"),
    ]))
    .wrong_if(entry.get("ST_LEVEL") > 1, "ST_LEVEL has a reserved encoding (6.3.1)")
    .wrong_if(entry.get("STALL_MODEL") == 3, "STALL_MODEL 3 is reserved (6.3.1)")
    .wrong_if(entry.get("TTENDIAN") == 1, "TTENDIAN 1 is reserved (6.3.1)")
    .wrong_if(entry.get("TTF") == 0, "TTF 0 is reserved: the unit has no table format (6.3.1)")
    .wrong_if(entry.is("PRI") && !entry.is("ATS"), "PRI without ATS (6.3.1)")
    .wrong_if(!entry.is("S1P") && !entry.is("S2P"), "a unit has at least one stage (6.3.1)")
}

fn idr1_verdict(entry: &Entry<'_>) -> Verdict {
    let (streams, substreams) = (entry.get("SIDSIZE"), entry.get("SSIDSIZE"));
    let queues = format!("up to 2^{} commands and 2^{} events", entry.get("CMDQS"), entry.get("EVENTQS"));
    let preset = entry.is("TABLES_PRESET") || entry.is("QUEUES_PRESET");
    let does = format!("{streams}-bit StreamIDs, {substreams}-bit SubstreamIDs, {queues}");
    Verdict::new(list(&[&does, when(preset, "places that software cannot choose")]))
        .wrong_if(streams > 32, format!("SIDSIZE {streams} is above 32 (6.3.2)"))
        .wrong_if(substreams > 20, format!("SSIDSIZE {substreams} is above 20 (6.3.2)"))
        .wrong_if(
            entry.get("CMDQS").max(entry.get("EVENTQS")).max(entry.get("PRIQS")) > 19,
            "a queue has at most 2^19 entries (6.3.2)",
        )
}

fn idr3_verdict(entry: &Entry<'_>) -> Verdict {
    let ranges = if entry.is("RIL") { "invalidation by range" } else { "invalidation page by page" };
    let blocks = format!("blocks change size by the rules of level {}", entry.get("BBML"));
    Verdict::new(list(&[ranges, &blocks]))
        .wrong_if(entry.get("BBML") == 3, "BBML 3 is reserved (6.3.4)")
        .wrong_if(entry.is("PBHA") && !entry.is("HAD"), "PBHA without HAD (6.3.4)")
        .wrong_if(entry.is("S2PO") && !entry.is("S2PI"), "S2PO without S2PI (6.3.4)")
}

fn idr5_verdict(entry: &Entry<'_>) -> Verdict {
    let bits = oas_bits(entry.get("OAS") as u8).unwrap_or_default();
    let granules = list(&[
        when(entry.is("GRAN4K"), "4 KiB"),
        when(entry.is("GRAN16K"), "16 KiB"),
        when(entry.is("GRAN64K"), "64 KiB"),
    ]);
    let none = granules.is_empty();
    Verdict::new(format!("{bits}-bit output addresses, granules: {}", if none { "none" } else { &granules }))
        .wrong_if(none, "a unit has at least one granule (6.3.6)")
        .wrong_if(entry.get("VAX") == 3, "VAX 3 is reserved (6.3.6)")
}

fn gerror_verdict(entry: &Entry<'_>) -> Verdict {
    let errors = entry.fields.iter().filter(|field| !field.is_reserved() && field.value(entry.words) != 0);
    let names: Vec<_> = errors.map(|field| field.name).collect();
    Verdict::new(match names.is_empty() {
        true => "no bit is set; what GERRORN has set is an active error".to_string(),
        false => format!("{} toggled; active is what differs from GERRORN", list(&names)),
    })
}

fn cr0_verdict(entry: &Entry<'_>) -> Verdict {
    let smmu = if entry.is("SMMUEN") { "translation is on" } else { "translation is off: GBPA rules" };
    let commands = if entry.is("CMDQEN") { "commands are read" } else { "commands are not read" };
    let events = if entry.is("EVENTQEN") { "events are queued" } else { "events are lost" };
    let trusted = when(
        entry.is("SMMUEN") && !entry.is("ATSCHK"),
        "where IDR0.ATS is 1, accesses that claim to be translated pass unchecked",
    );
    Verdict::new(list(&[smmu, commands, events, trusted]))
}

fn gbpa_verdict(entry: &Entry<'_>) -> Verdict {
    let does = match entry.is("ABORT") {
        true => "while SMMUEN is 0, every access aborts",
        false => "while SMMUEN is 0, every access passes untranslated: devices reach all of memory",
    };
    Verdict::new(list(&[does, when(entry.is("Update"), "once the update is done")]))
}
