//! The smallest protection domain: it says who it is, then waits for nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sel4_microkit::{Handler, NullHandler, debug_println, pd_name, protection_domain};

#[protection_domain]
fn init() -> impl Handler {
    debug_println!("hello from {}", pd_name().unwrap_or("?"));
    NullHandler::new()
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a protection domain: build it for a bare-metal target");
}
