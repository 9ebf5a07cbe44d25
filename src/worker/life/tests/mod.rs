//! Promises of the machine.

mod of_jobs;

use std::time::{Duration, Instant};

use super::{Fault, Input, Life, Limits, Order, State, Step};
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
    fn new(limits: Limits) -> Self {
        let start = Instant::now();
        Self { life: Life::new(limits, 7, start), start }
    }

    fn at(&mut self, after: f64, input: Input) -> Vec<Order> {
        self.life.step(self.start + Duration::from_secs_f64(after), input)
    }

    /// Brings it from Waiting to Idle at `after`.
    fn ready(&mut self, after: f64) -> &mut Self {
        assert_eq!(self.at(after, Input::Slot), [Order::Spawn]);
        self.at(after, Input::Hello);
        self.at(after, jobs(&[(0, 10)]));
        self.at(after, Input::Ready);
        assert_eq!(self.life.state(), State::Idle);
        self
    }

    fn why(&self) -> Option<(Fault, &str)> {
        self.life.failure().map(|failure| (failure.fault, failure.why.as_str()))
    }

    fn dies(&mut self, after: f64) -> State {
        self.at(after, exited());
        self.life.state()
    }
}

/// Jobs by their numbers, with their intervals in seconds.
fn jobs(set: &[(usize, u64)]) -> Input {
    Input::Jobs { set: set.iter().map(|(job, every)| (*job, seconds(*every))).collect(), gone: Vec::new() }
}

fn gone(gone: &[usize]) -> Input {
    Input::Jobs { set: Vec::new(), gone: gone.to_vec() }
}

fn exited() -> Input {
    Input::Exited { why: "exited with code 1".to_owned(), clean: false }
}

#[test]
fn each_input_leads_where_the_table_says() {
    let table: &[(&[Input], State)] = &[
        (&[], State::Waiting),
        (&[Input::Slot], State::Spawning),
        (&[Input::Slot, Input::Hello], State::Loading),
        (&[Input::Slot, Input::Hello, Input::Ready], State::Idle),
        (&[Input::Slot, Input::Hello, Input::Ready, Input::RunBegan(0)], State::Running),
        (
            &[Input::Slot, Input::Hello, Input::Ready, Input::RunBegan(0), Input::RunEnded { job: 0, ok: false }],
            State::Idle,
        ),
        (
            &[
                Input::Slot,
                Input::Hello,
                Input::Ready,
                Input::RunBegan(0),
                Input::RunBegan(1),
                Input::RunEnded { job: 0, ok: true },
            ],
            State::Running,
        ),
        (&[Input::Slot, Input::NotSpawned { why: String::new(), permanent: true }], State::Blocked),
        (&[Input::Slot, Input::NotSpawned { why: String::new(), permanent: false }], State::Backoff),
        (&[Input::Slot, Input::Hello, Input::Fatal { why: String::new(), permanent: true }, exited()], State::Blocked),
        (&[Input::Slot, Input::Hello, Input::Fatal { why: String::new(), permanent: false }, exited()], State::Backoff),
        (&[Input::Slot, Input::Hello, exited()], State::Backoff),
        (&[Input::Slot, Input::Hello, exited(), Input::Changed], State::Waiting),
        (&[Input::Slot, Input::Hello, exited(), Input::Stop], State::Stopped),
        (&[Input::Slot, Input::Stop], State::Stopping(Step::Kill)),
        (&[Input::Slot, Input::Hello, Input::Stop], State::Stopping(Step::Ask)),
        (&[Input::Slot, Input::Hello, Input::Stop, exited()], State::Stopped),
        (&[Input::Slot, Input::Hello, Input::Restart, exited()], State::Waiting),
        (&[Input::Slot, Input::Hello, Input::Restart, Input::Stop, exited()], State::Stopped),
        (&[Input::Stop], State::Stopped),
        (&[Input::Stop, Input::Slot], State::Stopped),
        (&[Input::Stop, Input::Restart], State::Waiting),
        (&[Input::Hello, Input::Ready, Input::Changed, Input::Tick], State::Waiting),
    ];
    for (inputs, state) in table {
        let mut script = Script::new(Limits::default());
        for input in *inputs {
            script.at(0.0, input.clone());
        }
        assert_eq!(script.life.state(), *state, "{inputs:?}");
    }
}

/// One row per way out of a state: how to get there, what happens, what is ordered, where it leads.
#[test]
fn every_way_out_of_every_state_is_as_the_design_says() {
    use Input::{Changed, ControlLost, Hello, Ready, Restart, RunBegan, Slot, Spawned, Stop, Tick};
    let failed = |why: &str| Input::NotSpawned { why: why.to_owned(), permanent: false };
    let blocked = || Input::NotSpawned { why: "no".to_owned(), permanent: true };
    let ended = |job| Input::RunEnded { job, ok: true };
    let idle = || vec![(0.0, Slot), (0.0, Hello), (0.0, jobs(&[(0, 10)])), (0.0, Ready)];
    let with = |mut steps: Vec<(f64, Input)>, more: Vec<(f64, Input)>| {
        steps.extend(more);
        steps
    };
    let killing = || with(idle(), vec![(1.0, Stop), (6.3, Tick), (9.4, Tick)]);
    let ask = Order::Ask(seconds(5));
    type Row = (&'static str, Vec<(f64, Input)>, Vec<Order>, State);
    #[rustfmt::skip]
    let table: Vec<Row> = vec![
        ("waiting: a slot", vec![(0.0, Slot)], vec![Order::Spawn], State::Spawning),
        ("spawning: hello", vec![(0.0, Slot), (1.0, Hello)], vec![], State::Loading),
        ("spawning: no process for now", vec![(0.0, Slot), (0.0, failed("EAGAIN"))], vec![], State::Backoff),
        ("spawning: no process ever", vec![(0.0, Slot), (0.0, blocked())], vec![], State::Blocked),
        ("spawning: too long", vec![(0.0, Slot), (9.0, Spawned), (18.0, Tick), (19.0, Tick)], vec![Order::Kill], State::Stopping(Step::Kill)),
        ("spawning: no process for long", vec![(0.0, Slot), (59.0, Tick), (60.0, Tick)], vec![Order::Kill], State::Stopping(Step::Kill)),
        ("spawning: given up, and then there is a process", vec![(0.0, Slot), (60.0, Tick), (66.0, Tick), (67.0, Spawned)], vec![Order::Kill], State::Stopping(Step::Kill)),
        ("spawning: stopped before there is a process", vec![(0.0, Slot), (1.0, Stop), (2.0, Spawned)], vec![Order::Kill], State::Stopping(Step::Kill)),
        ("loading: ready", idle(), vec![], State::Idle),
        ("loading: too long", vec![(0.0, Slot), (0.0, Hello), (30.0, Tick)], vec![Order::Dump], State::Stopping(Step::Dump)),
        ("loading: fatal, and it ends", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (0.1, exited())], vec![], State::Blocked),
        ("loading: fatal, and it stays", vec![(0.0, Slot), (0.0, Hello), (0.0, fatal()), (3.0, Tick)], vec![Order::Kill], State::Stopping(Step::Kill)),
        ("loading: dies", vec![(0.0, Slot), (0.0, Hello), (0.1, exited())], vec![], State::Backoff),
        ("idle: a run", with(idle(), vec![(1.0, RunBegan(0))]), vec![], State::Running),
        ("idle: no run for long", with(idle(), vec![(60.0, Tick)]), vec![], State::Overdue),
        ("idle: no run for very long", with(idle(), vec![(60.0, Tick), (310.0, Tick)]), vec![Order::Dump], State::Stopping(Step::Dump)),
        ("idle: dies", with(idle(), vec![(1.0, exited())]), vec![], State::Backoff),
        ("idle: control lost", with(idle(), vec![(1.0, ControlLost)]), vec![Order::Terminate], State::Stopping(Step::Term)),
        ("running: done", with(idle(), vec![(1.0, RunBegan(0)), (2.0, ended(0))]), vec![], State::Idle),
        ("running: long", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick)]), vec![], State::Overdue),
        ("overdue: done", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (12.0, ended(0))]), vec![], State::Idle),
        ("overdue: silent", with(idle(), vec![(1.0, RunBegan(0)), (11.0, Tick), (301.0, Tick)]), vec![Order::Dump], State::Stopping(Step::Dump)),
        ("overdue without a run: a run", with(idle(), vec![(60.0, Tick), (61.0, RunBegan(0))]), vec![], State::Running),
        ("stopping: dumped", with(idle(), vec![(1.0, RunBegan(0)), (301.0, Tick), (301.8, Tick)]), vec![ask], State::Stopping(Step::Ask)),
        ("stopping: asked in vain", with(idle(), vec![(1.0, Stop), (6.3, Tick)]), vec![Order::Terminate], State::Stopping(Step::Term)),
        ("stopping: TERM in vain", killing(), vec![Order::Kill], State::Stopping(Step::Kill)),
        ("stopping: KILL in vain", with(killing(), vec![(14.5, Tick)]), vec![], State::Unkillable),
        ("stopping: ends", with(killing(), vec![(9.5, exited())]), vec![], State::Stopped),
        ("unkillable: no new copy", with(killing(), vec![(14.5, Tick), (15.0, Slot)]), vec![], State::Unkillable),
        ("unkillable: KILL again", with(killing(), vec![(14.5, Tick), (44.5, Tick)]), vec![Order::Kill], State::Unkillable),
        ("unkillable: ends at last", with(killing(), vec![(14.5, Tick), (99.0, exited())]), vec![], State::Stopped),
        ("backoff: due", vec![(0.0, Slot), (0.0, exited()), (1.0, Tick)], vec![], State::Waiting),
        ("backoff: changed", vec![(0.0, Slot), (0.0, exited()), (0.0, Changed)], vec![], State::Waiting),
        ("blocked: stays", vec![(0.0, Slot), (0.0, blocked()), (299.0, Tick)], vec![], State::Blocked),
        ("blocked: probe", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick)], vec![], State::Waiting),
        ("blocked: changed", vec![(0.0, Slot), (0.0, blocked()), (1.0, Changed)], vec![], State::Waiting),
        ("blocked: blocked again", vec![(0.0, Slot), (0.0, blocked()), (300.0, Tick), (300.0, Slot), (300.0, blocked())], vec![], State::Blocked),
        ("stopped: started", vec![(0.0, Stop), (1.0, Restart)], vec![], State::Waiting),
        ("restart: ends", with(idle(), vec![(1.0, Restart), (1.1, exited())]), vec![], State::Waiting),
    ];
    for (row, steps, orders, state) in table {
        let mut script = Script::new(Limits::default());
        let mut last = Vec::new();
        for (at, input) in steps {
            last = script.at(at, input);
        }
        assert_eq!((last, script.life.state()), (orders, state), "{row}");
    }
}

fn fatal() -> Input {
    Input::Fatal { why: "no class".to_owned(), permanent: true }
}

#[test]
fn what_ends_by_itself_is_restarted_as_the_settings_say() {
    let clean = || Input::Exited { why: "exited with code 0".to_owned(), clean: true };
    let table = [
        (Restart::Always, clean(), State::Backoff),
        (Restart::Always, exited(), State::Backoff),
        (Restart::OnFailure, clean(), State::Ended),
        (Restart::OnFailure, exited(), State::Backoff),
        (Restart::Never, clean(), State::Ended),
        (Restart::Never, exited(), State::Ended),
    ];
    for (restart, end, state) in table {
        let mut script = Script::new(Limits { restart, ..Limits::default() });
        script.ready(0.0).at(1.0, end.clone());
        assert_eq!(script.life.state(), state, "{restart:?} {end:?}");
        if state == State::Ended {
            assert_eq!(script.at(9999.0, Input::Tick), []);
            assert_eq!(script.life.state(), State::Ended, "it stays so");
            assert_eq!(script.why().is_some(), end == exited(), "only a failure is told as one");
            script.at(9999.0, Input::Changed);
            assert_eq!(script.life.state(), State::Waiting, "a change starts it");
        }
    }
}

#[test]
fn what_is_never_restarted_still_waits_for_the_cure_of_a_load_error_and_obeys_a_restart() {
    let never = || Script::new(Limits { restart: Restart::Never, ..Limits::default() });
    let mut script = never();
    script.at(0.0, Input::Slot);
    script.at(0.0, Input::Hello);
    script.at(0.0, fatal());
    assert_eq!(script.dies(0.1), State::Blocked);
    let mut script = never();
    script.ready(0.0).at(1.0, Input::Restart);
    assert_eq!(script.dies(1.1), State::Waiting);
    let mut script = never();
    script.at(0.0, Input::Slot);
    script.at(0.0, Input::NotSpawned { why: "EAGAIN".to_owned(), permanent: false });
    assert_eq!(script.life.state(), State::Backoff, "nothing has run yet");
}

#[test]
fn a_worker_is_replaced_between_two_runs_when_its_time_is_over() {
    let mut script = Script::new(Limits { max_age: Some(seconds(100)), ..Limits::default() });
    script.ready(0.0);
    script.at(1.0, Input::RunBegan(0));
    assert_eq!(script.at(89.9, Input::RunEnded { job: 0, ok: true }), [], "one tenth earlier at most");
    script.at(90.0, Input::RunBegan(0));
    assert_eq!(script.at(110.1, Input::Tick), [], "not in the middle of a run");
    assert_eq!(script.at(111.0, Input::RunEnded { job: 0, ok: true }), [Order::Ask(seconds(5))]);
    assert!(script.life.recycles_because().unwrap().starts_with("max_age"));
    assert_eq!(script.dies(112.0), State::Waiting);
    assert_eq!((script.why(), script.life.restarts()), (None, 1), "it is no failure");
}

#[test]
fn a_worker_is_replaced_after_its_runs() {
    let mut script = Script::new(Limits { max_runs: Some(3), ..Limits::default() });
    script.ready(0.0);
    for run in 0..2 {
        script.at(f64::from(run), Input::RunBegan(0));
        assert_eq!(script.at(f64::from(run), Input::RunEnded { job: 0, ok: false }), []);
    }
    script.at(3.0, Input::RunBegan(0));
    assert_eq!(script.at(3.0, Input::RunEnded { job: 0, ok: false }), [Order::Ask(seconds(5))]);
    assert_eq!(script.dies(3.1), State::Waiting);
    script.ready(4.0);
    script.at(4.0, Input::RunBegan(0));
    assert_eq!(script.at(4.0, Input::RunEnded { job: 0, ok: true }), [], "the next one counts from the start");
}

#[test]
fn a_worker_that_leaves_to_be_replaced_starts_again_at_once_unless_it_has_hardly_begun() {
    let leaves = || Input::Leaves { why: "a run hangs".to_owned() };
    let mut script = Script::new(Limits::default());
    for round in 0..20 {
        let start = f64::from(round) * 10.0;
        script.ready(start);
        script.at(start, Input::RunBegan(0));
        assert_eq!(script.at(start + 5.0, leaves()), [], "it ends by itself");
        assert_eq!(script.life.recycles_because(), Some("a run hangs"));
        assert_eq!(script.dies(start + 5.1), State::Waiting, "however often: it is no failure");
    }
    script.ready(200.0);
    assert_eq!(script.at(200.5, leaves()), []);
    assert_eq!(script.dies(200.6), State::Backoff);
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    script.at(5.0, leaves());
    assert_eq!(script.at(9.0, Input::Tick), [Order::Terminate], "one that stays all the same is ended");
}

#[test]
fn a_worker_that_is_too_large_is_replaced_after_its_run_and_other_jobs_may_end_theirs() {
    let large = || Input::TooLarge { why: "memory_max: too much".to_owned() };
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    script.at(0.0, Input::RunBegan(0));
    script.at(0.0, Input::RunBegan(1));
    assert_eq!(script.at(1.0, large()), []);
    assert_eq!(script.at(2.0, Input::RunEnded { job: 0, ok: true }), [Order::Ask(seconds(300))]);
    assert_eq!(script.life.state(), State::Stopping(Step::Ask));
    assert_eq!(script.at(100.0, Input::Tick), []);
    script.at(100.0, Input::Stop);
    assert_eq!(script.at(105.3, Input::Tick), [Order::Terminate], "a stop does not wait that long");
    let mut idle = Script::new(Limits::default());
    assert_eq!(idle.ready(0.0).at(1.0, large()), [Order::Ask(seconds(5))]);
}

#[test]
fn a_script_that_starts_slowly_is_given_three_times_as_long() {
    let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
    script.at(0.0, Input::Slot);
    script.at(9.0, Input::Hello);
    script.at(38.0, Input::Ready);
    script.dies(39.0);
    script.at(100.0, Input::Tick);
    script.at(100.0, Input::Slot);
    assert_eq!(script.at(126.9, Input::Tick), []);
    script.at(127.0, Input::Hello);
    assert_eq!(script.at(213.9, Input::Tick), []);
    assert_eq!(script.at(214.0, Input::Tick), [Order::Dump]);
}

#[test]
fn failures_are_the_scripts_and_the_start_grace_is_the_incarnations() {
    let mut script = Script::new(Limits::default());
    for life in 0..3 {
        let at = f64::from(life) * 100.0;
        script.at(at, Input::Slot);
        assert_eq!(script.at(at + 9.9, Input::Tick), [], "each incarnation has its whole time");
        script.dies(at + 9.9);
        script.at(at + 99.0, Input::Tick);
    }
    script.at(300.0, Input::Slot);
    script.dies(300.0);
    let pause = script.life.next().unwrap().at - (script.start + seconds(300));
    assert!(pause >= seconds(4), "the fourth failure in a row waits 8 s, halved at most: {pause:?}");
}

#[test]
fn a_stop_goes_from_asking_to_killing() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    assert_eq!(script.at(1.0, Input::Stop), [Order::Ask(seconds(5))]);
    assert_eq!(script.at(6.0, Input::Tick), []);
    assert_eq!(script.at(6.3, Input::Tick), [Order::Terminate]);
    assert_eq!(script.at(9.4, Input::Tick), [Order::Kill]);
    assert_eq!(script.at(14.5, Input::Tick), []);
    assert_eq!(script.life.state(), State::Unkillable);
    assert_eq!(script.dies(100.0), State::Stopped);
}

#[test]
fn a_stop_in_a_hurry_fits_its_steps_into_the_time() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    script.life.hurry(seconds(4), script.start);
    assert_eq!(script.at(0.0, Input::Stop), [Order::Ask(Duration::from_millis(2800))]);
    assert_eq!(script.at(3.0, Input::Tick), [Order::Terminate]);
    assert_eq!(script.at(3.5, Input::Tick), [Order::Kill]);
}

#[test]
fn a_stop_under_way_is_hurried_too() {
    let mut script = Script::new(Limits { stop_grace: seconds(100), ..Limits::default() });
    script.ready(0.0);
    assert_eq!(script.at(0.0, Input::Restart), [Order::Ask(seconds(100))]);
    script.life.hurry(seconds(4), script.start + seconds(1));
    assert_eq!(script.at(1.0, Input::Stop), []);
    assert_eq!(script.at(4.0, Input::Tick), [Order::Terminate]);
    assert_eq!(script.at(4.5, Input::Tick), [Order::Kill]);
    assert_eq!(script.dies(4.6), State::Stopped);
}

#[test]
fn a_worker_that_closed_its_control_socket_is_replaced() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    assert_eq!(script.at(1.0, Input::ControlLost), [Order::Terminate]);
    assert_eq!(script.at(1.1, Input::ControlLost), []);
    assert_eq!(script.dies(1.2), State::Backoff);
    assert_eq!(script.why(), Some((Fault::Died, "closed its control socket")));
}

#[test]
fn a_script_that_loads_slowly_keeps_no_slot() {
    let mut script = Script::new(Limits::default());
    script.at(0.0, Input::Slot);
    script.at(1.0, Input::Hello);
    assert!(script.life.is_starting(script.start + seconds(2)));
    assert!(!script.life.is_starting(script.start + seconds(3)));
}

#[test]
fn a_silent_run_is_dumped_and_ended_and_a_talking_one_is_not() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    script.at(0.0, Input::RunBegan(0));
    assert_eq!(script.at(9.0, Input::Tick), []);
    script.at(10.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue);
    script.at(200.0, Input::Activity);
    assert_eq!(script.at(499.0, Input::Tick), []);
    assert_eq!(script.at(500.0, Input::Tick), [Order::Dump]);
    assert_eq!(script.why(), Some((Fault::Hung, "hung: no sign of life for 5 min")));
    assert_eq!(script.at(500.8, Input::Tick), [Order::Ask(seconds(5))]);
}

#[test]
fn run_timeout_counts_wall_time() {
    let mut script = Script::new(Limits { run_timeout: Some(seconds(3)), ..Limits::default() });
    script.ready(0.0);
    script.at(0.0, Input::RunBegan(0));
    script.at(2.9, Input::Activity);
    assert_eq!(script.at(3.0, Input::Tick), [Order::Dump]);
}

#[test]
fn a_held_loop_makes_nobody_late() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    script.at(0.0, Input::RunBegan(0));
    script.at(3600.0, Input::Held(seconds(3599)));
    assert_eq!(script.at(3600.0, Input::Tick), []);
    assert_eq!(script.life.state(), State::Running);
}

#[test]
fn backoff_doubles_and_is_spread() {
    let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
    let mut now = 0.0;
    for exponent in 0..8 {
        script.at(now, Input::Slot);
        script.dies(now);
        let pause = script.life.next().unwrap().at - (script.start + Duration::from_secs_f64(now));
        let full = 2_f64.powi(exponent).min(60.0);
        assert!((full * 0.5..=full).contains(&pause.as_secs_f64()), "{exponent}: {pause:?}");
        now += 61.0;
        script.at(now, Input::Tick);
        assert_eq!(script.life.state(), State::Waiting);
    }
}

#[test]
fn a_crash_loop_trips_the_breaker_and_one_good_run_closes_it() {
    let mut script = Script::new(Limits::default());
    let mut starts = 0;
    let mut now = 0.0;
    while script.life.state() != State::Tripped {
        starts += 1;
        script.at(now, Input::Slot);
        script.dies(now);
        now += if script.life.state() == State::Backoff { 60.0 } else { 0.0 };
        script.at(now, Input::Tick);
        assert!(starts < 30, "it never trips");
    }
    assert!((6..=12).contains(&starts), "{starts}");
    let tripped = now;
    script.at(now + 601.0, Input::Tick);
    script.ready(now + 601.0);
    script.dies(now + 602.0);
    assert_eq!(script.life.state(), State::Tripped, "half-open: one failure opens it again, for longer");
    assert!(script.life.next().unwrap().at > script.start + Duration::from_secs_f64(tripped + 602.0 + 1100.0));
    now += 602.0 + 1201.0;
    script.at(now, Input::Tick);
    script.ready(now);
    script.at(now, Input::RunBegan(0));
    script.at(now, Input::RunEnded { job: 0, ok: true });
    assert_eq!(script.why(), None);
    assert_eq!(script.dies(now + 100.0), State::Backoff);
}

#[test]
fn a_long_good_life_wipes_the_backoff_out() {
    let mut script = Script::new(Limits { trip_score: 100.0, ..Limits::default() });
    for _ in 0..5 {
        script.at(0.0, Input::Slot);
        script.dies(0.0);
        script.at(60.0, Input::Tick);
    }
    script.ready(100.0);
    script.at(100.0, Input::RunBegan(0));
    script.at(101.0, Input::RunEnded { job: 0, ok: true });
    script.dies(161.0);
    assert!(script.life.next().unwrap().at <= script.start + seconds(162));
}

#[test]
fn a_spawn_or_load_that_takes_too_long_is_ended() {
    let mut script = Script::new(Limits::default());
    script.at(0.0, Input::Slot);
    script.at(1.0, Input::Spawned);
    assert_eq!(script.at(11.0, Input::Tick), [Order::Kill]);
    assert_eq!(script.at(11.1, Input::Exited { why: "killed".to_owned(), clean: false }), []);
    assert_eq!(script.why(), Some((Fault::NotStarted, "did not start within 10 s")));
    let mut script = Script::new(Limits::default());
    script.at(0.0, Input::Slot);
    script.at(1.0, Input::Hello);
    assert_eq!(script.at(30.9, Input::Tick), []);
    assert_eq!(script.at(31.0, Input::Tick), [Order::Dump]);
    assert_eq!(script.why(), Some((Fault::NotLoaded, "was still loading after 30 s")));
}

// --- jobs that come and go ---
