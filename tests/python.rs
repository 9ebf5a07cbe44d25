//! Runs the tests of the Python package with every Python from 3.8 on that the machine has; makes its own virtual environments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Finds one interpreter per minor version: on PATH, and in the usual places of version managers.
fn interpreters() -> BTreeMap<(u32, u32), PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Some(home) = std::env::var_os("HOME") {
        for versions in [".pyenv/versions", ".local/share/uv/python"] {
            let Ok(entries) = std::fs::read_dir(Path::new(&home).join(versions)) else { continue };
            dirs.extend(entries.flatten().map(|entry| entry.path().join("bin")));
        }
    }
    let mut found = BTreeMap::new();
    for dir in dirs {
        let names = std::iter::once("python3".to_owned()).chain((8..20).map(|minor| format!("python3.{minor}")));
        for candidate in names.map(|name| dir.join(name)).filter(|path| path.is_file()) {
            if let Some((version, executable)) = version_of(&candidate)
                && version >= (3, 8)
            {
                found.entry(version).or_insert(executable);
            }
        }
    }
    found
}

fn version_of(python: &Path) -> Option<((u32, u32), PathBuf)> {
    let asked = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
    let output = Command::new(python).args(["-c", asked]).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.trim().splitn(3, ' ');
    Some(((words.next()?.parse().ok()?, words.next()?.parse().ok()?), words.next()?.into()))
}

/// A virtual environment with pytest below `target/`; made once, then kept.
fn with_pytest(version: (u32, u32), python: &Path) -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{}.{}", version.0, version.1));
    let inside = venv.join("bin/python");
    let has_pytest = |python: &Path| {
        Command::new(python).args(["-c", "import pytest"]).output().is_ok_and(|output| output.status.success())
    };
    if !has_pytest(&inside) {
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(&inside).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pytest"]));
    }
    inside
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_python_package_passes_its_tests_on_every_python() {
    let found = interpreters();
    assert!(!found.is_empty(), "no Python from 3.8 on was found on PATH");
    for (version, python) in found {
        let python = with_pytest(version, &python);
        eprintln!("pytest on Python {}.{}", version.0, version.1);
        run(Command::new(python)
            .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "sdk-python/tests"])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(env!("CARGO_MANIFEST_DIR")));
    }
}
