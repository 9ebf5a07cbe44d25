//! How a command ends: the codes that scripts around `pythond` may rely on.

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    Ok = 0,
    /// Something failed that is none of the others.
    Failed = 1,
    /// The arguments make no sense; clap uses the same.
    Usage = 2,
    /// Settings or checks have faults.
    Faults = 3,
    /// `run`: the script could not be loaded.
    NotLoaded = 4,
    /// `run`: the script raised, timed out or died.
    Raised = 5,
    /// `run`: data was refused, or there was none.
    Refused = 6,
    /// The agent does not answer.
    NoAgent = 7,
    /// A git repository could not be pulled.
    Git = 9,
    Interrupted = 130,
}
