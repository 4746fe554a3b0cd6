//! The PCI host: alone maps the configuration space. Knows no Microkit.
#![no_std]

pub mod policy;
