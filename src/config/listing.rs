//! Which files are settings: every `*.conf` below `conf.d/`, sorted by path.
//!
//! Hidden directories are left out: they hold `.git` or the real files of a ConfigMap (`..data`, `..2026_11_21…`), whose links beside
//! them are read. A file that is reached by two paths, or that has the bytes of another, is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::code::Code;
use crate::diagnostic::{Diagnostic, SourcePlace};

/// What lies below `conf.d/`.
#[derive(Debug, Default)]
pub struct SettingsListing {
    pub files: Vec<(PathBuf, Vec<u8>)>,
    pub faults: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
}

/// Lists and reads the settings files.
pub fn read(conf_d: &Path) -> SettingsListing {
    let mut listing = SettingsListing::default();
    let mut paths = Vec::new();
    match std::fs::metadata(conf_d) {
        Ok(meta) if meta.is_dir() => listing.walk(conf_d, &mut BTreeSet::new(), &mut paths),
        _ => {
            listing
                .faults
                .push(nothing_there(format!("the settings directory `{}` does not exist", conf_d.display()), conf_d));
            return listing;
        }
    }
    paths.sort();
    if paths.is_empty() && listing.faults.is_empty() {
        listing.faults.push(nothing_there(format!("`{}` holds no `*.conf` file", conf_d.display()), conf_d));
    }
    let mut real_paths = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for path in paths {
        listing.add(path, &mut real_paths, &mut contents);
    }
    listing
}

/// Lists and reads the settings files of a directory that need not be there, such as that of a repository.
pub fn read_if_there(conf_d: &Path) -> SettingsListing {
    let mut listing = SettingsListing::default();
    let mut paths = Vec::new();
    if conf_d.is_dir() {
        listing.walk(conf_d, &mut BTreeSet::new(), &mut paths);
    }
    paths.sort();
    let mut real_paths = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for path in paths {
        listing.add(path, &mut real_paths, &mut contents);
    }
    listing
}

fn nothing_there(message: String, conf_d: &Path) -> Diagnostic {
    Diagnostic::error(Code::NoSuchPath, message).with_help(format!(
        "create `{}` with\n[[inputs.pythond]]\nname = \"my-inputs\"\ncmd  = \"python3\"\ndirs = [\"mytest\"]",
        conf_d.join("pythond.conf").display()
    ))
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(Code::NoRight, format!("could not read `{}`: {error}", path.display()))
        .at(SourcePlace::of_file(path))
}

fn ignored(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::warning(Code::IgnoredFile, format!("`{}` is not read: {why}", path.display()))
        .at(SourcePlace::of_file(path))
}

impl SettingsListing {
    fn walk(&mut self, dir: &Path, visited: &mut BTreeSet<PathBuf>, paths: &mut Vec<PathBuf>) {
        // Links to directories are followed, so that a loop of them must end.
        if dir.canonicalize().is_ok_and(|real| !visited.insert(real)) {
            return;
        }
        let entries = std::fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.faults.push(unreadable(dir, &error)),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') {
                    self.walk(&path, visited, paths);
                }
            } else if let Some(why) = reason_to_ignore(&name) {
                self.warnings.push(ignored(&path, why));
            } else if name.ends_with(".conf") && !name.starts_with('.') {
                paths.push(path);
            }
        }
    }

    fn add(
        &mut self,
        path: PathBuf,
        real_paths: &mut BTreeMap<PathBuf, PathBuf>,
        contents: &mut BTreeMap<Vec<u8>, PathBuf>,
    ) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return self.faults.push(unreadable(&path, &error)),
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(first) = real_paths.get(&real) {
            return self.warnings.push(ignored(&path, &format!("it is the same file as `{}`", first.display())));
        }
        real_paths.insert(real, path.clone());
        if bytes.iter().any(|byte| !byte.is_ascii_whitespace()) {
            if let Some(first) = contents.get(&bytes) {
                let why = format!("it has the same content as `{}`", first.display());
                return self.warnings.push(ignored(&path, &why));
            }
            contents.insert(bytes.clone(), path.clone());
        }
        self.files.push((path, bytes));
    }
}

/// Names that look like settings to their author, but are none.
fn reason_to_ignore(name: &str) -> Option<&'static str> {
    if name == "datakit.conf" {
        return Some("it holds the settings of DataKit itself, not of its inputs");
    }
    if name.ends_with(".toml") && !name.starts_with('.') {
        return Some("the names of settings files end in `.conf`");
    }
    // `.#name` is a lock of an editor.
    (name.ends_with(".conf") && name.starts_with('.') && !name.starts_with(".#")).then_some("it is hidden")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn of(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(dir)
        }

        fn link(&self, to: &str, at: &str) {
            std::os::unix::fs::symlink(to, self.0.path().join(at)).unwrap();
        }

        /// The names read, and the warnings and faults.
        fn listed(&self) -> (Vec<String>, Vec<String>) {
            let listing = read(self.0.path());
            let prefix = format!("{}/", self.0.path().display());
            let names = listing.files.iter().map(|(path, _)| path.display().to_string().replace(&prefix, "")).collect();
            let said = listing.faults.iter().chain(&listing.warnings).map(|d| d.message.replace(&prefix, "")).collect();
            (names, said)
        }
    }

    #[test]
    fn every_conf_file_is_read_sorted_by_path() {
        let tree =
            Tree::of(&[("b.conf", "b"), ("a/z.conf", "z"), ("a.conf", "a"), ("c.conf.sample", ""), ("d.conf.bak", "")]);
        assert_eq!(tree.listed(), (vec!["a/z.conf".into(), "a.conf".into(), "b.conf".into()], vec![]));
    }

    #[test]
    fn a_config_map_is_read_once_through_its_links() {
        let tree = Tree::of(&[("..2026_11_21/p.conf", "x")]);
        tree.link("..2026_11_21", "..data");
        tree.link("..data/p.conf", "p.conf");
        assert_eq!(tree.listed(), (vec!["p.conf".into()], vec![]));
    }

    #[test]
    fn the_same_file_or_the_same_bytes_are_read_once_and_said() {
        let tree = Tree::of(&[("a.conf", "x = 1"), ("b.conf", "x = 1"), ("empty.conf", "\n"), ("void.conf", "\n")]);
        tree.link("a.conf", "c.conf");
        let (names, said) = tree.listed();
        assert_eq!(names, ["a.conf", "empty.conf", "void.conf"]);
        assert_eq!(
            said,
            [
                "`b.conf` is not read: it has the same content as `a.conf`",
                "`c.conf` is not read: it is the same file as `a.conf`"
            ]
        );
    }

    #[test]
    fn git_and_editor_files_are_left_out_in_silence() {
        let tree = Tree::of(&[(".git/x.conf", ""), ("sub/.git/config.conf", ""), ("a.conf", "")]);
        tree.link("nobody@host:1", ".#a.conf");
        assert_eq!(tree.listed(), (vec!["a.conf".into()], vec![]));
    }

    #[test]
    fn files_that_look_like_settings_are_named() {
        let tree = Tree::of(&[("a.conf", ""), ("b.toml", ""), (".c.conf", ""), ("datakit.conf", "")]);
        let (names, said) = tree.listed();
        assert_eq!(names, ["a.conf"]);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said.contains(&"`b.toml` is not read: the names of settings files end in `.conf`".to_owned()),
            "{said:?}"
        );
    }

    #[test]
    fn a_loop_of_links_ends() {
        let tree = Tree::of(&[("sub/a.conf", "a")]);
        tree.link("..", "sub/up");
        assert_eq!(tree.listed(), (vec!["sub/a.conf".into()], vec![]));
    }

    #[test]
    fn a_broken_link_and_a_missing_directory_are_faults() {
        let tree = Tree::of(&[]);
        assert_eq!(read(&tree.0.path().join("none")).faults.len(), 1);
        assert_eq!(read(tree.0.path()).faults.len(), 1);
        tree.link("nowhere", "a.conf");
        let (names, said) = tree.listed();
        assert!(names.is_empty() && said.len() == 1 && said[0].starts_with("could not read `a.conf`"), "{said:?}");
    }
}
