//! Structures and registers of VT-d (Intel VT-d rev 4.1).

mod context;
mod descriptor;
mod fault;
mod pasid;
mod reason;
mod registers;
mod root;
mod second_stage;

use super::{
    field::{Field, only},
    kind::Kind,
};

/// The kinds.
pub const KINDS: &[Kind] = &[
    root::ROOT,
    root::SCALABLE_ROOT,
    context::CONTEXT,
    context::SCALABLE_CONTEXT,
    pasid::DIRECTORY,
    pasid::PASID,
    second_stage::SECOND_STAGE,
    descriptor::DESCRIPTOR,
    descriptor::WIDE_DESCRIPTOR,
    fault::FAULT,
    registers::CAP,
    registers::ECAP,
    registers::GSTS,
    registers::GCMD,
    registers::FSTS,
    registers::RTADDR,
    registers::IQERCD,
];

/// AW: levels of the second stage, less two.
fn levels(address_width: u64) -> Option<u64> {
    (1..=3).contains(&address_width).then_some(address_width + 2)
}

/// What AW means.
fn address_width(value: u64) -> String {
    match levels(value) {
        Some(levels) => format!("{levels} levels, {}-bit addresses", 12 + 9 * levels),
        None => "a reserved encoding".into(),
    }
}

/// `fields` of an entry whose bit 0 is P: where it is clear, the hardware looks at P and FPD alone.
fn where_present(words: &[u64], fields: &[Field]) -> Vec<Field> {
    let present = words.first().is_some_and(|word| word & 1 != 0);
    only(fields, |name| present || matches!(name, "P" | "FPD"))
}
