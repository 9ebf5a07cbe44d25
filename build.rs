//! Rebuilds the binary when the Python package that it carries changes.

fn main() {
    println!("cargo:rerun-if-changed=sdk-python/pythond");
    println!("cargo:rerun-if-changed=build.rs");
}
