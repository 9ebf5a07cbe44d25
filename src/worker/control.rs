//! What agent and worker say to each other: JSON frames over one socket, of which `crate::worker::sys` knows how it carries them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::files::Sum;
use super::{Collectors, ScriptFile, WorkerSpec, sys};

/// A frame is at most this long.
const FRAME_BYTES: usize = 64 * 1024;

/// So many scripts may run in step.
const FEW: usize = 20;

/// What the worker is to do with its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On schedule until a stop.
    Worker,
    /// Each job `times` times, then the end.
    Once,
    /// Load and construct only.
    Check,
}

/// A frame for the worker.
#[expect(clippy::large_enum_variant, reason = "made where it is sent; none is kept")]
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Down<'a> {
    Spec(Spec<'a>),
    /// Behind the spec of a worker that has several scripts, which may not fit one frame.
    Scripts {
        scripts: Vec<OneScript<'a>>,
    },
    Stop {
        grace_ms: u64,
    },
    RunNow {
        i: usize,
    },
}

/// The first frame: all that the worker knows.
#[derive(Debug, Serialize)]
pub struct Spec<'a> {
    pub v: u32,
    pub mode: Mode,
    pub id: &'a str,
    #[serde(rename = "gen")]
    pub incarnation: u64,
    pub dialect: &'a str,
    pub script: &'a PathBuf,
    pub module: &'a str,
    pub roots: &'a [PathBuf],
    pub input: &'a str,
    pub socket: PathBuf,
    pub host: String,
    pub port: u16,
    pub token: &'a str,
    /// The only classes to make and run; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<&'a str>>,
    /// How many scripts come behind this; absent: that of this frame is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub several: Option<usize>,
    pub config: &'a serde_json::Value,
    pub times: u32,
    pub limits: Limits<'a>,
    /// How far its runs are moved against those of scripts that start with it: 0 to 1, of an interval or 10 s.
    pub phase: f64,
    /// The manifest of the last good version, where that is to run in place of the files on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<&'a Path>,
}

/// One of several scripts of a worker.
#[derive(Debug, Serialize)]
pub struct OneScript<'a> {
    pub script: &'a Path,
    pub module: &'a str,
    pub token: &'a str,
    /// Without it the others are not to run either: it could be loaded before.
    pub must: bool,
}

impl<'a> OneScript<'a> {
    pub fn of(script: &'a ScriptFile, token: &'a str, must: bool) -> Self {
        Self { script: &script.path, module: &script.module, token, must }
    }
}

/// Puts the scripts behind a spec into frames that are short enough.
pub fn in_frames(scripts: Vec<OneScript<'_>>) -> Vec<Down<'_>> {
    let mut frames: Vec<Vec<OneScript<'_>>> = Vec::new();
    let mut room = 0;
    for script in scripts {
        // Every byte may become an escape of six.
        let length = (script.script.as_os_str().len() + script.module.len()) * 6 + 100;
        match frames.last_mut().filter(|_| length <= room) {
            Some(frame) => frame.push(script),
            None => {
                room = FRAME_BYTES;
                frames.push(vec![script]);
            }
        }
        room = room.saturating_sub(length);
    }
    frames.into_iter().map(|scripts| Down::Scripts { scripts }).collect()
}

/// What the worker does to itself before it opens its script; what is absent stays as it is.
#[derive(Debug, Serialize)]
pub struct Limits<'a> {
    pub core: u64,
    pub files: u64,
    pub oom_score_adj: i32,
    pub nice: i32,
    /// Bytes of data memory, where no cgroup keeps `memory_max`.
    pub data: Option<u64>,
    /// Processes and threads of its user beside those that are there.
    pub processes: Option<u64>,
    pub umask: Option<u32>,
    pub cwd: Option<PathBuf>,
    pub user: Option<&'a str>,
    /// What of the environment follows the user.
    pub environment: Vec<&'static str>,
}

/// What workers get of open files; `select` in scripts fails above.
const OPEN_FILES: u64 = 1024;
const OOM_SCORE: i32 = 500;
/// Stops a fork bomb of another user's script, far above what scripts need.
const PROCESSES: u64 = 512;
/// Python itself has mappings that count as data; less than this and nothing starts.
const LEAST_DATA: u64 = 256 << 20;

impl<'a> Limits<'a> {
    fn of(spec: &'a WorkerSpec) -> Self {
        let given = |name: &&str| !spec.envs.iter().any(|(key, _)| key == name);
        Self {
            core: 0,
            files: OPEN_FILES,
            oom_score_adj: OOM_SCORE,
            nice: spec.nice,
            data: spec.memory_max.map(|bytes| bytes.saturating_mul(2).max(LEAST_DATA)),
            processes: spec.user.as_ref().map(|_| PROCESSES),
            umask: spec.umask,
            cwd: spec.cwd.clone().or_else(|| spec.script.parent().map(std::path::Path::to_owned)),
            user: spec.user.as_deref(),
            environment: ["HOME", "USER", "LOGNAME"].into_iter().filter(given).collect(),
        }
    }
}

/// Where reports go, as the worker is told.
#[derive(Debug, Clone)]
pub struct Address {
    pub socket: PathBuf,
    pub tcp: std::net::SocketAddr,
}

impl Address {
    /// The socket beside the agent's own, over which scripts of other users report and nobody can give orders.
    pub fn for_other_users(&self) -> PathBuf {
        self.socket.with_extension("scripts.sock")
    }
}

impl<'a> Spec<'a> {
    pub fn new(
        spec: &'a WorkerSpec,
        mode: Mode,
        times: u32,
        incarnation: u64,
        address: &'a Address,
        token: &'a str,
    ) -> Self {
        Self {
            v: 1,
            mode,
            id: &spec.id,
            incarnation,
            dialect: "datakit",
            script: &spec.script,
            module: &spec.module,
            roots: &spec.roots,
            input: &spec.input,
            socket: if spec.user.is_some() { address.for_other_users() } else { address.socket.clone() },
            host: reachable_ip(address.tcp.ip()).to_string(),
            port: address.tcp.port(),
            token,
            classes: match (&spec.collectors, mode) {
                (Collectors::One { class, .. }, _) => Some(vec![class.as_str()]),
                (Collectors::Told, Mode::Worker) => Some(Vec::new()),
                // Somebody tries the script as a whole.
                (Collectors::Told | Collectors::All | Collectors::Several(_), _) => None,
            },
            several: match &spec.collectors {
                Collectors::Several(scripts) => Some(scripts.len()),
                Collectors::All | Collectors::Told | Collectors::One { .. } => None,
            },
            config: &spec.config,
            times,
            limits: Limits::of(spec),
            kept: None,
            phase: 0.0,
        }
    }

    /// Says that a cgroup keeps the memory of this worker within its bounds.
    pub fn memory_is_kept_by_cgroup(&mut self) {
        self.limits.data = None;
    }
}

/// A phase of its own for each script of many, the same at each start; few are not moved.
pub fn phase_of(id: &str, scripts: usize) -> f64 {
    if scripts <= FEW { 0.0 } else { f64::from(crc32c::crc32c(id.as_bytes())) / f64::from(u32::MAX) }
}

/// Listening on every address includes loopback, and that one can be asked.
fn reachable_ip(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// A frame from the worker; what is not known is counted and passed over, so that versions may differ.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Up {
    Hello(Hello),
    /// Files of the user that were loaded since the last such frame.
    Loaded {
        files: Vec<Loaded>,
    },
    /// One of several scripts is about to be loaded.
    Loading {
        s: usize,
    },
    /// One of several scripts could not be loaded; the others go on.
    Unloaded(Fatal),
    /// The first of the jobs of `Ready`, where they are many.
    Jobs {
        jobs: Vec<Job>,
    },
    Ready {
        jobs: Vec<Job>,
        /// All classes of the script, where only some are made.
        #[serde(default)]
        classes: Vec<String>,
    },
    Run {
        i: usize,
        k: u64,
    },
    End(RunEnded),
    Refused(Refused),
    Warn(Warn),
    Fatal(Fatal),
    Bye {
        reason: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Hello {
    pub pid: u32,
    pub py: String,
    pub exe: String,
}

/// A file of the user as the worker has loaded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    pub file: PathBuf,
    pub sum: Sum,
    /// The name of the module.
    pub name: String,
    /// It is the `__init__.py` of a package.
    pub package: bool,
}

/// One collector class.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    pub i: usize,
    /// Number of its script, of several.
    #[serde(default)]
    pub s: usize,
    pub name: String,
    pub class: String,
    /// Seconds.
    pub interval: f64,
    #[serde(default)]
    pub line: u32,
    #[serde(default)]
    pub next_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct RunEnded {
    pub i: usize,
    pub k: u64,
    pub ms: f64,
    pub ok: bool,
    #[serde(default)]
    pub points: u64,
    #[serde(default)]
    pub refused: u64,
    #[serde(default)]
    pub next_ms: u64,
    #[serde(default)]
    pub exc: String,
    #[serde(default)]
    pub msg: String,
    #[serde(default)]
    pub tb: String,
    #[serde(default, rename = "where")]
    pub places: Vec<Frame>,
    #[serde(default)]
    pub hint: Option<String>,
}

/// A frame of the user's own code, innermost first.
#[derive(Debug, Clone, Deserialize)]
pub struct Frame {
    pub file: PathBuf,
    pub line: usize,
    #[serde(default)]
    pub col: Option<usize>,
    #[serde(default)]
    pub end_col: Option<usize>,
    #[serde(default)]
    pub func: String,
    #[serde(default)]
    pub src: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Refused {
    /// Number of the script, of several; so in the frames below.
    #[serde(default)]
    pub s: usize,
    pub category: String,
    pub status: u16,
    pub text: String,
    #[serde(default)]
    pub points: u64,
    #[serde(default)]
    pub caller: Option<Caller>,
}

/// The line of the script that reported.
#[derive(Debug, Clone, Deserialize)]
pub struct Caller {
    pub file: PathBuf,
    pub line: usize,
    #[serde(default)]
    pub func: String,
    #[serde(default)]
    pub src: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Warn {
    #[serde(default)]
    pub s: usize,
    pub code: String,
    pub msg: String,
    #[serde(default)]
    pub line: usize,
}

/// Why the script cannot run.
#[derive(Debug, Clone, Deserialize)]
pub struct Fatal {
    #[serde(default)]
    pub s: usize,
    pub exc: String,
    pub msg: String,
    #[serde(default)]
    pub tb: String,
    pub permanent: bool,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub file: Option<PathBuf>,
    #[serde(default)]
    pub line: Option<usize>,
    #[serde(default)]
    pub col: Option<usize>,
    #[serde(default)]
    pub end_col: Option<usize>,
    #[serde(default)]
    pub src: Option<String>,
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub help: Option<String>,
}

impl RunEnded {
    /// `KeyError: 'await'`.
    pub fn raised(&self) -> String {
        join(&self.exc, &self.msg)
    }
}

impl Fatal {
    /// The file has no collector and was not meant to have one: other scripts import it.
    pub fn is_helper(&self) -> bool {
        self.code == "PD0204" && self.exc == "Helper"
    }

    /// `SyntaxError: expected ':'`.
    pub fn raised(&self) -> String {
        join(&self.exc, &self.msg)
    }
}

fn join(exc: &str, msg: &str) -> String {
    if msg.is_empty() { exc.to_owned() } else { format!("{exc}: {msg}") }
}

/// The agent's end of a worker's control socket.
pub struct Channel {
    frames: sys::Frames,
    /// Number of the last frame.
    last: AtomicU64,
    missed: AtomicU64,
}

/// Frames are numbered one by one; a worker drops one rather than wait, and the gap shows it.
#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

impl Channel {
    /// # Errors
    /// When the descriptor cannot be watched.
    pub fn new(socket: sys::Control) -> io::Result<Self> {
        Ok(Self { frames: sys::Frames::new(socket)?, last: AtomicU64::new(0), missed: AtomicU64::new(0) })
    }

    /// Gives the socket back, for whoever speaks another language over it.
    pub fn into_frames(self) -> sys::Frames {
        self.frames
    }

    /// How many frames the worker had to drop because nobody read them in time.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Sends a frame without waiting: a worker that does not read is judged by its silence, not by a blocked agent.
    ///
    /// # Errors
    /// When the worker is gone or its socket is full.
    pub fn send(&self, frame: &Down<'_>) -> io::Result<()> {
        let text = serde_json::to_vec(frame).map_err(io::Error::other)?;
        if text.len() > FRAME_BYTES {
            let why =
                format!("a frame of {} bytes is too long; is the table `config` of the input that large?", text.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.frames.send(&text)
    }

    /// Waits for a frame; `None` once the worker has closed its end. What is no frame comes as `Unknown`.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub async fn receive(&self) -> io::Result<Option<Up>> {
        let take = |frame: &[u8]| {
            if frame.is_empty() {
                return None;
            }
            self.number(frame);
            Some(serde_json::from_slice(frame).unwrap_or(Up::Unknown))
        };
        match self.frames.receive(take).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            received => received,
        }
    }

    fn number(&self, frame: &[u8]) {
        let Ok(Numbered { n }) = serde_json::from_slice(frame) else { return };
        let last = self.last.swap(n, Ordering::Relaxed);
        self.missed.fetch_add(n.saturating_sub(last.saturating_add(1)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, std::os::unix::net::UnixDatagram) {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (Channel::new(ours).unwrap(), theirs.into())
    }

    #[tokio::test]
    async fn what_is_no_known_frame_is_passed_over_and_the_next_one_is_read() {
        let (channel, worker) = pair();
        for sent in [&b"\xff\xfe"[..], b"{", b"[]", b"{\"t\":\"news\",\"n\":1}", b"{\"t\":\"run\",\"i\":-1,\"k\":1}"] {
            worker.send(sent).unwrap();
            assert!(matches!(channel.receive().await.unwrap(), Some(Up::Unknown)), "{sent:?}");
        }
        worker.send(br#"{"t":"run","i":0,"k":7,"more":true,"n":2}"#).unwrap();
        assert!(matches!(channel.receive().await.unwrap(), Some(Up::Run { i: 0, k: 7 })));
        drop(worker);
        assert!(channel.receive().await.unwrap().is_none());
    }

    #[test]
    fn of_many_scripts_each_has_its_phase_and_few_have_none() {
        assert_eq!(phase_of("mytest.a", 20), 0.0);
        let mut phases: Vec<f64> = (0..300).map(|number| phase_of(&format!("bench.s{number}"), 300)).collect();
        assert_eq!(phases[7], phase_of("bench.s7", 21));
        phases.sort_by(f64::total_cmp);
        assert!(phases[0] >= 0.0 && phases[299] <= 1.0);
        let widest = phases.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest < 0.05, "{widest}");
    }

    #[tokio::test]
    async fn frames_that_the_worker_dropped_are_counted() {
        let (channel, worker) = pair();
        for n in [1, 2, 5, 6, 10] {
            worker.send(format!("{{\"t\":\"bye\",\"reason\":\"stop\",\"n\":{n}}}").as_bytes()).unwrap();
            channel.receive().await.unwrap();
        }
        assert_eq!(channel.missed(), 5);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_with_its_reason() {
        let (channel, _worker) = pair();
        let refused = channel.send(&Down::Stop { grace_ms: 1 });
        assert!(refused.is_ok());
        let config = serde_json::Value::String("x".repeat(FRAME_BYTES));
        let (path, address) = (PathBuf::from("/x"), Address { socket: "/s".into(), tcp: ([127, 0, 0, 1], 1).into() });
        let spec = WorkerSpec {
            id: "x".to_owned(),
            input: "in".to_owned(),
            script: path,
            collectors: Collectors::All,
            module: "x".to_owned(),
            roots: Vec::new(),
            cmd: "python3".to_owned(),
            envs: Vec::new(),
            tags: std::collections::BTreeMap::new(),
            config,
            nice: 0,
            memory_max: None,
            user: None,
            restart: crate::config::Restart::Always,
            max_age: None,
            max_runs: None,
            umask: None,
            cwd: None,
            run_timeout: None,
            stop_grace: std::time::Duration::ZERO,
        };
        let error = channel.send(&Down::Spec(Spec::new(&spec, Mode::Worker, 1, 1, &address, "t"))).unwrap_err();
        assert!(error.to_string().contains("`config`"), "{error}");
    }
}
