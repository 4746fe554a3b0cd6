//! Which QEMU to start.

/// What to say when QEMU is not there.
pub const QEMU_PACKAGES: &str = "install qemu-system-arm (Debian, Ubuntu), qemu-system-aarch64 (Fedora, Arch) \
     of version 9.1 or later, or run `make setup`";

/// As [`QEMU_PACKAGES`], of PCs.
pub const QEMU_PC_PACKAGES: &str = "install qemu-system-x86 (Debian, Ubuntu, Fedora), qemu-system-x86_64 (Arch), \
     or run `make setup`";

/// `wfi` and a branch back to it.
const SLEEP_AARCH64: [u32; 2] = [0xd503_207f, 0x17ff_ffff];

/// `cli`, `hlt` and a branch back to the latter.
const SLEEP_X86: [u8; 4] = [0xfa, 0xf4, 0xeb, 0xfd];
/// Bytes of a PC's firmware, and how far from its end the CPU begins.
const PC_FIRMWARE_BYTES: usize = 0x1_0000;
const PC_RESET_FROM_END: usize = 16;

/// Where [`Machine::q35`] has configuration space.
pub const Q35_ECAM: u32 = 0xb000_0000;

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
    /// What firmware would do before an operating system runs: commands of the qtest protocol.
    pub preparation: Vec<String>,
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
            preparation: Vec::new(),
        }
    }

    /// A PC with 512 MiB of RAM, ECAM at [`Q35_ECAM`] and no default devices; `-device intel-iommu` puts a VT-d unit at
    /// 0xfed9_0000.
    pub fn q35() -> Self {
        let mut firmware = vec![0; PC_FIRMWARE_BYTES];
        let reset = PC_FIRMWARE_BYTES - PC_RESET_FROM_END;
        firmware[reset..reset + SLEEP_X86.len()].copy_from_slice(&SLEEP_X86);
        let arguments = "-machine q35,kernel-irqchip=off -m 512M";
        Self {
            program: "qemu-system-x86_64".into(),
            packages: QEMU_PC_PACKAGES,
            arguments: arguments.split(' ').map(String::from).collect(),
            firmware,
            // PCIEXBAR of the host bridge: base, 256 MiB, on.
            preparation: vec!["outl 0xcf8 0x80000060".into(), format!("outl 0xcfc {:#x}", Q35_ECAM | 1)],
        }
    }

    /// The machine with more arguments, separated by spaces.
    #[must_use]
    pub fn with(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(String::from));
        self
    }
}
