//! From a system description and a policy to a file that QEMU boots.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    board::Board,
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
    /// The folder of the program images; without one, they are built from the packages of their names.
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
    let policy = policy.map(|source| Policy::parse(&source.name, &source.text)).transpose()?;
    let supervisors = policy.as_ref().map_or(vec![], Policy::supervisors);
    let generated = generated(policy.is_some(), &supervisors);
    let mut system = System::parse(&system.name, &system.text, &Files { folders, generated })?;
    sdf::check::check(&system, board)?;
    let mut clients = vec![];
    if let Some(policy) = policy {
        let checked = policy::check(&policy, &system, board)?;
        policy::compile(&checked, &mut system);
        clients = policy.client_pds();
    }
    Ok(Described { system, clients, supervisors })
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
                let programs = self.programs(&described.system)?;
                restart::fill(&mut described.system, &described.supervisors, &programs)?;
                let image = image::build(&described.system, &board, *config, &programs)?;
                let kernel = match kernel {
                    Some(kernel) => kernel.clone(),
                    None => build::build_kernel(&self.root)?,
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
                let programs = match sel4.runtime {
                    Runtime::RustSel4 if self.programs.is_none() => {
                        self.rust_sel4_programs(&described.system, &sdk, sel4.rust_sel4.as_deref())?
                    }
                    _ => self.programs(&described.system)?,
                };
                restart::fill(&mut described.system, &described.supervisors, &programs)?;
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
        let stage = output.with_extension("files");
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

    /// Builds the programs that `system` names with rust-sel4's runtime: `device_driver.elf` is the binary
    /// `device-driver`.
    fn rust_sel4_programs(
        &self,
        system: &System,
        sdk: &sdk::Sdk<'_>,
        repository: Option<&str>,
    ) -> Result<HashMap<String, PathBuf>> {
        let names = program_names(system);
        let binaries: Vec<String> = names.iter().map(|name| package(name)).collect();
        let binaries: Vec<&str> = binaries.iter().map(|binary| &**binary).collect();
        let paths = rust_sel4::build(&self.root, &binaries, &sdk.headers(), repository)?;
        Ok(names.into_iter().map(str::to_string).zip(paths).collect())
    }

    /// Finds or builds the programs that `system` names: `device_driver.elf` is the package `device-driver`;
    /// examples of the PD runtime have their own names.
    fn programs(&self, system: &System) -> Result<HashMap<String, PathBuf>> {
        let names = program_names(system);
        if let Some(folder) = &self.programs {
            return Ok(names.into_iter().map(|name| (name.to_string(), folder.join(name))).collect());
        }
        let sdk = Sdk { board: &self.board, config: &self.config };
        let examples = self.root.join("platform/embedded/sel4-microkit/examples");
        let mut built = HashMap::new();
        let mut packages = vec![];
        for name in names {
            let stem = name.trim_end_matches(".elf");
            if examples.join(stem).with_extension("rs").exists() {
                built.insert(name.to_string(), build::build_example(&self.root, stem, sdk)?);
            } else {
                packages.push((name, package(name)));
            }
        }
        let names: Vec<&str> = packages.iter().map(|(_, package)| &**package).collect();
        if !names.is_empty() {
            let paths = build::build_pds(&self.root, &names, sdk)?;
            built.extend(packages.iter().map(|(name, _)| name.to_string()).zip(paths));
        }
        Ok(built)
    }
}

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
