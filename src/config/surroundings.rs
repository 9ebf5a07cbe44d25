//! What the settings may look at besides their files, and where a setting was written.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the settings may look at besides their files, as a value so that tests choose it.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub env: BTreeMap<String, String>,
    pub hostname: String,
}

impl Surroundings {
    /// Takes the environment and host name of this process.
    pub fn of_this_process() -> Self {
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        let hostname = crate::platform::hostname();
        Self { env, hostname }
    }

    /// The home directory, where it is an absolute path.
    pub fn home(&self) -> Option<PathBuf> {
        self.env.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    }
}

/// Where a setting was written; line and column start at 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}
