//! Hands the linker scripts to the linker when the bootable kernel is built: where the kernel goes, which differs, and
//! what goes there.

fn main() {
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if bare {
        println!("cargo:rustc-link-arg-bins=-T{directory}/src/arch/{arch}/place.ld");
        println!("cargo:rustc-link-arg-bins=-T{directory}/link.ld");
    }
    println!("cargo:rerun-if-changed=link.ld");
    println!("cargo:rerun-if-changed=src/arch");
}
