//! What the suites share: a memory that remembers what was done to it, a walker that reads tables as the
//! hardware would (own literals, from Arm DDI 0487 D8.3 and the VT-d specification 9.8, not the crate's), and tables under test beside a
//! brute-force reference.
#![allow(dead_code)] // Each suite uses its part.

pub mod hardware;
pub mod ram;
pub mod reference;
pub mod rig;

use iommu_hal::{Format, Geometry};

pub const KIB4: u64 = 0x1000;
pub const MIB2: u64 = 0x20_0000;
pub const GIB1: u64 = 0x4000_0000;

pub const FORMATS: [Format; 3] = [Format::ArmStage1, Format::ArmStage2, Format::VtdSecondStage];

/// Every start level, at its edges and between them.
pub const INPUT_BITS: [u8; 10] = [21, 25, 30, 31, 32, 39, 40, 42, 44, 48];

pub const PAGE_SIZES: [u64; 4] = [KIB4, KIB4 | MIB2, KIB4 | GIB1, KIB4 | MIB2 | GIB1];

/// Every shape of tables.
pub fn geometries() -> impl Iterator<Item = Geometry> {
    FORMATS.into_iter().flat_map(|format| {
        INPUT_BITS.into_iter().flat_map(move |input_bits| {
            PAGE_SIZES.into_iter().map(move |page_sizes| Geometry {
                format,
                input_bits,
                output_bits: 48,
                page_sizes,
            })
        })
    })
}
