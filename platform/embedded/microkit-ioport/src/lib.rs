//! I/O ports of a protection domain: what libmicrokit calls `microkit_x86_ioport_read_8` and so on, and rust-sel4 lacks.
//!
//! The invocations are `sel4-microkit`'s, beside this crate; platform/sel4 has a crate of this name for rust-sel4.
#![no_std]

pub use sel4_microkit::ioport::IoPorts;
