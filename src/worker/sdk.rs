//! The Python package that the binary carries, and its way into `python.d/core`.
//!
//! A file there that this agent did not write (the list of what it wrote is `core/.pythond-files`) is renamed to `<name>.user` before
//! ours takes its place: nothing of a user is ever deleted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::platform;

#[derive(rust_embed::RustEmbed)]
#[folder = "sdk-python/pythond"]
#[include = "*.py"]
#[include = "*.pyi"]
#[include = "py.typed"]
#[include = "**/*.py"]
#[include = "**/*.pyi"]
struct Package;

/// The dialects that are for tests only.
#[cfg(debug_assertions)]
#[derive(rust_embed::RustEmbed)]
#[folder = "sdk-python/tests/dialects"]
#[include = "**/*.py"]
struct TestDialects;

const LIST: &str = ".pythond-files";
/// Says that the folder is gone soon, so that nothing is compiled ahead in it (`pythond/bytecode.py`).
const TEMPORARY: &str = ".pythond-temporary";
/// Scripts that are run by hand find the framework directly in `core`, as with DataKit.
const FRAMEWORK: &str = "datakit_framework.py";
const FRAMEWORK_IN_PACKAGE: &str = "dialects/datakit/shadow/datakit_framework.py";

/// Writes the package to `<core>/pythond` and the framework to `<core>`; returns the user's files that had to step aside.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(core: &Path) -> io::Result<Vec<PathBuf>> {
    make_folder(core)?;
    let ours = read_list(core)?;
    let files = carried();
    let mut aside = Vec::new();
    for (name, text) in &files {
        let path = core.join(name);
        let there = match std::fs::read(&path) {
            Ok(there) if there == *text => continue,
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if there.is_some_and(|there| ours.get(name) != Some(&crc32c::crc32c(&there))) {
            aside.push(step_aside(&path)?);
        }
        replace(&path, text)?;
    }
    remove_outdated(core, &ours, &files)?;
    let list = files.iter().fold(String::new(), |mut list, (name, text)| {
        writeln!(list, "{:08x} {name}", crc32c::crc32c(text)).expect("a String takes everything");
        list
    });
    if std::fs::read(core.join(LIST)).ok().as_deref() != Some(list.as_bytes()) {
        replace(&core.join(LIST), list.as_bytes())?;
    }
    Ok(aside)
}

/// The same into a folder that is gone soon.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_temporary(core: &Path) -> io::Result<()> {
    write(core)?;
    replace(&core.join(TEMPORARY), b"")
}

fn carried() -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = Package::iter()
        .filter_map(|name| Some((format!("pythond/{name}"), Package::get(&name)?.data.into_owned())))
        .collect();
    #[cfg(debug_assertions)]
    files
        .extend(TestDialects::iter().filter_map(|name| {
            Some((format!("pythond/dialects/{name}"), TestDialects::get(&name)?.data.into_owned()))
        }));
    if let Some(framework) = Package::get(FRAMEWORK_IN_PACKAGE) {
        files.insert(FRAMEWORK.to_owned(), framework.data.into_owned());
    }
    files
}

fn read_list(core: &Path) -> io::Result<BTreeMap<String, u32>> {
    let text = match std::fs::read_to_string(core.join(LIST)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(sum, name)| Some((name.to_owned(), u32::from_str_radix(sum, 16).ok()?)))
        .collect())
}

/// Removes what an older version wrote and nobody has touched since.
fn remove_outdated(core: &Path, ours: &BTreeMap<String, u32>, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    for (name, sum) in ours.iter().filter(|(name, _)| !files.contains_key(*name) && !name.contains("..")) {
        let path = core.join(name);
        if std::fs::read(&path).is_ok_and(|there| crc32c::crc32c(&there) == *sum) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn step_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(".user");
    let mut free = PathBuf::from(&name);
    for number in 2.. {
        if std::fs::symlink_metadata(&free).is_err() {
            break;
        }
        let mut numbered = name.clone();
        numbered.push(number.to_string());
        free = PathBuf::from(numbered);
    }
    std::fs::rename(path, &free)?;
    Ok(free)
}

/// Puts the file in place whole: a worker that starts meanwhile sees the old or the new text, never half of it.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let dir = path.parent().expect("a file in core has a directory");
    make_folder(dir)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    std::fs::write(&temporary, text)?;
    // It is no secret, and scripts may run as other users.
    platform::readable_by_all(Path::new(&temporary))?;
    std::fs::rename(&temporary, path)
}

/// Makes a folder that every user may enter and list, with those above it that are missing.
fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(above) = dir.parent() {
        make_folder(above)?;
    }
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| platform::listable_by_all(dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_written_and_a_second_time_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write(dir.path()).unwrap(), Vec::<PathBuf>::new());
        assert!(dir.path().join("pythond/__main__.py").is_file());
        assert!(dir.path().join(FRAMEWORK).is_file());
        let before = std::fs::metadata(dir.path().join(FRAMEWORK)).unwrap().modified().unwrap();
        assert_eq!(write(dir.path()).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(std::fs::metadata(dir.path().join(FRAMEWORK)).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn a_users_file_steps_aside_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FRAMEWORK), "mine").unwrap();
        std::fs::write(dir.path().join("other.py"), "also mine").unwrap();
        let aside = write(dir.path()).unwrap();
        assert_eq!(aside, [dir.path().join("datakit_framework.py.user")]);
        assert_eq!(std::fs::read(&aside[0]).unwrap(), b"mine");
        assert_eq!(std::fs::read(dir.path().join("other.py")).unwrap(), b"also mine");
    }

    #[test]
    fn an_older_version_of_ours_is_replaced_and_what_it_had_more_goes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pythond")).unwrap();
        std::fs::write(dir.path().join(FRAMEWORK), "old").unwrap();
        std::fs::write(dir.path().join("pythond/gone.py"), "gone").unwrap();
        let list =
            format!("{:08x} {FRAMEWORK}\n{:08x} pythond/gone.py\n", crc32c::crc32c(b"old"), crc32c::crc32c(b"gone"));
        std::fs::write(dir.path().join(LIST), list).unwrap();
        assert_eq!(write(dir.path()).unwrap(), Vec::<PathBuf>::new());
        assert!(!dir.path().join("pythond/gone.py").exists());
        assert_ne!(std::fs::read(dir.path().join(FRAMEWORK)).unwrap(), b"old");
    }
}
