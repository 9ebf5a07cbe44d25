//! What workers that can share a zygote have in common: the interpreter, and the environment that only takes effect at exec.

use std::path::PathBuf;

use crate::dialect::Dialect;

/// Names of environment variables, or how they begin, that are read once when a process starts. A script that sets one shares a zygote only
/// with scripts that set it alike; all others are set in the forked worker and are never in a zygote's environment. `HOME` is one of them:
/// it decides where Python looks for a user's own packages.
const ONLY_AT_EXEC: [&str; 15] = [
    "LD_",
    "PYTHON",
    "_PYTHON",
    "MALLOC_",
    "GLIBC_",
    "LC_",
    "LANG",
    "LOCPATH",
    "HOME",
    "OPENSSL_",
    "GCONV_PATH",
    "NLSPATH",
    "ASAN_",
    "PSUTIL_",
    "TZDIR",
];

/// What scripts that can share a zygote have in common, before their interpreter is looked up.
#[derive(PartialEq, Eq)]
pub(super) struct ZygoteKind {
    cmd: String,
    /// Where the interpreter is looked up.
    path: Option<String>,
    pub env: Environment,
    pub dialect: Dialect,
}

pub(super) type Environment = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct ZygoteKey {
    pub program: PathBuf,
    pub env: Environment,
    /// Its modules are loaded before the fork.
    pub dialect: Dialect,
}

impl ZygoteKind {
    pub fn of(cmd: &str, envs: &[(String, String)], dialect: Dialect) -> Self {
        let path = envs.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        Self { cmd: cmd.to_owned(), path: path.filter(|_| !cmd.contains('/')), env: only_at_exec(envs), dialect }
    }
}

pub(super) fn is_only_at_exec(name: &str) -> bool {
    ONLY_AT_EXEC.iter().any(|start| name.starts_with(start))
}

/// The part of `envs` that a fork cannot give, each name once, with its last value.
fn only_at_exec(envs: &[(String, String)]) -> Environment {
    let mut env: Environment = Vec::new();
    for (name, value) in envs.iter().filter(|(name, _)| is_only_at_exec(name)) {
        env.retain(|(there, _)| there != name);
        env.push((name.clone(), value.clone()));
    }
    env.sort();
    env
}
