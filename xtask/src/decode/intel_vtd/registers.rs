//! Registers (11.4).

use intel_vtd::spec::registers::{Cap, Ecap, FaultStatus as Fsts, Gcmd, QueueError, RootAddress, TableMode};

use super::fault::function;
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, reserved, spec},
    kind::{Kind, Source},
};

/// CAP_REG.
pub const CAP: Kind = Kind {
    name: "vtd-cap",
    title: "VT-d CAP_REG: capabilities",
    source: Source::Vtd,
    section: "11.4",
    word_bits: 64,
    words: 1,
    levels: None,
    fields: |_, _| CAP_FIELDS.to_vec(),
    verdict: |entry, _| cap_verdict(entry),
};
/// ECAP_REG.
pub const ECAP: Kind = Kind {
    name: "vtd-ecap",
    title: "VT-d ECAP_REG: extended capabilities",
    fields: |_, _| ECAP_FIELDS.to_vec(),
    verdict: |entry, _| ecap_verdict(entry),
    ..CAP
};
/// GSTS_REG.
pub const GSTS: Kind = Kind {
    name: "vtd-gsts",
    title: "VT-d GSTS_REG: what is on",
    word_bits: 32,
    fields: |_, _| GSTS_FIELDS.to_vec(),
    verdict: |entry, _| gsts_verdict(entry),
    ..CAP
};
/// GCMD_REG.
pub const GCMD: Kind = Kind {
    name: "vtd-gcmd",
    title: "VT-d GCMD_REG: what is to be on",
    word_bits: 32,
    fields: |_, _| GCMD_FIELDS.to_vec(),
    verdict: |entry, _| gcmd_verdict(entry),
    ..CAP
};
/// FSTS_REG.
pub const FSTS: Kind = Kind {
    name: "vtd-fsts",
    title: "VT-d FSTS_REG: faults and queue errors",
    word_bits: 32,
    fields: |_, _| FSTS_FIELDS.to_vec(),
    verdict: |entry, _| fsts_verdict(entry),
    ..CAP
};
/// RTADDR_REG.
pub const RTADDR: Kind = Kind {
    name: "vtd-rtaddr",
    title: "VT-d RTADDR_REG: the root table",
    fields: |_, _| RTADDR_FIELDS.to_vec(),
    verdict: |entry, _| rtaddr_verdict(entry),
    ..CAP
};
/// IQERCD_REG.
pub const IQERCD: Kind = Kind {
    name: "vtd-iqercd",
    title: "VT-d IQERCD_REG: why the invalidation queue stopped",
    fields: |_, _| IQERCD_FIELDS.to_vec(),
    verdict: |entry, _| iqercd_verdict(entry),
    ..CAP
};

const CAP_FIELDS: &[Field] = &[
    spec!(
        0,
        Cap,
        nd,
        with_nd,
        "ND",
        With(|value| match value {
            7 => "a reserved encoding".into(),
            _ => format!("{}-bit domain ids", 4 + 2 * value),
        })
    ),
    spec!(0, Cap, afl, with_afl, "AFL", Flag("no", "advanced fault log")),
    spec!(0, Cap, rwbf, with_rwbf, "RWBF", Flag("no", "stores to tables are held back until flushed")),
    spec!(0, Cap, plmr, with_plmr, "PLMR", Flag("no", "protected low-memory region")),
    spec!(0, Cap, phmr, with_phmr, "PHMR", Flag("no", "protected high-memory region")),
    spec!(0, Cap, cm, with_cm, "CM", Flag("absent entries are not cached", "absent entries are cached")),
    spec!(0, Cap, sagaw, with_sagaw, "SAGAW", With(widths)),
    reserved(0, 13, 3),
    spec!(0, Cap, mgaw, with_mgaw, "MGAW", With(|value| format!("{}-bit input addresses", value + 1))),
    spec!(0, Cap, zlr, with_zlr, "ZLR", Flag("no", "reads of no bytes may go to write-only pages")),
    reserved(0, 23, 1),
    spec!(0, Cap, fro, with_fro, "FRO", With(|value| format!("fault records at offset {:#x}", 16 * value))),
    spec!(
        0,
        Cap,
        sslps,
        with_sslps,
        "SSLPS",
        With(|value| match value & 3 {
            0 => "second stage: pages of 4 KiB alone".into(),
            1 => "second stage: pages of 2 MiB too".into(),
            2 => "second stage: pages of 1 GiB too".into(),
            _ => "second stage: pages of 2 MiB and 1 GiB too".into(),
        })
    ),
    reserved(0, 38, 1),
    spec!(0, Cap, psi, with_psi, "PSI", Flag("no invalidation by page", "invalidation by page")),
    spec!(0, Cap, nfr, with_nfr, "NFR", With(|value| format!("{} fault records", value + 1))),
    spec!(0, Cap, mamv, with_mamv, "MAMV", With(|value| format!("at most 2^{value} pages at once"))),
    spec!(0, Cap, dwd, with_dwd, "DWD", Flag("no", "an invalidation can drain writes")),
    spec!(0, Cap, drd, with_drd, "DRD", Flag("no", "an invalidation can drain reads")),
    spec!(0, Cap, fs1gp, with_fs1gp, "FS1GP", Flag("no", "first stage: pages of 1 GiB")),
    reserved(0, 57, 2),
    spec!(0, Cap, pi, with_pi, "PI", Flag("no", "posted interrupts")),
    spec!(0, Cap, fs5lp, with_fs5lp, "FS5LP", Flag("no", "first stage: five levels")),
    spec!(0, Cap, ecmds, with_ecmds, "ECMDS", Flag("no", "enhanced commands")),
    spec!(0, Cap, esirtps, with_esirtps, "ESIRTPS", Flag("no", "SIRTP invalidates the interrupt caches")),
    spec!(0, Cap, esrtps, with_esrtps, "ESRTPS", Flag("no", "SRTP invalidates all caches")),
];

fn widths(value: u64) -> String {
    let levels = list(&[
        when(value & 2 != 0, "3 levels (39 bits)"),
        when(value & 4 != 0, "4 levels (48 bits)"),
        when(value & 8 != 0, "5 levels (57 bits)"),
    ]);
    if levels.is_empty() { "no second stage".into() } else { levels }
}

const ECAP_FIELDS: &[Field] = &[
    spec!(
        0,
        Ecap,
        c,
        with_c,
        "C",
        Flag("tables are read past the caches", "tables are read through the caches")
    ),
    spec!(0, Ecap, qi, with_qi, "QI", Flag("no", "queued invalidation")),
    spec!(0, Ecap, dt, with_dt, "DT", Flag("no", "device TLBs")),
    spec!(0, Ecap, ir, with_ir, "IR", Flag("no", "interrupt remapping")),
    spec!(0, Ecap, eim, with_eim, "EIM", Flag("no", "interrupt remapping with 32-bit APIC ids")),
    reserved(0, 5, 1),
    spec!(0, Ecap, pt, with_pt, "PT", Flag("no", "pass-through")),
    spec!(0, Ecap, sc, with_sc, "SC", Flag("no", "snoop control")),
    spec!(
        0,
        Ecap,
        iro,
        with_iro,
        "IRO",
        With(|value| format!("IOTLB registers at offset {:#x}", 16 * value))
    ),
    reserved(0, 18, 2),
    spec!(
        0,
        Ecap,
        mhmv,
        with_mhmv,
        "MHMV",
        With(|value| format!("at most 2^{value} interrupt entries at once"))
    ),
    reserved(0, 24, 1),
    field(0, 25, 1, "MTS", Flag("no", "memory types")),
    spec!(0, Ecap, nest, with_nest, "NEST", Flag("no", "nested translation")),
    reserved(0, 27, 2),
    spec!(0, Ecap, prs, with_prs, "PRS", Flag("no", "page requests")),
    spec!(0, Ecap, ers, with_ers, "ERS", Flag("no", "requests to execute")),
    spec!(0, Ecap, srs, with_srs, "SRS", Flag("no", "privileged requests")),
    reserved(0, 32, 1),
    spec!(0, Ecap, nwfs, with_nwfs, "NWFS", Flag("no", "no-write flag of device TLB requests")),
    spec!(0, Ecap, eafs, with_eafs, "EAFS", Flag("no", "extended accessed flag")),
    spec!(0, Ecap, pss, with_pss, "PSS", With(|value| format!("{}-bit PASIDs, with PASID", value + 1))),
    spec!(0, Ecap, pasid, with_pasid, "PASID", Flag("no", "requests with PASID")),
    spec!(0, Ecap, dit, with_dit, "DIT", Flag("no", "device TLB invalidation throttling")),
    spec!(0, Ecap, pds, with_pds, "PDS", Flag("no", "page requests can be drained")),
    spec!(0, Ecap, smts, with_smts, "SMTS", Flag("legacy mode alone", "scalable mode")),
    spec!(0, Ecap, vcs, with_vcs, "VCS", Flag("no", "virtual commands")),
    spec!(0, Ecap, ssads, with_ssads, "SSADS", Flag("no", "accessed and dirty bits in the second stage")),
    spec!(0, Ecap, ssts, with_ssts, "SSTS", Flag("no", "the second stage in scalable mode")),
    spec!(0, Ecap, fsts, with_fsts, "FSTS", Flag("no", "the first stage in scalable mode")),
    spec!(0, Ecap, smpwcs, with_smpwcs, "SMPWCS", Flag("no", "walks in scalable mode can snoop")),
    spec!(0, Ecap, rps, with_rps, "RPS", Flag("requests without PASID are of PASID 0", "RID_PASID counts")),
    reserved(0, 50, 1),
    field(0, 51, 1, "PMS", Flag("no", "performance monitoring")),
    spec!(0, Ecap, adms, with_adms, "ADMS", Flag("no", "abort-DMA mode")),
    spec!(0, Ecap, rprivs, with_rprivs, "RPRIVS", Flag("no", "RID_PRIV counts")),
    reserved(0, 54, 10),
];

const GSTS_FIELDS: &[Field] = &[
    reserved(0, 0, 23),
    spec!(
        0,
        Gcmd,
        cfi,
        with_cfi,
        "CFIS",
        Flag("compatibility interrupts are blocked", "compatibility interrupts pass")
    ),
    spec!(0, Gcmd, sirtp, with_sirtp, "IRTPS", Flag("no", "the interrupt table pointer is taken over")),
    spec!(0, Gcmd, ire, with_ire, "IRES", Flag("no interrupt remapping", "interrupt remapping is on")),
    spec!(
        0,
        Gcmd,
        qie,
        with_qie,
        "QIES",
        Flag("the invalidation queue is off", "the invalidation queue is on")
    ),
    spec!(0, Gcmd, wbf, with_wbf, "WBFS", Flag("no flush is under way", "a write-buffer flush is under way")),
    spec!(0, Gcmd, eafl, with_eafl, "AFLS", Flag("no advanced fault log", "the advanced fault log is on")),
    spec!(0, Gcmd, sfl, with_sfl, "FLS", Flag("no", "the fault log pointer is taken over")),
    spec!(0, Gcmd, srtp, with_srtp, "RTPS", Flag("no", "the root table pointer is taken over")),
    spec!(0, Gcmd, te, with_te, "TES", Flag("translation is off: everything passes", "translation is on")),
];

const GCMD_FIELDS: &[Field] = &[
    reserved(0, 0, 23),
    spec!(
        0,
        Gcmd,
        cfi,
        with_cfi,
        "CFI",
        Flag("block compatibility interrupts", "let compatibility interrupts pass")
    ),
    spec!(0, Gcmd, sirtp, with_sirtp, "SIRTP", Flag("nothing", "take over IRTA_REG, once")),
    spec!(0, Gcmd, ire, with_ire, "IRE", Flag("interrupt remapping off", "interrupt remapping on")),
    spec!(0, Gcmd, qie, with_qie, "QIE", Flag("invalidation queue off", "invalidation queue on")),
    spec!(0, Gcmd, wbf, with_wbf, "WBF", Flag("nothing", "flush the write buffers, once")),
    spec!(0, Gcmd, eafl, with_eafl, "EAFL", Flag("advanced fault log off", "advanced fault log on")),
    spec!(0, Gcmd, sfl, with_sfl, "SFL", Flag("nothing", "take over AFLOG_REG, once")),
    spec!(0, Gcmd, srtp, with_srtp, "SRTP", Flag("nothing", "take over RTADDR_REG, once")),
    spec!(0, Gcmd, te, with_te, "TE", Flag("translation off", "translation on")),
];

const FSTS_FIELDS: &[Field] = &[
    spec!(
        0,
        Fsts,
        pfo,
        with_pfo,
        "PFO",
        Flag("no fault was lost", "a fault found no free record: faults are lost")
    ),
    spec!(0, Fsts, ppf, with_ppf, "PPF", Flag("no record holds a fault", "a record holds a fault")),
    spec!(0, Fsts, afo, with_afo, "AFO", Flag("no", "the advanced fault log overflowed")),
    spec!(0, Fsts, apf, with_apf, "APF", Flag("no", "the advanced fault log holds a fault")),
    spec!(0, Fsts, iqe, with_iqe, "IQE", Flag("no", "the invalidation queue stopped: IQERCD says why")),
    spec!(0, Fsts, ice, with_ice, "ICE", Flag("no", "a device TLB answered wrongly")),
    spec!(0, Fsts, ite, with_ite, "ITE", Flag("no", "a device TLB did not answer: waits were dropped")),
    reserved(0, 7, 1),
    spec!(0, Fsts, fri, with_fri, "FRI", With(|value| format!("record {value} is the first, with PPF"))),
    reserved(0, 16, 16),
];

const RTADDR_FIELDS: &[Field] = &[
    reserved(0, 0, 10),
    spec!(
        0,
        RootAddress,
        mode,
        with_mode,
        "TTM",
        Values(&[(0, "legacy mode"), (1, "scalable mode"), (3, "abort-DMA mode")]),
    ),
    spec!(0, RootAddress, address_12, with_address_12, "RTA", Address("root table")),
];

const IQERCD_FIELDS: &[Field] = &[
    spec!(
        0,
        QueueError,
        reason,
        with_reason,
        "IQEI",
        Values(&[
            (0, "not told"),
            (1, "the tail is beyond the queue"),
            (2, "reading a descriptor failed"),
            (3, "a descriptor of a type that there is not"),
            (4, "a descriptor with reserved bits set"),
            (5, "descriptors of a width that the mode does not have (IQA.DW)"),
            (6, "the tail is not aligned to the descriptors' width"),
            (7, "RTADDR.TTM is reserved"),
        ]),
    ),
    reserved(0, 4, 28),
    spec!(0, QueueError, silent, with_silent, "ITESID", With(function)),
    spec!(0, QueueError, wrong, with_wrong, "ICESID", With(function)),
];

fn cap_verdict(entry: &Entry<'_>) -> Verdict {
    let bits = entry.get("MGAW") + 1;
    let domains = entry.get("ND");
    let pages = if entry.is("PSI") { "invalidation by page" } else { "invalidation by domain at the least" };
    let does = format!(
        "{bits}-bit input addresses, second stage of {}, room for {} faults, {pages}",
        widths(entry.get("SAGAW")),
        entry.get("NFR") + 1
    );
    Verdict::new(list(&[
        &does,
        when(entry.is("CM"), "new mappings must be invalidated too (CM)"),
        when(entry.is("RWBF"), "stores must be flushed (RWBF)"),
    ]))
    .wrong_if(domains == 7, "ND 7 is reserved (11.4)")
    .wrong_if(entry.get("SAGAW") & 0x11 != 0, "SAGAW has a reserved width (11.4)")
    .wrong_if(entry.get("SSLPS") & 0xc != 0, "SSLPS has reserved bits set (11.4)")
}

fn ecap_verdict(entry: &Entry<'_>) -> Verdict {
    let mode = match (entry.is("SMTS"), entry.is("SSTS"), entry.is("FSTS")) {
        (false, _, _) => "legacy mode alone",
        (true, true, true) => "scalable mode with both stages",
        (true, true, false) => "scalable mode with the second stage",
        (true, false, true) => "scalable mode with the first stage",
        (true, false, false) => "scalable mode without any stage",
    };
    Verdict::new(list(&[
        mode,
        if entry.is("QI") { "queued invalidation" } else { "invalidation by registers alone" },
        if entry.is("C") {
            "tables are read through the caches"
        } else {
            "tables must be cleaned from the caches"
        },
        when(entry.is("IR"), "interrupt remapping"),
        when(entry.is("DT"), "device TLBs"),
        when(entry.is("PASID"), "PASIDs"),
    ]))
    .wrong_if(entry.is("PRS") && !entry.is("DT"), "PRS without DT (11.4)")
    .wrong_if(entry.is("EIM") && !entry.is("IR"), "EIM without IR (11.4)")
    .wrong_if(entry.is("IR") && !entry.is("QI"), "IR without QI (11.4)")
    .wrong_if(entry.is("SMTS") && !entry.is("QI"), "SMTS without QI (11.4)")
}

fn gsts_verdict(entry: &Entry<'_>) -> Verdict {
    Verdict::new(list(&[
        if entry.is("TES") { "translation is on" } else { "translation is off: devices reach all of memory" },
        if entry.is("QIES") { "the invalidation queue is on" } else { "the invalidation queue is off" },
        if entry.is("IRES") { "interrupt remapping is on" } else { "interrupts are not remapped" },
        when(entry.is("WBFS"), "a write-buffer flush is under way"),
    ]))
}

fn gcmd_verdict(entry: &Entry<'_>) -> Verdict {
    let once = ["SIRTP", "WBF", "SFL", "SRTP"].into_iter().filter(|name| entry.is(name)).count();
    Verdict::new(list(&[
        if entry.is("TE") { "translation on" } else { "translation off" },
        if entry.is("QIE") { "invalidation queue on" } else { "invalidation queue off" },
        if entry.is("IRE") { "interrupt remapping on" } else { "interrupt remapping off" },
        when(entry.is("SRTP"), "takes over RTADDR_REG"),
        when(entry.is("SIRTP"), "takes over IRTA_REG"),
        when(entry.is("SFL"), "takes over AFLOG_REG"),
        when(entry.is("WBF"), "flushes the write buffers"),
    ]))
    .wrong_if(once > 1, "software changes one bit of GCMD at a time, and waits for GSTS (11.4)")
}

fn fsts_verdict(entry: &Entry<'_>) -> Verdict {
    let first = match entry.is("PPF") {
        true => format!("faults wait, the first in record {}", entry.get("FRI")),
        false => "no fault waits".to_string(),
    };
    Verdict::new(list(&[
        &first,
        when(entry.is("PFO"), "faults were lost (PFO)"),
        when(entry.is("IQE"), "the invalidation queue has stopped (IQE)"),
        when(entry.is("ICE") || entry.is("ITE"), "a device TLB failed (ICE, ITE)"),
    ]))
}

fn rtaddr_verdict(entry: &Entry<'_>) -> Verdict {
    let at = entry.address("RTA");
    let mode = TableMode(entry.get("TTM") as u8);
    Verdict::new(match mode {
        TableMode::LEGACY => format!("the root table at {at:#x} decides, legacy mode"),
        TableMode::SCALABLE => format!("the root table at {at:#x} decides, scalable mode"),
        TableMode::ABORT_DMA => "every request aborts".into(),
        _ => "every request aborts, fault reason 0x30".into(),
    })
    .wrong_if(mode == TableMode(2), "TTM 2 is reserved (11.4)")
}

fn iqercd_verdict(entry: &Entry<'_>) -> Verdict {
    let Some(field) = entry.fields.iter().find(|field| field.name == "IQEI") else {
        return Verdict::new("not told");
    };
    let reason = entry.get("IQEI");
    Verdict::new(match reason {
        0 => "with FSTS.IQE, the unit does not tell why the queue stopped".to_string(),
        _ => format!("with FSTS.IQE, the queue stopped: {}", field.explain(reason)),
    })
    .wrong_if(reason > 7, format!("IQEI {reason} is a reserved encoding (11.4)"))
}
