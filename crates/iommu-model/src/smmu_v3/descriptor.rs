//! Translation table descriptors of VMSAv8-64 (DDI 0487, D8.3 and D8.4).

use super::{
    stream_table::{bits, mask},
    tlb::{Allowed, Limits, Stage},
};

/// What a descriptor says at its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptor {
    Invalid,
    Table { next: u64, limits: Limits },
    Leaf { output: u64, allowed: Allowed, accessed: bool, global: bool, not_cached: bool },
}

/// Log2 of the bytes that one entry of `level` covers.
pub(super) const fn entry_size_lg2(granule_lg2: u32, level: u32) -> u32 {
    granule_lg2 + (granule_lg2 - 3) * (3 - level)
}

/// Decodes `word`, an entry at `level`.
///
/// # Panics
/// Where a bit is set that must be zero.
pub(super) fn decode(word: u64, stage: Stage, granule_lg2: u32, level: u32) -> Descriptor {
    match (bits(word, 0, 1), level) {
        (0b11, 3) => leaf(word, stage, granule_lg2, level),
        (0b11, _) => table(word, stage, granule_lg2),
        (0b01, _) if has_blocks(granule_lg2, level) => leaf(word, stage, granule_lg2, level),
        _ => Descriptor::Invalid,
    }
}

const fn has_blocks(granule_lg2: u32, level: u32) -> bool {
    level == 2 || (level == 1 && granule_lg2 == 12)
}

fn check(word: u64, reserved: u64, what: &str) {
    assert_eq!(word & reserved, 0, "{what} descriptor {word:#018x}: reserved bits set (DDI 0487, D8.3)");
}

fn table(word: u64, stage: Stage, granule_lg2: u32) -> Descriptor {
    let upper = if stage == Stage::Two { mask(59, 63) } else { 0 };
    check(word, upper | mask(48, 50) | (mask(12, 63) & !mask(granule_lg2, 63)), "table");
    let limits = match stage {
        Stage::Two => Limits::default(),
        Stage::One => Limits {
            no_unprivileged: bits(word, 61, 61) == 1,
            no_write: bits(word, 62, 62) == 1,
            no_privileged_execute: bits(word, 59, 59) == 1,
            no_unprivileged_execute: bits(word, 60, 60) == 1,
        },
    };
    Descriptor::Table { next: word & mask(granule_lg2, 47), limits }
}

fn leaf(word: u64, stage: Stage, granule_lg2: u32, level: u32) -> Descriptor {
    let size_lg2 = entry_size_lg2(granule_lg2, level);
    let below_address = mask(12, 63) & !mask(size_lg2, 63);
    let no_translate = if level < 3 { mask(16, 16) } else { 0 };
    // At stage 2 bit 11 is RES0, and so is what stage 1 calls nG.
    let stage_two = if stage == Stage::Two { mask(11, 11) } else { 0 };
    check(word, mask(48, 50) | (below_address & !no_translate) | stage_two, "page or block");
    assert_ne!(bits(word, 8, 9), 0b01, "descriptor {word:#018x}: reserved shareability (DDI 0487, D8.6)");
    let allowed = match stage {
        Stage::One => stage_one_rights(word),
        Stage::Two => stage_two_rights(word),
    };
    Descriptor::Leaf {
        output: word & mask(size_lg2, 47),
        allowed,
        accessed: bits(word, 10, 10) == 1,
        global: stage == Stage::One && bits(word, 11, 11) == 0,
        not_cached: word & no_translate != 0,
    }
}

/// AP\[2:1\], PXN, UXN.
fn stage_one_rights(word: u64) -> Allowed {
    let unprivileged = bits(word, 6, 6) == 1;
    let write = bits(word, 7, 7) == 0;
    Allowed {
        unprivileged_read: unprivileged,
        unprivileged_write: unprivileged && write,
        unprivileged_execute: bits(word, 54, 54) == 0,
        privileged_read: true,
        privileged_write: write,
        // What an unprivileged access may write, a privileged one must not execute.
        privileged_execute: bits(word, 53, 53) == 0 && !(unprivileged && write),
    }
}

/// S2AP, XN\[1\]; MemAttr is only checked.
fn stage_two_rights(word: u64) -> Allowed {
    let memory = bits(word, 2, 5);
    assert!(
        !matches!(memory, 0b0100 | 0b1000 | 0b1100),
        "descriptor {word:#018x}: reserved MemAttr (DDI 0487, D8.6)"
    );
    let (read, write, execute) = (bits(word, 6, 6) == 1, bits(word, 7, 7) == 1, bits(word, 54, 54) == 0);
    Allowed {
        unprivileged_read: read,
        unprivileged_write: write,
        unprivileged_execute: execute,
        privileged_read: read,
        privileged_write: write,
        privileged_execute: execute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_depend_on_level_and_granule() {
        let kind = |word, granule, level| match decode(word, Stage::One, granule, level) {
            Descriptor::Invalid => 'i',
            Descriptor::Table { .. } => 't',
            Descriptor::Leaf { .. } => 'l',
        };
        assert_eq!([0, 1, 2, 3].map(|level| kind(0b11, 12, level)), ['t', 't', 't', 'l']);
        assert_eq!([0, 1, 2, 3].map(|level| kind(0b01, 12, level)), ['i', 'l', 'l', 'i']);
        assert_eq!([0, 1, 2, 3].map(|level| kind(0b01, 14, level)), ['i', 'i', 'l', 'i']);
        assert_eq!([0, 1, 2, 3].map(|level| kind(0b10, 12, level)), ['i'; 4]);
    }

    #[test]
    fn sizes_are_those_of_the_architecture() {
        assert_eq!([1, 2, 3].map(|level| entry_size_lg2(12, level)), [30, 21, 12]);
        assert_eq!([2, 3].map(|level| entry_size_lg2(14, level)), [25, 14]);
        assert_eq!([2, 3].map(|level| entry_size_lg2(16, level)), [29, 16]);
    }

    #[test]
    fn rights_follow_the_stage() {
        let Descriptor::Leaf { allowed, accessed, global, .. } = decode(0x1443, Stage::One, 12, 3) else {
            panic!("a page");
        };
        assert!(allowed.unprivileged_write && allowed.privileged_write && accessed && global);
        let Descriptor::Leaf { allowed, global, .. } = decode(0x1cc3, Stage::One, 12, 3) else {
            panic!("a page");
        };
        assert!(allowed.unprivileged_read && !allowed.privileged_write && !global);
        let Descriptor::Leaf { allowed, .. } = decode(0x14bf, Stage::Two, 12, 3) else { panic!("a page") };
        assert!(!allowed.unprivileged_read && allowed.unprivileged_write);
    }

    #[test]
    #[should_panic(expected = "reserved bits set")]
    fn a_misaligned_block_is_refused() {
        decode(0x1401, Stage::One, 12, 2);
    }
}
