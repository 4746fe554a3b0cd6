//! `cargo xtask`: builds images, runs them, checks the tree.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::{
    board::{self, Board},
    builder::{self, Kernel, Recipe, Runtime},
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
    /// Builds the image of a system for seL4, with Microkit's SDK.
    Image {
        #[command(flatten)]
        image: Image,
        #[command(flatten)]
        sel4: Sel4,
    },
    /// Builds the image for seL4, boots it in QEMU and counts the checks that it prints.
    RunImage {
        #[command(flatten)]
        run: Run,
        #[command(flatten)]
        sel4: Sel4,
    },
    /// Builds the image for the embedded kernel, boots it in QEMU and counts the checks that it prints.
    Run {
        #[command(flatten)]
        run: Run,
        /// The embedded kernel's ELF file [default: builds it].
        #[arg(long)]
        kernel: Option<PathBuf>,
    },
    /// Runs the benchmark's system as `run` does, with an SDK as `run-image` does, in virtual time that counts
    /// instructions.
    Bench {
        #[command(flatten)]
        run: Run,
        #[command(flatten)]
        sel4: Sel4,
    },
    /// Checks format, lints, documentation, dependencies and where unsafe code is.
    Check,
    /// Runs all tests, then the image as `run` does.
    Test(Run),
}

#[derive(Args)]
#[group(skip)]
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
#[group(skip)]
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
    /// The kernel configuration: debug, release or benchmark. The kernel prints for PDs in debug only.
    #[arg(long, env = "CONFIG", default_value = "debug")]
    config: String,
    /// A folder with the program images [default: builds the packages of their names].
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Where the image goes [default: target/image/BOARD-CONFIG.bin, for seL4 target/sel4/BOARD-CONFIG-RUNTIME.img].
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Args)]
struct Sel4 {
    /// The folder of Microkit's SDK.
    #[arg(long, env = "MICROKIT_SDK", default_value = "")]
    sdk: OsString,
    /// The runtime that the protection domains are built with.
    #[arg(long, env = "RUNTIME", default_value = "rust-sel4")]
    runtime: Runtime,
    /// A repository of rust-sel4 with the tag that platform/sel4 pins [default: the one that it names].
    #[arg(long, env = "RUST_SEL4")]
    rust_sel4: Option<String>,
}

impl Sel4 {
    fn kernel(self) -> Kernel {
        let rust_sel4 = self.rust_sel4.filter(|repository| !repository.is_empty());
        Kernel::Sel4(builder::Sel4 { sdk: self.sdk.into(), runtime: self.runtime, rust_sel4 })
    }
}

impl Image {
    fn recipe(self, kernel: Kernel) -> Recipe {
        let root = xtask::root();
        let default = root.join("policy.toml");
        let policy = self.policy.or_else(|| self.system.is_none().then_some(default));
        let target = xtask::target_folder(&root);
        let name = format!("{}-{}", self.board, self.config);
        let output = match &kernel {
            Kernel::Embedded(_) => target.join("image").join(name + ".bin"),
            Kernel::Sel4(sel4) if sel4.runtime == Runtime::RustSel4 => {
                target.join("sel4").join(name + "-rust-sel4.img")
            }
            Kernel::Sel4(_) => target.join("sel4").join(name + "-embedded.img"),
        };
        Recipe {
            system: self.system.unwrap_or_else(|| root.join("system.xml")),
            policy,
            board: self.board,
            config: self.config,
            programs: self.programs,
            kernel,
            output: self.output.unwrap_or(output),
            root,
        }
    }
}

impl Run {
    fn run(self, kernel: Kernel) -> Result<Verdict> {
        let recipe = self.image.recipe(kernel);
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
        Command::Image { image, sel4 } => {
            let recipe = image.recipe(sel4.kernel());
            recipe.build()?;
            println!("{}", relative(&recipe.output).display());
            Ok(ExitCode::SUCCESS)
        }
        Command::RunImage { run, sel4 } => Ok(status(run.run(sel4.kernel())?.print())),
        Command::Run { run, kernel } => Ok(status(run.run(Kernel::Embedded(kernel))?.print())),
        Command::Bench { mut run, sel4 } => {
            let folder = xtask::root().join("bench");
            run.image.system.get_or_insert_with(|| folder.join("system.xml"));
            run.image.policy.get_or_insert_with(|| folder.join("policy.toml"));
            run.icount = true;
            let embedded = sel4.sdk.is_empty();
            Ok(status(run.run(if embedded { Kernel::Embedded(None) } else { sel4.kernel() })?.print()))
        }
        Command::Check => Ok(status(check::check(&xtask::root())?)),
        Command::Test(run) => {
            let mut all = test::workspace(&xtask::root())?;
            match run.run(Kernel::Embedded(None)) {
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
