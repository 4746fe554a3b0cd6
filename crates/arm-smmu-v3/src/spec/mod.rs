//! What the specification defines, as types without algorithms.
//!
//! Sections are those of Arm IHI 0070 (Arm System Memory Management Unit Architecture Specification, version 3).
//! An encoding that is unknown here survives as its number.

pub mod cd;
pub mod commands;
pub mod events;
pub mod registers;
pub mod ste;
