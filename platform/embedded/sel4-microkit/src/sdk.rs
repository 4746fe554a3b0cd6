//! What differs between the SDKs of Microkit 2.3.0: per board and per kernel configuration.

/// Address of the IPC buffer: the last page that a PD can have.
#[cfg(target_os = "none")]
pub(crate) const IPC_BUFFER: usize = match option_env!("MICROKIT_BOARD") {
    None if cfg!(target_arch = "x86_64") => X86_IPC_BUFFER,
    None => EL2_IPC_BUFFER,
    Some(board) => match board.as_bytes() {
        b"qemu_virt_aarch64" => EL2_IPC_BUFFER,
        b"qemu_virt_aarch64_el1" => EL1_IPC_BUFFER,
        b"x86_64_generic" => X86_IPC_BUFFER,
        _ => panic!("MICROKIT_BOARD is none of qemu_virt_aarch64, qemu_virt_aarch64_el1, x86_64_generic"),
    },
};

/// With seL4 at EL2, PDs have the 40 bits of a stage-2 input address.
#[cfg(target_os = "none")]
const EL2_IPC_BUFFER: usize = 0xff_ffff_f000;

/// With seL4 at EL1, PDs have 47 bits.
#[cfg(target_os = "none")]
const EL1_IPC_BUFFER: usize = 0x7fff_ffff_f000;

/// On x86-64, seL4 keeps the last page of the 47 bits from PDs.
#[cfg(target_os = "none")]
const X86_IPC_BUFFER: usize = 0x7fff_ffff_e000;

const IS_DEBUG: bool = match option_env!("MICROKIT_CONFIG") {
    None => true,
    Some(config) => match config.as_bytes() {
        b"debug" => true,
        b"release" | b"benchmark" => false,
        _ => panic!("MICROKIT_CONFIG is none of debug, release, benchmark"),
    },
};

/// Whether the kernel prints for PDs (`CONFIG_PRINTING`).
pub const PRINTING: bool = IS_DEBUG;

/// Label of the invocation IRQAckIRQ. The debug kernel has more invocations before it.
pub(crate) const IRQ_ACK_LABEL: u64 = if IS_DEBUG { 31 } else { 27 };

/// Label of the invocation X86IOPortIn8 (x86).
pub(crate) const IO_PORT_IN_8_LABEL: u64 = if IS_DEBUG { 58 } else { 54 };

/// Label of the invocation X86IOPortOut8 (x86).
pub(crate) const IO_PORT_OUT_8_LABEL: u64 = if IS_DEBUG { 61 } else { 57 };
