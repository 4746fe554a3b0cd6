//! Builds the programs of an image: protection domains and the embedded kernel.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{board::Arch, toolchain::Compiler};

/// How PDs are built for `arch` on either runtime.
pub const fn pd_flags(arch: Arch) -> [&'static str; 2] {
    match arch {
        // Normal memory takes unaligned accesses on every kernel; a compiler that must not make any calls a function
        // for each copy of more than four words. It warns at each crate that it knows no such feature; what else there
        // is to warn of, `cargo xtask check` says.
        Arch::Aarch64 => ["-Ctarget-feature=-strict-align", "-Awarnings"],
        // A program has fixed addresses, below 2 GiB.
        Arch::X86_64 => ["-Crelocation-model=static", "-Ccode-model=small"],
    }
}

/// How the embedded kernel is built for `arch`.
pub const fn kernel_flags(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::Aarch64 => &[],
        // It has fixed addresses, in the highest 2 GiB.
        Arch::X86_64 => &["-Crelocation-model=static", "-Ccode-model=kernel"],
    }
}

/// The SDK whose layout and labels a program is built for, as Microkit names it.
#[derive(Debug, Clone, Copy)]
pub struct Sdk<'a> {
    /// The board.
    pub board: &'a str,
    /// Its architecture.
    pub arch: Arch,
    /// The kernel configuration: `debug`, `release` or `benchmark`.
    pub config: &'a str,
}

/// Builds the PD of one package.
///
/// # Errors
/// As [`build_pds`].
pub fn build_pd(root: &Path, package: &str, sdk: Sdk<'_>) -> Result<PathBuf> {
    build_pds(root, &[package], sdk).map(|mut built| built.remove(0))
}

/// Builds the PD of each of `packages`, the binary that bears the package's name and has feature `pd`. The ELF
/// files are in the same order.
///
/// # Errors
/// A tool is missing or a package does not build.
pub fn build_pds(root: &Path, packages: &[&str], sdk: Sdk<'_>) -> Result<Vec<PathBuf>> {
    let mut cargo = pd_cargo(root, "build", sdk)?;
    cargo.arg("--release");
    for package in packages {
        cargo.args(["--package", package, "--bin", package, "--features", &format!("{package}/pd")]);
    }
    run(cargo, &packages.join(", "))?;
    Ok(packages.iter().map(|package| output_folder(root, PDS, sdk.arch).join(package)).collect())
}

/// Builds `example` of the PD runtime.
///
/// # Errors
/// As [`build_pds`].
pub fn build_example(root: &Path, example: &str, sdk: Sdk<'_>) -> Result<PathBuf> {
    let mut cargo = pd_cargo(root, "build", sdk)?;
    cargo.args(["--release", "--package", "sel4-microkit", "--example", example]);
    run(cargo, example)?;
    Ok(output_folder(root, PDS, sdk.arch).join("examples").join(example))
}

/// Builds the embedded kernel for `arch`.
///
/// # Errors
/// A tool is missing or the kernel does not build.
pub fn build_kernel(root: &Path, arch: Arch) -> Result<PathBuf> {
    let flags: Vec<String> = kernel_flags(arch).iter().map(|&flag| flag.to_owned()).collect();
    let mut cargo = Compiler::find(arch.target())?.cargo("build", arch.target(), &flags);
    cargo.current_dir(root).arg("--target-dir").arg(folder(root, KERNEL));
    cargo.args([
        "--release",
        "--package",
        "embedded-kernel",
        "--bin",
        "embedded-kernel",
        "--features",
        "kernel",
    ]);
    run(cargo, "embedded-kernel")?;
    Ok(output_folder(root, KERNEL, arch).join("embedded-kernel"))
}

/// `cargo SUBCOMMAND` as PDs need it: their target, linker script and SDK.
fn pd_cargo(root: &Path, subcommand: &str, sdk: Sdk<'_>) -> Result<Command> {
    let script = root.join("platform/embedded/sel4-microkit/pd.ld");
    let mut flags =
        vec![format!("-Clink-arg=-T{}", script.display()), "-Clink-arg=-zmax-page-size=4096".to_owned()];
    flags.extend(pd_flags(sdk.arch).map(str::to_owned));
    let target = sdk.arch.target();
    let mut cargo = Compiler::find(target)?.cargo(subcommand, target, &flags);
    cargo.current_dir(root).arg("--target-dir").arg(folder(root, PDS));
    cargo.env("MICROKIT_BOARD", sdk.board).env("MICROKIT_CONFIG", sdk.config);
    Ok(cargo)
}

/// The folders of bare-metal builds, which differ in flags and perhaps in compiler.
const PDS: &str = "bare/pd";
const KERNEL: &str = "bare/kernel";

fn folder(root: &Path, name: &str) -> PathBuf {
    crate::target_folder(root).join(name)
}

fn output_folder(root: &Path, name: &str, arch: Arch) -> PathBuf {
    folder(root, name).join(arch.target()).join("release")
}

/// Runs `cargo`, which builds `what`.
///
/// # Errors
/// It cannot be run, or fails.
pub fn run(mut cargo: Command, what: &str) -> Result<()> {
    let status = cargo.status().with_context(|| format!("cannot run {}", cargo.get_program().display()))?;
    ensure!(status.success(), "{what}: the build failed");
    Ok(())
}
