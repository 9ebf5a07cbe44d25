//! What a unit consists of on disk, as hashes: the only thing that decides whether it changed. Times of change lie.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first half of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum(u128);

/// One thing that a unit depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// The bytes of a file.
    File(PathBuf),
    /// The names of the Python files below a folder: a module that was missing may have come.
    Names(PathBuf),
    /// The names in a folder: what settings lie there.
    Entries(PathBuf),
    /// All that lies below a folder of an exported tree besides Python code and texts for people.
    Data(PathBuf),
}

/// The parts of a unit with their hashes; `None`: not there, or not to be read.
pub type Print = BTreeMap<Dependency, Option<Sum>>;

/// Folders below a root in which modules are looked for.
const DEPTH: usize = 4;

impl Sum {
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// # Errors
    /// When the file cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        // A FIFO without a writer would be waited for, for ever.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        let mut file = fs::File::open(path)?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self::finish(hash)),
                count => hash.update(&buffer[..count]),
            }
        }
    }

    fn finish(hash: Sha256) -> Self {
        let digest = hash.finalize();
        let (half, _) = digest.split_at(16);
        Self(half.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.to_string()
    }
}

impl TryFrom<String> for Sum {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl Dependency {
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Names(path) | Self::Entries(path) | Self::Data(path) => path,
        }
    }

    /// The same part in another exported tree; parts outside of `from` stay as they are.
    #[must_use]
    pub fn moved(&self, from: Option<&Path>, to: Option<&Path>) -> Self {
        let (Some(from), Some(to)) = (from, to) else { return self.clone() };
        let moved = |path: &Path| moved(path, from, to);
        match self {
            Self::File(path) => Self::File(moved(path)),
            Self::Names(path) => Self::Names(moved(path)),
            Self::Entries(path) => Self::Entries(moved(path)),
            Self::Data(path) => Self::Data(moved(path)),
        }
    }
}

/// A path below `from` as one below `to`.
pub fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(from).map_or_else(|_| path.to_owned(), |inside| to.join(inside))
}

/// Looks at parts; each is read once, however many units share it.
#[derive(Debug, Default)]
pub struct FileLook {
    seen: HashMap<Dependency, Option<Sum>>,
}

impl FileLook {
    /// The hash of a part as it is on disk. Blocks.
    pub fn at(&mut self, part: &Dependency) -> Option<Sum> {
        if let Some(known) = self.seen.get(part) {
            return *known;
        }
        let sum = match part {
            Dependency::File(path) => Sum::of_file(path).ok(),
            Dependency::Names(dir) => names(dir),
            Dependency::Entries(dir) => entries(dir),
            Dependency::Data(dir) => data(dir),
        };
        self.seen.insert(part.clone(), sum);
        sum
    }

    /// The hashes of parts as they are on disk. Blocks.
    pub fn print<'a>(&mut self, parts: impl IntoIterator<Item = &'a Dependency>) -> Print {
        parts.into_iter().map(|part| (part.clone(), self.at(part))).collect()
    }
}

fn names(dir: &Path) -> Option<Sum> {
    let is_code = |name: &str| [".py", ".so"].iter().any(|ending| name.ends_with(ending));
    let mut found = walk(dir, DEPTH, &is_code).ok()?;
    found.sort();
    let list: Vec<u8> = found.iter().flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat()).collect();
    Some(Sum::of(&list))
}

/// As a worker tells it: the names in their order, each with a NUL behind it; a folder that is not there is an empty one.
fn entries(dir: &Path) -> Option<Sum> {
    let found = match fs::read_dir(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Sum::of(b"")),
        Err(_) => return None,
    };
    let mut names: Vec<Vec<u8>> =
        found.flatten().map(|entry| entry.file_name().as_encoded_bytes().to_owned()).collect();
    names.retain(|name| !name.starts_with(b".") && name != b"__pycache__");
    names.sort();
    Some(Sum::of(&names.iter().flat_map(|name| [name.as_slice(), b"\0"].concat()).collect::<Vec<u8>>()))
}

fn data(dir: &Path) -> Option<Sum> {
    let mut found = walk(dir, usize::MAX, &is_data).ok()?;
    found.sort();
    let mut list = Vec::new();
    for path in found {
        let sum = Sum::of_file(&path).ok()?;
        let inside = path.strip_prefix(dir).unwrap_or(&path);
        list.extend_from_slice(inside.as_os_str().as_encoded_bytes());
        list.extend_from_slice(format!("\0{sum}\0").as_bytes());
    }
    Some(Sum::of(&list))
}

/// Not code, which is known by what a unit loads, and not for people.
fn is_data(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_text = ["readme", "license", "changelog"].iter().any(|start| lower.starts_with(start));
    let endings = [".py", ".pyc", ".pyi", ".md", ".rst"];
    !is_text && !endings.iter().any(|ending| lower.ends_with(ending))
}

fn walk(dir: &Path, depth: usize, wanted: &impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        // Links are not followed into folders, so there is no loop.
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => {
                found.extend(walk(&entry.path(), depth - 1, wanted).unwrap_or_default());
            }
            Ok(kind) if !kind.is_dir() && wanted(&name) => found.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn a_sum_is_the_first_half_of_the_sha256() {
        assert_eq!(Sum::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223");
        let dir = folder(&[("a", "abc")]);
        assert_eq!(Sum::of_file(&dir.path().join("a")).unwrap(), Sum::of(b"abc"));
        let text = serde_json::to_string(&Sum::of(b"abc")).unwrap();
        assert_eq!(serde_json::from_str::<Sum>(&text).unwrap(), Sum::of(b"abc"));
        assert!(serde_json::from_str::<Sum>("\"no sum\"").is_err());
    }

    #[test]
    fn names_tell_of_modules_that_come_and_go_and_of_nothing_else() {
        let dir = folder(&[("a.py", ""), ("sub/b.py", ""), ("state.json", "1"), (".hid/x.py", "")]);
        let part = Dependency::Names(dir.path().to_owned());
        let before = FileLook::default().at(&part);
        fs::write(dir.path().join("a.py"), "changed").unwrap();
        fs::write(dir.path().join("state.json"), "2").unwrap();
        assert_eq!(FileLook::default().at(&part), before);
        fs::write(dir.path().join("sub/c.py"), "").unwrap();
        assert_ne!(FileLook::default().at(&part), before);
        assert_eq!(FileLook::default().at(&Dependency::Names(dir.path().join("nowhere"))), None);
    }

    #[test]
    fn data_is_what_is_neither_code_nor_for_people() {
        let dir = folder(&[("x.py", ""), ("map.json", "1"), ("README.txt", ""), ("a.md", ""), (".hid", "")]);
        let part = Dependency::Data(dir.path().to_owned());
        let before = FileLook::default().at(&part);
        for name in ["x.py", "README.txt", "a.md", ".hid", "LICENSE", "b.rst"] {
            fs::write(dir.path().join(name), "changed").unwrap();
        }
        assert_eq!(FileLook::default().at(&part), before);
        fs::write(dir.path().join("map.json"), "2").unwrap();
        assert_ne!(FileLook::default().at(&part), before);
    }

    #[test]
    fn data_is_the_same_in_another_place() {
        let files = [("map.json", "1"), ("sub/b.csv", "2")];
        let (one, other) = (folder(&files), folder(&files));
        let part = Dependency::Data(one.path().to_owned());
        let there = part.moved(Some(one.path()), Some(other.path()));
        assert_eq!(there.path(), other.path());
        assert_eq!(FileLook::default().at(&part), FileLook::default().at(&there));
    }

    #[test]
    fn what_is_no_file_has_no_sum() {
        let dir = folder(&[]);
        let fifo = dir.path().join("fifo.py");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let mut look = FileLook::default();
        for path in [fifo, dir.path().to_owned(), dir.path().join("nowhere")] {
            assert_eq!(look.at(&Dependency::File(path)), None);
        }
    }
}
