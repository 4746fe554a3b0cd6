//! IO page tables: one walker over small descriptions of each entry format.
//!
//! The frames that tables are made of come from a [`FramePool`] of fixed capacity. A mapping is made in three
//! steps: [`Table::plan`] says exactly how many frames it needs, [`FramePool::reserve`] sets them aside or
//! refuses, [`Table::fill`] then cannot fail and can be done in slices. [`Table::clear`] needs nothing; the
//! tables that it takes out come back as [`StaleFrames`], which become free again only against the proof that
//! the hardware has forgotten them.
//!
//! The caller owns the address arithmetic: what is mapped is free, and what is cleared consists of whole
//! mappings. Tables that hold no mapping do not exist, save for the root and one spare ([`Table::clear_leaves`]).
#![no_std]
#![forbid(unsafe_code)]

mod clear;
mod fill;
mod fmt;
mod frames;
mod leaves;
mod level;
mod plan;
mod table;
mod way;

pub use clear::Cleared;
pub use fmt::expressible;
pub use frames::{FrameMeta, FramePool, OutOfFrames, Reservation, StaleFrames};
pub use plan::Plan;
pub use table::{Extent, Mapping, Table};
