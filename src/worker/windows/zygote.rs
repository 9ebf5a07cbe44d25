//! Windows has no fork, and so no zygotes: the settings for them mean nothing there.

/// When a worker is forked: never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings;
