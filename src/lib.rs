//! `pythond` runs other people's Python collectors, keeps every point they report on disk and forwards it until the sinks have it.
//!
//! The modules in reading order: what systems do differently (`platform`), settings (`config`), what is carried (`point`, `series`, `event`), where it is kept (`buffer`, `deadletter`),
//! who makes it (`worker`, `supervisor`), how it comes in (`ingest`), how it goes out (`sinks`), how it is seen (`api`), how it is tried (`tryout`), and `app`,
//! the only module that knows all of them. A module uses lower floors only; `tests/floors.rs` holds that.

#[cfg(not(unix))]
compile_error!("pythond runs on Linux and macOS");

pub mod code;

pub mod containment;
pub mod diagnostic;
pub mod dialect;
pub mod glob;
pub mod nearest;
pub mod platform;
pub mod quantity;
pub mod tls;
pub mod words;

pub mod config;
pub mod point;
pub mod telemetry;
pub mod watch;

pub mod buffer;
pub mod deadletter;
pub mod event;
pub mod git;
pub mod series;
pub mod worker;

pub mod ingest;
pub mod sinks;
pub mod supervisor;

pub mod api;
pub mod tryout;

pub mod app;

pub mod cli;
