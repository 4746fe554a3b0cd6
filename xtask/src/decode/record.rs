//! Faults as this project tells them: a record of the fault ring, or the line that a driver prints of one.

use anyhow::{Context, Result, ensure};
use arm_smmu_v3::spec::events::EventWord0;
use intel_vtd::spec::faults::FaultWord1;
use iommu_protocol::ring::{Record, access, reason};
use zerocopy::FromBytes;

use super::trace::Raw;

/// The kind of a record of the ring, which is no structure of hardware.
pub const RING: &str = "ring-record";
/// Words of a record.
pub const RING_WORDS: usize = size_of::<Record>() / 8;
/// The kind of a driver's line.
pub const LINE: &str = "fault-line";

const fn reason_text(code: u16) -> &'static str {
    match code {
        reason::NOT_MAPPED => "nothing is mapped at the address",
        reason::PERMISSION => "the mapping does not allow the access",
        reason::ADDRESS_SIZE => "an address is wider than the unit or the tables allow",
        reason::WALK_ABORT => "reading a table failed: is the table memory what the unit can reach?",
        reason::STREAM_ABORTED => "the device is not attached, or its entry is invalid",
        reason::STORM => "a fault storm: the server stopped the device until ENABLE",
        _ => "another rule: the lowest byte is the architecture's own code",
    }
}

const fn access_text(code: u8) -> &'static str {
    match code {
        access::READ => "a read",
        access::WRITE => "a write",
        _ => "an access",
    }
}

/// What a record of the fault ring says, and the hardware's record in it, where there is one.
pub fn ring(words: &[u64]) -> (String, Option<Raw>) {
    let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let Ok(record) = Record::read_from_bytes(&bytes) else { return (String::new(), None) };
    let at = record.iova().map_or_else(|| "no address".into(), |iova| format!("{iova:#x}"));
    let text = format!(
        "Record of the fault ring (iommu-protocol, ring)\n  number {}, faults alike: {}, time {} ns\n  {} at {at} by \
         device {} (stream {:#x})\n  reason {:#x}: {}\n",
        record.sequence.wrapping_sub(1),
        record.count,
        record.time_ns,
        access_text(record.access()),
        record.device(),
        record.stream,
        record.reason(),
        reason_text(record.reason()),
    );
    (text, hardware(&record))
}

/// The hardware's record of the first fault, by what names its stream.
fn hardware(record: &Record) -> Option<Raw> {
    let [first, second] = record.raw;
    if record.reason() == reason::STORM || record.raw == [0; 2] {
        return None;
    }
    let vtd = FaultWord1::from(second);
    if vtd.fault() && u64::from(vtd.source()) == record.stream {
        return Some(Raw { kind: "vtd-fault", words: vec![first, second], level: None, note: "" });
    }
    (u64::from(EventWord0::from(first).stream()) == record.stream).then(|| Raw {
        kind: "smmu-event",
        words: vec![first, second, record.iova().unwrap_or_default(), 0],
        level: None,
        note: "The ring keeps two of the event's four words; the third is the address, the fourth unknown.",
    })
}

/// Whether `text` looks like the line that a driver prints of a fault.
pub fn is_line(text: &str) -> bool {
    text.contains(" by device ") && text.contains("(stream 0x")
}

/// What the line of a driver says: `a read at 0x1000 by device 0 (stream 0x10), not mapped`.
///
/// # Errors
/// It is no such line.
pub fn line(text: &str) -> Result<String> {
    // Of a check that failed, what was found is last.
    let text = text.rsplit_once("found ").map_or(text, |(_, found)| found);
    let parts = || {
        let (before, after) = text.split_once(" by device ")?;
        let (device, after) = after.split_once(" (stream ")?;
        let (stream, why) = after.split_once("), ")?;
        let stream = u64::from_str_radix(stream.strip_prefix("0x")?, 16).ok()?;
        let (what, at) = before.rsplit_once(" at ")?;
        Some((what, at, device.parse::<u64>().ok()?, stream, why.trim()))
    };
    let (what, at, device, stream, why) = parts()
        .with_context(|| format!("'{}' is not the line that a driver prints of a fault", text.trim()))?;
    let what = ["a read", "a write", "an access"].into_iter().find(|known| what.ends_with(known));
    let what = what.context("the line does not begin with 'a read', 'a write' or 'an access'")?;
    let code = code(why).with_context(|| format!("the reason '{why}' is unknown"))?;
    ensure!(at == "no address" || at.starts_with("0x"), "the address '{at}' is not a hexadecimal number");
    Ok(format!(
        "Fault of device {device} (stream {stream:#x})\n  {what} at {at}\n  reason {code:#x}: {}\nIn short: {}.\n",
        reason_text(code),
        hint(code)
    ))
}

fn code(why: &str) -> Option<u16> {
    let why = why.split([',', ';']).next().unwrap_or_default().trim();
    Some(match why {
        "not mapped" => reason::NOT_MAPPED,
        "not permitted" => reason::PERMISSION,
        "stream aborted" => reason::STREAM_ABORTED,
        _ => u16::from_str_radix(why.strip_prefix("reason 0x")?, 16).ok()?,
    })
}

const fn hint(code: u16) -> &'static str {
    match code {
        reason::NOT_MAPPED => {
            "the device used an address that its driver did not map, or unmapped before the device was done"
        }
        reason::PERMISSION => {
            "the device used a mapping in a way that it does not allow; under VT-d nothing may be mapped there either"
        }
        reason::STREAM_ABORTED => {
            "the device was not attached: attach it first, and see that its stream id is right"
        }
        reason::STORM => {
            "the device made more faults than the policy allows: mend its driver, then ENABLE it"
        }
        reason::ADDRESS_SIZE => "the device used an address beyond the aperture",
        reason::WALK_ABORT => "the unit could not read its tables",
        _ => "see the hardware's own record for the rule that was broken",
    }
}
