//! Entries of translation tables: VMSAv8-64, stage 1 and stage 2 (DDI 0487, D8.3).
//!
//! The drivers' own tables are those of `iommu-pgtable`, whose entries have no type of their own.

use super::attributes::{MEMORY, SHAREABILITY};
use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, ignored, reserved, size},
    kind::{Kind, Place, Source},
};

/// An entry of a stage 1 table.
pub const STAGE1: Kind = Kind {
    name: "smmu-s1-entry",
    title: "VMSAv8-64 stage 1 table entry",
    source: Source::Arm,
    section: "D8.3",
    word_bits: 64,
    words: 1,
    levels: Some((0, 3)),
    fields: |words, place| fields(words, place, Stage::One),
    verdict: |entry, place| verdict(entry, place, Stage::One),
};

/// An entry of a stage 2 table.
pub const STAGE2: Kind = Kind {
    name: "smmu-s2-entry",
    title: "VMSAv8-64 stage 2 table entry",
    source: Source::Arm,
    section: "D8.3",
    word_bits: 64,
    words: 1,
    levels: Some((0, 3)),
    fields: |words, place| fields(words, place, Stage::Two),
    verdict: |entry, place| verdict(entry, place, Stage::Two),
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    One,
    Two,
}

/// What an entry is, by its two lowest bits and its level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Invalid,
    /// Bit 1 says block where the level has none, or page level without page.
    Reserved,
    Table,
    /// A block or a page of this size.
    Leaf(u32),
}

fn shape(word: u64, place: Place) -> Shape {
    let leaf_lg2 = place.granule_lg2 + (place.granule_lg2 - 3) * (3 - u32::from(place.level.min(3)));
    match (word & 0b11, place.level) {
        (0b00 | 0b10, _) => Shape::Invalid,
        (0b11, 3) => Shape::Leaf(leaf_lg2),
        (0b11, _) => Shape::Table,
        (_, 2) => Shape::Leaf(leaf_lg2),
        (_, 1) if place.granule_lg2 != 14 => Shape::Leaf(leaf_lg2),
        _ => Shape::Reserved,
    }
}

fn fields(words: &[u64], place: Place, stage: Stage) -> Vec<Field> {
    let word = words.first().copied().unwrap_or_default();
    let valid = field(0, 0, 1, "valid", Flag("invalid: an access faults", "valid"));
    match shape(word, place) {
        Shape::Invalid => vec![valid, ignored(0, 1, 63)],
        Shape::Reserved => {
            vec![valid, field(0, 1, 1, "type", Text("reserved at this level: as invalid")), ignored(0, 2, 62)]
        }
        Shape::Table => table(valid, place, stage),
        Shape::Leaf(lg2) => leaf(valid, place, stage, lg2 as usize),
    }
}

fn table(valid: Field, place: Place, stage: Stage) -> Vec<Field> {
    let lowest = place.granule_lg2 as usize;
    let mut fields = vec![
        valid,
        field(0, 1, 1, "type", Flag("block", "table")),
        ignored(0, 2, 6),
        ignored(0, 8, 2),
        field(0, 10, 1, "AF", Text("access flag of the table, with HAFT")).quiet(),
        ignored(0, 11, 1),
    ];
    if lowest > 12 {
        fields.push(high_address(lowest, lowest - 12));
    }
    fields.push(field(0, lowest, 48 - lowest, "address", Address("next table")));
    fields.extend([
        reserved(0, 48, 3),
        ignored(0, 51, 1),
        field(0, 52, 1, "protected", Text("with PnCH")).quiet(),
    ]);
    fields.push(ignored(0, 53, 6));
    match stage {
        Stage::One => fields.extend([
            field(0, 59, 1, "PXNTable", Flag("", "nothing below is executed by privileged accesses")),
            field(0, 60, 1, "UXNTable", Flag("", "nothing below is executed by unprivileged accesses")),
            field(
                0,
                61,
                2,
                "APTable",
                Values(&[
                    (0, "takes no right away"),
                    (1, "takes unprivileged accesses away below"),
                    (2, "takes writes away below"),
                    (3, "takes writes and unprivileged accesses away below"),
                ]),
            ),
            field(0, 63, 1, "NSTable", Text("of Secure tables alone")).quiet(),
        ]),
        Stage::Two => fields.push(reserved(0, 59, 5)),
    }
    fields
}

/// Bits of the address below the granule: 51:48 of 64 KiB granules with 52-bit addresses, else zero.
fn high_address(granule_lg2: usize, bits: usize) -> Field {
    if granule_lg2 == 16 {
        field(0, 12, bits, "address_48", Text("address bits 51:48")).quiet()
    } else {
        reserved(0, 12, bits)
    }
}

fn leaf(valid: Field, place: Place, stage: Stage, lg2: usize) -> Vec<Field> {
    let mut fields = vec![valid, field(0, 1, 1, "type", Flag("block", "page"))];
    match stage {
        Stage::One => fields.extend([
            field(0, 2, 3, "AttrIndx", With(|value| format!("memory attribute {value} of MAIR")))
                .section("D8.6"),
            field(0, 5, 1, "NS", Text("of Secure tables alone")).quiet(),
            field(
                0,
                6,
                2,
                "AP[2:1]",
                Values(&[
                    (0, "privileged accesses read and write, others nothing"),
                    (1, "reads and writes"),
                    (2, "privileged accesses read, others nothing"),
                    (3, "reads"),
                ]),
            )
            .section("D8.4"),
        ]),
        Stage::Two => fields.extend([
            field(0, 2, 4, "MemAttr", MEMORY).section("D8.6"),
            field(
                0,
                6,
                2,
                "S2AP",
                Values(&[(0, "no access"), (1, "reads"), (2, "writes"), (3, "reads and writes")]),
            )
            .section("D8.4"),
        ]),
    }
    fields.push(field(0, 8, 2, "SH", SHAREABILITY).section("D8.6"));
    fields.push(
        field(0, 10, 1, "AF", Flag("not accessed: an access faults, F_ACCESS", "accessed")).section("D8.5"),
    );
    match stage {
        Stage::One => {
            fields.push(field(0, 11, 1, "nG", Flag("global: of all ASIDs", "of one ASID")).section("D8.16"));
        }
        Stage::Two => fields.push(field(0, 11, 1, "FnXS", Text("of FEAT_XS alone")).quiet()),
    }
    let granule = place.granule_lg2 as usize;
    if place.level == 3 {
        if granule > 12 {
            fields.push(high_address(granule, granule - 12));
        }
    } else {
        fields.push(high_address(granule, 4));
        fields.push(field(0, 16, 1, "nT", Text("not to be cached while the block changes size")).quiet());
        fields.push(reserved(0, 17, lg2 - 17));
    }
    fields.push(field(0, lg2, 48 - lg2, "address", Address("memory")));
    fields.extend([
        reserved(0, 48, 2),
        field(0, 50, 1, "GP", Text("guarded page; reserved in stage 2")).quiet(),
        field(0, 51, 1, "DBM", Flag("", "the hardware may make it writable")).quiet(),
        field(0, 52, 1, "contiguous", Flag("", "one of a run of entries that are alike")),
    ]);
    match stage {
        Stage::One => fields.extend([
            field(0, 53, 1, "PXN", Flag("", "not executed by privileged accesses")).section("D8.4"),
            field(0, 54, 1, "UXN", Flag("", "not executed by unprivileged accesses")).section("D8.4"),
        ]),
        Stage::Two => fields.push(
            field(
                0,
                53,
                2,
                "XN",
                Values(&[
                    (0, "executed by all"),
                    (1, "executed by unprivileged accesses"),
                    (2, "not executed"),
                    (3, "executed by privileged accesses"),
                ]),
            )
            .section("D8.4"),
        ),
    }
    fields.extend([
        ignored(0, 55, 4),
        field(0, 59, 4, "PBHA", Text("the implementation's, with HWU bits")).quiet(),
        ignored(0, 63, 1),
    ]);
    fields
}

fn verdict(entry: &Entry<'_>, place: Place, stage: Stage) -> Verdict {
    let word = entry.words.first().copied().unwrap_or_default();
    let covers = size(place.granule_lg2 + (place.granule_lg2 - 3) * (3 - u32::from(place.level.min(3))));
    match shape(word, place) {
        Shape::Invalid => {
            Verdict::new(format!("nothing is mapped in its {covers}: an access faults, F_TRANSLATION"))
        }
        Shape::Reserved => {
            let why = if place.level == 3 {
                "bit 1 of a level 3 entry must be set: it counts as invalid (D8.3)".to_string()
            } else {
                format!(
                    "level {} has no blocks with this granule: the entry counts as invalid (D8.3)",
                    place.level
                )
            };
            Verdict::new("nothing is mapped: an access faults, F_TRANSLATION").wrong_if(true, why)
        }
        Shape::Table => {
            let limits = match stage {
                Stage::Two => "",
                Stage::One => when(
                    entry.is("APTable") || entry.is("PXNTable") || entry.is("UXNTable"),
                    "with fewer rights",
                ),
            };
            let next = format!(
                "a level {} table at {:#x} decides over its {covers}",
                place.level + 1,
                entry.address("address")
            );
            Verdict::new(list(&[&next, limits]))
        }
        Shape::Leaf(_) => leaf_verdict(entry, place, stage, &covers),
    }
}

fn leaf_verdict(entry: &Entry<'_>, place: Place, stage: Stage, covers: &str) -> Verdict {
    let rights = match stage {
        Stage::One => match entry.get("AP[2:1]") {
            0 => "privileged reads and writes",
            1 => "reads and writes",
            2 => "privileged reads",
            _ => "reads",
        },
        Stage::Two => ["no access", "reads", "writes", "reads and writes"][entry.get("S2AP") as usize & 3],
    };
    let kind = if place.level == 3 { "page" } else { "block" };
    let does = format!("a {kind} of {covers} at {:#x}, for {rights}", entry.address("address"));
    let unread = when(!entry.is("AF"), "but an access faults, F_ACCESS, unless AFFD or the hardware sets AF");
    let memory = if stage == Stage::Two { entry.get("MemAttr") } else { 0 };
    Verdict::new(list(&[&does, unread]))
        .wrong_if(entry.get("SH") == 1, "SH 1 is a reserved encoding (D8.6)")
        .wrong_if(
            matches!(memory, 4 | 8 | 12),
            format!("MemAttr {memory:#x} is a reserved encoding, without STE.S2FWB (D8.6)"),
        )
}
