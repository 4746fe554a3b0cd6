//! Symbols that Microkit's tool fills in when it builds the image.
#![allow(unsafe_code)] // The tool finds symbols by name and section.

use core::{
    cell::UnsafeCell,
    ptr,
    str::{self, Utf8Error},
};

/// A value that the tool may change in the ELF file; the program never does.
#[repr(transparent)]
pub struct Patched<T>(UnsafeCell<T>);

// SAFETY: nothing writes the value while the program runs.
unsafe impl<T: Sync> Sync for Patched<T> {}

impl<T> Patched<T> {
    /// `unpatched` is what the tool finds.
    pub const fn new(unpatched: T) -> Self {
        Self(UnsafeCell::new(unpatched))
    }

    /// What the tool left. The compiler cannot tell where the reference comes from, hence nothing of what it
    /// points to.
    pub fn get(&self) -> &T {
        let at: *const T = self.0.get();
        // SAFETY: reads a local variable.
        let at = unsafe { ptr::read_volatile(&at) };
        // SAFETY: it is the address of the value, which lives as long as `self` and is never written.
        unsafe { &*at }
    }
}

/// Declares a symbol of 8 bytes that a `setvar` of the system description fills in, and yields a
/// `&'static` reference to its value.
///
/// ```
/// # use sel4_microkit::var;
/// let channel = *var!(server_channel: usize = 0);
/// # assert_eq!(channel, 0);
/// ```
#[macro_export]
macro_rules! var {
    ($(#[$attrs:meta])* $symbol:ident: $ty:ty = $default:expr) => {{
        $(#[$attrs])*
        #[used]
        #[allow(non_upper_case_globals)]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".data")]
        static $symbol: $crate::_private::Patched<$ty> = $crate::_private::Patched::new($default);
        $symbol.get()
    }};
}

/// Declares a symbol that receives a memory region's address (`setvar_vaddr`), and yields it as a
/// [`NonNull`](core::ptr::NonNull).
///
/// Forms: `name: *mut T`; `name: *mut T, bytes = size`; `name: *mut [T], n = length`;
/// `name: *mut [T], n = length, bytes = size`. The given size must be that of the type.
///
/// # Panics
/// If the size differs or the address is null.
#[macro_export]
macro_rules! memory_region_symbol {
    ($(#[$attrs:meta])* $symbol:ident: *mut [$ty:ty], n = $n:expr, bytes = $bytes:expr $(,)?) => {{
        assert!($bytes == $n * ::core::mem::size_of::<$ty>());
        $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut [$ty], n = $n)
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut [$ty:ty], n = $n:expr $(,)?) => {
        ::core::ptr::NonNull::slice_from_raw_parts(
            $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty),
            $n,
        )
    };
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty, bytes = $bytes:expr $(,)?) => {{
        assert!($bytes == ::core::mem::size_of::<$ty>());
        $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty)
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty $(,)?) => {
        match ::core::ptr::NonNull::new(*$crate::var!($(#[$attrs])* $symbol: usize = 0) as *mut $ty) {
            Some(address) => address,
            None => panic!("{} is null", stringify!($symbol)),
        }
    };
}

/// Bytes of `microkit_name` (`PD_MAX_NAME_LENGTH`).
const NAME_BYTES: usize = 64;

/// What the PD's name is.
///
/// # Errors
/// If it is not UTF-8.
pub fn pd_name() -> Result<&'static str, Utf8Error> {
    let name = var!(microkit_name: [u8; NAME_BYTES] = [0; NAME_BYTES]);
    str::from_utf8(name.split(|&byte| byte == 0).next().unwrap_or(name))
}

/// Whether the PD is passive: after init, it runs on its callers' time.
pub fn pd_is_passive() -> bool {
    *var!(microkit_passive: bool = false)
}

/// What a mask holds in an unpatched file; this crate's own tests run as a PD with a channel of each kind.
const fn unpatched(in_tests: u64) -> u64 {
    if cfg!(test) { in_tests } else { 0 }
}

/// Bit i: channel i is an interrupt.
pub(crate) fn pd_irqs() -> u64 {
    *var!(microkit_irqs: u64 = unpatched(1 << 1 | 1 << 61))
}

/// Bit i: channel i may be notified.
pub(crate) fn pd_notifications() -> u64 {
    *var!(microkit_notifications: u64 = unpatched(1 << 2))
}

/// Bit i: channel i may be called.
pub(crate) fn pd_pps() -> u64 {
    *var!(microkit_pps: u64 = unpatched(1 << 3))
}

/// Bit i: channel i is a range of I/O ports (x86). The tool patches it on every architecture.
pub(crate) fn pd_ioports() -> u64 {
    *var!(microkit_ioports: u64 = unpatched(1 << 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpatched_symbols() {
        assert_eq!(pd_name(), Ok(""));
        assert!(!pd_is_passive());
        assert_eq!(*var!(test_setvar: usize = 0x1234), 0x1234);
    }

    #[test]
    fn the_value_is_read_where_the_tool_left_it() {
        static SYMBOL: Patched<usize> = Patched::new(1);
        // SAFETY: this test alone knows the symbol, and no reference to the value is alive.
        unsafe { *SYMBOL.0.get() = 2 };
        assert_eq!(*SYMBOL.get(), 2);
    }

    #[test]
    #[should_panic(expected = "test_region is null")]
    fn a_region_without_address() {
        let _ = memory_region_symbol!(test_region: *mut [u32], n = 4, bytes = 16);
    }

    #[test]
    #[should_panic(expected = "size_of")]
    fn a_region_of_another_size() {
        let _ = memory_region_symbol!(test_other_region: *mut u32, bytes = 8);
    }
}
