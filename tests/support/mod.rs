//! What the tests share: an agent in a folder of its own, and waiting for a condition with a generous bound.
#![allow(dead_code)] // each test file uses its own part

pub mod http;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than anything takes, even on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a program may run that ends by itself.
const LONGEST: Duration = Duration::from_secs(600);

/// Waits until `check` gives something; panics with `what` and the last state otherwise.
pub fn wait_for<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(state) if start.elapsed() > PATIENCE => {
                panic!("waited {PATIENCE:?} in vain for {what}; last seen: {state}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Waits until `check` is true.
pub fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    wait_for(what, || if check() { Ok(()) } else { Err("not yet".to_owned()) });
}

/// A root directory: `conf.d/`, `python.d/`, and a home for the logs.
pub struct Root {
    dir: tempfile::TempDir,
    /// The `PATH` of its commands, where it is not that of the test.
    path: Option<String>,
}

impl Root {
    /// An empty root whose agent listens on a port that the system picks.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["conf.d", "python.d", "home"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let root = Self { dir, path: None };
        root.conf("agent.conf", "[http_api]\nlisten = \"127.0.0.1:0\"\n[global_tags]\nhost = \"testhost\"\n");
        root
    }

    /// The same with another `PATH` for its commands.
    pub fn with_path(self, path: String) -> Self {
        Self { path: Some(path), ..self }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn conf(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join("conf.d").join(name), text).unwrap();
        self
    }

    /// Writes a script below `python.d`, with its folder.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join("python.d").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Enables folders as one input.
    pub fn input(&self, name: &str, dirs: &[&str], more: &str) -> &Self {
        let text = format!("[[inputs.pythond]]\nname = \"{name}\"\ncmd = \"python3\"\ndirs = {dirs:?}\n{more}\n");
        self.conf(&format!("{name}.conf"), &text)
    }

    /// Copies the scripts of a case below `tests/cases/datakit` and enables them; gives the folder of the case.
    pub fn case(&self, name: &str) -> PathBuf {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/datakit").join(name);
        let mut dirs = Vec::new();
        for folder in std::fs::read_dir(case.join("python.d")).unwrap().map(|entry| entry.unwrap()) {
            let folder_name = folder.file_name().into_string().unwrap();
            for script in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()) {
                let text = std::fs::read_to_string(script.path()).unwrap();
                self.script(&format!("{folder_name}/{}", script.file_name().to_str().unwrap()), &text);
            }
            dirs.push(folder_name);
        }
        self.input("case", &dirs.iter().map(String::as_str).collect::<Vec<_>>(), "");
        case
    }

    /// A command of the binary on this root.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pythond"));
        command
            .arg("--root")
            .arg(self.path())
            .args(args)
            .current_dir(self.path())
            .env("HOME", self.path().join("home"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    /// Runs a command to its end: exit code, stdout, stderr.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        finished(&mut self.command(args))
    }

    /// Starts the agent and waits until it answers.
    pub fn agent(&self) -> Agent {
        Agent::start(self, self.command(&["agent"]))
    }

    /// Everything a sink file holds, or nothing yet.
    pub fn points(&self, category: &str) -> String {
        std::fs::read_to_string(self.path().join("data/points").join(format!("{category}.lp"))).unwrap_or_default()
    }

    /// One of the `_datakit_pythond_*` logs.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join("home").join(name)).unwrap_or_default()
    }

    /// The lines of all dead-letter files of one refuser.
    pub fn dead(&self, who: &str) -> Vec<Value> {
        let Ok(days) = std::fs::read_dir(self.path().join("data/dead").join(who)) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = days.map(|day| day.unwrap().path()).collect();
        paths.sort();
        let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts
            .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
            .collect()
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("data/run/pythond.sock")
    }
}

/// Runs a command to its end: exit code (128 + signal), stdout, stderr.
pub fn finished(command: &mut Command) -> (i32, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let drain = |pipe: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        // What a killed program leaves is no text perhaps, and read so far it is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = (std::thread::spawn(move || drain(&mut out)), std::thread::spawn(move || drain(&mut err)));
    let status = ended(&mut child);
    (code(status), out.join().unwrap(), err.join().unwrap())
}

/// Waits for the end of a program; one that does not end is killed, and the test fails.
pub fn ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LONGEST {
            child.kill().unwrap();
            panic!("a program did not end within {LONGEST:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Whatever an agent has written is its owner's alone, unless the settings give it to others.
fn assert_private(root: &Path) {
    let mut settings = files_below(&root.join("conf.d"));
    settings.extend(
        files_below(&root.join("gitrepos"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "conf")),
    );
    let gives = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| {
            ["user", "group"]
                .iter()
                .any(|key| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')))
        })
    };
    if settings.iter().any(gives) {
        return;
    }
    let open: Vec<String> = ["data", "gitrepos"].iter().flat_map(|tree| open_to_others(&root.join(tree))).collect();
    assert!(open.is_empty(), "others may use what the agent has written: {open:#?}");
}

/// What others may use of a tree, with its mode.
pub fn open_to_others(path: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Vec::new() };
    let mut found = Vec::new();
    if !meta.is_symlink() && meta.mode() & 0o077 != 0 {
        found.push(format!("{:o} {}", meta.mode() & 0o7777, path.display()));
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            found.extend(open_to_others(&entry.path()));
        }
    }
    found
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// A running agent; killed with its workers when dropped.
pub struct Agent {
    child: Child,
    root: PathBuf,
    socket: PathBuf,
    pub console: Arc<Mutex<String>>,
    listener: Option<std::thread::JoinHandle<()>>,
    pub address: String,
}

impl Agent {
    pub fn start(root: &Root, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let console = Arc::new(Mutex::new(String::new()));
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&console));
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                let mut text = sink.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        let mut agent = Self {
            child,
            root: root.path().to_owned(),
            socket: root.socket(),
            console,
            listener: Some(listener),
            address: String::new(),
        };
        let status = wait_for("the agent's first answer", || {
            if let Some(status) = agent.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", agent.console());
            }
            agent.try_status()
        });
        agent.address = status["listen"].as_str().expect("the agent has its port").to_owned();
        agent
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn console(&self) -> String {
        self.console.lock().unwrap().clone()
    }

    fn try_status(&self) -> Result<Value, String> {
        let answer = http::unix(&self.socket, "GET", "/api/v1/status", &[], b"").map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("{error} in {answer:?}"))
    }

    pub fn status(&self) -> Value {
        self.try_status().unwrap()
    }

    /// The part of the status about one script.
    pub fn script(&self, id: &str) -> Value {
        let status = self.status();
        let found = status["units"].as_array().unwrap().iter().find(|script| script["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("no script {id} in {status:#}"))
    }

    /// Waits until the script's status fulfils `check`.
    pub fn wait_script(&self, id: &str, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{id}: {what}"), || {
            let status = self.status();
            match status["units"].as_array().unwrap().iter().find(|script| script["id"] == id) {
                Some(script) if check(script) => Ok(script.clone()),
                // A unit that a lister tells comes after the agent's first answer.
                found => Err(format!("{:#}", found.unwrap_or(&status))),
            }
        })
    }

    /// The part of the status about one sink.
    pub fn sink(&self, name: &str) -> Value {
        let status = self.status();
        status["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == name).cloned().unwrap()
    }

    /// Waits until every sink has everything.
    pub fn wait_delivered(&self) {
        wait_for("all points delivered", || {
            let status = self.status();
            let behind = status["sinks"].as_array().unwrap().iter().any(|sink| sink["behind_points"] != 0);
            if behind { Err(format!("{:#}", status["sinks"])) } else { Ok(()) }
        });
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> http::Answer {
        http::tcp(&self.address, "POST", path, headers, body).unwrap()
    }

    pub fn post_json(&self, path: &str, body: &Value) -> http::Answer {
        self.post(path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub fn get(&self, path: &str) -> http::Answer {
        http::tcp(&self.address, "GET", path, &[], b"").unwrap()
    }

    /// Kills the agent at once and leaves all else to its guard: nothing is tidied up here.
    pub fn kill_only(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::forget(self);
    }

    /// Kills the agent at once, as an out-of-memory killer would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of an agent that was told to; its exit code and all that it said.
    pub fn wait(mut self) -> (i32, String) {
        let status = ended(&mut self.child);
        let heard = self.listener.take().expect("it is taken once").join();
        heard.expect("the console is only read");
        (code(status), self.console())
    }

    /// Ends the agent as a user does; its exit code and how long it took.
    pub fn stop(mut self) -> (i32, Duration) {
        let start = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        let status = ended(&mut self.child);
        (code(status), start.elapsed())
    }

    /// Processes started by this agent (or an earlier one on the same root) that are alive, by their cookie in the environment.
    pub fn descendants(root: &Path) -> Vec<u32> {
        let cookie = format!("PYTHOND_RUN={}", root.join("data/run").display());
        processes().filter(|pid| environment(*pid).split('\0').any(|entry| entry == cookie)).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- console of the agent ---\n{}", self.console());
        } else {
            assert_private(&self.root);
        }
        pythond::worker::cgroup::sweep(&self.root.join("data/run"));
        for pid in Self::descendants(&self.root) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn environment(pid: u32) -> String {
    std::fs::read(format!("/proc/{pid}/environ"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// True while the process runs (a zombie does not).
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat[stat.rfind(')').unwrap_or(0)..].starts_with(") Z"))
}
