//! Runs the tests of the Python package with every Python from 3.8 on that the machine has; makes its own virtual environments.
//! What netdata's modules print here is compared with what they print there by the Python of Debian's packages, and what collectd's plugins
//! dispatch here with what they dispatch there.

#[path = "support/machine.rs"]
mod machine;

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

/// What the tests import beside the package.
const LIBRARIES: [&str; 3] = ["pytest", "pyyaml", "urllib3"];

/// A virtual environment with the libraries of the tests below `target/`; made once, then kept.
fn with_pytest(version: (u32, u32), python: &Path) -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{}.{}", version.0, version.1));
    let inside = venv.join("bin/python");
    let has_all = |python: &Path| {
        Command::new(python)
            .args(["-c", "import pytest, yaml, urllib3"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !has_all(&inside) {
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&venv));
        run(Command::new(&inside)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(LIBRARIES));
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

/// Debian's packages that the comparison needs, by a file of each.
const OF_DEBIAN: [(&str, &str); 10] = [
    ("/usr/lib/netdata/python.d/memcached.chart.py", "netdata-plugins-python"),
    ("/usr/bin/memcached", "memcached"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/sbin/squid", "squid"),
    ("/usr/sbin/varnishd", "varnish"),
    ("/usr/bin/tor", "tor"),
    ("/usr/bin/monit", "monit"),
    ("/usr/sbin/nsd", "nsd"),
    ("/usr/sbin/named", "bind9"),
    ("/usr/bin/python3", "python3"),
];

#[test]
fn modules_of_netdata_print_here_what_they_print_there() {
    let missing: Vec<&str> =
        OF_DEBIAN.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        machine::go_without("PYTHOND_REQUIRE_SERVERS", &format!("Debian packages are missing: {}", missing.join(" ")));
        return;
    }
    // pytest is that of any Python; the modules are run by /usr/bin/python3, which has their libraries.
    let (version, python) = interpreters().pop_last().expect("a Python from 3.8 on is on PATH");
    run(Command::new(with_pytest(version, &python))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "sdk-python/tests/netdata/test_netdata_cases.py"])
        .env("PYTHOND_DIFFERENTIAL", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR")));
}

/// What Debian's collectd needs to run plugins and to tell what they dispatch, by a file of each package.
const OF_COLLECTD: [(&str, &str); 3] = [
    ("/usr/sbin/collectd", "collectd-core"),
    ("/usr/lib/x86_64-linux-gnu/libyajl.so.2", "libyajl2"),
    ("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "libpython3.11"),
];

#[test]
fn plugins_of_collectd_give_here_what_they_give_there() {
    let place = |file: &str| file.replace("x86_64", std::env::consts::ARCH);
    let is_missing = |(file, _): &&(&str, &str)| !Path::new(&place(file)).exists();
    let missing: Vec<&str> = OF_COLLECTD.iter().filter(is_missing).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        machine::go_without("PYTHOND_REQUIRE_SERVERS", &format!("Debian packages are missing: {}", missing.join(" ")));
        return;
    }
    // The texts of exceptions are those of the Python that collectd has in it.
    let mut found = interpreters();
    let own = found.remove_entry(&(3, 11)).or_else(|| found.pop_last());
    let (version, python) = own.expect("a Python from 3.8 on is on PATH");
    run(Command::new(with_pytest(version, &python))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "sdk-python/tests/collectd/test_collectd_cases.py"])
        .env("PYTHOND_DIFFERENTIAL", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR")));
}
