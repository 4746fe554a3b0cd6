//! Which QEMU to start.

/// What to say when QEMU is not there.
pub const QEMU_PACKAGES: &str = "install qemu-system-arm (Debian, Ubuntu), qemu-system-aarch64 (Fedora, Arch) \
     of version 9.1 or later, or run `make setup`";

/// `wfi` and a branch back to it.
const SLEEP_AARCH64: [u32; 2] = [0xd503_207f, 0x17ff_ffff];

/// A machine: program, arguments, and what its CPU runs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The program, found through PATH.
    pub program: String,
    /// What to say when the program is not there: which package has it.
    pub packages: &'static str,
    /// Arguments: machine, CPU, memory, devices.
    pub arguments: Vec<String>,
    /// The image that the machine starts from (`-bios`). It must make the CPU sleep for ever.
    pub firmware: Vec<u8>,
}

impl Machine {
    /// The machine on which Microkit's `qemu_virt_aarch64` images run, with 256 MiB of RAM at 0x4000_0000, an
    /// SMMUv3 at 0x0905_0000 and ECAM at 0x40_1000_0000, without default devices.
    pub fn arm_virt() -> Self {
        let arguments = "-machine virt,virtualization=on,iommu=smmuv3 -cpu cortex-a53 -m 256M";
        Self {
            program: "qemu-system-aarch64".into(),
            packages: QEMU_PACKAGES,
            arguments: arguments.split(' ').map(String::from).collect(),
            firmware: SLEEP_AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect(),
        }
    }

    /// The machine with more arguments, separated by spaces.
    #[must_use]
    pub fn with(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(String::from));
        self
    }
}
