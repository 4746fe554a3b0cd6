//! x86-64: seL4's system calls, MCS.
//!
//! The number is in RDX; RDI, RSI, R10, R8, R9 and R15 carry arguments and results, R12 the reply object and R13 a
//! second destination. SYSCALL itself takes RCX and R11. seL4 preserves every other register but the stack pointer, which R14
//! keeps. No `asm!` here is `nomem`: the kernel reads and writes the IPC buffer.
#![allow(unsafe_code)] // System calls need inline assembly.

use core::arch::asm;

use super::{FastWords, Received, number};

/// SYSCALL, with these operands and what it takes besides.
macro_rules! system_call {
    ($($operands:tt)*) => {
        asm!("mov r14, rsp", "syscall", "mov rsp, r14", $($operands)*, out("rcx") _, out("r11") _, out("r14") _,
            options(nostack))
    };
}

/// Sends to endpoint or object `cap` and waits for its reply (`seL4_Call`); the badge means nothing.
pub(crate) fn call(cap: u64, tag: u64, words: FastWords) -> Received {
    let mut received = Received { badge: cap, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_Call by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        system_call!(in("rdx") number::CALL, inout("rdi") received.badge, inout("rsi") received.tag,
            inout("r10") *w0, inout("r8") *w1, inout("r9") *w2, inout("r15") *w3);
    }
    received
}

/// Replies through `reply`, then waits on `source` (`seL4_ReplyRecv`).
pub(crate) fn reply_recv(source: u64, tag: u64, words: FastWords, reply: u64) -> Received {
    let mut received = Received { badge: source, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_ReplyRecv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        system_call!(in("rdx") number::REPLY_RECV, in("r12") reply, inout("rdi") received.badge,
            inout("rsi") received.tag, inout("r10") *w0, inout("r8") *w1, inout("r9") *w2, inout("r15") *w3);
    }
    received
}

/// Sends to `cap` without waiting for a receiver, then waits on `source` (`seL4_NBSendRecv`).
pub(crate) fn nb_send_recv(cap: u64, tag: u64, words: FastWords, source: u64, reply: u64) -> Received {
    let mut received = Received { badge: source, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_NBSendRecv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        system_call!(in("rdx") number::NB_SEND_RECV, in("r12") reply, in("r13") cap,
            inout("rdi") received.badge, inout("rsi") received.tag, inout("r10") *w0, inout("r8") *w1,
            inout("r9") *w2, inout("r15") *w3);
    }
    received
}

/// Sends an empty message with `tag` to `cap` (`seL4_Send`); to a notification, this is a signal.
pub(crate) fn send(cap: u64, tag: u64) {
    // SAFETY: seL4_Send by its ABI; a tag of length zero carries no words.
    unsafe {
        system_call!(in("rdx") number::SEND, inout("rdi") cap => _, inout("rsi") tag => _);
    }
}

/// Waits on `source` (`seL4_Recv`); calls will be answered through `reply`.
pub(crate) fn recv(source: u64, reply: u64) -> Received {
    let (badge, tag, w0, w1, w2, w3);
    // SAFETY: seL4_Recv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        system_call!(in("rdx") number::RECV, in("r12") reply, inout("rdi") source => badge, out("rsi") tag,
            out("r10") w0, out("r8") w1, out("r9") w2, out("r15") w3);
    }
    Received { badge, tag, words: [w0, w1, w2, w3] }
}

/// Prints one byte (`seL4_DebugPutChar`, in kernels with printing only).
pub(crate) fn debug_put_char(byte: u8) {
    // SAFETY: seL4_DebugPutChar by its ABI; it touches no memory.
    unsafe {
        system_call!(in("rdx") number::DEBUG_PUT_CHAR, inout("rdi") u64::from(byte) => _, out("rsi") _);
    }
}

/// Stops the PD by an undefined instruction, a fault that the kernel reports.
pub(crate) fn stop() -> ! {
    // SAFETY: the instruction never completes.
    unsafe { asm!("ud2", options(noreturn, nostack, nomem)) }
}

// The kernel starts a PD without a return address, with which the ABI counts.
core::arch::global_asm!(
    ".section .text._start, \"ax\"",
    ".global _start",
    "_start:",
    "    xor ebp, ebp",
    "    call {start}",
    start = sym crate::start::start,
);
