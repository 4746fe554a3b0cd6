//! What differs per board: platform/boards/NAME/board.toml.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::dmar::Dmar;

/// The board that is built for when none is named.
pub const DEFAULT: &str = "qemu_virt_aarch64";

/// The board of the other architecture.
pub const X86_64: &str = "x86_64_generic";

/// A closed interval of physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The first address in it.
    pub first: u64,
    /// The last address in it.
    pub last: u64,
}

impl Interval {
    /// The interval of `bytes` bytes from `first`; `None` if it is empty or passes the last address there is.
    pub fn of(first: u64, bytes: u64) -> Option<Self> {
        Some(Self { first, last: first.checked_add(bytes.checked_sub(1)?)? })
    }

    /// Whether all of `other` lies in it.
    pub fn holds(&self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether some of `other` lies in it.
    pub fn meets(&self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// AArch64.
    Aarch64,
    /// x86-64.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// What protection domains are built for, on either runtime, and the embedded kernel. None of them touches the
    /// floating-point registers, so that a kernel that is told so (`fpu="false"`) need not exchange them in a call.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
            Self::X86_64 => "x86_64-unknown-none",
        }
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "AArch64",
            Self::X86_64 => "x86-64",
        }
    }
}

/// A board.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Its architecture.
    pub arch: Arch,
    /// The number of its layout in the embedded kernel's image header.
    pub header: u32,
    /// Its physical memory.
    pub memory: Memory,
    /// The layout of a protection domain's address space.
    pub address_space: AddressSpace,
    /// Its interrupts: on AArch64 the GIC's, on x86-64 vectors as Microkit counts them.
    pub interrupts: Interrupts,
    /// Its PCI host.
    pub pci: Pci,
    /// How QEMU emulates it.
    pub qemu: Qemu,
    /// What its firmware says of VT-d units: the board's dmar.toml, if it has one.
    #[serde(skip)]
    pub dmar: Option<Dmar>,
}

/// A board's physical memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// All RAM.
    pub ram: Interval,
    /// The part of it that the embedded kernel and the image occupy; on x86-64 also the one that seL4, its image and
    /// what it makes of the image occupy.
    pub kernel: Interval,
    /// The last physical address that a protection domain may map.
    pub last: u64,
}

/// The layout of a protection domain's address space.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressSpace {
    /// The virtual address of the IPC buffer.
    pub ipc_buffer: u64,
}

/// A board's interrupts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interrupts {
    /// The lowest that a protection domain may handle.
    pub first: u64,
    /// The highest.
    pub last: u64,
}

/// A board's PCI host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pci {
    /// Where BARs may be placed.
    pub window: Interval,
    /// Where configuration space begins (PCI Express ECAM, 1 MiB a bus).
    pub ecam: u64,
}

/// How QEMU emulates a board.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The program.
    pub program: String,
    /// What `{iommu}` stands for by default.
    pub iommu: String,
    /// Its arguments, with `{iommu}` and `{image}`.
    pub args: Vec<String>,
    /// What it is given besides to boot seL4, with `{kernel}` and `{image}`.
    #[serde(default)]
    pub sel4_args: Vec<String>,
    /// What it is given besides to boot the embedded kernel, with `{image}`.
    #[serde(default)]
    pub embedded_args: Vec<String>,
    /// What it is given before all others unless there is to be no IOMMU.
    #[serde(default)]
    pub iommu_args: Vec<String>,
}

impl Board {
    /// Reads the board `name` of the repository at `root`.
    ///
    /// # Errors
    /// The file is missing, malformed or contradicts itself.
    pub fn read(root: &Path, name: &str) -> Result<Self> {
        let path = Self::folder(root, name).join("board.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("there is no board '{name}': cannot read {}", path.display()))?;
        let mut board: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        ensure!(
            board.memory.ram.holds(board.memory.kernel),
            "{}: the kernel's memory must lie in RAM",
            path.display()
        );
        board.dmar = Dmar::of_board(root, name)?;
        Ok(board)
    }

    /// The folder of the board `name`.
    pub fn folder(root: &Path, name: &str) -> PathBuf {
        root.join("platform/boards").join(name)
    }

    /// The folder with the default system of the board `name` and its policy: the board's, else the repository's.
    pub fn system_folder(root: &Path, name: &str) -> PathBuf {
        let own = Self::folder(root, name);
        if own.join("system.xml").is_file() { own } else { root.into() }
    }

    /// The address above the highest that a map of a protection domain with such a stack may use: the stack's
    /// lowest. Microkit leaves one page between the stack and the IPC buffer.
    pub fn stack_bottom(&self, stack_bytes: u64) -> u64 {
        self.stack_top() - stack_bytes
    }

    /// The initial stack pointer.
    pub fn stack_top(&self) -> u64 {
        self.address_space.ipc_buffer - embedded_image::PAGE_BYTES
    }
}
