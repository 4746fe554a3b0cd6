//! The VT-d model, programmed by literals: what it does, what it remembers, what it refuses.

mod caches;
mod reasons;
mod rig;
mod translation;
