//! The IPC buffer, which the kernel maps at an address that depends on the board.
#![allow(unsafe_code)] // The address is fixed.

use core::{cell::RefCell, ptr::NonNull};

use crate::{
    message::{IpcBuffer, Layout},
    sdk,
};

/// The PD's IPC buffer.
pub(crate) fn ipc_buffer<T>(f: impl FnOnce(&RefCell<IpcBuffer>) -> T) -> T {
    struct OneThread(RefCell<IpcBuffer>);
    // SAFETY: a PD has one thread.
    unsafe impl Sync for OneThread {}

    const ADDRESS: NonNull<Layout> = NonNull::new(sdk::IPC_BUFFER as *mut Layout).unwrap();
    // SAFETY: the kernel maps the buffer at this address before the PD starts; this is the only `IpcBuffer`.
    static BUFFER: OneThread = OneThread(RefCell::new(unsafe { IpcBuffer::new(ADDRESS) }));
    f(&BUFFER.0)
}

// The address for which the PD is built, as an absolute symbol: an image builder can see it.
core::arch::global_asm!(
    ".global __sel4_ipc_buffer_obj",
    ".set __sel4_ipc_buffer_obj, {address}",
    address = const sdk::IPC_BUFFER,
);
