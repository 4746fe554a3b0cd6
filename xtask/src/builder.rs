//! From a system description and a policy to a file that QEMU boots.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    board::{Arch, Board},
    build::{self, Sdk},
    image,
    policy::{self, PCI_BLOB, Policy, SERVER_BLOB},
    refusal::Refusal,
    restart::{self, Supervisor, blob_name},
    rust_sel4,
    sdf::{self, Files, System},
    sdk,
};

/// What to build an image of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The repository.
    pub root: PathBuf,
    /// The system description.
    pub system: PathBuf,
    /// The policy, for a system with an IOMMU server.
    pub policy: Option<PathBuf>,
    /// The board's name.
    pub board: String,
    /// The configuration's name, one of [`image::CONFIGS`].
    pub config: String,
    /// The folder of program images; those that it lacks, or all without one, are built from the packages of their names.
    pub programs: Option<PathBuf>,
    /// The kernel that the image boots, and what packs it.
    pub kernel: Kernel,
    /// Where the image goes.
    pub output: PathBuf,
}

/// A kernel.
#[derive(Debug, Clone)]
pub enum Kernel {
    /// The embedded kernel: its ELF file; without one, it is built.
    Embedded(Option<PathBuf>),
    /// seL4, by Microkit's SDK.
    Sel4(Sel4),
}

impl Kernel {
    /// Where the image `name` goes unless the user says otherwise, in the repository at `root`.
    pub fn image(&self, root: &Path, name: &str) -> PathBuf {
        let target = crate::target_folder(root);
        match self {
            Self::Embedded(_) => target.join("image").join(format!("{name}.bin")),
            Self::Sel4(Sel4 { runtime: Runtime::RustSel4, .. }) => {
                target.join("sel4").join(format!("{name}-rust-sel4.img"))
            }
            Self::Sel4(_) => target.join("sel4").join(format!("{name}-embedded.img")),
        }
    }
}

/// An image for seL4.
#[derive(Debug, Clone)]
pub struct Sel4 {
    /// The SDK's folder; empty for none.
    pub sdk: PathBuf,
    /// The protection domains' runtime.
    pub runtime: Runtime,
    /// The repository that rust-sel4 comes from, instead of the one that its users' manifest names.
    pub rust_sel4: Option<String>,
}

/// A runtime of protection domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// rust-sel4's.
    RustSel4,
    /// The one of the embedded kernel.
    Embedded,
}

/// A system that keeps all rules, its policy compiled into it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The system.
    pub system: System,
    /// The names of the clients' protection domains.
    pub clients: Vec<String>,
    /// The supervisors.
    pub supervisors: Vec<Supervisor>,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in messages.
    pub name: String,
    /// Its content.
    pub text: String,
}

impl Source {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { name: path.display().to_string(), text })
    }
}

/// Checks a system description and its policy, for the embedded kernel; prefill files come from `folders`.
///
/// # Errors
/// The first rule that is broken.
pub fn describe(
    system: &Source,
    policy: Option<&Source>,
    board: &Board,
    folders: Vec<PathBuf>,
) -> Result<Described, Refusal> {
    let described = describe_for_sel4(system, policy, board, folders)?;
    sdf::embedded::check(&described.system, board)?;
    Ok(described)
}

/// Checks a system description and its policy as [`describe`] does, for seL4.
///
/// # Errors
/// The first rule that is broken.
pub fn describe_for_sel4(
    system: &Source,
    policy: Option<&Source>,
    board: &Board,
    folders: Vec<PathBuf>,
) -> Result<Described, Refusal> {
    let (mut system, policy) = parse(system, policy, board, folders)?;
    let supervisors = policy.as_ref().map_or(vec![], Policy::supervisors);
    sdf::check::check(&system, board)?;
    let mut clients = vec![];
    if let Some(policy) = policy {
        let checked = policy::check(&policy, &system, board)?;
        policy::compile(&checked, &mut system);
        clients = policy.client_pds();
    }
    Ok(Described { system, clients, supervisors })
}

/// Reads a system description and its policy without the rules that take more than one element.
///
/// # Errors
/// The first rule that is broken.
pub fn parse(
    system: &Source,
    policy: Option<&Source>,
    board: &Board,
    folders: Vec<PathBuf>,
) -> Result<(System, Option<Policy>), Refusal> {
    let policy = policy.map(|source| Policy::parse(&source.name, &source.text)).transpose()?;
    let supervisors = policy.as_ref().map_or(vec![], Policy::supervisors);
    let generated = generated(policy.is_some(), &supervisors);
    let system = System::parse(&system.name, &system.text, &Files { folders, generated }, board.arch)?;
    Ok((system, policy))
}

/// The prefill files that the builder makes, of a system with a policy that has these supervisors.
fn generated(with_policy: bool, supervisors: &[Supervisor]) -> Vec<String> {
    if !with_policy {
        return vec![];
    }
    let blobs = supervisors.iter().map(|supervisor| blob_name(&supervisor.pd));
    [SERVER_BLOB, PCI_BLOB].map(str::to_string).into_iter().chain(blobs).collect()
}

impl Recipe {
    /// The folder of what an image for seL4 is packed of.
    fn stage(&self) -> PathBuf {
        self.output.with_extension("files")
    }

    /// The kernel's file, where a built image lacks it.
    pub fn kernel_file(&self) -> Option<PathBuf> {
        match self.kernel {
            Kernel::Embedded(_) => None,
            Kernel::Sel4(_) => sdk::kernel_of(&self.stage()),
        }
    }

    /// Builds the image.
    ///
    /// # Errors
    /// What is refused, or does not build.
    pub fn build(&self) -> Result<Described> {
        let board = Board::read(&self.root, &self.board)?;
        let config = image::CONFIGS.iter().find(|(name, _)| *name == self.config);
        let (_, config) = config
            .with_context(|| format!("no configuration '{}': debug, release or benchmark", self.config))?;
        let policy = self.policy.as_deref().map(Source::read).transpose()?;
        let folders = self.system.parent().map(Path::to_path_buf).into_iter().collect();
        let source = Source::read(&self.system)?;
        if let Some(folder) = self.output.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        match &self.kernel {
            Kernel::Embedded(kernel) => {
                let mut described = describe(&source, policy.as_ref(), &board, folders)?;
                let programs =
                    self.programs(&described.system, |packages| self.build_embedded(packages, board.arch))?;
                restart::fill(&mut described.system, &described.supervisors, &programs, board.arch)?;
                let image = image::build(&described.system, &board, *config, &programs)?;
                let kernel = match kernel {
                    Some(kernel) => kernel.clone(),
                    None => build::build_kernel(&self.root, board.arch)?,
                };
                let kernel =
                    fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
                let flat = image::flatten(&kernel, &board, &image)?;
                fs::write(&self.output, flat)
                    .with_context(|| format!("cannot write {}", self.output.display()))?;
                Ok(described)
            }
            Kernel::Sel4(sel4) => {
                let sdk = sdk::Sdk::open(&sel4.sdk, &self.board, &self.config)?;
                let mut described = describe_for_sel4(&source, policy.as_ref(), &board, folders)?;
                let programs = self.programs(&described.system, |packages| match sel4.runtime {
                    Runtime::RustSel4 if packages.is_empty() => Ok(vec![]),
                    Runtime::RustSel4 => {
                        let repository = sel4.rust_sel4.as_deref();
                        rust_sel4::build(&self.root, packages, board.arch, &sdk.headers(), repository)
                    }
                    Runtime::Embedded => self.build_embedded(packages, board.arch),
                })?;
                restart::fill(&mut described.system, &described.supervisors, &programs, board.arch)?;
                self.pack(&described, &sdk, &programs)?;
                Ok(described)
            }
        }
    }

    /// Has the SDK's tool pack the system of `programs`, from a folder that has what the builder made.
    fn pack(
        &self,
        described: &Described,
        sdk: &sdk::Sdk<'_>,
        programs: &HashMap<String, PathBuf>,
    ) -> Result<()> {
        // `output` lies in a folder that exists.
        let output = std::path::absolute(&self.output)?;
        let stage = std::path::absolute(self.stage())?;
        fs::create_dir_all(&stage).with_context(|| format!("cannot make {}", stage.display()))?;
        for (name, program) in programs {
            fs::copy(program, stage.join(name)).with_context(|| {
                format!("cannot copy {} to {}", program.display(), stage.join(name).display())
            })?;
        }
        let generated = generated(!described.clients.is_empty(), &described.supervisors);
        for prefill in described.system.regions.iter().filter_map(|region| region.prefill.as_ref()) {
            if generated.contains(&prefill.path)
                && let Some(bytes) = &prefill.bytes
            {
                let blob = stage.join(&prefill.path);
                fs::write(&blob, bytes).with_context(|| format!("cannot write {}", blob.display()))?;
            }
        }
        let beside = std::path::absolute(&self.system)?;
        let folders = [Some(&*stage), beside.parent()];
        sdk.pack(&self.system, &folders.into_iter().flatten().collect::<Vec<_>>(), &output)
    }

    /// Finds the programs that `system` names in the folder of programs, and has `build` build the others from the
    /// packages of their names: `device_driver.elf` is the package, and its binary, `device-driver`.
    fn programs(
        &self,
        system: &System,
        build: impl FnOnce(&[&str]) -> Result<Vec<PathBuf>>,
    ) -> Result<HashMap<String, PathBuf>> {
        let mut programs = HashMap::new();
        let mut lacking = vec![];
        for name in program_names(system) {
            let given = self.programs.as_ref().map(|folder| folder.join(name));
            if let Some(path) = given.filter(|path| path.is_file()) {
                programs.insert(name.to_string(), path);
                continue;
            }
            let package = package(name);
            if !PACKAGES.iter().any(|folder| self.root.join(folder).join(&package).is_dir())
                && !self.is_example(name)
            {
                let lacks = match &self.programs {
                    Some(folder) => format!("{} does not have it", folder.display()),
                    None => "--programs names no folder that has it".into(),
                };
                bail!("{}: the project has no program '{name}', and {lacks}", self.system.display());
            }
            lacking.push((name, package));
        }
        let packages: Vec<&str> = lacking.iter().map(|(_, package)| &**package).collect();
        let paths = build(&packages)?;
        programs.extend(lacking.iter().map(|(name, _)| name.to_string()).zip(paths));
        Ok(programs)
    }

    /// Whether `program` is an example of the PD runtime, which have their own names.
    fn is_example(&self, program: &str) -> bool {
        self.root.join(EXAMPLES).join(program.trim_end_matches(".elf")).with_extension("rs").exists()
    }

    /// Builds the programs of `packages` with the embedded runtime.
    fn build_embedded(&self, packages: &[&str], arch: Arch) -> Result<Vec<PathBuf>> {
        let sdk = Sdk { board: &self.board, arch, config: &self.config };
        let (examples, pds): (Vec<&str>, Vec<&str>) =
            packages.iter().partition(|package| self.is_example(package));
        let mut built: HashMap<&str, PathBuf> = HashMap::new();
        for example in examples {
            built.insert(example, build::build_example(&self.root, example, sdk)?);
        }
        if !pds.is_empty() {
            built.extend(pds.iter().copied().zip(build::build_pds(&self.root, &pds, sdk)?));
        }
        Ok(packages.iter().filter_map(|package| built.remove(package)).collect())
    }
}

/// The folders of the packages that programs are built from.
const PACKAGES: [&str; 2] = ["components", "examples"];

/// The folder of the PD runtime's examples.
const EXAMPLES: &str = "platform/embedded/sel4-microkit/examples";

/// The programs that `system` names, each once.
fn program_names(system: &System) -> Vec<&str> {
    let mut names: Vec<&str> = system.pds.iter().map(|pd| &*pd.program).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The package, and its binary, that `program` is built from.
fn package(program: &str) -> String {
    program.trim_end_matches(".elf").replace('_', "-")
}
