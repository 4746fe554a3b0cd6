//! Entries of second-stage tables (9.8). Level 1 has the pages of 4 KiB.

use intel_vtd::spec::second_stage::SecondStageEntry as S;

use crate::decode::{
    entry::{Entry, Verdict, list, when},
    field::{Field, Meaning::*, field, ignored, reserved, size, spec},
    kind::{Kind, Place, Source},
};

/// An entry of a second-stage table.
pub const SECOND_STAGE: Kind = Kind {
    name: "vtd-second-stage",
    title: "VT-d second-stage paging entry",
    source: Source::Vtd,
    section: "9.8",
    word_bits: 64,
    words: 1,
    levels: Some((1, 5)),
    fields,
    verdict,
};

/// The highest level that has pages: of 1 GiB.
const HIGHEST_PAGE_LEVEL: u8 = 3;

const READ: Field = spec!(0, S, read, with_read, "R", Flag("no reads", "reads"));
const WRITE: Field = spec!(0, S, write, with_write, "W", Flag("no writes", "writes"));
const PAGE: Field = spec!(0, S, page, with_page, "PS", Flag("a table", "a page"));
const PAGE_BIT: u64 = PAGE.mask();

fn covers_lg2(level: u8) -> usize {
    12 + 9 * (usize::from(level.max(1)) - 1)
}

fn is_page(words: &[u64], place: Place) -> bool {
    place.level <= 1
        || (place.level <= HIGHEST_PAGE_LEVEL && words.first().is_some_and(|word| word & PAGE_BIT != 0))
}

fn fields(words: &[u64], place: Place) -> Vec<Field> {
    let execute =
        spec!(0, S, execute, with_execute, "X", Text("fetches, where the entry above has SSEE")).quiet();
    let accessed =
        spec!(0, S, accessed, with_accessed, "A", Text("accessed, where the entry above has SSADE")).quiet();
    let mut fields = vec![READ, WRITE, execute];
    if is_page(words, place) {
        let lowest = covers_lg2(place.level);
        fields.extend([
            spec!(0, S, memory_type, with_memory_type, "EMT", Text("memory type; reserved without ECAP.MTS"))
                .quiet(),
            spec!(0, S, ignore_pat, with_ignore_pat, "IPAT", Text("ignores PAT; reserved without ECAP.MTS"))
                .quiet(),
            if place.level <= 1 { ignored(0, 7, 1) } else { PAGE },
            accessed,
            spec!(0, S, dirty, with_dirty, "D", Text("written, where the entry above has SSADE")).quiet(),
            ignored(0, 10, 1),
            spec!(0, S, snoop, with_snoop, "SNP", Text("accesses always snoop; reserved without ECAP.SC"))
                .quiet(),
        ]);
        if lowest > 12 {
            fields.push(reserved(0, 12, lowest - 12));
        }
        fields.push(field(0, lowest, 52 - lowest, "ADDR", Address("memory")));
        fields.extend([
            ignored(0, 52, 10),
            field(0, 62, 1, "TM", Text("transient mapping; reserved without ECAP.DT")).quiet(),
            ignored(0, 63, 1),
        ]);
    } else {
        fields.extend([
            ignored(0, 3, 4),
            if place.level <= HIGHEST_PAGE_LEVEL { PAGE } else { reserved(0, 7, 1) },
            accessed,
            ignored(0, 9, 2),
            reserved(0, 11, 1),
            spec!(0, S, address_12, with_address_12, "ADDR", Address("next table")),
            ignored(0, 52, 12),
        ]);
    }
    fields
}

fn verdict(entry: &Entry<'_>, place: Place) -> Verdict {
    let covers = size(covers_lg2(place.level) as u32);
    let rights = match (entry.is("R"), entry.is("W")) {
        (false, false) => return Verdict::new(format!("nothing is mapped in its {covers}: requests fault")),
        (true, false) => "reads",
        (false, true) => "writes",
        (true, true) => "reads and writes",
    };
    let at = entry.address("ADDR");
    Verdict::new(match is_page(entry.words, place) {
        true => format!("a page of {covers} at {at:#x}, for {rights}"),
        false => {
            let next = format!("a level {} table at {at:#x} decides over its {covers}", place.level - 1);
            list(&[&next, when(rights != "reads and writes", &format!("for no more than {rights}"))])
        }
    })
}
