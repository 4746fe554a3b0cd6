//! As a protection domain, the program begins at `pd-restart`'s entry, so that a parent can restart it.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo:rustc-link-arg-bins=--entry=_first_start");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
