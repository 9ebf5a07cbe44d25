//! What the agent says: the spec of a worker, and orders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::worker::{UnitSpec, WorkerSpec, file_name};

/// A frame is at most this long.
pub(super) const FRAME_BYTES: usize = 64 * 1024;

/// So many workers may run in step.
const FEW: usize = 20;

/// What the worker is to do with its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On schedule until a stop.
    Worker,
    /// Each job `times` times, then the end.
    Once,
    /// Load and construct only.
    Check,
    /// Tell which units there are.
    List,
}

/// A frame for the worker.
#[expect(clippy::large_enum_variant, reason = "made where it is sent; none is kept")]
#[derive(Debug, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Down<'a> {
    Spec(Spec<'a>),
    /// Behind the spec of a worker whose units share it, which may not fit one frame.
    Units {
        units: Vec<OneUnit<'a>>,
    },
    Stop {
        grace_ms: u64,
        /// It is only replaced: runs under way may end by themselves.
        finish: bool,
    },
    RunNow {
        i: usize,
    },
    /// Check all jobs that wait for their check.
    Recheck,
    /// Tell what the jobs of a unit run against; the answer repeats both.
    Resources {
        u: usize,
        ask: u64,
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
    pub isolation: &'a str,
    /// The dialect's own keys of the input.
    pub settings: &'a serde_json::Value,
    pub file: &'a Path,
    pub module: &'a str,
    /// What of the file the unit is, in the words of its dialect; absent: all of it.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub parts: &'a serde_json::Value,
    pub roots: &'a [PathBuf],
    pub input: &'a str,
    pub socket: PathBuf,
    pub host: String,
    pub port: u16,
    pub token: &'a str,
    /// A folder that is the input's own, for what its units keep.
    pub state_dir: PathBuf,
    pub hostname: &'a str,
    /// How many units come behind this; absent: that of this frame is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub several: Option<usize>,
    pub config: &'a serde_json::Value,
    /// How often each job is run by hand; 0: as often as it needs to show something.
    pub times: u32,
    /// Keys of the jobs that are run by hand; empty: all.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub only: &'a [String],
    pub limits: ProcessLimits<'a>,
    /// How far its runs are moved against those of workers that start with it: 0 to 1, of an interval or 10 s.
    pub phase: f64,
    /// The manifest of the last good version, where that is to run in place of the files on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<&'a Path>,
}

/// One of several units of a worker.
#[derive(Debug, Serialize)]
pub struct OneUnit<'a> {
    pub id: &'a str,
    pub file: &'a Path,
    pub module: &'a str,
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub parts: &'a serde_json::Value,
    pub token: &'a str,
    /// Without it the others are not to run either: it could be loaded before.
    pub must: bool,
}

impl<'a> OneUnit<'a> {
    pub fn of(unit: &'a UnitSpec, token: &'a str, must: bool) -> Self {
        Self { id: &unit.id, file: &unit.file, module: &unit.module, parts: &unit.parts, token, must }
    }

    /// Bytes of its JSON, at most: every byte of a text may become an escape of six.
    fn length(&self) -> usize {
        let texts = self.id.len() + self.file.as_os_str().len() + self.module.len();
        texts * 6 + self.parts.to_string().len() + 150
    }
}

/// Puts the units behind a spec into frames that are short enough.
pub fn in_frames(units: Vec<OneUnit<'_>>) -> Vec<Down<'_>> {
    let mut frames: Vec<Vec<OneUnit<'_>>> = Vec::new();
    let mut room = 0;
    for unit in units {
        let length = unit.length();
        match frames.last_mut().filter(|_| length <= room) {
            Some(frame) => frame.push(unit),
            None => {
                room = FRAME_BYTES;
                frames.push(vec![unit]);
            }
        }
        room = room.saturating_sub(length);
    }
    frames.into_iter().map(|units| Down::Units { units }).collect()
}

/// What the worker does to itself before it opens its files; what is absent stays as it is.
#[derive(Debug, Serialize)]
pub struct ProcessLimits<'a> {
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

impl<'a> ProcessLimits<'a> {
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
            cwd: spec.cwd.clone().or_else(|| spec.first().file.parent().map(std::path::Path::to_owned)),
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
    /// What the tag `host` says.
    pub hostname: String,
    /// Holds a folder for each input.
    pub state_dir: PathBuf,
}

impl Address {
    fn for_other_users(&self) -> PathBuf {
        socket_for_other_users(&self.socket)
    }
}

/// The socket beside the agent's own, over which units of other users report and nobody can give orders.
pub fn socket_for_other_users(socket: &Path) -> PathBuf {
    socket.with_extension("scripts.sock")
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
            dialect: spec.dialect.facts().folder,
            isolation: spec.isolation,
            settings: &spec.settings,
            file: &spec.first().file,
            module: &spec.first().module,
            parts: &spec.first().parts,
            roots: &spec.roots,
            input: &spec.input,
            socket: if spec.user.is_some() { address.for_other_users() } else { address.socket.clone() },
            host: reachable_ip(address.tcp.ip()).to_string(),
            port: address.tcp.port(),
            token,
            state_dir: address.state_dir.join(file_name(&spec.input)),
            hostname: &address.hostname,
            several: spec.shares.then_some(spec.units.len()),
            config: &spec.config,
            times,
            only: &[],
            limits: ProcessLimits::of(spec),
            kept: None,
            phase: 0.0,
        }
    }

    /// Says that a cgroup keeps the memory of this worker within its bounds.
    pub fn memory_is_kept_by_cgroup(&mut self) {
        self.limits.data = None;
    }
}

/// A phase of its own for each worker of many, the same at each start; few are not moved.
pub fn phase_of(id: &str, workers: usize) -> f64 {
    if workers <= FEW { 0.0 } else { f64::from(crc32c::crc32c(id.as_bytes())) / f64::from(u32::MAX) }
}

/// Listening on every address includes loopback, and that one can be asked.
fn reachable_ip(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
