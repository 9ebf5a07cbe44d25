//! Finds the scripts of the inputs, by their names alone: no Python runs here.
//!
//! As DataKit does it: the files directly in a folder and one level below it, in lexical order, named
//! `<stem>` and `<folder>.<stem>`. Tests, `setup.py`, hidden files and the like are left out, and whatever cannot be a script
//! (a FIFO, a huge file, a dangling link) is a problem that is told instead of a worker that hangs.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::{Duty, UnitSpec, WorkerSpec};
use crate::code::Code;
use crate::config::InputTable;
use crate::diagnostic::{Diagnostic, Severity, SourcePlace};
use crate::dialect::{Dialect, Each, Finder};
use crate::platform;

/// A Python source file is not larger.
const SCRIPT_BYTES: u64 = 8 << 20;

/// The scripts in a fixed order, and what stood in the way of others.
#[derive(Debug, Default)]
pub struct Discovered {
    pub specs: Vec<WorkerSpec>,
    pub problems: Vec<Diagnostic>,
}

/// Finds the scripts of all inputs.
pub fn scripts(inputs: &[InputTable]) -> Discovered {
    let mut found = Discovered::default();
    for input in inputs {
        if input.dialect.facts().finder == Finder::Lister {
            found.specs.push(lister(input));
            continue;
        }
        let mut of_input = Vec::new();
        for dir in &input.dirs {
            let before = of_input.len();
            look(dir, input, &mut of_input, &mut found.problems);
            if of_input.len() == before && !found.problems.iter().any(|problem| concerns(problem, dir)) {
                found.problems.push(problem(
                    dir,
                    Severity::Warning,
                    Code::NothingToRun,
                    "holds no script: a file ending in .py that is no test".to_owned(),
                ));
            }
        }
        let roots: Vec<PathBuf> = unique(of_input.iter().map(|script: &Script| script.root.clone()));
        let mut seen = Vec::new();
        for script in of_input {
            if seen.contains(&script.path) {
                continue;
            }
            seen.push(script.path.clone());
            found.specs.push(spec(input, script, &roots));
        }
    }
    make_unique(&mut found.specs);
    found.specs = gathered(found.specs, inputs);
    found
}

/// Puts the scripts of an input that has one process for all of them into one spec, where the first of them stood.
fn gathered(specs: Vec<WorkerSpec>, inputs: &[InputTable]) -> Vec<WorkerSpec> {
    let shares = |name: &str| inputs.iter().any(|input| input.name == name && input.isolation.each == Each::Input);
    let mut gathered: Vec<WorkerSpec> = Vec::new();
    for spec in specs {
        if !shares(&spec.input) {
            gathered.push(spec);
            continue;
        }
        let id = format!("[{}]", spec.input);
        match gathered.iter_mut().find(|one| one.id == id) {
            Some(worker) => worker.units.extend(spec.units),
            None => gathered.push(WorkerSpec { id, shares: true, ..spec }),
        }
    }
    gathered
}

struct Script {
    path: PathBuf,
    /// The folder that comes onto the module path.
    root: PathBuf,
    module: String,
    id: String,
}

fn look(entry: &Path, input: &InputTable, found: &mut Vec<Script>, problems: &mut Vec<Diagnostic>) {
    match fs::metadata(entry) {
        Ok(meta) if meta.is_dir() => look_in((entry, input), entry, 0, found, problems),
        Ok(meta) => {
            let root = entry.parent().unwrap_or(Path::new("/"));
            // Named by the user: taken even if it looks like a test.
            if let Some(stem) = stem(entry)
                && is_sound(entry, &meta, problems)
            {
                found.push(script(entry, root, &input.bases, None, stem));
            }
        }
        Err(error) => {
            problems.push(problem(entry, Severity::Error, Code::NoSuchPath, format!("cannot be read: {error}")))
        }
    }
}

fn look_in(
    (root, input): (&Path, &InputTable),
    dir: &Path,
    depth: usize,
    found: &mut Vec<Script>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut entries: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            problems.push(problem(dir, Severity::Error, Code::NoSuchPath, format!("cannot be read: {error}")));
            return;
        }
    };
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("py")) {
                problems.push(problem(
                    &path,
                    Severity::Error,
                    Code::LoadFailed,
                    "has a name that is no UTF-8".to_owned(),
                ));
            }
            continue;
        };
        if name.starts_with('.') || name == "__pycache__" {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                if depth == 0 && name != "core" {
                    look_in((root, input), &path, 1, found, problems);
                }
            }
            Ok(meta) => {
                if let Some(other) = Dialect::of_file(name).filter(|dialect| *dialect != input.dialect) {
                    problems.push(of_another(&path, other));
                } else if let Some(stem) = stem(&path).filter(|_| is_script_name(name))
                    && is_sound(&path, &meta, problems)
                {
                    let folder = (depth == 1)
                        .then(|| dir.file_name().and_then(|name| name.to_str()).unwrap_or(""))
                        .map(str::to_owned);
                    found.push(script(&path, root, &input.bases, folder, stem));
                }
            }
            Err(error) if is_script_name(name) => {
                problems.push(problem(&path, Severity::Error, Code::LoadFailed, format!("cannot be read: {error}")));
            }
            Err(_) => {}
        }
    }
}

fn stem(path: &Path) -> Option<String> {
    let is_python = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("py"));
    path.file_stem().filter(|_| is_python)?.to_str().map(str::to_owned)
}

fn is_script_name(name: &str) -> bool {
    let Some(stem) = name
        .len()
        .checked_sub(3)
        .filter(|at| name.is_char_boundary(*at) && name[*at..].eq_ignore_ascii_case(".py"))
        .map(|at| &name[..at])
    else {
        return false;
    };
    let is_test = stem.starts_with("test_") || stem.ends_with("_test");
    !is_test && !["__init__", "conftest", "setup"].contains(&stem)
}

fn is_sound(path: &Path, meta: &Metadata, problems: &mut Vec<Diagnostic>) -> bool {
    let why = if platform::is_special(meta.file_type()) {
        "is no regular file".to_owned()
    } else if meta.len() > SCRIPT_BYTES {
        format!("has {} bytes; a script has at most {SCRIPT_BYTES}", meta.len())
    } else if let Err(error) = fs::File::open(path) {
        format!("cannot be read: {error}")
    } else {
        return true;
    };
    problems.push(problem(path, Severity::Error, Code::LoadFailed, why));
    false
}

fn script(path: &Path, root: &Path, bases: &[PathBuf], folder: Option<String>, stem: String) -> Script {
    let module = folder.map_or_else(|| stem.clone(), |folder| format!("{folder}.{stem}"));
    Script { id: id(path, root, bases, &module), path: path.to_owned(), root: root.to_owned(), module }
}

/// The path below the `python.d` that it was found in, with dots; elsewhere the folder's name and the module.
fn id(path: &Path, root: &Path, bases: &[PathBuf], module: &str) -> String {
    let inside = bases.iter().find_map(|base| path.strip_prefix(base).ok()).map(|inside| inside.with_extension(""));
    match inside {
        Some(inside) => inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("."),
        None => match root.file_name().and_then(|name| name.to_str()) {
            Some(folder) => format!("{folder}.{module}"),
            None => module.to_owned(),
        },
    }
}

fn of_another(path: &Path, dialect: Dialect) -> Diagnostic {
    let facts = dialect.facts();
    let what = format!("is a file of {}; put its folder under [[inputs.{}]]", facts.folder, facts.table);
    problem(path, Severity::Warning, Code::OtherDialect, what)
}

/// The worker that tells the units of an input.
fn lister(input: &InputTable) -> WorkerSpec {
    let script = Script {
        id: input.name.clone(),
        path: input.base.clone(),
        root: input.base.clone(),
        module: input.dialect.facts().folder.to_owned(),
    };
    WorkerSpec { roots: Vec::new(), ..spec(input, script, &[]) }
}

fn spec(input: &InputTable, script: Script, roots: &[PathBuf]) -> WorkerSpec {
    // The script's own folder first: two folders may hold helpers of one name.
    let mut own_first = vec![script.root.clone()];
    own_first.extend(roots.iter().filter(|root| **root != script.root).cloned());
    WorkerSpec {
        id: script.id.clone(),
        input: input.name.clone(),
        duty: match input.isolation.each {
            Each::Told => Duty::List,
            Each::Found | Each::Input => Duty::Run,
        },
        dialect: input.dialect,
        isolation: input.isolation.word,
        settings: input.settings.clone(),
        units: vec![UnitSpec::of_file(script.id, script.path, script.root, script.module)],
        shares: false,
        roots: own_first,
        cmd: input.cmd.clone(),
        envs: input.envs.clone(),
        tags: input.tags.clone(),
        config: input.config.clone(),
        nice: input.nice,
        memory_max: input.memory_max,
        user: input.user.clone(),
        restart: input.restart,
        max_age: input.max_age,
        max_runs: input.max_runs,
        umask: input.umask,
        cwd: input.cwd.clone(),
        run_timeout: input.run_timeout,
        stop_grace: input.stop_grace,
    }
}

/// The same script in two inputs gets the input's name behind its own; what is still equal gets a number.
fn make_unique(specs: &mut [WorkerSpec]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for spec in specs.iter() {
        *counts.entry(spec.id.clone()).or_default() += 1;
    }
    // A file that is named like a class of another script.
    let of_classes: Vec<String> =
        specs.iter().filter(|spec| spec.lists()).map(|spec| format!("{}:", spec.id)).collect();
    let mut taken: HashMap<String, usize> = HashMap::new();
    for spec in specs {
        if counts[&spec.id] > 1 || of_classes.iter().any(|start| spec.id.starts_with(start)) {
            spec.id = format!("{}@{}", spec.id, spec.input);
        }
        let times = taken.entry(spec.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            spec.id = format!("{}~{times}", spec.id);
        }
        spec.units[0].id.clone_from(&spec.id);
    }
}

fn unique(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    for path in paths {
        if !seen.contains(&path) {
            seen.push(path);
        }
    }
    seen
}

fn concerns(problem: &Diagnostic, dir: &Path) -> bool {
    problem.place.as_ref().is_some_and(|place| place.file.starts_with(dir))
}

fn problem(path: &Path, severity: Severity, code: Code, message: String) -> Diagnostic {
    Diagnostic {
        code,
        severity,
        message,
        place: Some(SourcePlace { file: path.to_owned(), ..SourcePlace::default() }),
        other: None,
        notes: Vec::new(),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn isolation(each: Each) -> crate::dialect::Isolation {
        let words = Dialect::Datakit.facts().isolation;
        words.iter().map(|(_, isolation)| *isolation).find(|isolation| isolation.each == each).unwrap()
    }

    /// Makes the files below a `python.d` and finds the scripts of one input over `dirs`: `(id, module)` and the problems.
    fn found(files: &[&str], dirs: &[&str]) -> (Vec<(String, String)>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d");
        fs::create_dir(&base).unwrap();
        for file in files {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let input = InputTable {
            dirs: dirs.iter().map(|dir| base.join(dir)).collect(),
            ..InputTable::plain("in", "python3", base.clone())
        };
        let found = scripts(&[input]);
        let names = found.specs.iter().map(|spec| (spec.id.clone(), spec.first().module.clone())).collect();
        (names, found.problems.iter().map(|problem| problem.message.clone()).collect())
    }

    fn pairs(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names.iter().map(|(id, module)| ((*id).to_owned(), (*module).to_owned())).collect()
    }

    #[test]
    fn names_are_as_datakit_gives_them() {
        let (names, problems) =
            found(&["my/test.py", "my/b.py", "my/sub/a.py", "my/sub/deep/x.py", "my/UP.PY"], &["my"]);
        assert_eq!(names, pairs(&[("my.UP", "UP"), ("my.b", "b"), ("my.sub.a", "sub.a"), ("my.test", "test")]));
        assert!(problems.is_empty());
    }

    #[test]
    fn what_is_no_script_is_left_out() {
        let files = [
            "my/test_a.py",
            "my/a_test.py",
            "my/conftest.py",
            "my/setup.py",
            "my/__init__.py",
            "my/.hid.py",
            "my/.git/g.py",
            "my/__pycache__/z.py",
            "my/n.txt",
            "my/ok.py",
        ];
        assert_eq!(found(&files, &["my"]).0, pairs(&[("my.ok", "ok")]));
    }

    #[test]
    fn a_file_may_be_named_and_an_empty_folder_is_told() {
        let (names, problems) = found(&["my/a.py", "my/b.py", "empty/readme.txt"], &["my/a.py", "empty"]);
        assert_eq!(names, pairs(&[("my.a", "a")]));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("no script"));
    }

    #[test]
    fn a_config_map_of_links_is_read() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d/hello");
        fs::create_dir_all(base.join("..2026_01")).unwrap();
        fs::write(base.join("..2026_01/a.py"), "").unwrap();
        std::os::unix::fs::symlink("..2026_01", base.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.py", base.join("a.py")).unwrap();
        let found = scripts(&[InputTable::plain("in", "python3", base)]);
        assert_eq!(found.specs.len(), 1);
        assert_eq!(found.specs[0].id, "hello.a");
    }

    #[test]
    fn what_cannot_be_read_is_told_and_blocks_nothing() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d/odd");
        fs::create_dir_all(&base).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, base.join("fifo.py"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        std::os::unix::fs::symlink("nowhere", base.join("dangling.py")).unwrap();
        fs::File::create(base.join("huge.py")).unwrap().set_len(SCRIPT_BYTES + 1).unwrap();
        fs::write(base.join(std::ffi::OsStr::from_bytes(b"odd\xff.py")), "").unwrap();
        fs::write(base.join("good.py"), "").unwrap();
        let found = scripts(&[InputTable::plain("in", "python3", base)]);
        assert_eq!(found.specs.len(), 1);
        assert_eq!(found.problems.len(), 4, "{:?}", found.problems);
    }

    #[test]
    fn an_input_with_one_process_has_one_spec_and_each_of_its_scripts_can_be_had_alone() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d");
        for file in ["a/x.py", "a/y.py", "b/x.py", "c/z.py"] {
            fs::create_dir_all(base.join(file).parent().unwrap()).unwrap();
            fs::write(base.join(file), "").unwrap();
        }
        let shared = InputTable {
            dirs: vec![base.join("a"), base.join("b")],
            isolation: isolation(Each::Input),
            ..InputTable::plain("in", "python3", base.clone())
        };
        let found = scripts(&[shared, InputTable::plain("other", "python3", base.join("c"))]).specs;
        let ids: Vec<&str> = found.iter().map(|spec| spec.id.as_str()).collect();
        assert_eq!(ids, ["[in]", "c.z"]);
        let inside: Vec<(String, String)> =
            found[0].units.iter().map(|unit| (unit.id.clone(), unit.module.clone())).collect();
        assert_eq!(inside, pairs(&[("a.x", "x"), ("a.y", "y"), ("b.x", "x")]));
        let alone = found[0].clone().apart();
        assert_eq!(alone[2].id, "b.x");
        assert_eq!(
            (&alone[2].first().file, &alone[2].roots),
            (&base.join("b/x.py"), &vec![base.join("b"), base.join("a")])
        );
        assert!(alone.iter().all(|spec| spec.duty == Duty::Run && !spec.shares));
    }

    #[test]
    fn a_file_that_is_called_like_a_class_of_another_script_has_another_name() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d/my");
        fs::create_dir_all(&base).unwrap();
        for file in ["a.py", "a:C.py"] {
            fs::write(base.join(file), "").unwrap();
        }
        let by_class = InputTable { isolation: isolation(Each::Told), ..InputTable::plain("in", "python3", base) };
        let found = scripts(&[by_class]).specs;
        let ids: Vec<&str> = found.iter().map(|spec| spec.id.as_str()).collect();
        assert_eq!(ids, ["my.a", "my.a:C@in"]);
    }

    #[test]
    fn the_same_script_in_two_inputs_has_two_names() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("python.d/my");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("a.py"), "").unwrap();
        let found =
            scripts(&[InputTable::plain("one", "python3", base.clone()), InputTable::plain("two", "python3", base)]);
        let ids: Vec<&str> = found.specs.iter().map(|spec| spec.id.as_str()).collect();
        assert_eq!(ids, ["my.a@one", "my.a@two"]);
    }
}
