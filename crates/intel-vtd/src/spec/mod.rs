//! What the specification defines, as types without algorithms.
//!
//! Sections are those of the Intel Virtualization Technology for Directed I/O Architecture Specification, order number
//! D51397, revision 4.1. An encoding that is unknown here survives as its number.

pub mod context;
pub mod descriptors;
pub mod faults;
pub mod pasid;
pub mod registers;
pub mod root;
pub mod second_stage;
