//! The command: reads a table, writes the file, says what goes where.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{FILE, Function, parse, report, table::MAX_BYTES, text};
use crate::{
    board::{Board, Interval},
    builder::Source,
    policy::Policy,
};

/// The arguments of `cargo xtask dmar`.
#[derive(Debug, Args)]
pub struct Command {
    /// The table, such as /sys/firmware/acpi/tables/DMAR of a Linux on the machine; - for standard input.
    table: PathBuf,
    /// Writes platform/boards/NAME/dmar.toml, instead of standard output.
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// The policy whose devices to tell of [default: the board's policy.toml, if it has one].
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Replaces a file that says something else.
    #[arg(long)]
    force: bool,
}

impl Command {
    /// Runs it, in the repository at `root`. The report goes to standard output, or to standard error if the file
    /// goes there.
    ///
    /// # Errors
    /// What cannot be read or written, what is malformed, and a file that would be lost.
    pub fn run(self, root: &Path) -> Result<()> {
        let name = self.table.display().to_string();
        let table = parse(&read(&self.table)?).with_context(|| name.clone())?;
        let folder = self.board.as_ref().map(|board| Board::folder(root, board));
        if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
            bail!("there is no board here, {}; make the folder first", folder.display());
        }
        let of_board = folder.as_ref().map(|folder| folder.join("policy.toml")).filter(|path| path.exists());
        let devices = match self.policy.or(of_board) {
            Some(path) => devices(&path)?,
            None => vec![],
        };
        let content = text(&table)?;
        let report = report(&table, &devices, folder.as_deref().and_then(ram));
        match folder {
            None => {
                eprint!("{report}");
                print!("{content}");
            }
            Some(folder) => {
                let path = folder.join(FILE);
                let lost = path.exists()
                    && fs::read_to_string(&path)
                        .with_context(|| format!("cannot read {}", path.display()))?
                        != content;
                ensure!(
                    !lost || self.force,
                    "{} says something else, perhaps by hand; compare, then give --force",
                    path.display()
                );
                fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
                println!("{report}\nwritten: {}", crate::relative(&path).display());
            }
        }
        Ok(())
    }
}

/// The bytes of the table at `path`.
fn read(path: &Path) -> Result<Vec<u8>> {
    let source: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?),
    };
    let mut bytes = vec![];
    source
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        bytes.len() <= MAX_BYTES,
        "{}: more than {MAX_BYTES} bytes; this is no DMAR table",
        path.display()
    );
    Ok(bytes)
}

/// The PCI devices of the policy at `path`.
fn devices(path: &Path) -> Result<Vec<(String, Function)>> {
    let Source { name, text } = Source::read(path)?;
    Ok(Policy::parse(&name, &text)?.pci_functions())
}

/// The RAM of the board in `folder`. Of its file no more is asked here, as it may be in the making.
fn ram(folder: &Path) -> Option<Interval> {
    let text = fs::read_to_string(folder.join("board.toml")).ok()?;
    let board: toml::Table = text.parse().ok()?;
    board.get("memory")?.get("ram")?.clone().try_into().ok()
}
