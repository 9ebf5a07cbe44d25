//! What a pull costs over each transport, in one run and turn by turn: `cargo bench --bench git`.
//!
//! The repository has fifty scripts. Wall is the mean of a whole pull, with the server's part in it; CPU is that of this process and of all
//! programs that a pull starts, without the server's. A pull with news writes the changed commit to the disk.

#[path = "../tests/support/git.rs"]
mod git;
#[path = "../tests/support/git_server.rs"]
mod git_server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use git::{GitTransport, Origin, Side, repo};
use git_server::{Server, with_password};
use pythond::config::RepoSettings;
use pythond::git::program::{Programs, StopSignal};
use pythond::git::store::Store;
use rustix::time::{ClockId, clock_gettime};

const SCRIPTS: usize = 50;
const WITHOUT_NEWS: usize = 200;
const WITH_NEWS: usize = 40;
const TRANSPORTS: [(&str, GitTransport); 2] = [("libgit2", GitTransport::Libgit2), ("system", GitTransport::System)];

fn main() {
    let origin = Origin::new();
    for n in 0..SCRIPTS {
        origin.file(&format!("python.d/fleet/m{n}.py"), &format!("n = {n}\n").repeat(100));
    }
    origin.commit(&[], "first");
    let server = Server::start();
    server.serve(&origin, "ops.git", Some("ci:secret"));
    println!("{:8} {:10} {:>10} {:>12} {:>12}  news", "", "transport", "wall ms", "CPU ms", "of programs");
    let trusted = with_the_authorities_of_this_machine(&server);
    measure(
        "https",
        &origin,
        &RepoSettings { ca_file: Some(trusted), ..with_password(server.repo("c", "ops.git"), "secret") },
    );
    measure("path", &origin, &repo("c", &origin.url()));
}

/// As many certificates as are read where there is no `ca_file`, with that of the server's authority.
fn with_the_authorities_of_this_machine(server: &Server) -> PathBuf {
    let own = std::fs::read_to_string(server.path("ca.pem")).expect("the server wrote it");
    let others = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    println!("trusted authorities: {}", others.matches("BEGIN CERTIFICATE").count() + 1);
    let path = server.path("all.pem");
    std::fs::write(&path, own + &others).expect("there is room");
    path
}

fn measure(place: &str, origin: &Origin, repo: &RepoSettings) {
    let sides = TRANSPORTS.map(|(name, transport)| (name, Side::of(transport, vec![repo.clone()])));
    for (_, side) in &sides {
        pull(side);
    }
    let mut spent = [Spent::default(); 2];
    for _ in 0..WITHOUT_NEWS {
        for ((_, side), spent) in sides.iter().zip(&mut spent) {
            spent.add(|| pull(side));
        }
    }
    show(place, "none", &sides, &spent, WITHOUT_NEWS);
    let mut spent = [Spent::default(); 2];
    for n in 0..WITH_NEWS {
        origin.commit(&[("python.d/fleet/m7.py", &format!("changed = {n}\n"))], "next");
        for ((_, side), spent) in sides.iter().zip(&mut spent) {
            spent.add(|| pull(side));
        }
    }
    show(place, "one changed file", &sides, &spent, WITH_NEWS);
}

fn pull(side: &Side) {
    let repo = &side.settings.repos[0];
    let programs = Programs::new(&side.settings, repo, &side.folder(&repo.name), StopSignal::default());
    let pulled = Store::new(&side.settings, repo, &programs).pull(None);
    assert!(pulled.is_ok(), "{pulled:?}");
}

fn show(place: &str, news: &str, sides: &[(&str, Side); 2], spent: &[Spent; 2], pulls: usize) {
    let each = |duration: Duration| duration.as_secs_f64() * 1e3 / pulls as f64;
    for ((name, _), spent) in sides.iter().zip(spent) {
        let (wall, own, programs) = (each(spent.wall), each(spent.own), each(spent.programs));
        println!("{place:8} {name:10} {wall:10.2} {:12.2} {programs:12.2}  {news}", own + programs);
    }
    let ratio = |of: fn(&Spent) -> Duration| of(&spent[1]).as_secs_f64() / of(&spent[0]).as_secs_f64();
    let (wall, cpu) = (ratio(|spent| spent.wall), ratio(|spent| spent.own + spent.programs));
    println!("{place:8} {:10} {wall:9.1}x {cpu:11.1}x {:12}  {news}", "ratio", "");
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    own: Duration,
    /// Of programs that were started and have ended.
    programs: Duration,
}

impl Spent {
    fn add(&mut self, work: impl FnOnce()) {
        let (wall, own, programs) = (Instant::now(), own(), programs());
        work();
        self.wall += wall.elapsed();
        self.own += self::own() - own;
        self.programs += self::programs() - programs;
    }
}

fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// `cutime` and `cstime`, in ticks of 10 ms.
fn programs() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let fields = stat.rsplit(") ").next().expect("a name comes first").split(' ');
    let ticks: u64 = fields.skip(13).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
