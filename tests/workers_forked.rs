//! The promises of `workers.rs` once more, with workers that a zygote has forked: a script cannot tell the difference.

#[path = "workers.rs"]
mod workers;
