//! Promise: whatever happens in whatever order, what was answered with 200 arrives, in order, and only whole batches arrive twice.
//!
//! Eight clients post numbered points while a seeded schedule of faults runs over the agent, its disk and the far end.
//! `PYTHOND_CHAOS_SEED` repeats a schedule, `PYTHOND_CHAOS_SECONDS` sets its length.

#[path = "support/far_end.rs"]
mod far_end;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use far_end::{FarEnd, Reply, Request};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use support::{Agent, Root, http};

const CLIENTS: u64 = 8;
/// As small as it may be, so that segments begin and go all the time.
const MAX_SIZE: &str = "16MiB";
const DISK_SIZE: &str = "24m";
/// Bytes that each point carries beside its number.
const PADDING: usize = 200;

/// What happens to the agent or to the disk below its buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Here {
    /// Killed, started again at the end.
    Kill,
    Pause,
    DiskFull,
    /// Killed and started again while the disk is full.
    KillOnFullDisk,
    ReadOnly,
}

/// What the far end does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum There {
    Well,
    /// Nobody listens.
    Down,
    Slow,
    Says(u16),
    /// Takes a batch, or not, and cuts the connection in the middle of the answer.
    Cuts,
}

const HERE: [Here; 5] = [Here::Kill, Here::Pause, Here::DiskFull, Here::KillOnFullDisk, Here::ReadOnly];
const THERE: [There; 6] = [There::Down, There::Slow, There::Says(429), There::Says(503), There::Says(500), There::Cuts];

/// One fault, or one on each side at once.
#[derive(Debug, Clone, Copy)]
struct Step {
    calm: Duration,
    lasts: Duration,
    here: Option<Here>,
    there: There,
}

/// A small source of numbers that a seed repeats (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    /// Takes one out of the bag and fills the bag when it is empty, so that all have their turn.
    fn draw<T: Copy>(&mut self, bag: &mut Vec<T>, all: &[T]) -> T {
        if bag.is_empty() {
            bag.extend_from_slice(all);
        }
        let at = self.below(bag.len() as u64) as usize;
        bag.swap_remove(at)
    }
}

fn schedule(seed: u64, length: Duration) -> Vec<Step> {
    let mut dice = Dice(seed);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let (mut steps, mut total) = (Vec::new(), Duration::ZERO);
    while total < length {
        let side = dice.below(3);
        let step = Step {
            calm: dice.millis(200, 1000),
            lasts: dice.millis(500, 2500),
            here: (side != 0).then(|| dice.draw(&mut here, &HERE)),
            there: if side == 1 { There::Well } else { dice.draw(&mut there, &THERE) },
        };
        total += step.calm + step.lasts;
        steps.push(step);
    }
    steps
}

/// The far end's memory: what it took, line by line, each line once.
#[derive(Default)]
struct Taken {
    lines: Vec<String>,
    /// Where each line stands in `lines`.
    places: BTreeMap<String, usize>,
    /// Places where a batch began.
    starts: BTreeSet<usize>,
    repeated: usize,
    faults: Vec<String>,
}

impl Taken {
    /// Takes a batch: it goes on behind the last one, or begins where an earlier one began and repeats what came then.
    fn take(&mut self, batch: &[String]) {
        let start = self.places.get(&batch[0]).copied().unwrap_or(self.lines.len());
        if start < self.lines.len() && !self.starts.contains(&start) {
            self.faults.push(format!("a batch repeats from the middle of another: {}", batch[0]));
        }
        self.starts.insert(start);
        for (place, line) in (start..).zip(batch) {
            match self.lines.get(place) {
                Some(there) if there == line => self.repeated += 1,
                Some(there) => self.faults.push(format!("instead of {there} came {line}")),
                None => {
                    if let Some(before) = self.places.insert(line.clone(), place) {
                        self.faults.push(format!("{line} came at {before} and again at {place}"));
                    }
                    self.lines.push(line.clone());
                }
            }
        }
    }

    /// The numbers of each client, in the order in which they came first.
    fn numbers(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for line in &self.lines {
            let (client, number) = read(line).unwrap_or_else(|| panic!("not a line of ours: {line}"));
            numbers.entry(client).or_default().push(number);
        }
        numbers
    }
}

/// Client and number of `seq,client=3,host=testhost n=17,pad="xx" 1700000000000000000`; numbers are floats, as JSON's are.
fn read(line: &str) -> Option<(u64, u64)> {
    let client = line.strip_prefix("seq,client=")?.split(',').next()?.parse().ok()?;
    let number = line.split(" n=").nth(1)?.split(['.', ',', ' ']).next()?.parse().ok()?;
    Some((client, number))
}

/// What the far end's script and the schedule share.
#[derive(Clone)]
struct Far {
    mode: Arc<Mutex<There>>,
    taken: Arc<Mutex<Taken>>,
}

impl Far {
    fn script(&self) -> impl FnMut(&Request, usize) -> Reply + Send + 'static {
        let far = self.clone();
        move |request, number| {
            let mode = *far.mode.lock().unwrap();
            let takes = match mode {
                There::Well | There::Slow => true,
                There::Cuts => number.is_multiple_of(2),
                There::Says(_) | There::Down => false,
            };
            if takes {
                far.taken.lock().unwrap().take(&request.lines());
            }
            match mode {
                There::Well => Reply::status(204),
                There::Slow => Reply::status(204).after(Duration::from_millis(400)),
                There::Says(429) => Reply::status(429).with_header("Retry-After: 1"),
                There::Says(status) => Reply::status(status),
                There::Down => Reply::Cut,
                There::Cuts => Reply::CutAfter(b"HTTP/1.1 204 No Con".to_vec()),
            }
        }
    }
}

/// The disk below the buffer: a file system of its own where root may mount one, else limits and rights.
struct Disk {
    dir: PathBuf,
    mounted: bool,
}

impl Disk {
    fn below(dir: PathBuf) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        let size = format!("size={DISK_SIZE}");
        let mounted = mount(&["-t", "tmpfs", "-o", &size, "none"], &dir);
        if !mounted {
            eprintln!(
                "no file system can be mounted here: the full disk is a file size limit, the read-only one takes rights away"
            );
        }
        Self { dir, mounted }
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    fn fill(&self, agent: &Agent) {
        if self.mounted {
            // Ends with the error that is wanted.
            let _ = std::fs::write(self.ballast(), vec![0; 64 << 20]);
            // What the agent writes is private; this is not its own.
            std::fs::set_permissions(self.ballast(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        } else {
            limit_files(agent, Some(1000));
        }
    }

    fn empty(&self, agent: &Agent) {
        if self.mounted {
            std::fs::remove_file(self.ballast()).unwrap();
        } else {
            limit_files(agent, None);
        }
    }

    /// Files that are open stay writable, as after a read-only bind mount; nothing can be made, removed or opened for writing.
    fn protect(&self) {
        if self.mounted {
            let dir = self.dir.to_str().unwrap();
            assert!(mount(&["--bind", dir], &self.dir) && mount(&["-o", "remount,ro,bind"], &self.dir));
        } else {
            set_mode(&self.dir, 0o500);
        }
    }

    fn release(&self) {
        if self.mounted {
            assert!(unmount(&self.dir), "the read-only view of {} stays", self.dir.display());
        } else {
            set_mode(&self.dir, 0o700);
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        while self.mounted && unmount(&self.dir) {}
    }
}

fn mount(how: &[&str], dir: &Path) -> bool {
    Command::new("mount").args(how).arg(dir).output().is_ok_and(|output| output.status.success())
}

fn unmount(dir: &Path) -> bool {
    Command::new("umount").arg("--lazy").arg(dir).output().is_ok_and(|output| output.status.success())
}

fn set_mode(dir: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    for below in [dir.join("log"), dir.join("cursors")] {
        std::fs::set_permissions(below, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn limit_files(agent: &Agent, soft: Option<u64>) {
    let pid = Pid::from_raw(agent.pid().cast_signed()).unwrap();
    let hard = rustix::process::getrlimit(Resource::Fsize).maximum;
    rustix::process::prlimit(Some(pid), Resource::Fsize, Rlimit { current: soft.or(hard), maximum: hard }).unwrap();
}

/// What the clients and the schedule share.
#[derive(Default)]
struct Bench {
    /// The agent's address, while there is one.
    address: Mutex<Option<String>>,
    over: AtomicBool,
}

/// Posts numbers, each once, until the end; returns those that were acknowledged.
fn post_numbers(client: u64, seed: u64, bench: &Bench) -> Vec<u64> {
    let mut dice = Dice(seed ^ (client + 1));
    let (mut next, mut acknowledged) = (0, Vec::new());
    while !bench.over.load(Ordering::SeqCst) {
        sleep(dice.millis(5, 15));
        let Some(address) = bench.address.lock().unwrap().clone() else { continue };
        let numbers = next..next + 1 + dice.below(10);
        let headers = [("Content-Type", "application/json")];
        let answer = http::tcp(&address, "POST", "/v1/write/metric", &headers, &body(client, numbers.clone()));
        next = numbers.end;
        match answer {
            Ok(answer) if answer.status == 200 => acknowledged.extend(numbers),
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
            // Nobody there, or killed before the answer: nothing was promised.
            Err(_) => {}
        }
    }
    acknowledged
}

fn body(client: u64, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let pad = "x".repeat(PADDING);
    let mut text = String::from("[");
    for n in numbers {
        let comma = if text.len() > 1 { "," } else { "" };
        write!(
            text,
            r#"{comma}{{"measurement":"seq","tags":{{"client":"{client}"}},"fields":{{"n":{n},"pad":"{pad}"}}}}"#
        )
        .unwrap();
    }
    text.push(']');
    text.into_bytes()
}

/// The agent through all its lives, its disk and its far end.
struct Run<'a> {
    root: &'a Root,
    disk: &'a Disk,
    bench: &'a Bench,
    far: &'a Far,
    runtime: &'a tokio::runtime::Runtime,
    far_address: std::net::SocketAddr,
    far_end: Option<FarEnd>,
    agent: Option<Agent>,
    consoles: Vec<String>,
}

impl Run<'_> {
    fn start(&mut self) {
        let agent = self.root.agent();
        *self.bench.address.lock().unwrap() = Some(agent.address.clone());
        self.agent = Some(agent);
    }

    fn kill(&mut self) {
        *self.bench.address.lock().unwrap() = None;
        let agent = self.agent.take().unwrap();
        self.consoles.push(agent.console());
        agent.kill();
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn turn(&mut self, mode: There) {
        *self.far.mode.lock().unwrap() = mode;
        if mode == There::Down {
            self.far_end = None;
        } else if self.far_end.is_none() {
            let far_end = FarEnd::start_at(self.far_address, self.far.script());
            self.far_end = Some(self.runtime.block_on(far_end));
        }
    }

    fn begin(&mut self, fault: Here) {
        match fault {
            Here::Kill => self.kill(),
            Here::Pause => self.agent().signal(Signal::STOP),
            Here::DiskFull => self.disk.fill(self.agent()),
            Here::KillOnFullDisk => {
                self.disk.fill(self.agent());
                self.kill();
                self.start();
            }
            Here::ReadOnly => self.disk.protect(),
        }
    }

    fn end(&mut self, fault: Here) {
        match fault {
            Here::Kill => self.start(),
            Here::Pause => self.agent().signal(Signal::CONT),
            Here::DiskFull | Here::KillOnFullDisk => self.disk.empty(self.agent()),
            Here::ReadOnly => self.disk.release(),
        }
    }

    fn step(&mut self, step: Step) {
        sleep(step.calm);
        self.turn(step.there);
        if let Some(fault) = step.here {
            self.begin(fault);
        }
        sleep(step.lasts);
        if let Some(fault) = step.here {
            self.end(fault);
        }
        self.turn(There::Well);
    }
}

fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; it must be a whole number")))
}

fn seconds() -> Duration {
    let is_full_run = std::env::var("PYTHOND_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    let usual = if is_full_run { 60 } else { 30 };
    Duration::from_secs(number_from_environment("PYTHOND_CHAOS_SECONDS").unwrap_or(usual))
}

#[test]
fn what_was_acknowledged_arrives_in_order_through_every_fault() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number_from_environment("PYTHOND_CHAOS_SEED").unwrap_or(now.as_nanos() as u64);
    let steps = schedule(seed, seconds());
    println!("PYTHOND_CHAOS_SEED={seed}, {} faults in {:?}", steps.len(), seconds());

    let root = Root::new();
    let disk = Disk::below(root.path().join("data/buffer"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let far = Far { mode: Arc::new(Mutex::new(There::Well)), taken: Arc::default() };
    let far_end = runtime.block_on(FarEnd::start(far.script()));
    let sink = format!("[sinks.influxdb.far]\nurl = \"{}\"\ndatabase = \"d\"\ntimeout = \"3s\"\n", far_end.url());
    root.conf("sink.conf", &format!("[buffer]\nmax_size = \"{MAX_SIZE}\"\n{sink}"));

    let bench = Bench::default();
    let mut run = Run {
        root: &root,
        disk: &disk,
        bench: &bench,
        far: &far,
        runtime: &runtime,
        far_address: far_end.address,
        far_end: Some(far_end),
        agent: None,
        consoles: Vec::new(),
    };
    run.start();
    let bench = &bench;
    let acknowledged: Vec<Vec<u64>> = std::thread::scope(|scope| {
        // Also when a step fails: the clients end with the schedule.
        let over = End(&bench.over);
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || post_numbers(client, seed, bench))).collect();
        let began = Instant::now();
        for step in steps {
            println!("{:6.1} s  {step:?}", began.elapsed().as_secs_f64());
            run.step(step);
        }
        drop(over);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });

    run.agent().wait_delivered();
    let agent = run.agent.take().unwrap();
    run.consoles.push(agent.console());
    assert_eq!(agent.stop().0, 0);
    check(&root, &far.taken.lock().unwrap(), &acknowledged, &run.consoles);
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn check(root: &Root, taken: &Taken, acknowledged: &[Vec<u64>], consoles: &[String]) {
    assert!(
        taken.faults.is_empty(),
        "{} faults: {:#?}",
        taken.faults.len(),
        &taken.faults[..taken.faults.len().min(5)]
    );
    let numbers = taken.numbers();
    for (client, acknowledged) in (0..).zip(acknowledged) {
        let arrived = &numbers[&client];
        assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "client {client}: the order is kept");
        let arrived: BTreeSet<u64> = arrived.iter().copied().collect();
        let lost: Vec<&u64> = acknowledged.iter().filter(|number| !arrived.contains(number)).collect();
        assert!(lost.is_empty(), "client {client}: {} acknowledged numbers are lost: {lost:?}", lost.len());
        assert!(acknowledged.len() > 100, "client {client} was served: {}", acknowledged.len());
    }
    assert!(root.dead("far").is_empty(), "nothing was refused");
    for console in consoles {
        assert!(!console.contains("damaged"), "a kill damages nothing:\n{console}");
        assert!(!console.contains("panicked"), "nothing panics:\n{console}");
    }
    let total: usize = acknowledged.iter().map(Vec::len).sum();
    println!("{total} acknowledged, {} arrived, {} of them again", taken.lines.len(), taken.repeated);
}

#[test]
fn the_far_end_tells_whole_repetitions_from_others() {
    let taken = |batches: &[&str]| {
        let mut taken = Taken::default();
        for batch in batches {
            taken.take(&batch.chars().map(String::from).collect::<Vec<_>>());
        }
        (taken.faults.len(), taken.lines.concat(), taken.repeated)
    };
    assert_eq!(taken(&["ab", "cd", "cd", "abcd", "cdef"]), (0, "abcdef".to_owned(), 8));
    assert_eq!(taken(&["ab", "cd", "bcd"]).0, 1, "from the middle of a batch");
    assert_eq!(taken(&["ab", "cd", "abx"]).0, 1, "something else than before");
    assert_eq!(taken(&["ab", "ca"]).0, 1, "an old line behind a new one");
}

#[test]
fn each_fault_has_its_turn() {
    let steps = schedule(7, Duration::from_secs(60));
    assert!(HERE.iter().all(|fault| steps.iter().any(|step| step.here == Some(*fault))));
    assert!(THERE.iter().all(|fault| steps.iter().any(|step| step.there == *fault)));
}
