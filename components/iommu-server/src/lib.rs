//! The IOMMU server: requests in, replies out, faults to their owners. Knows no Microkit.
#![no_std]
#![forbid(unsafe_code)]

pub mod faults;
pub mod policy;
