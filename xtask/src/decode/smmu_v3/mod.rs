//! Structures and registers of the SMMUv3 (Arm IHI 0070) and entries of its tables (Arm DDI 0487).

mod attributes;
mod command;
mod context;
mod event;
mod registers;
mod stream_table;
mod table_entry;

use super::kind::Kind;

/// The kinds.
pub const KINDS: &[Kind] = &[
    stream_table::STE,
    stream_table::L1STD,
    context::CD,
    table_entry::STAGE1,
    table_entry::STAGE2,
    event::EVENT,
    command::COMMAND,
    registers::IDR0,
    registers::IDR1,
    registers::IDR2,
    registers::IDR3,
    registers::IDR4,
    registers::IDR5,
    registers::GERROR,
    registers::CR0,
    registers::GBPA,
];
