//! System calls, per architecture.
//!
//! Each architecture's module offers `call`, `reply_recv`, `nb_send_recv`, `send`, `recv`, `debug_put_char` and `stop`, and
//! the entry point, which calls [`start`](crate::start::start); `buffer` offers `ipc_buffer`. On a host, `host` is all.

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
mod aarch64;
#[cfg(target_os = "none")]
mod buffer;
#[cfg(not(target_os = "none"))]
mod host;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod x86_64;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub(crate) use aarch64::*;
#[cfg(target_os = "none")]
pub(crate) use buffer::*;
#[cfg(not(target_os = "none"))]
pub(crate) use host::*;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub(crate) use x86_64::*;

#[cfg(all(target_os = "none", not(any(target_arch = "aarch64", target_arch = "x86_64"))))]
compile_error!("sel4-microkit knows the system calls of AArch64 and x86-64 alone so far");

/// libsel4's numbers of system calls, `enum seL4_Syscall_ID` with CONFIG_KERNEL_MCS.
#[cfg(target_os = "none")]
mod number {
    pub(super) const CALL: i64 = -1;
    pub(super) const REPLY_RECV: i64 = -2;
    pub(super) const NB_SEND_RECV: i64 = -3;
    pub(super) const SEND: i64 = -5;
    pub(super) const RECV: i64 = -7;
    pub(super) const DEBUG_PUT_CHAR: i64 = -12;
}

/// Message words 0 to 3, which travel in registers.
pub(crate) type FastWords = [u64; 4];

/// What a system call hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Who sent it: the badge of the capability used, or the bits of a notification.
    pub badge: u64,
    /// The message's tag.
    pub tag: u64,
    /// The message's first words.
    pub words: FastWords,
}
