//! AArch64: seL4's system calls, MCS.
//!
//! The number is in x7; x0 to x6 and x8 carry arguments and results. The kernel preserves every other register.
//! No `asm!` here is `nomem`: the kernel reads and writes the IPC buffer.
#![allow(unsafe_code)] // System calls need inline assembly.

use core::arch::asm;

use super::{FastWords, Received, number};

/// Sends to endpoint or object `cap` and waits for its reply (`seL4_Call`); the badge means nothing.
pub(crate) fn call(cap: u64, tag: u64, words: FastWords) -> Received {
    let mut received = Received { badge: cap, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_Call by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        asm!("svc #0", in("x7") number::CALL, inout("x0") received.badge, inout("x1") received.tag,
            inout("x2") *w0, inout("x3") *w1, inout("x4") *w2, inout("x5") *w3, options(nostack));
    }
    received
}

/// Replies through `reply`, then waits on `source` (`seL4_ReplyRecv`).
pub(crate) fn reply_recv(source: u64, tag: u64, words: FastWords, reply: u64) -> Received {
    let mut received = Received { badge: source, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_ReplyRecv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        asm!("svc #0", in("x7") number::REPLY_RECV, in("x6") reply, inout("x0") received.badge,
            inout("x1") received.tag, inout("x2") *w0, inout("x3") *w1, inout("x4") *w2, inout("x5") *w3,
            options(nostack));
    }
    received
}

/// Sends to `cap` without waiting for a receiver, then waits on `source` (`seL4_NBSendRecv`).
pub(crate) fn nb_send_recv(cap: u64, tag: u64, words: FastWords, source: u64, reply: u64) -> Received {
    let mut received = Received { badge: source, tag, words };
    let [w0, w1, w2, w3] = &mut received.words;
    // SAFETY: seL4_NBSendRecv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        asm!("svc #0", in("x7") number::NB_SEND_RECV, in("x6") reply, in("x8") cap, inout("x0") received.badge,
            inout("x1") received.tag, inout("x2") *w0, inout("x3") *w1, inout("x4") *w2, inout("x5") *w3,
            options(nostack));
    }
    received
}

/// Sends an empty message with `tag` to `cap` (`seL4_Send`); to a notification, this is a signal.
pub(crate) fn send(cap: u64, tag: u64) {
    // SAFETY: seL4_Send by its ABI; a tag of length zero carries no words.
    unsafe {
        asm!("svc #0", in("x7") number::SEND, in("x0") cap, in("x1") tag, in("x2") 0, in("x3") 0, in("x4") 0,
            in("x5") 0, options(nostack));
    }
}

/// Waits on `source` (`seL4_Recv`); calls will be answered through `reply`.
pub(crate) fn recv(source: u64, reply: u64) -> Received {
    let (badge, tag, w0, w1, w2, w3);
    // SAFETY: seL4_Recv by its ABI; it touches no memory but the IPC buffer, to which no reference is alive.
    unsafe {
        asm!("svc #0", in("x7") number::RECV, in("x6") reply, inout("x0") source => badge, out("x1") tag,
            out("x2") w0, out("x3") w1, out("x4") w2, out("x5") w3, options(nostack));
    }
    Received { badge, tag, words: [w0, w1, w2, w3] }
}

/// Prints one byte (`seL4_DebugPutChar`, in kernels with printing only).
pub(crate) fn debug_put_char(byte: u8) {
    // SAFETY: seL4_DebugPutChar by its ABI; it touches no memory.
    unsafe {
        asm!("svc #0", in("x7") number::DEBUG_PUT_CHAR, inout("x0") u64::from(byte) => _,
            options(nostack, nomem, preserves_flags));
    }
}

/// Stops the PD by an undefined instruction, a fault that the kernel reports.
pub(crate) fn stop() -> ! {
    // SAFETY: the instruction never completes.
    unsafe { asm!("udf #0", options(noreturn, nostack, nomem)) }
}

// The kernel starts a PD without a caller.
core::arch::global_asm!(
    ".section .text._start, \"ax\"",
    ".global _start",
    "_start:",
    "    mov x29, xzr",
    "    mov x30, xzr",
    "    b {start}",
    start = sym crate::start::start,
);
