//! The IOMMU server: requests in, replies out, faults to their owners. Knows no Microkit.
//!
//! [`Server::start`](server::Server::start) brings the units up as the [`policy`] says, [`Server::call`]
//! answers a client, [`Server::work`] does what an interrupt or the timer asks for. None of them waits for a
//! client, and each does a bounded amount of work.
//!
//! [`Server::call`]: server::Server::call
//! [`Server::work`]: server::Server::work
#![no_std]
#![forbid(unsafe_code)]

pub mod backend;
pub mod faults;
pub mod policy;
mod requests;
mod seat;
pub mod server;
pub use seat::Roll;
pub mod start;
mod stats;
mod status;
mod storm;
mod supervise;
