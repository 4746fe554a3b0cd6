//! A scripted kernel: it hands out what a test queued and keeps what the PD asked. One per thread.
//!
//! A PD that waits with nothing queued ends with a panic, as nothing else would end the main loop.
#![allow(unsafe_code)] // An IPC buffer of the test's own.

use std::{cell::RefCell, collections::VecDeque, ptr::NonNull, thread_local, vec::Vec};

use super::{FastWords, Received};
use crate::message::{IpcBuffer, Layout};

/// A system call that the PD made, with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // Read by tests.
pub(crate) enum Asked {
    Call { cap: u64, tag: u64, words: FastWords },
    ReplyRecv { source: u64, tag: u64, words: FastWords, reply: u64 },
    NbSendRecv { cap: u64, tag: u64, source: u64, reply: u64 },
    Send { cap: u64, tag: u64 },
    Recv { source: u64, reply: u64 },
}

thread_local! {
    static ASKED: RefCell<Vec<Asked>> = const { RefCell::new(Vec::new()) };
    static QUEUED: RefCell<VecDeque<Received>> = const { RefCell::new(VecDeque::new()) };
    static PRINTED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static BUFFER: RefCell<IpcBuffer> = {
        let buffer = NonNull::from(Box::leak(Box::new(Layout::new())));
        // SAFETY: the allocation is never freed and known to this value alone.
        RefCell::new(unsafe { IpcBuffer::new(buffer) })
    };
}

fn answer(asked: Asked) -> Received {
    ASKED.with_borrow_mut(|log| log.push(asked));
    match QUEUED.with_borrow_mut(VecDeque::pop_front) {
        Some(received) => received,
        None => panic!("the script is over"),
    }
}

pub(crate) fn call(cap: u64, tag: u64, words: FastWords) -> Received {
    answer(Asked::Call { cap, tag, words })
}

pub(crate) fn reply_recv(source: u64, tag: u64, words: FastWords, reply: u64) -> Received {
    answer(Asked::ReplyRecv { source, tag, words, reply })
}

pub(crate) fn nb_send_recv(cap: u64, tag: u64, _words: FastWords, source: u64, reply: u64) -> Received {
    answer(Asked::NbSendRecv { cap, tag, source, reply })
}

pub(crate) fn send(cap: u64, tag: u64) {
    ASKED.with_borrow_mut(|log| log.push(Asked::Send { cap, tag }));
}

pub(crate) fn recv(source: u64, reply: u64) -> Received {
    answer(Asked::Recv { source, reply })
}

pub(crate) fn debug_put_char(byte: u8) {
    PRINTED.with_borrow_mut(|printed| printed.push(byte));
}

pub(crate) fn stop() -> ! {
    panic!("the PD stopped itself")
}

pub(crate) fn ipc_buffer<T>(f: impl FnOnce(&RefCell<IpcBuffer>) -> T) -> T {
    BUFFER.with(f)
}

/// The test's end of the script.
#[cfg(test)]
pub(crate) mod script {
    use super::*;

    /// Queues what the next system call that waits hands out.
    pub(crate) fn queue(received: Received) {
        QUEUED.with_borrow_mut(|queued| queued.push_back(received));
    }

    /// What the PD asked since the last look.
    pub(crate) fn asked() -> Vec<Asked> {
        ASKED.take()
    }

    /// What the PD printed since the last look.
    pub(crate) fn printed() -> String {
        String::from_utf8_lossy(&PRINTED.take()).into_owned()
    }
}
