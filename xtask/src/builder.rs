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
    sdf::{self, Files, System},
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
    /// The kernel's ELF file; without one, it is built.
    pub kernel: Option<PathBuf>,
    /// Where the image goes.
    pub output: PathBuf,
}

/// A system that keeps all rules, its policy compiled into it.
#[derive(Debug, Clone)]
pub struct Described {
    /// The system.
    pub system: System,
    /// The names of the clients' protection domains.
    pub clients: Vec<String>,
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

/// Checks a system description and its policy; prefill files come from `folders`.
///
/// # Errors
/// The first rule that is broken.
pub fn describe(
    system: &Source,
    policy: Option<&Source>,
    board: &Board,
    folders: Vec<PathBuf>,
) -> Result<Described, Refusal> {
    let generated = if policy.is_some() { vec![SERVER_BLOB.into(), PCI_BLOB.into()] } else { vec![] };
    let mut system = System::parse(&system.name, &system.text, &Files { folders, generated })?;
    sdf::check::check(&system, board)?;
    let mut clients = vec![];
    if let Some(source) = policy {
        let policy = Policy::parse(&source.name, &source.text)?;
        let checked = policy::check(&policy, &system, board)?;
        policy::compile(&checked, &mut system);
        clients = policy.client_pds();
    }
    sdf::embedded::check(&system, board)?;
    Ok(Described { system, clients })
}

impl Recipe {
    /// Builds the image.
    ///
    /// # Errors
    /// What is refused, or does not build.
    pub fn build(&self) -> Result<Described> {
        let board = Board::read(&self.root, &self.board)?;
        let config = image::CONFIGS.iter().find(|(name, _)| *name == self.config);
        let (_, config) = config.with_context(|| format!("no configuration '{}'", self.config))?;
        let policy = self.policy.as_deref().map(Source::read).transpose()?;
        let folders = self.system.parent().map(Path::to_path_buf).into_iter().collect();
        let described = describe(&Source::read(&self.system)?, policy.as_ref(), &board, folders)?;
        let programs = self.programs(&described.system)?;
        let image = image::build(&described.system, &board, *config, &programs)?;
        let kernel = match &self.kernel {
            Some(kernel) => kernel.clone(),
            None => build::build_kernel(&self.root)?,
        };
        let kernel = fs::read(&kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        let flat = image::flatten(&kernel, &board, &image)?;
        if let Some(folder) = self.output.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&self.output, flat).with_context(|| format!("cannot write {}", self.output.display()))?;
        Ok(described)
    }

    /// Finds or builds the programs that `system` names: `device_driver.elf` is the package `device-driver`;
    /// examples of the PD runtime have their own names.
    fn programs(&self, system: &System) -> Result<HashMap<String, PathBuf>> {
        let mut names: Vec<&str> = system.pds.iter().map(|pd| &*pd.program).collect();
        names.sort_unstable();
        names.dedup();
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
                packages.push((name, stem.replace('_', "-")));
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
