//! What to start, as which program, and how a start or a life ends: the same on every system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WorkerSpec;
use super::lock::Lock;
use crate::dialect::Dialect;
use crate::platform;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    /// The `core` directory that holds the Python package.
    pub core: PathBuf,
    pub run_dir: PathBuf,
    pub token: String,
    pub envs: Vec<(String, String)>,
    /// Inherited by the worker and all it starts; the agent's own descriptor is closed with this.
    pub lock: Option<Arc<Lock>>,
    /// The interpreter as written in the settings.
    pub cmd: String,
    pub dialect: Dialect,
}

impl Launch {
    pub fn new(spec: &WorkerSpec, program: PathBuf, core: &Path, run_dir: &Path, token: &str) -> Self {
        Self {
            program,
            core: core.to_owned(),
            run_dir: run_dir.to_owned(),
            token: token.to_owned(),
            envs: spec.envs.clone(),
            lock: None,
            cmd: spec.cmd.clone(),
            dialect: spec.dialect,
        }
    }
}

/// How a worker came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a zygote.
    Forked,
    /// As a program of its own, and why it was not forked.
    Executed { why: String },
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Trying again changes nothing until somebody changes the machine.
    #[error("{0}")]
    Permanent(String),
    /// Something of an earlier life is still there.
    #[error("{0}")]
    Held(String),
    #[error("could not start `{}`", program.display())]
    Passing { program: PathBuf, source: io::Error },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// `exited with code 3`, `killed by signal 11 (SIGSEGV)`.
    pub fn tell(self) -> String {
        match self {
            Self::Exited(code) => format!("exited with code {code}"),
            Self::Killed(signal) => format!(
                "killed by signal {signal}{}",
                platform::signal_name(signal).map_or(String::new(), |name| format!(" ({name})"))
            ),
        }
    }
}

/// True for what pyenv and its kind put in the place of an interpreter.
pub fn is_shim(program: &Path) -> bool {
    program.parent().and_then(|dir| dir.file_name()).is_some_and(|name| name == "shims")
}

/// Finds the interpreter: an absolute path, or a name on the PATH of the settings' environment.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn find_program(cmd: &str, envs: &[(String, String)]) -> Result<PathBuf, StartError> {
    let path = envs.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = path.map(Into::into).or_else(|| std::env::var_os("PATH"));
    which::which_in(cmd, path, "/").map_err(|_| StartError::Permanent(why_not(cmd)))
}

fn why_not(cmd: &str) -> String {
    let path = Path::new(cmd);
    match std::fs::metadata(path) {
        _ if !cmd.contains('/') => format!("the interpreter `{cmd}` is not on the PATH"),
        Err(error) => format!("the interpreter `{cmd}` cannot be used: {error}"),
        Ok(meta) if meta.is_dir() => format!("the interpreter `{cmd}` is a directory"),
        Ok(_) => format!("the interpreter `{cmd}` is not executable"),
    }
}
