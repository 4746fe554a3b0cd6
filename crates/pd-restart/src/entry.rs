//! The two entries.
#![allow(unsafe_code)] // The first instructions of a program, and all of its memory.

use core::{cell::UnsafeCell, slice};

use crate::{
    Save, Spans,
    headers::{HEADER_BYTES, headers_end, spans},
};

#[cfg(target_arch = "aarch64")]
#[path = "entry/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "entry/x86_64.rs"]
mod arch;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("pd-restart has entries for AArch64 and x86-64");

#[repr(transparent)]
struct Kept(UnsafeCell<Save>);

// SAFETY: only the entries reach it, while nothing else of the program runs.
unsafe impl Sync for Kept {}

static KEPT: Kept = Kept(UnsafeCell::new(Save::new()));

/// Keeps the data. Where it is too much, a restart will find no copy.
extern "C" fn keep(stack_pointer: usize) {
    let kept = KEPT.0.get();
    // SAFETY: nothing else of the program runs, so that this is the only reference.
    let kept = unsafe { &mut *kept };
    if let Some(spans) = own_spans() {
        // SAFETY: the program's own headers say that this is loaded.
        let result = unsafe { kept.keep(&spans, stack_pointer) };
        // The copy is not used then.
        let _ = result;
    }
}

/// Puts the data back, or stops by an undefined instruction, which the parent learns as a fault.
extern "C" fn put_back() {
    let kept = KEPT.0.get();
    // SAFETY: nothing else of the program runs, so that nobody changes it.
    let kept = unsafe { &*kept };
    let done = own_spans().and_then(|spans| {
        // SAFETY: the program's own headers say that this is loaded and writable; whatever referred to it is not
        // run any more.
        unsafe { kept.put_back(&spans) }.ok()
    });
    if done.is_none() {
        arch::stop();
    }
}

/// The writable segments of this program.
fn own_spans() -> Option<Spans> {
    unsafe extern "C" {
        /// Defined by the linker: the program's ELF header, if it is loaded.
        static __ehdr_start: [u8; HEADER_BYTES];
    }
    let start = &raw const __ehdr_start;
    // SAFETY: the linker knows where the header is loaded, and nothing writes it.
    let header = unsafe { &*start };
    let bytes = headers_end(header)?;
    // SAFETY: the program headers are loaded with the ELF header, which says where they end.
    spans(unsafe { slice::from_raw_parts(start.cast(), bytes) }).ok()
}
