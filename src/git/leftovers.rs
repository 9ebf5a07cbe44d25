//! Removes what is in the way: files and folders that may not be there, and what a killed pull left in a store.

use std::fs;
use std::io;
use std::path::Path;

/// Removes a file or a folder that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Locks and half-written packs of a pull that was killed; nobody else works in the store.
pub fn remove_leftovers(store: &Path) -> io::Result<()> {
    for dir in ["", "refs/pythond", "objects/pack", "objects"] {
        let entries = match fs::read_dir(store.join(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_left = name.ends_with(".lock")
                || ["tmp_", "incoming-"].iter().any(|start| name.starts_with(start))
                || name.contains("_git2_");
            if is_left {
                remove(&entry.path())?;
            }
        }
    }
    Ok(())
}
