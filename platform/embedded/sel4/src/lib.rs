//! The part of rust-sel4's crate of this name that the project's `main.rs` files use: a child's thread.
//!
//! The system calls are `sel4-microkit`'s, beside this crate.
#![no_std]

pub use sel4_microkit::object::{Error, Result, UserContext, Word};

/// Capabilities, by the kinds of object that they are for.
pub mod cap {
    pub use sel4_microkit::object::Tcb;
}
