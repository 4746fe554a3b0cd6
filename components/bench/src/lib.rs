//! Measures what the IOMMU server's calls cost a driver, in guest instructions. Knows no Microkit.
//!
//! [`run`] measures one client alone; [`run_among`] one client among [`Neighbours`], each of which is a
//! [`Neighbour`] in a protection domain of its own. Either has a [`Supervisor`], in another.
#![no_std]
#![forbid(unsafe_code)]

mod bounds;
mod clients;
mod figure;
mod meter;
mod random;
mod rows;
mod session;
mod supervised;
mod supervisor;

pub use clients::{Neighbour, Neighbours, run_among};
pub use figure::Figure;
pub use meter::{Meter, Time};
pub use rows::run;
pub use session::Report;
pub use supervisor::Supervisor;
