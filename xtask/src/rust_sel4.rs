//! Protection domains with rust-sel4's runtime: the workspace platform/sel4, whose lock file says which rust-sel4.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    board::Arch,
    build,
    toolchain::{Compiler, Version},
};

/// The oldest compiler that builds rust-sel4: `rust-version` of the workspace.
const OLDEST_RUST: Version = Version(1, 96);

/// The rust-sel4 that the lock file pins.
#[derive(Debug, PartialEq, Eq)]
struct Pin {
    url: String,
    tag: String,
    commit: String,
}

impl Pin {
    /// Finds the pin in the text of a lock file.
    fn find(lock: &str) -> Option<Self> {
        let source = lock.lines().find_map(|line| line.strip_prefix("source = \"git+"))?;
        let (url, rest) = source.split_once("?tag=")?;
        let (tag, commit) = rest.strip_suffix('"')?.split_once('#')?;
        Some(Self { url: url.into(), tag: tag.into(), commit: commit.into() })
    }

    /// Checks that `repository` has the pinned commit, at its tag.
    fn check(&self, repository: &str) -> Result<()> {
        let name = format!("refs/tags/{}", self.tag);
        let mut git = Command::new("git");
        // An annotated tag has a second line: the commit that it names.
        let output = git.args(["ls-remote", repository, &name, &format!("{name}^{{}}")]).output();
        let output = output.context("RUST_SEL4 takes git, which does not run: install it")?;
        ensure!(
            output.status.success(),
            "RUST_SEL4 names '{repository}', which git does not read as a repository: {}",
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let commit = text.lines().last().and_then(|line| line.split_whitespace().next());
        let commit = commit.with_context(|| {
            format!(
                "RUST_SEL4 names '{repository}', which has no tag {0}: fetch {0} of {1} into it",
                self.tag, self.url
            )
        })?;
        ensure!(
            commit == self.commit,
            "RUST_SEL4 names '{repository}', whose {} is {commit}, not {} as pinned: fetch that of {}",
            self.tag,
            self.commit,
            self.url
        );
        Ok(())
    }
}

/// Builds the binaries `names` of platform/sel4 for `arch`, against the seL4 of `headers`; `repository` is where
/// rust-sel4 comes from instead of the place that the manifest names. The ELF files are in the same order.
///
/// # Errors
/// A tool is missing, `repository` is no such repository, or a program does not build.
pub fn build(
    root: &Path,
    names: &[&str],
    arch: Arch,
    headers: &Path,
    repository: Option<&str>,
) -> Result<Vec<PathBuf>> {
    let workspace = root.join("platform/sel4");
    let target_folder = crate::target_folder(root).join("rust-sel4");
    let target = arch.target();
    let compiler =
        Compiler::find_from(OLDEST_RUST, target).context("RUSTC names no compiler for rust-sel4")?;
    let mut cargo = compiler.cargo("build", target, &build::pd_flags(arch).map(str::to_owned));
    cargo.current_dir(&workspace).args(["--locked", "--release", "--target-dir"]).arg(&target_folder);
    cargo.args(names.iter().flat_map(|name| ["--bin", name]));
    // rust-sel4 uses unstable features.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("SEL4_INCLUDE_DIRS", headers).env_remove("SEL4_PREFIX");
    let lock = workspace.join("Cargo.lock");
    let text = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let pin = Pin::find(&text).with_context(|| format!("{} pins no rust-sel4", lock.display()))?;
    if let Some(repository) = repository {
        let repository = absolute(repository);
        pin.check(&repository)?;
        redirect(&mut cargo, &pin.url, &repository)?;
    }
    build::run(cargo, &names.join(", ")).with_context(|| {
        format!(
            "rust-sel4 {} comes from {} unless RUST_SEL4 names a repository that has it, and its build takes libclang",
            pin.tag, pin.url
        )
    })?;
    let folder = target_folder.join(target).join("release");
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// `repository` for whoever stands in another folder.
fn absolute(repository: &str) -> String {
    let path = Path::new(repository).canonicalize().ok();
    path.and_then(|path| path.to_str().map(str::to_string)).unwrap_or_else(|| repository.to_string())
}

/// Has `cargo`, and nobody else, fetch `repository` where it would fetch `url`.
fn redirect(cargo: &mut Command, url: &str, repository: &str) -> Result<()> {
    // What the user configures in the same way stays.
    let count = match env::var("GIT_CONFIG_COUNT") {
        Ok(text) => text.parse().with_context(|| format!("GIT_CONFIG_COUNT is '{text}', not a number"))?,
        Err(_) => 0_u32,
    };
    cargo.env("CARGO_NET_GIT_FETCH_WITH_CLI", "true").env("GIT_CONFIG_COUNT", (count + 1).to_string());
    cargo.env(format!("GIT_CONFIG_KEY_{count}"), format!("url.{repository}.insteadOf"));
    cargo.env(format!("GIT_CONFIG_VALUE_{count}"), url);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn pin() -> Pin {
        let lock = fs::read_to_string(crate::root().join("platform/sel4/Cargo.lock")).unwrap();
        Pin::find(&lock).unwrap()
    }

    #[test]
    fn the_lock_file_pins_one_tag() {
        let pin = pin();
        assert!(pin.url.ends_with("/seL4/rust-sel4"), "{}", pin.url);
        assert_eq!(pin.tag, "v5.0.0");
        assert_eq!(pin.commit.len(), 40);
        assert_eq!(Pin::find("source = \"registry+https://example.org/index\""), None);
    }

    #[test]
    fn what_is_no_repository_of_rust_sel4_is_refused() {
        let folder = env::temp_dir().join(format!("xtask-rust-sel4-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let shown = folder.to_str().unwrap();
        let refusal = |pin: &Pin| pin.check(shown).unwrap_err().to_string();
        assert!(refusal(&pin()).contains("which git does not read as a repository: fatal: "));
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.arg("-C").arg(&folder).args(["-c", "user.name=a", "-c", "user.email=b"]).args(arguments);
            let output = git.output().unwrap();
            assert!(output.status.success(), "{arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_string()
        };
        git(&["init", "--quiet"]);
        assert!(refusal(&pin()).contains("which has no tag v5.0.0: fetch v5.0.0 of https://"));
        git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
        git(&["tag", "--annotate", "--message=five", "v5.0.0"]);
        let commit = git(&["rev-parse", "HEAD"]);
        assert!(refusal(&pin()).contains(&format!("whose v5.0.0 is {commit}, not ")));
        assert!(Pin { commit, ..pin() }.check(shown).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn git_is_redirected_for_cargo_alone() {
        let mut cargo = Command::new("cargo");
        redirect(&mut cargo, "https://one", "/two").unwrap();
        let variables: HashMap<_, _> = cargo.get_envs().collect();
        let value = |name: &str| variables[std::ffi::OsStr::new(name)].unwrap().to_str().unwrap().to_string();
        let before: u32 = value("GIT_CONFIG_COUNT").parse::<u32>().unwrap() - 1;
        assert_eq!(value(&format!("GIT_CONFIG_KEY_{before}")), "url./two.insteadOf");
        assert_eq!(value(&format!("GIT_CONFIG_VALUE_{before}")), "https://one");
    }
}
