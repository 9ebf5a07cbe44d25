//! Starts the loop, and looks at the files before a plan.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{Notify, mpsc};

use super::basics::{Cmd, EVENTS};
use super::handle::SupervisorHandle;
use super::mechanisms;
use super::plan::{self, Runs, WantedUnit};
use super::rounds::Supervisor;
use super::shared::{SupervisorSettings, SupervisorShared};
use super::version::interpreter;
use crate::telemetry::counters::Counters;
use crate::telemetry::files::ScriptLogs;
use crate::worker::cgroup::Groups;
use crate::worker::files::{Dependency, FileLook};
use crate::worker::frames::Address;
use crate::worker::lock::Locks;
use crate::worker::room::FileRoom;
use crate::worker::roster::Roster;
use crate::worker::starter::Starter;

/// Starts all workers and the loop over them.
///
/// # Errors
/// When the spawner thread cannot be started.
pub fn start<W: Into<WantedUnit>>(
    specs: Vec<W>,
    settings: SupervisorSettings,
    roster: Roster,
    logs: ScriptLogs,
    counters: Counters,
) -> io::Result<SupervisorHandle> {
    let mut spawner = Starter::start()?;
    if let Some(zygote) = &settings.zygote {
        spawner = spawner.with_zygotes(zygote.clone());
    }
    // As the sweep at the next start will spell it.
    let run_dir = settings.run_dir.canonicalize().unwrap_or(settings.run_dir);
    let settings = SupervisorSettings { run_dir, ..settings };
    let (locks, groups) = (Locks::open(&settings.run_dir), Groups::open(&settings.run_dir));
    let mechanisms = mechanisms::found(&locks, &groups, settings.no_guard.clone()).into();
    let (events, received) = mpsc::channel(EVENTS);
    let pulse = Arc::<AtomicU64>::default();
    let has_read = Arc::<Notify>::default();
    let mut supervisor = Supervisor {
        workers: BTreeMap::new(),
        next_number: 0,
        pulse: Arc::clone(&pulse),
        panics: counters.panics.clone(),
        shared: SupervisorShared {
            address: Address {
                socket: settings.socket.clone(),
                tcp: settings.address,
                hostname: settings.hostname.clone(),
                state_dir: settings.state_dir.clone(),
            },
            settings,
            roster,
            spawner,
            events: events.clone(),
            locks,
            groups,
            crowd: 0,
            room: FileRoom::of_this_process(),
            interpreters: HashMap::new(),
            logs,
            counters,
            has_read: Arc::clone(&has_read),
        },
        stopping: None,
        is_impatient: false,
        tending: None,
    };
    for wanted in specs {
        supervisor.add(wanted.into());
    }
    supervisor.mark_siblings();
    tokio::spawn(supervisor.run(received));
    Ok(SupervisorHandle { events, pulse, mechanisms, has_read })
}

/// Fills in what is on disk now, as far as [`plan::plan`] wants to know it. Blocks.
pub fn look(running: &[Runs], mut wanted: Vec<WantedUnit>) -> Vec<WantedUnit> {
    let mut look = FileLook::default();
    let mut interpreters: HashMap<Cmd, Option<PathBuf>> = HashMap::new();
    for one in &mut wanted {
        let parts: Vec<Dependency> = plan::parts(running, one).collect();
        one.now = look.print(&parts);
        let cmd = (one.spec.cmd.clone(), one.spec.envs.clone());
        one.interpreter = interpreters.entry(cmd).or_insert_with(|| interpreter(&one.spec)).clone();
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::supervisor::events::LoopEvent;
    use crate::supervisor::rounds;
    use crate::worker::life::LifeLimits;

    #[tokio::test]
    async fn a_panic_in_the_loop_is_counted_and_the_loop_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Counters::default();
        let settings = SupervisorSettings {
            core: dir.path().to_owned(),
            run_dir: dir.path().to_owned(),
            socket: dir.path().join("s"),
            address: ([127, 0, 0, 1], 9).into(),
            hostname: "web01".to_owned(),
            state_dir: dir.path().join("state"),
            last_good: dir.path().join("last-good"),
            limits: LifeLimits::default(),
            zygote: None,
            no_guard: None,
        };
        let logs = ScriptLogs::open(dir.path().to_owned(), counters.clone());
        let handle = start(Vec::<WantedUnit>::new(), settings, Roster::default(), logs, counters.clone()).unwrap();
        for _ in 0..3 {
            assert!(handle.events.send(LoopEvent::Panic).await.is_ok());
        }
        assert!(handle.snapshot().await.is_empty(), "it answers");
        assert_eq!(counters.panics.counts()["the supervisor"], 3);
        let before = handle.pulse();
        tokio::time::timeout(Duration::from_secs(30), async {
            while handle.pulse() < before + 2 {
                tokio::time::sleep(rounds::TICK).await;
            }
        })
        .await
        .expect("it ticks on");
        handle.stop(Duration::from_secs(5)).await;
        assert!(handle.stack("x").await.is_none(), "the loop has ended in order");
    }
}
