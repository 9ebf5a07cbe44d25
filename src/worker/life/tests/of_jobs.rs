//! Jobs that come, wait, pause and go.

use super::*;

#[test]
fn jobs_may_come_at_any_time_and_each_has_the_interval_that_it_said_last() {
    let mut script = Script::new(LifeLimits::default());
    assert_eq!(script.at(0.0, jobs(&[(0, 10)])), [], "there is no process");
    script.at(0.0, LifeInput::Slot);
    script.at(0.0, jobs(&[(7, 100)]));
    script.at(0.0, LifeInput::Hello);
    script.at(0.0, jobs(&[(3, 20)]));
    script.at(0.0, LifeInput::Ready);
    script.at(1.0, LifeInput::RunBegan(7));
    script.at(100.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Running, "it may last as long as its interval");
    script.at(101.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue);
    script.at(102.0, LifeInput::RunEnded { job: 7, ok: true });
    script.at(102.0, jobs(&[(7, 200)]));
    script.at(103.0, LifeInput::RunBegan(7));
    script.at(302.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Running);
}

#[test]
fn the_jobs_of_one_incarnation_are_not_those_of_the_next() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).dies(1.0);
    script.at(60.0, LifeInput::Tick);
    script.at(60.0, LifeInput::Slot);
    script.at(60.0, LifeInput::Hello);
    script.at(60.0, LifeInput::Ready);
    assert_eq!(script.at(9999.0, LifeInput::Tick), []);
    assert_eq!(script.life.state(), LifeState::Idle);
}

#[test]
fn a_job_that_goes_in_its_run_is_forgotten_as_running() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(1.0, LifeInput::RunBegan(0));
    script.at(11.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue);
    script.at(12.0, gone(&[0]));
    assert_eq!((script.life.state(), script.life.longest_run()), (LifeState::Idle, None));
    script.at(13.0, jobs(&[(1, 10), (2, 10)]));
    script.at(13.0, LifeInput::RunBegan(1));
    script.at(13.0, LifeInput::RunBegan(2));
    script.at(14.0, gone(&[1]));
    assert_eq!(script.life.state(), LifeState::Running, "the other one runs on");
    assert_eq!(
        script.at(313.0, LifeInput::RunEnded { job: 1, ok: true }),
        [],
        "its end comes late and changes nothing"
    );
    assert_eq!(script.life.longest_run().map(|(job, _)| job), Some(2));
}

#[test]
fn the_last_run_that_goes_with_its_job_lets_a_replacement_begin() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(1.0, LifeInput::RunBegan(0));
    assert_eq!(script.at(2.0, LifeInput::TooLarge { why: "memory_max: too much".to_owned() }), []);
    assert_eq!(script.at(3.0, gone(&[0])), [LifeAction::Ask(seconds(5))]);
    assert_eq!(script.at(4.0, jobs(&[(0, 10)])), [], "it is noted while it stops");
    assert_eq!(script.life.state(), LifeState::Stopping(StopStep::Ask));
}

#[test]
fn a_worker_in_which_no_job_is_due_misses_no_run() {
    let none = |script: &mut Script| script.at(0.0, gone(&[0]));
    let all_wait = |script: &mut Script| script.at(0.0, LifeInput::JobWaits(0));
    for without in [none as fn(&mut Script) -> Vec<LifeAction>, all_wait] {
        let mut script = Script::new(LifeLimits::default());
        script.ready(0.0);
        without(&mut script);
        assert_eq!(script.at(9999.0, LifeInput::Tick), []);
        assert_eq!(script.life.state(), LifeState::Idle);
    }
}

#[test]
fn a_job_that_waits_is_due_again_from_its_check_on() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(0.0, LifeInput::JobWaits(0));
    script.at(5.0, jobs(&[(0, 20)]));
    script.at(1000.0, LifeInput::JobReady(0));
    script.at(1059.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Idle);
    script.at(1060.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue, "no run began for three intervals");
    script.at(1061.0, LifeInput::JobWaits(0));
    assert_eq!(script.life.state(), LifeState::Idle, "it waits again");
    script.at(1062.0, LifeInput::JobReady(4));
    assert_eq!(script.at(9999.0, LifeInput::Tick), [], "a worker may claim any number");
}

#[test]
fn a_worker_whose_last_due_job_goes_is_overdue_no_longer() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(0.0, jobs(&[(1, 10)]));
    script.at(60.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue);
    script.at(61.0, gone(&[1]));
    assert_eq!(script.life.state(), LifeState::Overdue, "the other one is due");
    script.at(62.0, gone(&[0]));
    assert_eq!(script.life.state(), LifeState::Idle);
}

#[test]
fn a_pause_that_a_run_asked_for_is_no_silence() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(0.0, LifeInput::RunBegan(0));
    script.at(1.0, LifeInput::RunEnded { job: 0, ok: false });
    script.at(1.0, LifeInput::NextRun(0, seconds(3600)));
    assert_eq!(script.at(3600.0, LifeInput::Tick), []);
    assert_eq!(script.life.state(), LifeState::Idle);
    script.at(3651.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue, "now it should have begun");
    script.at(3652.0, LifeInput::RunBegan(0));
    script.at(3653.0, LifeInput::RunEnded { job: 0, ok: true });
    script.at(3713.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Overdue, "the pause was for one run");
}

#[test]
fn numbers_out_of_all_bounds_are_taken_as_they_are() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    let set = vec![(usize::MAX, Duration::MAX), (0, Duration::ZERO)];
    script.at(1.0, LifeInput::Jobs { set, gone: vec![usize::MAX - 1] });
    script.at(1.0, LifeInput::NextRun(usize::MAX, Duration::MAX));
    script.at(2.0, LifeInput::RunBegan(usize::MAX));
    script.at(9999.0, LifeInput::Tick);
    assert_eq!((script.life.state(), script.life.next()), (LifeState::Running, None));
    script.at(9999.0, LifeInput::RunEnded { job: usize::MAX, ok: false });
    script.at(10_058.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Idle);
}

#[test]
fn a_worker_with_nothing_to_do_for_a_while_has_no_process_and_comes_back_without_a_failure() {
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0);
    let until = script.start + seconds(60);
    assert!(script.at(1.0, LifeInput::Rest(until)).is_empty(), "a job is due");
    script.at(1.0, LifeInput::JobWaits(0));
    assert_eq!(script.at(1.0, LifeInput::Rest(until)), [LifeAction::Ask(seconds(5))]);
    assert!(script.life.goes_to_rest());
    script.at(1.2, exited());
    assert_eq!((script.life.state(), script.life.failure(), script.life.restarts()), (LifeState::Resting, None, 0));
    assert_eq!(script.life.next().map(|next| (next.what, next.at)), Some(("check", until)));
    script.at(59.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Resting);
    script.at(60.0, LifeInput::Tick);
    assert_eq!(script.life.state(), LifeState::Waiting);
    // Somebody asks while it is about to end.
    let mut asked = Script::new(LifeLimits::default());
    asked.ready(0.0).at(1.0, LifeInput::JobWaits(0));
    asked.at(1.0, LifeInput::Rest(until));
    asked.at(1.1, LifeInput::Changed);
    asked.at(1.2, exited());
    asked.at(1.3, LifeInput::Tick);
    assert_eq!(asked.life.state(), LifeState::Waiting);
    // Somebody asks, or a file changes.
    for input in [LifeInput::Changed, LifeInput::Restart] {
        let mut script = Script::new(LifeLimits::default());
        script.ready(0.0).at(1.0, LifeInput::JobWaits(0));
        script.at(1.0, LifeInput::Rest(until));
        script.at(1.2, exited());
        script.at(2.0, input);
        assert_eq!(script.life.state(), LifeState::Waiting);
    }
    let mut script = Script::new(LifeLimits::default());
    script.ready(0.0).at(1.0, LifeInput::JobWaits(0));
    script.at(1.0, LifeInput::Rest(until));
    script.at(1.1, LifeInput::Stop);
    script.at(1.2, exited());
    assert_eq!(script.life.state(), LifeState::Stopped, "a stop is one");
}
