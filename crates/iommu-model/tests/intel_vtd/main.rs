//! The VT-d model, programmed by literals: what it does, what it remembers, what it refuses.

mod caches;
mod caching_mode;
mod coherency;
mod context_caches;
mod errors;
mod fault_records;
mod interrupts;
mod left_on;
mod queue;
mod random;
mod reasons;
mod register_invalidation;
mod registers;
mod rig;
mod scalable;
mod scalable_reasons;
mod translation;
mod watched;
