//! What of seL4's ABI differs between architectures, beside the registers that [`Machine`](crate::Machine) finds.

mod aarch64;
mod x86_64;

pub use aarch64::AARCH64;
pub use x86_64::X86_64;

/// The place of the program counter in `seL4_UserContext`, on every architecture.
pub(crate) const PC: usize = 0;
/// The place of the stack pointer.
pub(crate) const SP: usize = 1;
/// The place of the processor's status: SPSR, RFLAGS.
pub(crate) const STATUS: usize = 2;

/// Words of the longest message of a fault: that of an unknown system call on x86-64.
pub(crate) const MAX_FAULT_WORDS: usize = 19;

/// An architecture's part of the ABI.
#[derive(Debug, Clone, Copy)]
pub struct Abi {
    /// Bytes of a system call's instruction, which a PD is behind while the kernel serves it.
    pub(crate) system_call_bytes: u64,
    /// Words of `seL4_UserContext`.
    pub(crate) context_words: usize,
    /// The message of an unknown system call but for its last word, which is the call's number.
    pub(crate) system_call_message: &'static [Said],
}

/// A word of a fault's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// A word of the context, which the reply sets.
    Context(usize),
    /// The address of the next instruction. What a reply says of it has no effect.
    Next,
}

impl Abi {
    /// Words of `seL4_UserContext`: those of [`Register::Context`](crate::Register::Context).
    pub const fn context_words(&self) -> usize {
        self.context_words
    }

    /// Bytes of a system call's instruction, which a PD is behind while the kernel serves it.
    pub const fn system_call_bytes(&self) -> u64 {
        self.system_call_bytes
    }
}

const _: () = {
    assert!(AARCH64.system_call_message.len() < MAX_FAULT_WORDS);
    assert!(X86_64.system_call_message.len() < MAX_FAULT_WORDS);
};
