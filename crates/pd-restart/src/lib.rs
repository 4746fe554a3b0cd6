//! Lets a protection domain (PD) be restarted as if it had never run.
//!
//! A parent restarts a child by writing its program counter and nothing else. Its data would be what it left behind,
//! so a PD that links this crate gets two entries around the `_start` of its runtime, whichever that is:
//!
//! - [`FIRST_ENTRY`] is the program's entry, before any other code. It keeps a copy of the program's data as the image
//!   builder patched it, and the stack pointer.
//! - [`RESTART_ENTRY`] is where a parent sends the program counter. It puts the copy back, zeroes the rest of the
//!   program's writable memory (`.bss`), takes the whole stack again and resets the floating-point control registers.
//!
//! What is data and what is zero the program's own headers say, so they must be loaded (the linker defines
//! `__ehdr_start` then). Memory regions are no part of the program and keep what is in them; so do the capabilities'
//! objects: a signal that came while the PD was stopped waits for it.
//!
//! The copy has a checksum: a PD that damaged its copy does not start again, it faults.
//!
//! # Use
//! `use pd_restart as _;` in `main.rs`, and in the build script `cargo:rustc-link-arg-bins=--entry=_first_start`. The
//! image builder refuses a child that was not linked so, or that has more than [`MAX_DATA_BYTES`] of data.
#![no_std]

#[cfg(target_os = "none")]
mod entry;
mod headers;
mod save;

pub use headers::{HEADER_BYTES, HeaderError, Span, Spans, headers_end, spans};
pub use save::{Save, SaveError};

/// The symbol of the program's entry.
pub const FIRST_ENTRY: &str = "_first_start";

/// The symbol of the entry that a parent restarts the program at.
pub const RESTART_ENTRY: &str = "_restart";

/// Most bytes of initialised data that a program may have.
pub const MAX_DATA_BYTES: usize = 8 * 1024;

/// Most writable segments that a program may have.
pub const MAX_SPANS: usize = 8;
