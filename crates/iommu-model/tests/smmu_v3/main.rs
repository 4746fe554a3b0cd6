//! The SMMUv3 model, programmed by literals: what it does, what it remembers, what it refuses.

mod beside;
mod caches;
mod coherency;
mod errors;
mod events;
mod left_on;
mod random;
mod registers;
mod rig;
mod rights;
mod streams;
mod translation;
