//! `cargo xtask check`: what must hold of the tree beyond its tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{arrows, board::Arch, target_folder, toolchain::Compiler};

/// The files that may have `unsafe` in them, or folders of such files.
const UNSAFE_FILES: [&str; 30] = [
    "components/bench/src/main.rs",
    "components/device-driver/src/main.rs",
    "components/device-driver/src/mapped.rs",
    "components/device-driver/src/task.rs",
    "components/device-driver/tests/world/",
    "components/iommu-server/src/main.rs",
    "components/pci-host/src/main.rs",
    "components/pci-host/src/mapped.rs",
    "components/serial/src/main.rs",
    "components/serial/src/mapped.rs",
    "components/serial/src/ns16550.rs",
    "components/serial/src/pl011.rs",
    "components/supervisor/src/main.rs",
    "crates/device-barrier/src/lib.rs",
    "crates/edu/src/mapped.rs",
    "crates/fuzz-targets/src/client.rs",
    "crates/iommu-client/src/buffer.rs",
    "crates/iommu-client/src/fault_ring.rs",
    "crates/iommu-client/tests/management.rs",
    "crates/iommu-client/tests/requests.rs",
    "crates/iommu-hal/src/real/",
    "crates/pd-restart/src/entry.rs",
    "crates/pd-restart/src/entry/",
    "crates/pd-restart/src/save.rs",
    "crates/pd-restart/tests/restart.rs",
    "examples/one-driver-before/src/main.rs",
    "examples/one-driver/src/main.rs",
    "platform/embedded/kernel/src/arch/",
    "platform/embedded/kernel/src/system/",
    "platform/embedded/sel4-microkit/src/",
];

/// What is built for bare metal: cargo's arguments.
const BARE: [&[&str]; 2] = [
    &[
        "--package=iommu-server",
        "--package=device-driver",
        "--package=pci-host",
        "--package=bench",
        "--package=serial",
        "--package=supervisor",
        "--package=one-driver",
        "--package=one-driver-before",
        "--features=iommu-server/pd,device-driver/pd,pci-host/pd,bench/pd,serial/pd,supervisor/pd,one-driver/pd",
        "--features=one-driver-before/pd",
    ],
    &["--package=embedded-kernel", "--features=kernel"],
];

/// The lock files of what is built from crates.io alone.
const LOCK_FILES: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

type Check = fn(&Path) -> Result<()>;

/// Runs all checks and says how each went; whether all is well.
///
/// # Errors
/// A tool is missing.
pub fn check(root: &Path) -> Result<bool> {
    let checks: [(&str, Check); 7] = [
        ("format", |root| cargo(root, &["fmt", "--all", "--check"], &[])),
        ("clippy", |root| {
            let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny=warnings"];
            cargo(root, &arguments, &[])
        }),
        ("documentation", |root| {
            let arguments = ["doc", "--quiet", "--workspace", "--no-deps"];
            cargo(root, &arguments, &[("RUSTDOCFLAGS", "--deny=warnings")])
        }),
        ("bare metal", bare_metal),
        ("arrows", arrows::check),
        ("lock file", lock_file),
        ("unsafe files", unsafe_files),
    ];
    let mut failed = 0;
    for (name, check) in checks {
        match check(root) {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                failed += 1;
                println!("FAIL {name}: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed", checks.len() - failed);
    Ok(failed == 0)
}

fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(arguments).envs(variables.iter().copied());
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo {} found something", arguments.join(" "));
    Ok(())
}

/// The programs of the image, for each architecture: linted where the compiler with clippy beside it has the target, else
/// only checked.
fn bare_metal(root: &Path) -> Result<()> {
    for target in [Arch::Aarch64, Arch::X86_64].map(Arch::target) {
        let compiler = Compiler::find(target)?;
        for arguments in BARE {
            let subcommand = if active_has(target) { "clippy" } else { "check" };
            let mut cargo = compiler.cargo(subcommand, target, &[]);
            cargo.current_dir(root).arg("--target-dir").arg(target_folder(root).join("bare-check"));
            cargo.args(arguments).stderr(Stdio::piped());
            let output = cargo.output().context("cannot run cargo")?;
            let text = String::from_utf8_lossy(&output.stderr);
            let warned =
                text.lines().any(|line| line.starts_with("warning: ") && !line.contains("future version"));
            if warned || !output.status.success() {
                eprint!("{text}");
                bail!("the programs for {target} do not build without warnings");
            }
        }
    }
    Ok(())
}

/// Whether the active compiler has the library of `target`.
fn active_has(target: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// A git dependency would break every build that cannot reach it.
fn lock_file(root: &Path) -> Result<()> {
    for file in LOCK_FILES {
        let path = root.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(line) = text.lines().find(|line| line.starts_with("source = \"git+")) {
            bail!("{file} has a git dependency, {line}; use a release from crates.io");
        }
    }
    Ok(())
}

fn unsafe_files(root: &Path) -> Result<()> {
    let mut found = vec![];
    for folder in ["components", "crates", "examples", "fuzz", "platform", "xtask"] {
        rust_files(&root.join(folder), &mut found)?;
    }
    for path in found {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        if let Some(line) = unsafe_line(&text)
            && !UNSAFE_FILES.iter().any(|allowed| name.starts_with(allowed))
        {
            bail!("{name}:{line} has unsafe code, but is not in the list of xtask/src/check.rs");
        }
    }
    Ok(())
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The first line of `text` that has the word `unsafe` outside comments and strings.
fn unsafe_line(text: &str) -> Option<usize> {
    let word = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let outside_strings = code.split('"').step_by(2);
        outside_strings
            .flat_map(|part| part.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
            .any(|word| word == "unsafe")
    };
    text.lines().position(word).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_told_from_words() {
        assert_eq!(unsafe_line("fn f() {}\n    unsafe { f() }\n"), Some(2));
        assert_eq!(unsafe_line("#[unsafe(no_mangle)]"), Some(1));
        assert_eq!(unsafe_line("// unsafe\n#![forbid(unsafe_code)]\nlet a = \"unsafe\"; // unsafe\n"), None);
    }

    #[test]
    fn a_target_that_nobody_has_is_not_linted() {
        assert!(!active_has("aarch64-unknown-nowhere"));
    }

    #[test]
    fn git_sources_are_found() {
        let root = env::temp_dir().join(format!("xtask-lock-{}", std::process::id()));
        fs::create_dir_all(root.join("fuzz")).unwrap();
        for file in LOCK_FILES {
            fs::write(root.join(file), "source = \"registry+x\"\n").unwrap();
        }
        assert!(lock_file(&root).is_ok());
        for file in LOCK_FILES {
            fs::write(root.join(file), "source = \"git+x\"\n").unwrap();
            assert!(lock_file(&root).is_err());
            fs::write(root.join(file), "source = \"registry+x\"\n").unwrap();
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
