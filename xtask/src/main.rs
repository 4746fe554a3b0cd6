//! `cargo xtask`: builds images, runs them, checks and fuzzes the tree.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::{
    bench,
    board::{self, Board},
    builder::{self, Kernel, Recipe, Runtime},
    check,
    decode::Decode,
    dmar,
    fuzz::{Fuzz, Outcome},
    graph, image, qemu, test,
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
    /// Measures what the server's calls cost, in guest instructions: on the embedded kernel, with an SDK on seL4.
    ///
    /// The figures go to target/bench.json, and are compared with the project's marks.
    Bench {
        #[command(flatten)]
        bench: Bench,
        #[command(flatten)]
        sel4: Sel4,
    },
    /// Compares target/bench.json with the figures in bench/ of the same board, kernel and configuration.
    ///
    /// Fails if the mean of a row is more than 10 % above what it was, or a row is missing.
    BenchCompare,
    /// Checks format, lints, documentation, dependencies and where unsafe code is.
    Check,
    /// Explains raw words of an IOMMU: entries, records, commands, registers. See docs/decode.md.
    Decode(Decode),
    /// Draws who asks whom and which device reaches which memory, as SVG.
    ///
    /// What the image builder refuses is drawn, too, with the rule that it breaks; the command fails then.
    Graph(Graph),
    /// Makes a board's dmar.toml of its ACPI DMAR table, and says what goes where: see docs/dmar.md.
    Dmar(dmar::Command),
    /// Runs the fuzz targets with libFuzzer: see docs/fuzzing.md.
    Fuzz {
        /// The target [default: all, as many at a time as there are processors].
        target: Option<String>,
        /// Seconds that each runs.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Where the random inputs begin, so that two runs of the same programs try the same [default: anywhere].
        #[arg(long)]
        seed: Option<u32>,
        /// A machine that cannot run them is told so, and is no failure.
        #[arg(long)]
        where_possible: bool,
    },
    /// Runs all tests, then the image as `run` does, then the example of docs/microkit.md, before and after.
    ///
    /// The default system is run on the default board and then on the x86-64 one.
    Test(Run),
}

#[derive(Args, Clone)]
#[group(skip)]
struct Run {
    #[command(flatten)]
    image: Image,
    /// The IOMMU of QEMU's machine, or none to see the checks fail [default: the board's].
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

#[derive(Args, Clone)]
#[group(skip)]
struct Image {
    /// The system description [default: the board's system.xml, else the repository's].
    #[arg(long)]
    system: Option<PathBuf>,
    /// The policy [default: policy.toml beside the default system description].
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The board, a folder of platform/boards.
    #[arg(long, env = "BOARD", default_value = board::DEFAULT)]
    board: String,
    #[command(flatten)]
    config: Config,
    /// A folder with program images; those that it lacks are built from this project's packages of their names.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Where the image goes [default: target/image/BOARD-CONFIG.bin, for seL4 target/sel4/BOARD-CONFIG-RUNTIME.img].
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Args)]
#[group(skip)]
struct Graph {
    /// The system description [default: the repository's system.xml].
    #[arg(long)]
    system: Option<PathBuf>,
    /// The policy [default: the repository's policy.toml, with its system.xml].
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The board, a folder of platform/boards.
    #[arg(long, env = "BOARD", default_value = board::DEFAULT)]
    board: String,
    /// The file that the picture goes to [default: the standard output].
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Graph {
    /// The same with the files that are drawn, found as those of an image are.
    fn of(self) -> graph::Graph {
        let image = Image {
            system: self.system,
            policy: self.policy,
            board: self.board,
            config: Config { config: None },
            programs: None,
            output: None,
        };
        let Recipe { root, system, policy, board, .. } = image.recipe(Kernel::Embedded(None));
        graph::Graph { root, system, policy, board, output: self.output }
    }
}

#[derive(Args, Clone)]
#[group(skip)]
struct Config {
    /// The kernel configuration: debug, release or benchmark [default: debug; of bench, release].
    ///
    /// The kernel prints for PDs in debug only.
    #[arg(long, env = "CONFIG")]
    config: Option<String>,
}

impl Config {
    fn or(self, default: &str) -> String {
        self.config.filter(|config| !config.is_empty()).unwrap_or_else(|| default.into())
    }
}

#[derive(Args)]
#[group(skip)]
struct Bench {
    /// The board, a folder of platform/boards.
    #[arg(long, env = "BOARD", default_value = board::DEFAULT)]
    board: String,
    #[command(flatten)]
    config: Config,
    /// A folder with the program images [default: builds the packages of their names].
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Seconds after which a run has failed; there are three, with 1, 8 and as many clients as there can be.
    #[arg(long, env = "TIMEOUT", default_value_t = 300)]
    timeout: u64,
    /// Keeps the figures as those that bench-compare compares with: bench/BOARD-KERNEL-CONFIG.json.
    #[arg(long)]
    save: bool,
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
        let default = Board::system_folder(&root, &self.board);
        let policy = self.policy.or_else(|| self.system.is_none().then(|| default.join("policy.toml")));
        let config = self.config.or(image::DEFAULT_CONFIG);
        let output = self.output.unwrap_or_else(|| kernel.image(&root, &format!("{}-{config}", self.board)));
        Recipe {
            system: self.system.unwrap_or_else(|| default.join("system.xml")),
            policy,
            board: self.board,
            config,
            programs: self.programs,
            kernel,
            output,
            root,
        }
    }
}

impl Run {
    /// The same run on the board of the other architecture, if this is the default system on the default board.
    fn elsewhere(&self) -> Option<Self> {
        if self.image.board != board::DEFAULT || self.image.system.is_some() || self.image.programs.is_some()
        {
            return None;
        }
        let mut run = self.clone();
        run.image.board = board::X86_64.into();
        run.image.output = None;
        run.iommu = run.iommu.filter(|iommu| iommu == qemu::NO_IOMMU);
        Some(run)
    }

    /// The same run of `example`.
    fn of(&self, example: &test::Example) -> Self {
        let root = xtask::root();
        let folder = root.join("examples").join(example.folder);
        let policy = folder.join("policy.toml");
        let mut run = self.clone();
        run.image.output = Some(Kernel::Embedded(None).image(&root, example.folder));
        run.image.policy = policy.exists().then_some(policy);
        run.image.system = Some(folder.join("system.xml"));
        if let Some(config) = example.config {
            run.image.config.config = Some(config.into());
        }
        run.await_pd = example.await_pd.into_iter().map(str::to_string).collect();
        run
    }

    fn run(self, kernel: Kernel) -> Result<Verdict> {
        let recipe = self.image.recipe(kernel);
        let mut awaited = recipe.build()?.clients;
        awaited.extend(self.await_pd);
        let kernel = recipe.kernel_file();
        let run = qemu::Run {
            board: &Board::read(&recipe.root, &recipe.board)?,
            image: &recipe.output,
            kernel: kernel.as_deref(),
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
            println!("{}", xtask::relative(&recipe.output).display());
            Ok(ExitCode::SUCCESS)
        }
        Command::RunImage { run, sel4 } => Ok(status(run.run(sel4.kernel())?.print())),
        Command::Run { run, kernel } => Ok(status(run.run(Kernel::Embedded(kernel))?.print())),
        Command::Bench { bench, sel4 } => {
            let bench = bench::Bench {
                root: xtask::root(),
                board: bench.board,
                config: bench.config.or(bench::DEFAULT_CONFIG),
                programs: bench.programs,
                kernel: if sel4.sdk.is_empty() { Kernel::Embedded(None) } else { sel4.kernel() },
                timeout: Duration::from_secs(bench.timeout),
                save: bench.save,
            };
            Ok(status(bench.run()?.print()))
        }
        Command::BenchCompare => Ok(status(bench::compare(&xtask::root())?)),
        Command::Check => Ok(status(check::check(&xtask::root())?)),
        Command::Decode(decode) => {
            print!("{}", decode.run()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Graph(graph) => match graph.of().run()? {
            None => Ok(ExitCode::SUCCESS),
            Some(refusal) => {
                eprintln!("error: drawn, but the image builder refuses it: {refusal}");
                Ok(ExitCode::FAILURE)
            }
        },
        Command::Dmar(command) => command.run(&xtask::root()).map(|()| ExitCode::SUCCESS),
        Command::Fuzz { target, seconds, seed, where_possible } => {
            let fuzz = Fuzz { root: xtask::root(), target, time: Duration::from_secs(seconds), seed };
            Ok(status(match fuzz.run()? {
                Outcome::Ran(well) => well,
                Outcome::Cannot(why) => {
                    eprintln!("NOT FUZZED: {why}");
                    where_possible
                }
            }))
        }
        Command::Test(run) => {
            let mut all = test::workspace(&xtask::root())?;
            let examples = test::EXAMPLES.map(|example| run.of(&example));
            let elsewhere = run.elsewhere();
            for run in [run].into_iter().chain(elsewhere).chain(examples) {
                match run.run(Kernel::Embedded(None)) {
                    Ok(verdict) => all.add(verdict),
                    Err(error) => all.complain(format!("{error:#}")),
                }
            }
            Ok(status(all.print()))
        }
    }
}

fn status(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
