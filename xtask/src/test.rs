//! `cargo xtask test`: the tests of the workspace, counted.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::transcript::Verdict;

/// An example that boots.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its folder in examples/.
    pub folder: &'static str,
    /// The one configuration that it can be judged in, if there is only one.
    pub config: Option<&'static str>,
    /// The protection domain that must be done, where there is no policy to say so.
    pub await_pd: Option<&'static str>,
}

/// The example of docs/microkit.md. What comes before prints through the kernel.
pub const EXAMPLES: [Example; 2] = [
    Example { folder: "one-driver-before", config: Some("debug"), await_pd: Some("driver") },
    Example { folder: "one-driver", config: None, await_pd: None },
];

/// Runs every test of the workspace at `root` and shows what cargo says.
///
/// # Errors
/// Cargo cannot be run.
pub fn workspace(root: &Path) -> Result<Verdict> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo's output cannot be read")?;
        println!("{line}");
        if let Some(counts) = counts(&line) {
            passed += counts.0;
            failed += counts.1;
        }
    }
    let status = child.wait().context("cargo's status cannot be read")?;
    let mut complaints = vec![];
    if !status.success() && failed == 0 {
        complaints.push(format!("cargo test ended with {status}"));
    }
    if passed == 0 && failed == 0 && complaints.is_empty() {
        complaints.push("there was not a single test".into());
    }
    Ok(Verdict { passed, failed: failed + complaints.len() as u64, complaints })
}

/// The tests that passed and failed by a line such as `test result: ok. 2 passed; 0 failed; ...`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = counts.split("; ");
    let passed = counts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = counts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let good =
            "test result: ok. 14 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.25s";
        assert_eq!(counts(good), Some((14, 0)));
        let bad = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts(bad), Some((1, 2)));
        assert_eq!(counts("test result::ok ... ok"), None);
        assert_eq!(counts("running 3 tests"), None);
    }
}
