//! Root and context entries, PASID directory and table entries, and what is wrong with them (9.1 to 9.6).

use super::{config::Config, reason::Reason};
use crate::fields::{bits, mask};

/// Where a request is translated: second-stage tables under a domain id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub domain: u16,
    pub root: u64,
    /// 3 or 4.
    pub levels: u32,
    pub scalable: bool,
}

impl Space {
    /// Bits of an address that the tables resolve.
    pub const fn input_bits(&self) -> u32 {
        12 + 9 * self.levels
    }
}

/// What an entry does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    PassThrough,
    SecondStage(Space),
}

/// Whether P is set.
pub(super) const fn is_present(word: u64) -> bool {
    word & 1 == 1
}

/// Whether FPD is set; it counts even where P is clear.
pub(super) const fn disables_faults(word: u64) -> bool {
    word & 0b10 != 0
}

/// The frame that a pointer field names.
pub(super) const fn frame(word: u64) -> u64 {
    word & mask(12, 63)
}

fn beyond_host(config: &Config) -> u64 {
    if config.host_bits < 64 { mask(config.host_bits, 63) } else { 0 }
}

/// The context table for the device `source`, and the entry's place in it (9.1; scalable mode: 9.2).
pub(super) fn context_table(
    config: &Config,
    scalable: bool,
    root: [u64; 2],
    source: u16,
) -> Result<u64, Reason> {
    let upper = scalable && source & 0x80 != 0;
    let word = root[usize::from(upper)];
    if !is_present(word) {
        return Err(Reason::RootNotPresent);
    }
    if word & (mask(1, 11) | beyond_host(config)) != 0 || (!scalable && root[1] != 0) {
        return Err(Reason::RootReserved);
    }
    let index = u64::from(source & if scalable { 0x7f } else { 0xff });
    Ok(frame(word) + context_bytes(scalable) * index)
}

/// Bytes of a context entry.
pub(super) const fn context_bytes(scalable: bool) -> u64 {
    if scalable { 32 } else { 16 }
}

fn levels(config: &Config, field: u64) -> Option<u32> {
    let width = 30 + 9 * field as u32;
    ((1..=2).contains(&field) && config.widths.contains(&width)).then_some(field as u32 + 2)
}

/// What a legacy context entry says (9.3).
pub(super) fn legacy_plan(config: &Config, entry: [u64; 2]) -> Result<Plan, Reason> {
    let [low, high] = entry;
    if !is_present(low) {
        return Err(Reason::ContextNotPresent);
    }
    let domain = bits(high, 8, 23);
    if low & (mask(4, 11) | beyond_host(config)) != 0
        || high & (mask(7, 7) | mask(24, 63)) != 0
        || !config.is_domain(domain)
    {
        return Err(Reason::ContextReserved);
    }
    let levels = levels(config, bits(high, 0, 2)).ok_or(Reason::ContextInvalid)?;
    match bits(low, 2, 3) {
        0b00 => {
            Ok(Plan::SecondStage(Space { domain: domain as u16, root: frame(low), levels, scalable: false }))
        }
        0b10 if config.pass_through => {
            let widest = config.widths.iter().max().copied();
            assert_eq!(
                Some(12 + 9 * levels),
                widest,
                "a pass-through context entry has the largest address width (9.3)"
            );
            Ok(Plan::PassThrough)
        }
        _ => Err(Reason::ContextInvalid),
    }
}

/// The domain id of a legacy context entry, or 0 where it is not present (6.2.2.1).
pub(super) const fn legacy_domain(entry: [u64; 2]) -> u16 {
    if is_present(entry[0]) { bits(entry[1], 8, 23) as u16 } else { 0 }
}

/// A scalable-mode context entry that is in order (9.4): its PASID directory and its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub at: u64,
    /// PASIDs from here on are too large.
    pub limit: u64,
    /// Requests may carry a PASID.
    pub pasids: bool,
    /// The PASID of requests without one.
    pub own: u32,
}

/// What a scalable-mode context entry says (9.4).
pub(super) fn directory(config: &Config, entry: [u64; 4]) -> Result<Directory, Reason> {
    let [low, high, ..] = entry;
    if !is_present(low) {
        return Err(Reason::ContextNotPresent);
    }
    // DTE and PRE without device TLBs and page requests, RID_PRIV without ECAP.RPRIVS.
    let pasids = if config.pasid_bits == 0 { mask(3, 3) } else { 0 };
    let own = if config.rid_pasid { 0 } else { mask(0, 19) };
    if low & (mask(2, 2) | pasids | mask(4, 8) | beyond_host(config)) != 0
        || high & (own | mask(20, 63)) != 0
        || entry[2] != 0
        || entry[3] != 0
    {
        return Err(Reason::ContextReserved);
    }
    let limit = 64 << (bits(low, 9, 11) + 7);
    let own = bits(high, 0, 19);
    if own >= limit {
        return Err(Reason::ContextInvalid);
    }
    Ok(Directory { at: frame(low), limit, pasids: bits(low, 3, 3) == 1, own: own as u32 })
}

/// The place of the entry for `pasid` in the table that a directory entry names (9.5).
pub(super) fn pasid_entry_at(config: &Config, entry: u64, pasid: u32) -> Result<u64, Reason> {
    if !is_present(entry) {
        return Err(Reason::DirectoryNotPresent);
    }
    if entry & (mask(2, 11) | beyond_host(config)) != 0 {
        return Err(Reason::DirectoryReserved);
    }
    Ok(frame(entry) + PASID_ENTRY_BYTES * u64::from(pasid & 0x3f))
}

/// Bytes of a PASID-table entry.
pub(super) const PASID_ENTRY_BYTES: u64 = 64;

/// What a PASID-table entry says (9.6). First-stage and nested translation are not implemented.
pub(super) fn pasid_plan(config: &Config, entry: [u64; 8]) -> Result<Plan, Reason> {
    let [low, high, first_stage, ..] = entry;
    if !is_present(low) {
        return Err(Reason::PasidNotPresent);
    }
    let domain = bits(high, 0, 15);
    let snoop = if config.coherent { 0 } else { mask(23, 23) };
    let page_snoop = if config.snoop_control { 0 } else { mask(24, 24) };
    // SSADE without ECAP.SSADS; memory types without ECAP.MTS; bits 133 and 134 are ignored.
    if low & (mask(5, 5) | mask(9, 11) | beyond_host(config)) != 0
        || high & (mask(16, 22) | snoop | page_snoop | mask(25, 63)) != 0
        || first_stage & !mask(5, 6) != 0
        || entry[3..].iter().any(|&word| word != 0)
        || !config.is_domain(domain)
    {
        return Err(Reason::PasidReserved);
    }
    match bits(low, 6, 8) {
        0b010 => {
            let levels = levels(config, bits(low, 2, 4)).ok_or(Reason::PasidInvalid)?;
            assert!(
                !config.coherent || bits(high, 23, 23) == 1,
                "PASID entry without PWSNP: walks do not look into the CPU's caches (9.6)"
            );
            Ok(Plan::SecondStage(Space { domain: domain as u16, root: frame(low), levels, scalable: true }))
        }
        0b100 if config.pass_through => Ok(Plan::PassThrough),
        _ => Err(Reason::PasidInvalid),
    }
}

/// The domain id of a PASID-table entry that is present.
pub(super) const fn pasid_domain(entry: [u64; 8]) -> Option<u16> {
    if is_present(entry[0]) { Some(bits(entry[1], 0, 15) as u16) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_context_entry_is_judged_bit_by_bit() {
        let config = Config::default();
        let good = [0x5000_0001, 0x0502];
        assert_eq!(
            legacy_plan(&config, good),
            Ok(Plan::SecondStage(Space { domain: 5, root: 0x5000_0000, levels: 4, scalable: false }))
        );
        for (bit, reserved) in
            [(4, true), (11, true), (1, false), (12, false), (47, false), (48, true), (63, true)]
        {
            let judged = legacy_plan(&config, [good[0] | 1 << bit, good[1]]);
            assert_eq!(judged == Err(Reason::ContextReserved), reserved, "low {bit}");
        }
        for (bit, reserved) in [(3, false), (6, false), (7, true), (23, false), (24, true), (63, true)] {
            let judged = legacy_plan(&config, [good[0], good[1] | 1 << bit]);
            assert_eq!(judged == Err(Reason::ContextReserved), reserved, "high {bit}");
        }
        for width in [0, 3, 4, 7] {
            assert_eq!(legacy_plan(&config, [good[0], 0x500 | width]), Err(Reason::ContextInvalid));
        }
        assert_eq!(
            legacy_plan(&config, [good[0] | 1 << 2, good[1]]),
            Err(Reason::ContextInvalid),
            "device TLB"
        );
        assert_eq!(legacy_plan(&config, [good[0] | 2 << 2, good[1]]), Ok(Plan::PassThrough));
        assert_eq!(legacy_plan(&config, [good[0] | 3 << 2, good[1]]), Err(Reason::ContextInvalid));
        let small = Config { domain_bits: 8, pass_through: false, ..Config::default() };
        assert_eq!(legacy_plan(&small, [good[0], 0x1_0002]), Err(Reason::ContextReserved));
        assert_eq!(legacy_plan(&small, [good[0] | 2 << 2, good[1]]), Err(Reason::ContextInvalid));
    }

    #[test]
    fn a_pasid_entry_is_judged_bit_by_bit() {
        let config = Config::scalable();
        let good = [0x5000_0000 | 0b010 << 6 | 0b010 << 2 | 1, 5, 0, 0, 0, 0, 0, 0];
        assert!(pasid_plan(&config, good).is_ok());
        for (word, bit, reserved) in [
            (0, 1, false),
            (0, 5, true),
            (0, 9, true),
            (0, 48, true),
            (1, 15, false),
            (1, 16, true),
            (1, 23, true),
            (1, 24, true),
            (1, 32, true),
            (2, 0, true),
            (2, 5, false),
            (2, 12, true),
            (3, 0, true),
            (7, 63, true),
        ] {
            let mut entry = good;
            entry[word] |= 1 << bit;
            assert_eq!(
                pasid_plan(&config, entry) == Err(Reason::PasidReserved),
                reserved,
                "word {word}, bit {bit}"
            );
        }
        for kind in [0, 1, 3, 5] {
            let entry = [0x5000_0009 | kind << 6, 5, 0, 0, 0, 0, 0, 0];
            assert_eq!(pasid_plan(&config, entry), Err(Reason::PasidInvalid), "PGTT {kind}");
        }
    }

    #[test]
    fn a_scalable_context_entry_bounds_its_pasids() {
        let config = Config::server();
        let entry = |low: u64, high| directory(&config, [0x5000_0001 | low, high, 0, 0]);
        assert_eq!(entry(0, 0).unwrap().limit, 8192);
        assert_eq!(
            entry(7 << 9 | 8, 3).unwrap(),
            Directory { at: 0x5000_0000, limit: 1 << 20, pasids: true, own: 3 }
        );
        assert_eq!(entry(0, 8192), Err(Reason::ContextInvalid));
        assert_eq!(entry(1 << 2, 0), Err(Reason::ContextReserved));
        assert_eq!(entry(0, 1 << 20), Err(Reason::ContextReserved));
        assert_eq!(directory(&Config::scalable(), [0x5000_0001, 3, 0, 0]), Err(Reason::ContextReserved));
    }
}
