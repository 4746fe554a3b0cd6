//! The PCI host: it alone maps PCI's configuration space.
//!
//! At start it clears bus mastering everywhere ([`Host::bring_up`]), finds the functions that the [`policy`]
//! names, places their BARs and lets them decode memory. Then drivers ask it for bus mastering
//! ([`Host::request`]); it sets it only for a function that the IOMMU server says is attached, and clears it
//! when the server signals that one may no longer be ([`Host::settle`]). Once the IOMMU is on, safety does not
//! rest on it.
//!
//! What configuration space says is the devices' word, and devices may lie: nothing read from it is trusted to
//! be in range, and every walk over it is bounded. The library knows no Microkit; `main.rs` wires it.
#![no_std]

mod bar;
mod config;
mod host;
#[cfg(feature = "real")]
mod mapped;
mod place;
pub mod policy;

pub use bar::BarFault;
pub use config::{ConfigSpace, DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE, Requester};
pub use host::{Host, MAX_WITHDRAWN};
#[cfg(feature = "real")]
pub use mapped::Ecam;
pub use place::{MAX_CAPABILITIES, PlaceError};
