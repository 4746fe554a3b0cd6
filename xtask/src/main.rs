//! `cargo xtask`: builds images, runs them, checks the tree.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::{
    board::{self, Board},
    builder::Recipe,
    check, qemu, test,
    transcript::Verdict,
};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and checks the project", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the image of a system for the embedded kernel.
    Image(Image),
    /// Builds the image, boots it in QEMU and counts the checks that it prints.
    Run(Run),
    /// Runs the benchmark's system as `run` does, in virtual time that counts instructions.
    Bench(Run),
    /// Checks format, lints, documentation, dependencies and where unsafe code is.
    Check,
    /// Runs all tests, then the image as `run` does.
    Test(Run),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    image: Image,
    /// The IOMMU of QEMU's machine: smmuv3, or none to see the checks fail [default: the board's].
    #[arg(long, env = "IOMMU")]
    iommu: Option<String>,
    /// Seconds after which the run has failed.
    #[arg(long, env = "TIMEOUT", default_value_t = 60)]
    timeout: u64,
    /// Virtual time counts instructions: one takes one nanosecond.
    #[arg(long)]
    icount: bool,
    /// A protection domain that must be done, if there is no policy to say so; may be repeated.
    #[arg(long)]
    await_pd: Vec<String>,
}

#[derive(Args)]
struct Image {
    /// The system description [default: the repository's system.xml].
    #[arg(long)]
    system: Option<PathBuf>,
    /// The policy [default: the repository's policy.toml, with its system.xml].
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The board, a folder of platform/boards.
    #[arg(long, env = "BOARD", default_value = board::DEFAULT)]
    board: String,
    /// The kernel configuration: debug, release or benchmark. PDs print in debug only.
    #[arg(long, env = "CONFIG", default_value = "debug")]
    config: String,
    /// A folder with the program images [default: builds the packages of their names].
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The embedded kernel's ELF file [default: builds it].
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// Where the image goes [default: target/image/BOARD-CONFIG.bin].
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Image {
    fn recipe(self) -> Recipe {
        let root = xtask::root();
        let default = root.join("policy.toml");
        let policy = self.policy.or_else(|| self.system.is_none().then_some(default));
        let name = format!("{}-{}.bin", self.board, self.config);
        Recipe {
            system: self.system.unwrap_or_else(|| root.join("system.xml")),
            policy,
            board: self.board,
            config: self.config,
            programs: self.programs,
            kernel: self.kernel,
            output: self.output.unwrap_or_else(|| xtask::target_folder(&root).join("image").join(name)),
            root,
        }
    }
}

impl Run {
    fn run(self) -> Result<Verdict> {
        let recipe = self.image.recipe();
        let mut awaited = recipe.build()?.clients;
        awaited.extend(self.await_pd);
        let run = qemu::Run {
            board: &Board::read(&recipe.root, &recipe.board)?,
            image: &recipe.output,
            iommu: self.iommu.as_deref().filter(|iommu| !iommu.is_empty()),
            icount: self.icount,
            timeout: Duration::from_secs(self.timeout),
            awaited: &awaited,
        };
        run.run()
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Image(image) => {
            let recipe = image.recipe();
            recipe.build()?;
            println!("{}", relative(&recipe.output).display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => Ok(status(run.run()?.print())),
        Command::Bench(mut run) => {
            let folder = xtask::root().join("bench");
            run.image.system.get_or_insert_with(|| folder.join("system.xml"));
            run.image.policy.get_or_insert_with(|| folder.join("policy.toml"));
            run.icount = true;
            Ok(status(run.run()?.print()))
        }
        Command::Check => Ok(status(check::check(&xtask::root())?)),
        Command::Test(run) => {
            let mut all = test::workspace(&xtask::root())?;
            match run.run() {
                Ok(verdict) => all.add(verdict),
                Err(error) => all.complain(format!("{error:#}")),
            }
            Ok(status(all.print()))
        }
    }
}

fn status(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `path` as the user would write it here.
fn relative(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}
