//! Whether the indexes of a repository's packs are as they were written.
//!
//! libgit2 believes an index: one whose bytes have changed leads it out of the pack, and that would be the end of the whole agent. So each is held
//! against the checksum at its end before anything is read through it. What is wrong in a pack itself the library finds.

use std::fs;
use std::io;
use std::path::Path;

use sha1::{Digest, Sha1};

/// Bytes of a checksum, which is what these files end with.
const SUM: usize = 20;

/// Looks at all indexes of a repository, given its folder with `objects`.
///
/// # Errors
/// The one that is damaged or cannot be read.
pub fn check(repository: &Path) -> io::Result<()> {
    let objects = repository.join("objects");
    check_file(&objects.join("info/commit-graph"))?;
    for folder in [objects.join("pack"), objects.join("info/commit-graphs")] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let is_index = path.extension().is_some_and(|ending| ending == "idx" || ending == "graph");
            if is_index || path.file_name().is_some_and(|name| name == "multi-pack-index") {
                check_file(&path)?;
            }
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (body, sum) = bytes.split_at(bytes.len().saturating_sub(SUM));
    if Sha1::digest(body).as_slice() == sum {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(io::Error::other(format!("the index `{name}` is damaged")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_must_be_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check(dir.path()).is_ok(), "without packs nothing is wrong");
        fs::create_dir_all(dir.path().join("objects/pack")).unwrap();
        let mut bytes = b"anything".to_vec();
        bytes.extend(Sha1::digest(&bytes));
        let path = dir.path().join("objects/pack/pack-1.idx");
        fs::write(&path, &bytes).unwrap();
        assert!(check(dir.path()).is_ok());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(check(dir.path()).unwrap_err().to_string(), "the index `pack-1.idx` is damaged");
        }
        fs::write(&path, "").unwrap();
        assert!(check(dir.path()).is_err());
    }
}
