//! Promises of the machine.

mod of_jobs;

use std::time::{Duration, Instant};

use super::{FailureKind, Life, LifeAction, LifeInput, LifeLimits, LifeState, StopStep};
use crate::config::Restart;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A script driven by a list of `(seconds after the start, input)`.
struct Script {
    life: Life,
    start: Instant,
}

impl Script {
    fn new(limits: LifeLimits) -> Self {
        let start = Instant::now();
        Self { life: Life::new(limits, 7, start), start }
    }

    fn at(&mut self, after: f64, input: LifeInput) -> Vec<LifeAction> {
        self.life.step(self.start + Duration::from_secs_f64(after), input)
    }

    /// Brings it from Waiting to Idle at `after`.
    fn ready(&mut self, after: f64) -> &mut Self {
        assert_eq!(self.at(after, LifeInput::Slot), [LifeAction::Spawn]);
        self.at(after, LifeInput::Hello);
        self.at(after, jobs(&[(0, 10)]));
        self.at(after, LifeInput::Ready);
        assert_eq!(self.life.state(), LifeState::Idle);
        self
    }

    fn why(&self) -> Option<(FailureKind, &str)> {
        self.life.failure().map(|failure| (failure.fault, failure.why.as_str()))
    }

    fn dies(&mut self, after: f64) -> LifeState {
        self.at(after, exited());
        self.life.state()
    }
}

/// Jobs by their numbers, with their intervals in seconds.
fn jobs(set: &[(usize, u64)]) -> LifeInput {
    LifeInput::Jobs { set: set.iter().map(|(job, every)| (*job, seconds(*every))).collect(), gone: Vec::new() }
}

fn gone(gone: &[usize]) -> LifeInput {
    LifeInput::Jobs { set: Vec::new(), gone: gone.to_vec() }
}

fn exited() -> LifeInput {
    LifeInput::Exited { why: "exited with code 1".to_owned(), clean: false }
}

#[test]
fn each_input_leads_where_the_table_says() {
    let table: &[(&[LifeInput], LifeState)] = &[
        (&[], LifeState::Waiting),
        (&[LifeInput::Slot], LifeState::Spawning),
        (&[LifeInput::Slot, LifeInput::Hello], LifeState::Loading),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Ready], LifeState::Idle),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Ready, LifeInput::RunBegan(0)], LifeState::Running),
        (
            &[
                LifeInput::Slot,
                LifeInput::Hello,
                LifeInput::Ready,
                LifeInput::RunBegan(0),
                LifeInput::RunEnded { job: 0, ok: false },
            ],
            LifeState::Idle,
        ),
        (
            &[
                LifeInput::Slot,
                LifeInput::Hello,
                LifeInput::Ready,
                LifeInput::RunBegan(0),
                LifeInput::RunBegan(1),
                LifeInput::RunEnded { job: 0, ok: true },
            ],
            LifeState::Running,
        ),
        (&[LifeInput::Slot, LifeInput::NotSpawned { why: String::new(), permanent: true }], LifeState::Blocked),
        (&[LifeInput::Slot, LifeInput::NotSpawned { why: String::new(), permanent: false }], LifeState::Backoff),
        (
            &[LifeInput::Slot, LifeInput::Hello, LifeInput::Fatal { why: String::new(), permanent: true }, exited()],
            LifeState::Blocked,
        ),
        (
            &[LifeInput::Slot, LifeInput::Hello, LifeInput::Fatal { why: String::new(), permanent: false }, exited()],
            LifeState::Backoff,
        ),
        (&[LifeInput::Slot, LifeInput::Hello, exited()], LifeState::Backoff),
        (&[LifeInput::Slot, LifeInput::Hello, exited(), LifeInput::Changed], LifeState::Waiting),
        (&[LifeInput::Slot, LifeInput::Hello, exited(), LifeInput::Stop], LifeState::Stopped),
        (&[LifeInput::Slot, LifeInput::Stop], LifeState::Stopping(StopStep::Kill)),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Stop], LifeState::Stopping(StopStep::Ask)),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Stop, exited()], LifeState::Stopped),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Restart, exited()], LifeState::Waiting),
        (&[LifeInput::Slot, LifeInput::Hello, LifeInput::Restart, LifeInput::Stop, exited()], LifeState::Stopped),
        (&[LifeInput::Stop], LifeState::Stopped),
        (&[LifeInput::Stop, LifeInput::Slot], LifeState::Stopped),
        (&[LifeInput::Stop, LifeInput::Restart], LifeState::Waiting),
        (&[LifeInput::Hello, LifeInput::Ready, LifeInput::Changed, LifeInput::Tick], LifeState::Waiting),
    ];
    for (inputs, state) in table {
        let mut script = Script::new(LifeLimits::default());
        for input in *inputs {
            script.at(0.0, input.clone());
        }
        assert_eq!(script.life.state(), *state, "{inputs:?}");
    }
}

/// One row per way out of a state: how to get there, what happens, what is ordered, where it leads.
#[test]
fn every_way_out_of_every_state_is_as_the_design_says() {
    use LifeInput::{Changed, ControlLost, Hello, Ready, Restart, RunBegan, Slot, Spawned, Stop, Tick};
    let failed = |why: &str| LifeInput::NotSpawned { why: why.to_owned(), permanent: false };
    let blocked = || LifeInput::NotSpawned { why: "no".to_owned(), permanent: true };
    let ended = |job| LifeInput::RunEnded { job, ok: true };
    let idle = || vec![(0.0, Slot), (0.0, Hello), (0.0, jobs(&[(0, 10)])), (0.0, Ready)];
    let with = |mut steps: Vec<(f64, LifeInput)>, more: Vec<(f64, LifeInput)>| {
        steps.extend(more);
        steps
    };
    let killing = || with(idle(), vec![(1.0, Stop), (6.3, Tick), (9.4, Tick)]);
    let ask = LifeAction::Ask(seconds(5));
    type Row = (&'static str, Vec<(f64, LifeInput)>, Vec<LifeAction>, LifeState);
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        ("waiting: a slot", vec![(0.0, Slot)], vec![LifeAction::Spawn], LifeState::Spawning),
        ("spawning: hello", vec![(0.0, Slot), (1.0, Hello)], vec![], LifeState::Loading),
        ("spawning: no process for now", vec![(0.0, Slot), (0.0, failed("EAGAIN"))], vec![], LifeState::Backoff),
        ("spawning: no process ever", vec![(0.0, Slot), (0.0, blocked())], vec![], LifeState::Blocked),
        ("spawning: too long", vec![(0.0, Slot), (9.0, Spawned), (18.0, Tick), (19.0, Tick)], vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("spawning: no process for long", vec![(0.0, Slot), (59.0, Tick), (60.0, Tick)], vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("spawning: given up, and then there is a process", vec![(0.0, Slot), (60.0, Tick), (66.0, Tick), (67.0, Spawned)], vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("spawning: stopped before there is a process", vec![(0.0, Slot), (1.0, Stop), (2.0, Spawned)], vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("loading: ready", idle(), vec![], LifeState::Idle),
        ("loading: too long", vec![(0.0, Slot), (0.0, Hello), (30.0, Tick)], vec![LifeAction::Dump], LifeState::Stopping(StopStep::Dump)),
        ("loading: fatal, and it ends", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (0.1, exited())], vec![], LifeState::Blocked),
        ("loading: fatal, and it stays", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (3.0, Tick)], vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("loading: dies", vec![(0.0, Slot), (0.0, Hello), (0.1, exited())], vec![], LifeState::Backoff),
        ("idle: a run", with(idle(), vec![(1.0, RunBegan(0))]), vec![], LifeState::Running),
        ("idle: no run for long", with(idle(), vec![(60.0, Tick)]), vec![], LifeState::Overdue),
        ("idle: no run for very long", with(idle(), vec![(60.0, Tick), (310.0, Tick)]), vec![LifeAction::Dump], LifeState::Stopping(StopStep::Dump)),
        ("idle: dies", with(idle(), vec![(1.0, exited())]), vec![], LifeState::Backoff),
        ("idle: control lost", with(idle(), vec![(1.0, ControlLost)]), vec![LifeAction::Terminate], LifeState::Stopping(StopStep::Term)),
        ("running: done", with(idle(), vec![(1.0, RunBegan(0)), (2.0, ended(0))]), vec![], LifeState::Idle),
        ("running: long", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick)]), vec![], LifeState::Overdue),
        ("overdue: done", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (12.0, ended(0))]), vec![], LifeState::Idle),
        ("overdue: silent", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (301.0, Tick)]), vec![LifeAction::Dump], LifeState::Stopping(StopStep::Dump)),
        ("overdue without a run: a run", with(idle(), vec![(60.0, Tick), (61.0, RunBegan(0))]), vec![], LifeState::Running),
        ("stopping: dumped", with(idle(), vec![(1.0, RunBegan(0)), (301.0, Tick), (301.8, Tick)]), vec![ask], LifeState::Stopping(StopStep::Ask)),
        ("stopping: asked in vain", with(idle(), vec![(1.0, Stop), (6.3, Tick)]), vec![LifeAction::Terminate], LifeState::Stopping(StopStep::Term)),
        ("stopping: TERM in vain", killing(), vec![LifeAction::Kill], LifeState::Stopping(StopStep::Kill)),
        ("stopping: KILL in vain", with(killing(), vec![(14.5, Tick)]), vec![], LifeState::Unkillable),
        ("stopping: ends", with(killing(), vec![(9.5, exited())]), vec![], LifeState::Stopped),
        ("unkillable: no new copy", with(killing(), vec![(14.5, Tick), (15.0, Slot)]), vec![], LifeState::Unkillable),
        ("unkillable: KILL again", with(killing(), vec![(14.5, Tick), (44.5, Tick)]), vec![LifeAction::Kill], LifeState::Unkillable),
        ("unkillable: ends at last", with(killing(), vec![(14.5, Tick), (99.0, exited())]), vec![], LifeState::Stopped),
        ("backoff: due", vec![(0.0, Slot), (0.0, exited()), (1.0, Tick)], vec![], LifeState::Waiting),
        ("backoff: changed", vec![(0.0, Slot), (0.0, exited()), (0.0, Changed)], vec![], LifeState::Waiting),
        ("blocked: stays", vec![(0.0, Slot), (0.0, blocked()), (299.0, Tick)], vec![], LifeState::Blocked),
        ("blocked: probe", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick)], vec![], LifeState::Waiting),
        ("blocked: changed", vec![(0.0, Slot), (0.0, blocked()), (1.0, Changed)], vec![], LifeState::Waiting),
        ("blocked: blocked again", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick), (300.0, Slot), (300.0, blocked())], vec![], LifeState::Blocked),
        ("stopped: started", vec![(0.0, Stop), (1.0, Restart)], vec![], LifeState::Waiting),
        ("restart: ends", with(idle(), vec![(1.0, Restart), (1.1, exited())]), vec![], LifeState::Waiting),
    ];
    for (row, steps, orders, state) in table {
        let mut script = Script::new(LifeLimits::default());
        let mut last = Vec::new();
        for (at, input) in steps {
            last = script.at(at, input);
        }
        assert_eq!((last, script.life.state()), (orders, state), "{row}");
    }
}

fn fatal() -> LifeInput {
    LifeInput::Fatal { why: "no class".to_owned(), permanent: true }
}

#[test]
fn what_ends_by_itself_is_restarted_as_the_settings_say() {
    let clean = || LifeInput::Exited { why: "exited with code 0".to_owned(), clean: true };
    let table = [
        (Restart::Always, clean(), LifeState::Backoff),
        (Restart::Always, exited(), LifeState::Backoff),
        (Restart::OnFailure, clean(), LifeState::Ended),
        (Restart::OnFailure, exited(), LifeState::Backoff),
        (Restart::Never, clean(), LifeState::Ended),
        (Restart::Never, exited(), LifeState::Ended),
    ];
    for (restart, end, state) in table {
        let mut script = Script::new(LifeLimits { restart, ..LifeLimits::default() });
        script.ready(0.0).at(1.0, end.clone());
        assert_eq!(script.life.state(), state, "{restart:?} {end:?}");
        if state == LifeState::Ended {
            assert_eq!(script.at(9999.0, LifeInput::Tick), []);
            assert_eq!(script.life.state(), LifeState::Ended, "it stays so");
            assert_eq!(script.why().is_some(), end == exited(), "only a failure is told as one");
            script.at(9999.0, LifeInput::Changed);
            assert_eq!(script.life.state(), LifeState::Waiting, "a change starts it");
        }
    }
}

#[test]
fn what_is_never_restarted_still_waits_for_the_cure_of_a_load_error_and_obeys_a_restart() {
    let never = || Script::new(LifeLimits { restart: Restart::Never, ..LifeLimits::default() });
    let mut script = never();
    script.at(0.0, LifeInput::Slot);
    script.at(0.0, LifeInput::Hello);
    script.at(0.0, fatal());
    assert_eq!(script.dies(0.1), LifeState::Blocked);
    let mut script = never();
    script.ready(0.0).at(1.0, LifeInput::Restart);
    assert_eq!(script.dies(1.1), LifeState::Waiting);
    let mut script = never();
    script.at(0.0, LifeInput::Slot);
    script.at(0.0, LifeInput::NotSpawned { why: "EAGAIN".to_owned(), permanent: false });
    assert_eq!(script.life.state(), LifeState::Backoff, "nothing has run yet");
}

#[test]
fn a_worker_is_replaced_between_two_runs_when_its_time_is_over() {
    let mut script = Script::new(LifeLimits { max_age: Some(seconds(100)), ..LifeLimits::default() });
    script.ready(0.0);
    script.at(1.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(89.9, LifeInput::RunEnded { job: 0, ok: true }), [], "one tenth earlier at most");
    script.at(90.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(110.1, LifeInput::Tick), [], "not in the middle of a run");
    assert_eq!(script.at(111.0, LifeInput::RunEnded { job: 0, ok: true }), [LifeAction::Ask(seconds(5))]);
    assert!(script.life.recycles_because().unwrap().starts_with("max_age"));
    assert_eq!(script.dies(112.0), LifeState::Waiting);
    assert_eq!((script.why(), script.life.restarts()), (None, 1), "it is no failure");
}

#[test]
fn a_worker_is_replaced_after_its_runs() {
    let mut script = Script::new(LifeLimits { max_runs: Some(3), ..LifeLimits::default() });
    script.ready(0.0);
    for run in 0..2 {
        script.at(f64::from(run), LifeInput::RunBegan(0));
        assert_eq!(script.at(f64::from(run), LifeInput::RunEnded { job: 0, ok: false }), []);
    }
    script.at(3.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(3.0, LifeInput::RunEnded { job: 0, ok: false }), [LifeAction::Ask(seconds(5))]);
    assert_eq!(script.dies(3.1), LifeState::Waiting);
    script.ready(4.0);
    script.at(4.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(4.0, LifeInput::RunEnded { job: 0, ok: true }), [], "the next one counts from the start");
}

#[test]
fn a_worker_that_leaves_to_be_replaced_starts_again_at_once_unless_it_has_hardly_begun() {
    let leaves = || LifeInput::Leaves { why: "a run hangs".to_owned() };
    let mut script = Script::new(LifeLimits::default());
    for round in 0..20 {
        let start = f64::from(round) * 10.0;
        script.ready(start);
        script.at(start, LifeInput::RunBegan(0));
        assert_eq!(script.at(start + 5.0, leaves()), [], "it ends by itself");
        assert_eq!(script.life.recycles_because(), Some("a run hangs"));
        assert_eq!(script.dies(start + 5.1), LifeState::Waiting, "however often: it is no failure");
    }
    script.ready(200.0);
    assert_eq!(script.at(200.5, leaves()), []);
    assert_eq!(script.dies(200.6), LifeState::Backoff);
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    script.at(5.0, leaves());
    assert_eq!(script.at(9.0, LifeInput::Tick), [LifeAction::Terminate], "one that stays all the same is ended");
}

#[test]
fn a_worker_that_is_too_large_is_replaced_after_its_run_and_other_jobs_may_end_theirs() {
    let large = || LifeInput::TooLarge { why: "memory_max: too much".to_owned() };
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    script.at(0.0, LifeInput::RunBegan(0));
    script.at(0.0, LifeInput::RunBegan(1));
    assert_eq!(script.at(1.0, large()), []);
    assert_eq!(script.at(2.0, LifeInput::RunEnded { job: 0, ok: true }), [LifeAction::Ask(seconds(300))]);
    assert_eq!(script.life.state(), LifeState::Stopping(StopStep::Ask));
    assert_eq!(script.at(100.0, LifeInput::Tick), []);
    script.at(100.0, LifeInput::Stop);
    assert_eq!(script.at(105.3, LifeInput::Tick), [LifeAction::Terminate], "a stop does not wait that long");
    let mut idle = Script::new(LifeLimits::default());
    assert_eq!(idle.ready(0.0).at(1.0, large()), [LifeAction::Ask(seconds(5))]);
}

#[test]
fn a_script_that_starts_slowly_is_given_three_times_as_long() {
    let mut script = Script::new(LifeLimits { trip_score: 100.0, ..LifeLimits::default() });
    script.at(0.0, LifeInput::Slot);
    script.at(9.0, LifeInput::Hello);
    script.at(38.0, LifeInput::Ready);
    script.dies(39.0);
    script.at(100.0, LifeInput::Tick);
    script.at(100.0, LifeInput::Slot);
    assert_eq!(script.at(126.9, LifeInput::Tick), []);
    script.at(127.0, LifeInput::Hello);
    assert_eq!(script.at(213.9, LifeInput::Tick), []);
    assert_eq!(script.at(214.0, LifeInput::Tick), [LifeAction::Dump]);
}

#[test]
fn failures_are_the_scripts_and_the_start_grace_is_the_incarnations() {
    let mut script = Script::new(LifeLimits::default());
    for life in 0..3 {
        let at = f64::from(life) * 100.0;
        script.at(at, LifeInput::Slot);
        assert_eq!(script.at(at + 9.9, LifeInput::Tick), [], "each incarnation has its whole time");
        script.dies(at + 9.9);
        script.at(at + 99.0, LifeInput::Tick);
    }
    script.at(300.0, LifeInput::Slot);
    script.dies(300.0);
    let pause = script.life.next().unwrap().at - (script.start + seconds(300));
    assert!(pause >= seconds(4), "the fourth failure in a row waits 8 s, halved at most: {pause:?}");
}

#[test]
fn a_stop_goes_from_asking_to_killing() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    assert_eq!(script.at(1.0, LifeInput::Stop), [LifeAction::Ask(seconds(5))]);
    assert_eq!(script.at(6.0, LifeInput::Tick), []);
    assert_eq!(script.at(6.3, LifeInput::Tick), [LifeAction::Terminate]);
    assert_eq!(script.at(9.4, LifeInput::Tick), [LifeAction::Kill]);
    assert_eq!(script.at(14.5, LifeInput::Tick), []);
    assert_eq!(script.life.state(), LifeState::Unkillable);
    assert_eq!(script.dies(100.0), LifeState::Stopped);
}

#[test]
fn a_stop_in_a_hurry_fits_its_steps_into_the_time() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    script.life.hurry(seconds(4), script.start);
    assert_eq!(script.at(0.0, LifeInput::Stop), [LifeAction::Ask(Duration::from_millis(2800))]);
    assert_eq!(script.at(3.0, LifeInput::Tick), [LifeAction::Terminate]);
    assert_eq!(script.at(3.5, LifeInput::Tick), [LifeAction::Kill]);
}

#[test]
fn a_stop_under_way_is_hurried_too() {
    let mut script = Script::new(LifeLimits { stop_grace: seconds(100), ..LifeLimits::default() });
    script.ready(0.0);
    assert_eq!(script.at(0.0, LifeInput::Restart), [LifeAction::Ask(seconds(100))]);
    script.life.hurry(seconds(4), script.start + seconds(1));
    assert_eq!(script.at(1.0, LifeInput::Stop), []);
    assert_eq!(script.at(4.0, LifeInput::Tick), [LifeAction::Terminate]);
    assert_eq!(script.at(4.5, LifeInput::Tick), [LifeAction::Kill]);
    assert_eq!(script.dies(4.6), LifeState::Stopped);
}

#[test]
fn a_worker_that_closed_its_control_socket_is_replaced() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    assert_eq!(script.at(1.0, LifeInput::ControlLost), [LifeAction::Terminate]);
    assert_eq!(script.at(1.1, LifeInput::ControlLost), []);
    assert_eq!(script.dies(1.2), LifeState::Backoff);
    assert_eq!(script.why(), Some((FailureKind::Died, "closed its control socket")));
}

#[test]
fn a_script_that_loads_slowly_keeps_no_slot() {
    let mut script = Script::new(LifeLimits::default());
    script.at(0.0, LifeInput::Slot);
    script.at(1.0, LifeInput::Hello);
    assert!(script.life.is_starting(script.start + seconds(2)));
    assert!(!script.life.is_starting(script.start + seconds(3)));
}

#[test]
fn a_silent_run_is_dumped_and_ended_and_a_talking_one_is_not() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    script.at(0.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(9.0, LifeInput::Tick), []);
    script.at(10.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue);
    script.at(200.0, LifeInput::Activity);
    assert_eq!(script.at(499.0, LifeInput::Tick), []);
    assert_eq!(script.at(500.0, LifeInput::Tick), [LifeAction::Dump]);
    assert_eq!(script.why(), Some((FailureKind::Hung, "hung: no sign of life for 5 min")));
    assert_eq!(script.at(500.8, LifeInput::Tick), [LifeAction::Ask(seconds(5))]);
}

#[test]
fn run_timeout_counts_wall_time() {
    let mut script = Script::new(LifeLimits { run_timeout: Some(seconds(3)), ..LifeLimits::default() });
    script.ready(0.0);
    script.at(0.0, LifeInput::RunBegan(0));
    script.at(2.9, LifeInput::Activity);
    assert_eq!(script.at(3.0, LifeInput::Tick), [LifeAction::Dump]);
}

#[test]
fn a_held_loop_makes_nobody_late() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    script.at(0.0, LifeInput::RunBegan(0));
    script.at(3600.0, LifeInput::Held(seconds(3599)));
    assert_eq!(script.at(3600.0, LifeInput::Tick), []);
    assert_eq!(script.life.state(), LifeState::Running);
}

#[test]
fn backoff_doubles_and_is_spread() {
    let mut script = Script::new(LifeLimits { trip_score: 100.0, ..LifeLimits::default() });
    let mut now = 0.0;
    for exponent in 0..8 {
        script.at(now, LifeInput::Slot);
        script.dies(now);
        let pause = script.life.next().unwrap().at - (script.start + Duration::from_secs_f64(now));
        let full = 2_f64.powi(exponent).min(60.0);
        assert!((full * 0.5..=full).contains(&pause.as_secs_f64()), "{exponent}: {pause:?}");
        now += 61.0;
        script.at(now, LifeInput::Tick);
        assert_eq!(script.life.state(), LifeState::Waiting);
    }
}

#[test]
fn a_crash_loop_trips_the_breaker_and_one_good_run_closes_it() {
    let mut script = Script::new(LifeLimits::default());
    let mut starts = 0;
    let mut now = 0.0;
    while script.life.state() != LifeState::Tripped {
        starts += 1;
        script.at(now, LifeInput::Slot);
        script.dies(now);
        now += if script.life.state() == LifeState::Backoff { 60.0 } else { 0.0 };
        script.at(now, LifeInput::Tick);
        assert!(starts < 30, "it never trips");
    }
    assert!((6..=12).contains(&starts), "{starts}");
    let tripped = now;
    script.at(now + 601.0, LifeInput::Tick);
    script.ready(now + 601.0);
    script.dies(now + 602.0);
    assert_eq!(script.life.state(), LifeState::Tripped, "half-open: one failure opens it again, for longer");
    assert!(script.life.next().unwrap().at > script.start + Duration::from_secs_f64(tripped + 602.0 + 1100.0));
    now += 602.0 + 1201.0;
    script.at(now, LifeInput::Tick);
    script.ready(now);
    script.at(now, LifeInput::RunBegan(0));
    script.at(now, LifeInput::RunEnded { job: 0, ok: true });
    assert_eq!(script.why(), None);
    assert_eq!(script.dies(now + 100.0), LifeState::Backoff);
}

#[test]
fn a_long_good_life_wipes_the_backoff_out() {
    let mut script = Script::new(LifeLimits { trip_score: 100.0, ..LifeLimits::default() });
    for _ in 0..5 {
        script.at(0.0, LifeInput::Slot);
        script.dies(0.0);
        script.at(60.0, LifeInput::Tick);
    }
    script.ready(100.0);
    script.at(100.0, LifeInput::RunBegan(0));
    script.at(101.0, LifeInput::RunEnded { job: 0, ok: true });
    script.dies(161.0);
    assert!(script.life.next().unwrap().at <= script.start + seconds(162));
}

#[test]
fn a_spawn_or_load_that_takes_too_long_is_ended() {
    let mut script = Script::new(LifeLimits::default());
    script.at(0.0, LifeInput::Slot);
    script.at(1.0, LifeInput::Spawned);
    assert_eq!(script.at(11.0, LifeInput::Tick), [LifeAction::Kill]);
    assert_eq!(script.at(11.1, LifeInput::Exited { why: "killed".to_owned(), clean: false }), []);
    assert_eq!(script.why(), Some((FailureKind::NotStarted, "did not start within 10 s")));
    let mut script = Script::new(LifeLimits::default());
    script.at(0.0, LifeInput::Slot);
    script.at(1.0, LifeInput::Hello);
    assert_eq!(script.at(30.9, LifeInput::Tick), []);
    assert_eq!(script.at(31.0, LifeInput::Tick), [LifeAction::Dump]);
    assert_eq!(script.why(), Some((FailureKind::NotLoaded, "was still loading after 30 s")));
}

// --- jobs that come and go ---
