//! Reads what `faulthandler` writes: which line of the user's own code a worker hangs or died in.

use std::path::Path;

use crate::worker::WorkerSpec;

/// Present in the stack of each thread that runs a job.
const RUNS_A_JOB: &str = "pythond/guard.py\"";

/// A file of the script by its path below its root's folder, others by their full path.
pub(super) fn name_of(file: &Path, spec: &WorkerSpec) -> String {
    let short = spec.roots.iter().find_map(|root| file.strip_prefix(root.parent()?).ok());
    short.unwrap_or(file).display().to_string()
}

/// The innermost frame of the user's own code (`mytest/x.py:31 in query`): of a thread that runs a job, else of any.
pub(super) fn user_frame(dump: &str, spec: &WorkerSpec) -> Option<String> {
    let threads: Vec<&str> = dump.split("\n\n").collect();
    let (jobs, others): (Vec<&str>, Vec<&str>) = threads.into_iter().partition(|thread| thread.contains(RUNS_A_JOB));
    jobs.into_iter().chain(others).find_map(|thread| thread.lines().find_map(|line| frame(line, spec)))
}

fn frame(line: &str, spec: &WorkerSpec) -> Option<String> {
    let rest = line.trim().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let (number, function) = rest.split_once(" in ")?;
    let file = Path::new(file);
    let is_user = file == spec.script || spec.roots.iter().any(|root| file.starts_with(root));
    is_user.then(|| format!("{}:{number} in {function}", name_of(file, spec)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Input;

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
        crate::worker::discover::scripts(&[Input::plain("in", "python3", dir.to_owned())]).specs.remove(0)
    }

    #[test]
    fn the_thread_that_runs_the_job_tells_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let my = dir.path().join("my");
        std::fs::create_dir(&my).unwrap();
        let spec = spec(&my);
        let dump = DUMP.replace("/srv/python.d", dir.path().to_str().unwrap());
        assert_eq!(user_frame(&dump, &spec).as_deref(), Some("my/x.py:31 in query"));
        let other = dump.replace("guard.py", "other.py");
        assert_eq!(user_frame(&other, &spec).as_deref(), Some("my/helper.py:9 in tick"), "while loading no job runs");
        assert_eq!(user_frame(DUMP, &spec), None, "no frame is the user's");
        assert_eq!(user_frame("garbage \" line File \"", &spec), None);
    }
}
