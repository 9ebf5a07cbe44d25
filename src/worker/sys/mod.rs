//! What a worker's process needs of the operating system, with one interface: its control socket, the notice of its death, and what can be
//! told of other processes.
//!
//! Two systems: Linux, and macOS, which has no zygotes, death signal, subreaper or cgroups. A build with
//! `RUSTFLAGS="--cfg pythond_as_macos"` runs on Linux what macOS would run.

#[cfg_attr(all(target_os = "linux", not(pythond_as_macos)), path = "linux.rs")]
#[cfg_attr(any(not(target_os = "linux"), pythond_as_macos), path = "macos.rs")]
mod system;

/// So that its tests run where it is not used.
#[cfg(all(test, target_os = "linux", not(pythond_as_macos)))]
#[expect(dead_code, reason = "only its tests use it here")]
mod macos;

pub use system::*;
