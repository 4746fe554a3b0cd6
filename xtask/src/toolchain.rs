//! Finds what builds and runs bare-metal programs: compiler, linker, QEMU.
//!
//! A compiler from rustup brings the bare-metal `core` along. Where that is missing and cannot be fetched, a
//! distribution's compiler with the library's source beside it builds `core` itself.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The oldest compiler that builds the project: `rust-version` of the workspace.
const OLDEST_RUST: Version = Version(1, 95);

/// The oldest QEMU whose SMMUv3 translates in stage 2.
const OLDEST_QEMU: Version = Version(8, 1);

/// What `setup` at the root of the repository is for.
const HINT: &str = "`make setup` installs what is missing";

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// The first word of `text` that looks like a version.
    fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            match (numbers.next()?, numbers.next()?) {
                (Ok(major), Ok(minor)) => Some(Self(major, minor)),
                _ => None,
            }
        })
    }
}

/// A compiler for a bare-metal target.
#[derive(Debug)]
pub struct Compiler {
    rustc: PathBuf,
    /// Whether `core` has to be built first.
    builds_core: bool,
    linker: PathBuf,
}

impl Compiler {
    /// Finds a compiler for `target`: the active one if it has the target's `core`, else the first on `PATH` that
    /// has it or can build it.
    ///
    /// # Errors
    /// There is none, or no linker.
    pub fn find(target: &str) -> Result<Self> {
        Self::find_from(OLDEST_RUST, target)
    }

    /// Finds a compiler for `target` as [`Compiler::find`] does, of version `oldest` or later.
    ///
    /// # Errors
    /// There is none, or no linker.
    pub fn find_from(oldest: Version, target: &str) -> Result<Self> {
        let sysroots: Vec<(PathBuf, Version, PathBuf)> = env::var_os("RUSTC")
            .map(PathBuf::from)
            .into_iter()
            .chain(on_path("rustc"))
            .filter_map(|rustc| sysroot(&rustc).map(|(version, sysroot)| (rustc, version, sysroot)))
            .collect();
        let compilers = || sysroots.iter().filter(|(_, version, _)| *version >= oldest);
        let with_core = compilers().find(|(_, _, sysroot)| has_core(sysroot, target));
        let builder = || compilers().find(|(_, _, sysroot)| has_source(sysroot));
        let Some((rustc, _, _)) = with_core.or_else(builder) else {
            bail!(
                "no Rust compiler of at least {}.{} with `core` for {target}, or with its source: {HINT}",
                oldest.0,
                oldest.1
            );
        };
        let linker = sysroots.iter().find_map(|(rustc, _, sysroot)| own_linker(rustc, sysroot));
        let linker =
            linker.or_else(newest_lld).with_context(|| format!("no linker, rust-lld or ld.lld: {HINT}"))?;
        Ok(Self { rustc: rustc.clone(), builds_core: with_core.is_none(), linker })
    }

    /// `cargo SUBCOMMAND` for `target` with this compiler; `rustflags` are passed to it.
    pub fn cargo(&self, subcommand: &str, target: &str, rustflags: &[String]) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([subcommand, "--target", target]).env("RUSTC", &self.rustc);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"));
        let variable = target.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &self.linker);
        if self.builds_core {
            // Building `core` is an unstable option, which a stable compiler takes when told so.
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.args(["-Zbuild-std=core,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
            // What future compilers think of another version's `core` is of no use here.
            cargo.env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never");
        }
        cargo
    }
}

/// Finds QEMU's `program`.
///
/// # Errors
/// It is missing or too old.
pub fn qemu(program: &str) -> Result<PathBuf> {
    let path = on_path(program).next().with_context(|| format!("no {program}: {HINT}"))?;
    let text =
        output_of(&path, &["--version"]).with_context(|| format!("{} does not run", path.display()))?;
    let version = Version::find(&text).with_context(|| format!("{} has no version", path.display()))?;
    ensure!(
        version >= OLDEST_QEMU,
        "{} is {}.{}, but QEMU's SMMUv3 has no stage 2 before {}.{}: {HINT}",
        path.display(),
        version.0,
        version.1,
        OLDEST_QEMU.0,
        OLDEST_QEMU.1
    );
    Ok(path)
}

/// The version of `rustc` and where it keeps its libraries; `None` if it does not run or is too old.
fn sysroot(rustc: &Path) -> Option<(Version, PathBuf)> {
    let version = Version::find(&output_of(rustc, &["--version"])?)?;
    let sysroot = output_of(rustc, &["--print", "sysroot"])?;
    (version >= OLDEST_RUST).then(|| (version, PathBuf::from(sysroot.trim_end())))
}

fn has_core(sysroot: &Path, target: &str) -> bool {
    files(&sysroot.join("lib/rustlib").join(target).join("lib"))
        .any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libcore-")))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
}

/// The linker that comes with a compiler. Distributions leave a dangling link in its place.
fn own_linker(rustc: &Path, sysroot: &Path) -> Option<PathBuf> {
    let text = output_of(rustc, &["--version", "--verbose"])?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "))?;
    let linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
    linker.exists().then_some(linker)
}

/// `ld.lld`, or the newest `ld.lld-N`.
fn newest_lld() -> Option<PathBuf> {
    let number = |path: &Path| path.to_string_lossy().rsplit_once('-')?.1.parse::<u32>().ok();
    let versioned = path_folders().flat_map(|folder| files(&folder)).filter(|path| {
        path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("ld.lld-"))
    });
    on_path("ld.lld").next().or_else(|| versioned.max_by_key(|path| number(path)))
}

fn output_of(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn on_path(program: &str) -> impl Iterator<Item = PathBuf> {
    path_folders().map(move |folder| folder.join(program)).filter(|path| path.is_file())
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_and_compared() {
        assert_eq!(Version::find("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some(Version(1, 96)));
        let qemu = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025";
        assert_eq!(Version::find(qemu), Some(Version(10, 0)));
        assert!(Version(8, 0) < OLDEST_QEMU && Version(10, 0) > OLDEST_QEMU);
        assert_eq!(Version::find("no version here"), None);
    }

    #[test]
    fn core_and_source_are_told_apart() {
        let sysroot = env::temp_dir().join(format!("xtask-sysroot-{}", std::process::id()));
        let library = sysroot.join("lib/rustlib/some-target/lib");
        fs::create_dir_all(&library).unwrap();
        assert!(!has_core(&sysroot, "some-target"));
        fs::write(library.join("libcore-0123.rlib"), "").unwrap();
        assert!(has_core(&sysroot, "some-target"));
        assert!(!has_core(&sysroot, "other-target") && !has_source(&sysroot));
        fs::remove_dir_all(&sysroot).unwrap();
    }
}
