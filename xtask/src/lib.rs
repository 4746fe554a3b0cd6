//! What `cargo xtask` does: builds images from system.xml and policy.toml, draws these, runs
//! images in QEMU, checks and fuzzes the tree.

pub mod arrows;
pub mod bench;
pub mod board;
pub mod build;
pub mod builder;
pub mod check;
pub mod decode;
pub mod dmar;
pub mod fuzz;
pub mod graph;
pub mod image;
pub mod policy;
pub mod qemu;
pub mod refusal;
pub mod restart;
pub mod rust_sel4;
pub mod sdf;
pub mod sdk;
pub mod test;
pub mod toolchain;
pub mod transcript;

/// The repository: where cargo says that this package's workspace is.
pub fn root() -> std::path::PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    std::path::Path::new(&package).parent().map_or_else(Default::default, std::path::Path::to_path_buf)
}

/// Where builds go: cargo's target folder.
pub fn target_folder(root: &std::path::Path) -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// `path` as the user would write it here.
pub fn relative(path: &std::path::Path) -> &std::path::Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}
