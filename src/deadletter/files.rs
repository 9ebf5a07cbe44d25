//! The files as the commands find, read and thin them out, beside an agent that writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::letter::Letter;
use super::name::list;
use crate::platform;

/// Lists the files of a who, oldest first.
///
/// # Errors
/// When the folder cannot be read; a folder that is not there is empty.
pub fn files(dir: &Path, who: &str) -> io::Result<Vec<PathBuf>> {
    let dir = dir.join(folder(who));
    Ok(list(&dir)?.into_iter().map(|name| dir.join(name.to_string())).collect())
}

/// Reads the letters of one file; a line that is no letter (cut off by a crash) is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Letter>> {
    let text = std::fs::read(path)?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Takes these lines out of a file while the agent may be writing to it; a file that is empty then goes.
///
/// The lock keeps the agent from appending meanwhile. A crash leaves the file as it was.
///
/// # Errors
/// When the file cannot be rewritten; then it is as it was.
pub fn remove<'a>(path: &Path, lines: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let _locked = platform::lock_folder(dir)?;
    let text = match std::fs::read(path) {
        // Deleted at the cap meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    // Each occurrence once: two letters may be the same to the byte.
    let mut gone: HashMap<&[u8], usize> = HashMap::new();
    lines.for_each(|line| *gone.entry(line).or_default() += 1);
    let mut rest = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match gone.get_mut(line) {
            Some(times @ 1..) => *times -= 1,
            _ => rest.extend_from_slice(line),
        }
    }
    if rest.is_empty() {
        std::fs::remove_file(path)?;
    } else {
        replace(path, &rest)?;
    }
    platform::sync_folder(dir)
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Lists whose letters there are, by folder name.
///
/// # Errors
/// When the directory cannot be read; one that is not there is empty.
pub fn whos(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut whos = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            whos.extend(entry.file_name().into_string());
        }
    }
    whos.sort();
    Ok(whos)
}

/// Makes a folder name of a who: letters, digits, `-`, `_` and inner dots stay, everything else becomes `_`.
pub fn folder(who: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let mut name: String = who.chars().take(60).map(keep).collect();
    if name.is_empty() || name.starts_with('.') {
        name.insert(0, '_');
    }
    name
}
