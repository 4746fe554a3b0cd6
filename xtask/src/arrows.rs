//! Which crate may depend on which: the arrows of the architecture.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// A crate of the workspace and what it may depend on in the workspace.
struct Arrow {
    from: &'static str,
    to: &'static [&'static str],
    /// Whether its tests may depend on anything but components.
    tests_free: bool,
}

const fn arrow(from: &'static str, to: &'static [&'static str]) -> Arrow {
    Arrow { from, to, tests_free: true }
}

const ARROWS: [Arrow; 26] = [
    arrow("device-barrier", &[]),
    arrow("edu", &[]),
    arrow("iommu-protocol", &[]),
    arrow("iommu-hal", &[]),
    arrow("iommu-client", &["device-barrier", "iommu-protocol"]),
    arrow("iommu-pgtable", &["iommu-hal"]),
    arrow("iommu-core", &["iommu-hal", "iommu-pgtable"]),
    arrow("arm-smmu-v3", &["iommu-hal", "iommu-pgtable"]),
    arrow("intel-vtd", &["iommu-hal", "iommu-pgtable"]),
    // The oracle knows the hardware from its specification alone.
    Arrow { from: "iommu-model", to: &["iommu-hal"], tests_free: false },
    Arrow { from: "iommu-qtest", to: &["iommu-hal"], tests_free: false },
    arrow(
        "iommu-server",
        &[
            "arm-smmu-v3",
            "intel-vtd",
            "iommu-core",
            "iommu-hal",
            "iommu-pgtable",
            "iommu-protocol",
            "sel4-microkit",
            "serial",
        ],
    ),
    arrow(
        "device-driver",
        &["edu", "iommu-client", "iommu-protocol", "pd-restart", "sel4-microkit", "serial"],
    ),
    arrow("pci-host", &["iommu-client", "iommu-protocol", "sel4-microkit", "serial"]),
    arrow("pd-restart", &[]),
    arrow("serial", &["microkit-ioport", "sel4-microkit"]),
    arrow("supervisor", &["iommu-client", "iommu-protocol", "sel4", "sel4-microkit", "serial"]),
    arrow("bench", &["iommu-client", "iommu-hal", "iommu-protocol", "sel4-microkit", "serial"]),
    arrow("one-driver", &["edu", "iommu-client", "iommu-protocol", "sel4-microkit", "serial"]),
    arrow("one-driver-before", &["edu", "sel4-microkit"]),
    arrow("embedded-image", &[]),
    arrow("embedded-kernel", &["embedded-image"]),
    arrow("microkit-ioport", &["sel4-microkit"]),
    arrow("sel4", &["sel4-microkit"]),
    arrow("sel4-microkit", &["sel4-microkit-macros"]),
    arrow("sel4-microkit-macros", &[]),
];

/// The crate that may depend on all others but the fuzz targets.
const BUILDER: &str = "xtask";

/// The crate that may depend on all others.
const FUZZ_TARGETS: &str = "fuzz-targets";

/// Components and examples: only these two depend on them.
const COMPONENTS: [&str; 7] =
    ["iommu-server", "device-driver", "pci-host", "bench", "supervisor", "one-driver", "one-driver-before"];

/// Checks the dependencies of the workspace at `root`.
///
/// # Errors
/// The first one that follows no arrow.
pub fn check(root: &Path) -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read the workspace")?;
    let packages = metadata.workspace_packages();
    for package in &packages {
        for dependency in &package.dependencies {
            if packages.iter().any(|other| *other.name == dependency.name) {
                let test = dependency.kind == DependencyKind::Development;
                follows(&package.name, &dependency.name, test)?;
            }
        }
    }
    Ok(())
}

fn follows(from: &str, to: &str, test: bool) -> Result<()> {
    ensure!(to != FUZZ_TARGETS, "'{from}' must not depend on '{to}'");
    if [BUILDER, FUZZ_TARGETS].contains(&from) {
        return Ok(());
    }
    let arrow = ARROWS.iter().find(|arrow| arrow.from == from);
    let arrow = arrow.with_context(|| format!("'{from}' has no arrows; add it to xtask/src/arrows.rs"))?;
    let free = test && arrow.tests_free && !COMPONENTS.contains(&to) && to != BUILDER;
    ensure!(free || arrow.to.contains(&to), "'{from}' must not depend on '{to}'");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_one_way() {
        assert!(follows("iommu-core", "iommu-hal", false).is_ok());
        assert!(follows("iommu-hal", "iommu-core", false).is_err());
        assert!(follows("arm-smmu-v3", "iommu-model", true).is_ok());
        assert!(follows("arm-smmu-v3", "iommu-model", false).is_err());
        assert!(follows("iommu-model", "iommu-pgtable", true).is_err());
        assert!(follows("iommu-protocol", "pci-host", true).is_err());
        assert!(follows("newcomer", "iommu-hal", false).is_err());
        assert!(follows("xtask", "iommu-server", false).is_ok());
        assert!(follows("fuzz-targets", "xtask", false).is_ok());
        assert!(follows("xtask", "fuzz-targets", true).is_err());
    }

    #[test]
    fn no_arrow_goes_round() {
        for arrow in &ARROWS {
            let mut reached = arrow.to.to_vec();
            let mut next = 0;
            while let Some(&to) = reached.get(next) {
                next += 1;
                assert_ne!(to, arrow.from);
                let further = ARROWS.iter().find(|other| other.from == to).expect("every target has arrows");
                reached.extend(further.to.iter().filter(|to| !reached.contains(to)).collect::<Vec<_>>());
            }
        }
    }
}
