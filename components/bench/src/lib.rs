//! Measures what the IOMMU server's calls cost a driver, in guest instructions. Knows no Microkit.
#![no_std]
#![forbid(unsafe_code)]

mod figure;
mod meter;
mod run;

pub use figure::Figure;
pub use meter::{Meter, Time};
pub use run::{Report, run};
