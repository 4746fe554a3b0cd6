//! Lines of a QEMU trace (`-trace smmuv3_*`, `-trace vtd_*`): the events that carry raw words.

use anyhow::{Result, bail, ensure};
use arm_smmu_v3::spec::registers::offset as smmu;
use intel_vtd::spec::{
    faults::{FaultWord1, Reason},
    registers::offset as vtd,
};

/// Of SMMU_GERRORN.
const ACKNOWLEDGED: &str =
    "This is GERRORN: what software has acknowledged; an error is active where GERROR differs.";
/// Of a write to FSTS_REG.
const CLEARED: &str = "This is written: what is 1 in PFO, AFO, APF, IQE, ICE and ITE is cleared.";

/// The level of pages of 4 KiB.
const LEAF_LEVEL: u8 = 1;
/// The level of pages that a trace line tells by PS alone: they may be of level 3 too.
const LARGE_PAGE_LEVEL: u8 = 2;

/// What a line asks for: entries of kinds, with the level of table entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The kind.
    pub kind: &'static str,
    /// The words of one entry.
    pub words: Vec<u64>,
    /// The level, of a table entry.
    pub level: Option<u8>,
    /// What is not as the line has it; empty where all is.
    pub note: &'static str,
}

fn raw(kind: &'static str, words: &[u64]) -> Raw {
    Raw { kind, words: words.to_vec(), level: None, note: "" }
}

/// Whether `text` has the name of a trace event of an IOMMU in it.
pub fn is_line(text: &str) -> bool {
    event(text).is_some()
}

/// The name of the event, and what it carries; before the name there may be a process id, a time or a prefix.
fn event(text: &str) -> Option<(&str, &str)> {
    let starts = ["vtd_", "smmuv3_", "smmu_"].iter().filter_map(|prefix| text.find(prefix));
    let rest = text.get(starts.min()?..)?;
    Some(rest.split_once(char::is_whitespace).unwrap_or((rest, "")))
}

/// The entries in a line of a trace.
///
/// # Errors
/// It is none, carries no raw words, or lacks one that its event has.
pub fn line(text: &str) -> Result<Vec<Raw>> {
    let Some((name, rest)) = event(text) else {
        bail!("'{}' is no trace event of an SMMU or of VT-d", text.trim())
    };
    let value = |key| find(name, rest, key);
    Ok(match name {
        "vtd_inv_desc" => vec![raw("vtd-descriptor", &[value("low")?, value("high")?])],
        "vtd_inv_desc_wait_write_fail" => vec![raw("vtd-descriptor", &[value("lo")?, value("hi")?])],
        "vtd_frr_new" => vec![recorded(value("low")?, value("high")?)],
        "vtd_dmar_fault" => vec![fault(value("sid")?, value("fault")?, value("addr")?, value("write")?)],
        "vtd_iotlb_cc_hit" | "vtd_iotlb_cc_update" => vec![context(rest, value("low")?, value("high")?)],
        "vtd_replay_ce_valid" => vec![context(rest, value("lo")?, value("hi")?)],
        "vtd_iotlb_page_hit" | "vtd_iotlb_page_update" => vec![second_stage(value("slpte")?)],
        "vtd_reg_write_gcmd" => {
            vec![raw("vtd-gsts", &[value("status")?]), raw("vtd-gcmd", &[value("value")?])]
        }
        "vtd_reg_write" => vec![vtd_register(value("addr")?, value("size")?, value("value")?)?],
        "smmu_ptw_level" | "smmu_ptw_invalid_pte" | "smmu_ptw_page_pte" | "smmu_ptw_block_pte" => {
            vec![table_entry(value("stage")?, value("level")?, value("pte")?)?]
        }
        "smmuv3_write_gerror" => vec![raw("smmu-gerror", &[value("GERROR")?])],
        "smmuv3_write_gerrorn" => {
            vec![Raw { note: ACKNOWLEDGED, ..raw("smmu-gerror", &[value("GERRORN")?]) }]
        }
        "smmuv3_read_mmio" | "smmuv3_write_mmio" => vec![smmu_register(value("addr")?, value("val")?)?],
        _ => bail!("the event {name} carries no raw words that decode knows"),
    })
}

/// The number behind `key` in `rest`: hexadecimal with `0x`, else decimal.
fn find(name: &str, rest: &str, key: &str) -> Result<u64> {
    let mut from = rest;
    while let Some(at) = from.find(key) {
        let before = from[..at].chars().next_back();
        let behind = &from[at + key.len()..];
        from = behind;
        let whole = before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_');
        let number = behind.trim_start_matches([' ', '=', ':']);
        if !whole || number.len() == behind.len() {
            continue;
        }
        let end = number.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(number.len());
        let digits = &number[..end];
        let parsed = match digits.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        if let Ok(number) = parsed {
            return Ok(number);
        }
    }
    bail!("the line of {name} has no number behind '{key}': is it whole?")
}

/// A fault record that QEMU is about to write: it sets F after the line.
fn recorded(low: u64, high: u64) -> Raw {
    let word = FaultWord1::from(high);
    let note = if word.fault() { "" } else { "QEMU prints the line before it sets F, which is set here." };
    Raw { note, ..raw("vtd-fault", &[low, word.with_fault(true).into()]) }
}

/// The record that QEMU makes of a fault; it tells the parts.
fn fault(source: u64, reason: u64, address: u64, write: u64) -> Raw {
    let word = FaultWord1::new()
        .with_source(source as u16)
        .with_reason(Reason(reason as u8))
        .with_type1(write == 0)
        .with_fault(true);
    let note = "The record is put together from what the line tells; QEMU's own is in the line vtd_frr_new.";
    Raw { note, ..raw("vtd-fault", &[address & !0xfff, word.into()]) }
}

/// A context entry of the mode that the line tells, or else of legacy mode unless its AW could not be.
fn context(rest: &str, low: u64, high: u64) -> Raw {
    if rest.contains("scalable mode") {
        return raw("vtd-scalable-context", &[low, high, 0, 0]);
    }
    if rest.contains("legacy mode") || high & 0b111 != 0 {
        return raw("vtd-context", &[low, high]);
    }
    let note = "The line does not tell the mode; legacy entries have an AW, so that this is taken for scalable mode.";
    Raw { note, ..raw("vtd-scalable-context", &[low, high, 0, 0]) }
}

fn second_stage(entry: u64) -> Raw {
    let large = entry & 1 << 7 != 0;
    let level = Some(if large { LARGE_PAGE_LEVEL } else { LEAF_LEVEL });
    let note =
        if large { "The line does not tell the level; PS is set, so that it is taken for 2." } else { "" };
    Raw { level, note, ..raw("vtd-second-stage", &[entry]) }
}

fn table_entry(stage: u64, level: u64, entry: u64) -> Result<Raw> {
    let kind = match stage {
        1 => "smmu-s1-entry",
        2 => "smmu-s2-entry",
        _ => bail!("there is no stage {stage}"),
    };
    ensure!(level <= 3, "there is no level {level}");
    Ok(Raw { level: Some(level as u8), ..raw(kind, &[entry]) })
}

fn smmu_register(address: u64, value: u64) -> Result<Raw> {
    let kind = match u32::try_from(address) {
        Ok(smmu::IDR0) => "smmu-idr0",
        Ok(smmu::IDR1) => "smmu-idr1",
        Ok(0x08) => "smmu-idr2",
        Ok(smmu::IDR3) => "smmu-idr3",
        Ok(0x10) => "smmu-idr4",
        Ok(smmu::IDR5) => "smmu-idr5",
        Ok(smmu::CR0 | smmu::CR0ACK) => "smmu-cr0",
        Ok(smmu::GBPA) => "smmu-gbpa",
        Ok(smmu::GERROR | smmu::GERRORN) => "smmu-gerror",
        _ => bail!("decode does not know the SMMU's register at {address:#x}"),
    };
    let note = if address == u64::from(smmu::GERRORN) { ACKNOWLEDGED } else { "" };
    Ok(Raw { note, ..raw(kind, &[value & u64::from(u32::MAX)]) })
}

fn vtd_register(address: u64, size: u64, value: u64) -> Result<Raw> {
    let kind = match (u32::try_from(address), size) {
        (Ok(vtd::GCMD), _) => "vtd-gcmd",
        (Ok(vtd::FSTS), _) => "vtd-fsts",
        (Ok(vtd::RTADDR), 8) => "vtd-rtaddr",
        (Ok(vtd::IQERCD), 8) => "vtd-iqercd",
        (Ok(vtd::RTADDR | vtd::IQERCD), _) => {
            bail!("half of the register at {address:#x} is not enough to explain it")
        }
        _ => bail!("decode does not know VT-d's register at {address:#x}"),
    };
    let mask = if kind == "vtd-gcmd" || kind == "vtd-fsts" { u64::from(u32::MAX) } else { u64::MAX };
    let note = if kind == "vtd-fsts" { CLEARED } else { "" };
    Ok(Raw { note, ..raw(kind, &[value & mask]) })
}
