//! `cargo xtask bench` and `bench-compare`: what the server's calls cost, in guest instructions.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    board::Board,
    builder::{self, Recipe, Runtime},
    qemu, relative,
    transcript::Verdict,
};

pub mod clients;
mod compare;
mod figures;
mod marks;

use compare::Comparison;
use figures::{Figures, Kernel, Row, Setup};

/// The configuration that is measured when none is named: the others say nothing of the product.
pub const DEFAULT_CONFIG: &str = "release";

/// Why figures are not written.
const NOT_KEPT: &str = "no figures are kept of seL4 with RUNTIME=embedded: leave it out, for rust-sel4's";

/// The protection domain that prints.
const MEASURED: &str = "bench";

/// Clients in a system of some; there is also one with as many as there can be.
const SOME_CLIENTS: usize = 8;

/// A benchmark: one client alone, then one among some and among many.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The repository.
    pub root: PathBuf,
    /// The board's name.
    pub board: String,
    /// The configuration's name.
    pub config: String,
    /// The folder of the program images; without one, they are built.
    pub programs: Option<PathBuf>,
    /// The kernel.
    pub kernel: builder::Kernel,
    /// How long each of its runs may take.
    pub timeout: Duration,
    /// Whether the figures become those that later ones are compared with.
    pub save: bool,
}

/// A system, its policy and a name for its image.
struct Part {
    name: String,
    system: PathBuf,
    policy: PathBuf,
}

impl Bench {
    /// Runs it, and shows what it prints. If all went well, compares the figures with the marks and writes them to
    /// target/bench.json.
    ///
    /// # Errors
    /// An image does not build, or a file cannot be written.
    pub fn run(&self) -> Result<Verdict> {
        let file = measured_file(&self.root);
        // Figures of an earlier run must not pass for those of this one.
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        ensure!(!self.save || self.counts(), "{NOT_KEPT}");
        let mut figures = Figures { setup: self.setup(), rows: vec![] };
        let mut verdict = Verdict { passed: 0, failed: 0, complaints: vec![] };
        let most = clients::most(figures.setup.kernel);
        for part in [self.alone(), self.among(SOME_CLIENTS)?, self.among(most)?] {
            verdict.add(self.run_part(&part, &mut figures.rows)?);
            if verdict.failed != 0 {
                return Ok(verdict);
            }
        }
        figures.check().context("the benchmark printed a row twice")?;
        match marks::table(&figures, Board::read(&self.root, &self.board)?.arch) {
            Ok(table) => print!("\n{table}"),
            Err(rows) => {
                let complain = |row| verdict.complain(format!("the benchmark printed no row '{row}'"));
                rows.into_iter().for_each(complain);
                return Ok(verdict);
            }
        }
        if self.counts() {
            figures.write(&file)?;
            println!("figures: {}", relative(&file).display());
        } else {
            println!("{NOT_KEPT}");
        }
        if self.save {
            let kept = folder(&self.root).join(figures.setup.file_name());
            figures.write(&kept)?;
            println!("figures to compare with: {}", relative(&kept).display());
        }
        Ok(verdict)
    }

    /// Whether the figures may be compared with others of this setup, which does not tell the runtime.
    fn counts(&self) -> bool {
        match &self.kernel {
            builder::Kernel::Embedded(_) => true,
            builder::Kernel::Sel4(sel4) => sel4.runtime == Runtime::RustSel4,
        }
    }

    fn setup(&self) -> Setup {
        let kernel = match self.kernel {
            builder::Kernel::Embedded(_) => Kernel::Embedded,
            builder::Kernel::Sel4(_) => Kernel::Sel4,
        };
        Setup { board: self.board.clone(), kernel, config: self.config.clone() }
    }

    /// One client alone.
    fn alone(&self) -> Part {
        let folder = system_folder(&self.root, &self.board);
        Part { name: "bench".into(), system: folder.join("system.xml"), policy: folder.join("policy.toml") }
    }

    /// One of so many clients, in files that are made here.
    fn among(&self, clients: usize) -> Result<Part> {
        let alone = self.alone();
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let (system, policy) = clients::multiply(&read(&alone.system)?, &read(&alone.policy)?, clients)?;
        let made = crate::target_folder(&self.root).join("bench");
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        let file = |end| made.join(format!("{}-{clients}-clients.{end}", self.board));
        let part =
            Part { name: format!("bench-{clients}-clients"), system: file("xml"), policy: file("toml") };
        for (path, text) in [(&part.system, system), (&part.policy, policy)] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(part)
    }

    /// Builds and runs `part`; its figures go to `rows`.
    fn run_part(&self, part: &Part, rows: &mut Vec<Row>) -> Result<Verdict> {
        let recipe = Recipe {
            root: self.root.clone(),
            system: part.system.clone(),
            policy: Some(part.policy.clone()),
            board: self.board.clone(),
            config: self.config.clone(),
            programs: self.programs.clone(),
            kernel: self.kernel.clone(),
            output: self.kernel.image(&self.root, &format!("{}-{}-{}", part.name, self.board, self.config)),
        };
        recipe.build()?;
        let kernel = recipe.kernel_file();
        let run = qemu::Run {
            board: &Board::read(&self.root, &self.board)?,
            image: &recipe.output,
            kernel: kernel.as_deref(),
            iommu: None,
            icount: true,
            timeout: self.timeout,
            awaited: &[MEASURED.into()],
        };
        let mut malformed = vec![];
        let mut verdict = run.watch(|line| match Row::parse(line) {
            Some(Ok(row)) => rows.push(row),
            Some(Err(error)) => malformed.push(error.to_string()),
            None => {}
        })?;
        malformed.into_iter().for_each(|complaint| verdict.complain(complaint));
        Ok(verdict)
    }
}

/// Compares the figures of the last benchmark with those that are kept for its board, kernel and configuration, and
/// prints how they differ; whether all is well.
///
/// # Errors
/// There are no such figures.
pub fn compare(root: &Path) -> Result<bool> {
    compare_files(&measured_file(root), &folder(root))
}

fn compare_files(measured: &Path, folder: &Path) -> Result<bool> {
    let now = Figures::read(measured, "run `make bench` first")?;
    let kept = folder.join(now.setup.file_name());
    let how = format!("`make bench ARGS=--save` makes it, for {}", now.setup);
    let before = Figures::read(&kept, &how)?;
    ensure!(
        before.setup == now.setup,
        "{} is malformed: it is of {}; {how}",
        relative(&kept).display(),
        before.setup
    );
    let comparison = Comparison::of(&before, &now);
    print!("{}, against {}\n{comparison}", now.setup, relative(&kept).display());
    Ok(comparison.is_well())
}

/// Where the benchmark's files are, and the figures that are kept.
fn folder(root: &Path) -> PathBuf {
    root.join("bench")
}

/// Where the benchmark's system for `board` is, and its policy: with the board, else at the root.
fn system_folder(root: &Path, board: &str) -> PathBuf {
    let own = folder(&Board::folder(root, board));
    if own.is_dir() { own } else { folder(root) }
}

/// The figures of the last benchmark.
fn measured_file(root: &Path) -> PathBuf {
    crate::target_folder(root).join("bench.json")
}

#[cfg(test)]
mod tests {
    use super::{figures::tests::figures, *};

    #[test]
    fn figures_are_compared_with_those_of_the_same_setup() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let (measured, kept) = (folder.join("bench.json"), folder.join("board-sel4-release.json"));
        let compare = || compare_files(&measured, &folder).map_err(|error| format!("{error:#}"));
        let refusal = compare().unwrap_err();
        assert!(
            refusal.starts_with(&format!("cannot read {}: run `make bench` first: ", measured.display()))
        );
        figures(Kernel::Sel4, &[("a", 1000)]).write(&measured).unwrap();
        let refusal = compare().unwrap_err();
        let how = "`make bench ARGS=--save` makes it, for seL4, release, on board";
        assert!(
            refusal.starts_with(&format!("cannot read {}: {how}: ", relative(&kept).display())),
            "{refusal}"
        );
        figures(Kernel::Embedded, &[("a", 1000)]).write(&kept).unwrap();
        let refusal = compare().unwrap_err();
        assert!(
            refusal.contains("is malformed: it is of the embedded kernel, release, on board; "),
            "{refusal}"
        );
        fs::write(&kept, "[").unwrap();
        assert!(
            compare()
                .unwrap_err()
                .starts_with(&format!("{} is malformed: {how}: EOF", relative(&kept).display()))
        );
        figures(Kernel::Sel4, &[("a", 900)]).write(&kept).unwrap();
        assert_eq!(compare(), Ok(false));
        figures(Kernel::Sel4, &[("a", 950)]).write(&kept).unwrap();
        assert_eq!(compare(), Ok(true));
        fs::remove_dir_all(folder).unwrap();
    }
}
