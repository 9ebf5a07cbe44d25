//! Reads what `faulthandler` writes: which line of the user's own code a worker hangs or died in.

use std::path::Path;

use crate::worker::WorkerSpec;

/// Present in the stack of each thread that runs a job.
const RUNS_A_JOB: &str = "pythond/guard.py\"";
/// Heads the thread that a signal of its own has come to.
const CRASHED: &str = "Current thread ";

/// A file of the unit by its path below its root's folder, others by their full path.
pub(super) fn name_of(file: &Path, spec: &WorkerSpec) -> String {
    let short = spec.roots.iter().find_map(|root| file.strip_prefix(root.parent()?).ok());
    short.unwrap_or(file).display().to_string()
}

/// The innermost frame of the user's own code (`mytest/x.py:31 in query`): of the thread that crashed, else of one that runs a job, rather
/// one of the unit that is `suspected`, else of any.
pub(super) fn user_frame(dump: &str, spec: &WorkerSpec, suspected: Option<&Path>) -> Option<String> {
    let suspected = suspected.map(|script| format!("File \"{}\"", script.display()));
    let rank = |thread: &&str| match thread.contains(RUNS_A_JOB) {
        true if thread.contains(CRASHED) => 0,
        true if suspected.as_ref().is_some_and(|script| thread.contains(script)) => 1,
        true => 2,
        false => 3,
    };
    let mut threads: Vec<&str> = dump.split("\n\n").collect();
    threads.sort_by_key(rank);
    threads.into_iter().find_map(|thread| thread.lines().find_map(|line| frame(line, spec)))
}

fn frame(line: &str, spec: &WorkerSpec) -> Option<String> {
    let rest = line.trim().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ")?;
    let file = Path::new(file);
    let is_user =
        spec.units.iter().any(|unit| file == unit.file) || spec.roots.iter().any(|root| file.starts_with(root));
    is_user.then(|| format!("{}:{number} in {function}", name_of(file, spec)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InputTable;

    const DUMP: &str = r#"Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/srv/python.d/my/helper.py", line 9 in tick

Thread 0x00007f2 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "/srv/python.d/my/x.py", line 31 in query
  File "/srv/python.d/my/x.py", line 12 in run
  File "/srv/python.d/core/pythond/guard.py", line 55 in run
"#;

    fn spec(dir: &Path) -> WorkerSpec {
        std::fs::write(dir.join("x.py"), "").unwrap();
        crate::worker::discover::scripts(&[InputTable::plain("in", "python3", dir.to_owned())]).specs.remove(0)
    }

    #[test]
    fn the_thread_that_runs_the_job_tells_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let my = dir.path().join("my");
        std::fs::create_dir(&my).unwrap();
        let spec = spec(&my);
        let dump = DUMP.replace("/srv/python.d", dir.path().to_str().unwrap());
        assert_eq!(user_frame(&dump, &spec, None).as_deref(), Some("my/x.py:31 in query"));
        let other = dump.replace("guard.py", "other.py");
        assert_eq!(
            user_frame(&other, &spec, None).as_deref(),
            Some("my/helper.py:9 in tick"),
            "while loading no job runs"
        );
        assert_eq!(user_frame(DUMP, &spec, None), None, "no frame is the user's");
        assert_eq!(user_frame("garbage \" line File \"", &spec, None), None);
    }

    #[test]
    fn of_several_jobs_the_one_that_crashed_is_told_and_else_the_one_that_is_suspected() {
        let spec = |script: &str| {
            let mut spec = WorkerSpec { roots: vec!["/d".into()], ..spec_of_nothing() };
            spec.units[0].file = script.into();
            spec
        };
        let thread = |head: &str, script: &str| {
            format!(
                "{head} (most recent call first):\n  File \"{script}\", line 3 in act\n  File \"/c/pythond/guard.py\", line 55 in run\n"
            )
        };
        let dump = |second: &str| [thread("Thread 0x1", "/d/a.py"), thread(second, "/d/b.py")].join("\n");
        let told = |dump: &str, suspected: &str| user_frame(dump, &spec("/d/a.py"), Some(Path::new(suspected)));
        assert_eq!(told(&dump("Current thread 0x2"), "/d/a.py").as_deref(), Some("d/b.py:3 in act"));
        assert_eq!(told(&dump("Thread 0x2"), "/d/b.py").as_deref(), Some("d/b.py:3 in act"));
        assert_eq!(told(&dump("Thread 0x2"), "/d/other.py").as_deref(), Some("d/a.py:3 in act"));
    }

    fn spec_of_nothing() -> WorkerSpec {
        spec(tempfile::tempdir().unwrap().path())
    }
}
