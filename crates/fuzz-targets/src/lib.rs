//! The bodies of the fuzz targets: everything that reads what comes from outside, driven by bytes.
//!
//! A body takes any bytes and returns, or panics where the code under test broke a promise. `fuzz/` hands the bodies to
//! libFuzzer, the tests of this crate to the seed corpus and to random inputs, so that a machine without libFuzzer runs
//! them too. docs/fuzzing.md tells how.

mod builder;
mod client;
mod dmar;
mod input;
mod pci;
mod policy;
mod rings;
pub mod seeds;
mod server;
mod smmu;
mod unit;
mod vtd;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its file in fuzz/fuzz_targets and of its folder in fuzz/corpus.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    Target { name: "builder", run: builder::run },
    Target { name: "client", run: client::run },
    Target { name: "dmar", run: dmar::run },
    Target { name: "pci", run: pci::run },
    Target { name: "policy", run: policy::run },
    Target { name: "rings", run: rings::run },
    Target { name: "server", run: server::run },
    Target { name: "smmu", run: smmu::run },
    Target { name: "vtd", run: vtd::run },
];

/// Runs the target `name` with `bytes`.
///
/// # Panics
/// There is no such target, or the code under test broke a promise.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target's name");
    (target.run)(bytes);
}
