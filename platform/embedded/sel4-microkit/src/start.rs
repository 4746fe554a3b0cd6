//! From the first instruction to the main loop, and the end of a PD that fails.
#![allow(unsafe_code)] // The entry point is a symbol, and so is the application's function.

use crate::{Handler, arch, debug_println, pd_name};

/// Where the kernel starts the PD, on the stack that the system description gives it.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
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
