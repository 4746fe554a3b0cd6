//! Microkit's SDK: the release that the project goes with, and its tool, which packs images for seL4.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// The release of Microkit that goes with seL4 16.0.0 and rust-sel4 v5.0.0.
const VERSION: &str = "2.3.0";

/// The name under which the tool makes an image.
const MADE: &str = "image.made";

/// The kernel that the tool leaves for x86, as a file of 32 bits: QEMU loads no other.
const KERNEL: &str = "sel4_32.elf";

/// The kernel that goes with an image whose files are in `folder`, if it is no part of the image.
pub fn kernel_of(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(KERNEL)).filter(|kernel| kernel.is_file())
}

/// The name of the folder that a release unpacks to.
const HINT: &str = "set MICROKIT_SDK to the folder microkit-sdk-2.3.0 of Microkit's release 2.3.0";

/// One board and configuration of an SDK.
#[derive(Debug, Clone)]
pub struct Sdk<'a> {
    folder: PathBuf,
    board: &'a str,
    config: &'a str,
}

impl<'a> Sdk<'a> {
    /// Opens the SDK in `folder` for `board` and `config`, by their names in the SDK.
    ///
    /// # Errors
    /// It is no SDK, of another release, or lacks the board or the configuration.
    pub fn open(folder: &Path, board: &'a str, config: &'a str) -> Result<Self> {
        ensure!(!folder.as_os_str().is_empty(), "an image for seL4 takes Microkit's SDK: {HINT}");
        let shown = folder.display();
        let folder = folder
            .canonicalize()
            .with_context(|| format!("MICROKIT_SDK names '{shown}', which is not there: {HINT}"))?;
        let version = fs::read_to_string(folder.join("VERSION"))
            .with_context(|| format!("MICROKIT_SDK names '{shown}', which has no file VERSION: {HINT}"))?;
        let version = version.trim();
        ensure!(version == VERSION, "MICROKIT_SDK names '{shown}', an SDK of Microkit {version}: {HINT}");
        let sdk = Self { folder, board, config };
        ensure!(sdk.tool().is_file(), "MICROKIT_SDK names '{shown}', which lacks bin/microkit: {HINT}");
        let boards = sdk.folder.join("board");
        require(&boards, board, &format!("the SDK '{shown}' lacks the board"), "BOARD")?;
        let what = format!("the SDK '{shown}' lacks, for {board}, the configuration");
        require(&boards.join(board), config, &what, "CONFIG")?;
        Ok(sdk)
    }

    /// Where seL4's headers are, which differ by board and configuration.
    pub fn headers(&self) -> PathBuf {
        self.folder.join("board").join(self.board).join(self.config).join("include")
    }

    /// Has the tool pack `system` into `output`; programs and prefill files come from `folders`, the first first.
    /// The tool's report goes beside `output`; on x86 it leaves kernels in the first folder, see [`kernel_of`].
    ///
    /// # Errors
    /// The tool cannot be run, or refuses.
    pub fn pack(&self, system: &Path, folders: &[&Path], output: &Path) -> Result<()> {
        // It puts kernels, under names of its own, beside what it makes.
        let made = folders.first().map_or_else(|| output.into(), |folder| folder.join(MADE));
        let mut tool = Command::new(self.tool());
        tool.arg(system.canonicalize().with_context(|| format!("cannot read {}", system.display()))?);
        tool.args(["--board", self.board, "--config", self.config]);
        tool.arg("--output").arg(&made).arg("--report").arg(output.with_extension("report"));
        tool.arg("--search-path").args(folders).env("MICROKIT_SDK", &self.folder);
        // The tool also looks in its current folder: let that be one of those.
        if let Some(folder) = folders.first() {
            tool.current_dir(folder);
        }
        let result = tool.output().with_context(|| format!("cannot run {}", self.tool().display()))?;
        let said = String::from_utf8_lossy(&result.stderr);
        ensure!(result.status.success(), "Microkit's tool refuses the system:\n{}", said.trim_end());
        fs::rename(&made, output).with_context(|| format!("cannot move the image to {}", output.display()))
    }

    fn tool(&self) -> PathBuf {
        self.folder.join("bin/microkit")
    }
}

/// Requires a folder `name` in `parent`; `what` is said to be lacking, and `variable` to choose it by.
fn require(parent: &Path, name: &str, what: &str, variable: &str) -> Result<()> {
    if !name.is_empty() && parent.join(name).is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut there: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    there.sort_unstable();
    bail!("{what} '{name}': set {variable} to one of {}", there.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like an SDK of release `version`, with one board.
    fn fake(test: &str, version: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-sdk-{test}-{}", std::process::id()));
        for inner in ["bin", "board/one/debug/include", "board/two/release"] {
            fs::create_dir_all(folder.join(inner)).unwrap();
        }
        fs::write(folder.join("VERSION"), format!("{version}\n")).unwrap();
        fs::write(folder.join("bin/microkit"), "").unwrap();
        folder
    }

    fn refusal(folder: &Path, board: &str, config: &str) -> String {
        Sdk::open(folder, board, config).unwrap_err().to_string()
    }

    #[test]
    fn an_sdk_is_opened() {
        let folder = fake("good", VERSION);
        let sdk = Sdk::open(&folder, "one", "debug").unwrap();
        assert!(sdk.headers().ends_with("board/one/debug/include") && sdk.headers().is_dir());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_sdk_is_refused_by_what_it_lacks() {
        assert_eq!(
            refusal(Path::new(""), "one", "debug"),
            format!("an image for seL4 takes Microkit's SDK: {HINT}")
        );
        assert_eq!(
            refusal(Path::new("no/such/folder"), "one", "debug"),
            format!("MICROKIT_SDK names 'no/such/folder', which is not there: {HINT}")
        );
        let folder = fake("empty", VERSION);
        fs::remove_file(folder.join("bin/microkit")).unwrap();
        assert!(refusal(&folder, "one", "debug").contains("which lacks bin/microkit: "));
        fs::remove_file(folder.join("VERSION")).unwrap();
        assert!(refusal(&folder, "one", "debug").contains("which has no file VERSION: "));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn another_release_is_refused() {
        let folder = fake("old", "2.2.0");
        assert!(refusal(&folder, "one", "debug").ends_with(&format!("an SDK of Microkit 2.2.0: {HINT}")));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_board_or_configuration_that_it_lacks_is_refused_with_those_it_has() {
        let folder = fake("boards", VERSION);
        let board = refusal(&folder, "three", "debug");
        assert!(board.ends_with("lacks the board 'three': set BOARD to one of one, two"), "{board}");
        let config = refusal(&folder, "two", "debug");
        assert!(
            config.ends_with("lacks, for two, the configuration 'debug': set CONFIG to one of release"),
            "{config}"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
