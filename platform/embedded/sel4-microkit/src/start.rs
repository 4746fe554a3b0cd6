//! From the first instruction to the main loop, and the end of a PD that fails.
#![allow(unsafe_code)] // The application's function is a symbol.

use crate::{Handler, arch, debug_println, pd_name};

/// What the entry point calls, on the stack that the system description gives the PD.
#[cfg(target_os = "none")]
pub(crate) extern "C" fn start() -> ! {
    unsafe extern "Rust" {
        safe fn __sel4_microkit_main() -> !;
    }
    __sel4_microkit_main()
}

/// Runs the PD; what [`protection_domain`](crate::protection_domain) expands to.
pub fn run_main<T: Handler>(init: impl FnOnce() -> T) -> ! {
    match init().run() {
        Ok(never) => match never {},
        Err(error) => {
            debug_println!("pd '{}': ended with error: {error}", name());
            arch::stop()
        }
    }
}

fn name() -> &'static str {
    pd_name().unwrap_or("?")
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    debug_println!("pd '{}': {info}", name());
    arch::stop()
}
