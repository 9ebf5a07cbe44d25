//! Runs programs for a repository: with an environment of our own, within a time, their output bounded, and ended with all their children.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::limits::LISTING;
use super::ssh;
use crate::config::repos::{GitRepos, RepoSettings, Scheme};
use crate::platform;

/// How much of an output is kept.
const OUTPUT: u64 = LISTING as u64;
/// How much of the messages is kept.
pub const MESSAGES: u64 = 64 << 10;
/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// What killed children get to end.
const REAP: Duration = Duration::from_secs(1);

/// Says to running programs that the agent stops.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a program that ended by itself left.
#[derive(Debug)]
pub struct ProgramOutput {
    pub is_ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    #[error("the program `{program}` cannot be started")]
    NotStarted { program: String, source: io::Error },
    #[error("there was no end within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("{0}")]
    Watched(String),
    #[error("the agent stops")]
    Stopped,
    #[error("the program's output cannot be read")]
    Io(#[from] io::Error),
}

/// Runs programs for one repository until a point in time.
#[derive(Debug, Clone)]
pub struct Programs {
    env: Vec<(String, String)>,
    /// What no message may show.
    secrets: Vec<String>,
    timeout: Duration,
    until: Instant,
    pub stop: StopSignal,
}

impl Programs {
    /// Prepares what the repository needs; `dir` is its folder, which programs take for their home so that nobody's settings come in.
    pub fn new(repos: &GitRepos, repo: &RepoSettings, dir: &Path, stop: StopSignal) -> Self {
        let mut env: Vec<(String, String)> =
            repos.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        set("HOME", &dir.display().to_string());
        set("XDG_CONFIG_HOME", &dir.join("no-config").display().to_string());
        set("LC_ALL", "C");
        let mut secrets = Vec::new();
        if let Some((user, password)) = &repo.login {
            // A token may stand where the user should, without a password.
            let secret = if password.expose().is_empty() { user } else { password.expose() };
            secrets.push(secret.to_owned());
        }
        if let Some(password) = repo.ssh_key_password.as_ref().filter(|_| repo.url.scheme == Scheme::Ssh) {
            for (name, value) in ssh::askpass_env(dir, password) {
                set(&name, &value);
            }
            secrets.push(password.expose().to_owned());
        }
        secrets.retain(|secret| !secret.is_empty());
        Self { env, secrets, timeout: repo.timeout, until: Instant::now() + repo.timeout, stop }
    }

    /// Gives the work that follows the whole time again.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self { until: Instant::now() + self.timeout, ..self.clone() }
    }

    /// A program with the repository's environment, in a process group of its own.
    pub fn program(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(name);
        command.args(args).env_clear().envs(self.env.iter().cloned()).current_dir("/");
        platform::in_own_group(&mut command);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, command: Command) -> Result<ProgramOutput, NotRun> {
        self.run_watched(command, || None)
    }

    /// Runs a command to its end, or until `watch` says why it must not go on.
    pub fn run_watched(
        &self,
        command: Command,
        watch: impl FnMut() -> Option<String>,
    ) -> Result<ProgramOutput, NotRun> {
        let mut ran = run(command, self.until, self.timeout, &self.stop, watch)?;
        ran.stderr = self.without_secrets(&ran.stderr);
        Ok(ran)
    }

    /// Says why the work must end now, if it must.
    ///
    /// # Errors
    /// The time is over, or the agent stops.
    pub fn go_on(&self) -> Result<(), NotRun> {
        if self.stop.is_asked() {
            return Err(NotRun::Stopped);
        }
        if Instant::now() >= self.until { Err(NotRun::TimedOut(self.timeout)) } else { Ok(()) }
    }

    pub fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// A program with its output; whoever drops it ends it with all its children.
pub struct RunningProgram {
    child: Child,
    /// It and its children were ended and reaped.
    is_over: bool,
}

impl RunningProgram {
    pub fn start(mut command: Command) -> Result<Self, NotRun> {
        let program = PathBuf::from(command.get_program()).display().to_string();
        let child = command.spawn().map_err(|source| NotRun::NotStarted { program, source })?;
        Ok(Self { child, is_over: false })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its status once it has ended; what it left behind is then ended too, so that nobody holds its pipes.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if platform::has_ended(&mut self.child)? { self.end().map(Some) } else { Ok(None) }
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        // Before it is reaped: until then the number of the group is its own.
        platform::end_group(&mut self.child);
        let status = self.child.wait();
        self.is_over = true;
        platform::reap_group(&self.child, REAP);
        status
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if !self.is_over {
            // Killed: it ends at once.
            let _ = self.end();
        }
    }
}

fn run(
    mut command: Command,
    until: Instant,
    timeout: Duration,
    stop: &StopSignal,
    mut watch: impl FnMut() -> Option<String>,
) -> Result<ProgramOutput, NotRun> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = RunningProgram::start(command)?;
    let stdout = running.child().stdout.take().expect("its output was asked for");
    let stderr = running.child().stderr.take().expect("its messages were asked for");
    let stdout = std::thread::spawn(move || read_bounded(stdout, OUTPUT));
    let stderr = std::thread::spawn(move || read_bounded(stderr, MESSAGES));
    let mut ended = None;
    let status = loop {
        ended = match ended {
            None => running.ended()?,
            known => known,
        };
        // Whatever left the group may still hold the pipes; the time counts for it too.
        if let Some(status) = ended.filter(|_| stdout.is_finished() && stderr.is_finished()) {
            break status;
        }
        if stop.is_asked() {
            return Err(NotRun::Stopped);
        }
        if Instant::now() >= until {
            return Err(NotRun::TimedOut(timeout));
        }
        if let Some(why) = watch() {
            return Err(NotRun::Watched(why));
        }
        std::thread::sleep(LOOK);
    };
    let gone = || io::Error::other("the thread that reads it panicked");
    let stdout = stdout.join().map_err(|_| gone())??;
    let stderr = stderr.join().map_err(|_| gone())??;
    Ok(ProgramOutput { is_ok: status.success(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

/// Reads to the end so that the writer never waits, and keeps the beginning.
pub fn read_bounded(mut from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    from.by_ref().take(most).read_to_end(&mut kept)?;
    io::copy(&mut from, &mut io::sink())?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).process_group(0);
        command
    }

    fn run_for(script: &str, time: Duration, stop: &StopSignal) -> Result<ProgramOutput, NotRun> {
        run(shell(script), Instant::now() + time, time, stop, || None)
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let start = Instant::now();
        let marker = tempfile::tempdir().unwrap();
        let alive = marker.path().join("child");
        let script = format!("sleep 3600 & echo $! > {}; wait", alive.display());
        let ended = run_for(&script, Duration::from_millis(300), &StopSignal::default());
        assert!(matches!(ended, Err(NotRun::TimedOut(_))), "{ended:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
        let pid: i32 = std::fs::read_to_string(&alive).unwrap().trim().parse().unwrap();
        let gone = || {
            !Path::new(&format!("/proc/{pid}")).exists() || {
                std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z"))
            }
        };
        let start = Instant::now();
        while !gone() {
            assert!(start.elapsed() < Duration::from_secs(30), "the child {pid} lives on");
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_stop_and_a_watcher_end_it_at_once() {
        let stop = StopSignal::default();
        stop.ask();
        assert!(matches!(run_for("sleep 3600", Duration::from_secs(3600), &stop), Err(NotRun::Stopped)));
        let until = Instant::now() + Duration::from_secs(3600);
        let ended = run(shell("sleep 3600"), until, Duration::from_secs(3600), &StopSignal::default(), || {
            Some("too much".into())
        });
        assert!(matches!(ended, Err(NotRun::Watched(why)) if why == "too much"));
    }

    #[test]
    fn output_and_messages_come_whole() {
        let ran =
            run_for("head -c 300000 /dev/zero; echo bad >&2; exit 3", Duration::from_secs(60), &StopSignal::default());
        let ran = ran.unwrap();
        assert_eq!((ran.is_ok, ran.stdout.len(), ran.stderr.as_str()), (false, 300_000, "bad\n"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let ended = run(Command::new("no-such-git"), Instant::now(), Duration::ZERO, &StopSignal::default(), || None);
        assert_eq!(ended.unwrap_err().to_string(), "the program `no-such-git` cannot be started");
    }
}
