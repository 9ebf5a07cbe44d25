//! Jobs that come, wait, pause and go.

use super::*;

#[test]
fn jobs_may_come_at_any_time_and_each_has_the_interval_that_it_said_last() {
    let mut script = Script::new(Limits::default());
    assert_eq!(script.at(0.0, jobs(&[(0, 10)])), [], "there is no process");
    script.at(0.0, Input::Slot);
    script.at(0.0, jobs(&[(7, 100)]));
    script.at(0.0, Input::Hello);
    script.at(0.0, jobs(&[(3, 20)]));
    script.at(0.0, Input::Ready);
    script.at(1.0, Input::RunBegan(7));
    script.at(100.0, Input::Tick);
    assert_eq!(script.life.state(), State::Running, "it may last as long as its interval");
    script.at(101.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue);
    script.at(102.0, Input::RunEnded { job: 7, ok: true });
    script.at(102.0, jobs(&[(7, 200)]));
    script.at(103.0, Input::RunBegan(7));
    script.at(302.0, Input::Tick);
    assert_eq!(script.life.state(), State::Running);
}

#[test]
fn the_jobs_of_one_incarnation_are_not_those_of_the_next() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).dies(1.0);
    script.at(60.0, Input::Tick);
    script.at(60.0, Input::Slot);
    script.at(60.0, Input::Hello);
    script.at(60.0, Input::Ready);
    assert_eq!(script.at(9999.0, Input::Tick), []);
    assert_eq!(script.life.state(), State::Idle);
}

#[test]
fn a_job_that_goes_in_its_run_is_forgotten_as_running() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(1.0, Input::RunBegan(0));
    script.at(11.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue);
    script.at(12.0, gone(&[0]));
    assert_eq!((script.life.state(), script.life.longest_run()), (State::Idle, None));
    script.at(13.0, jobs(&[(1, 10), (2, 10)]));
    script.at(13.0, Input::RunBegan(1));
    script.at(13.0, Input::RunBegan(2));
    script.at(14.0, gone(&[1]));
    assert_eq!(script.life.state(), State::Running, "the other one runs on");
    assert_eq!(script.at(313.0, Input::RunEnded { job: 1, ok: true }), [], "its end comes late and changes nothing");
    assert_eq!(script.life.longest_run().map(|(job, _)| job), Some(2));
}

#[test]
fn the_last_run_that_goes_with_its_job_lets_a_replacement_begin() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(1.0, Input::RunBegan(0));
    assert_eq!(script.at(2.0, Input::TooLarge { why: "memory_max: too much".to_owned() }), []);
    assert_eq!(script.at(3.0, gone(&[0])), [Order::Ask(seconds(5))]);
    assert_eq!(script.at(4.0, jobs(&[(0, 10)])), [], "it is noted while it stops");
    assert_eq!(script.life.state(), State::Stopping(Step::Ask));
}

#[test]
fn a_worker_in_which_no_job_is_due_misses_no_run() {
    let none = |script: &mut Script| script.at(0.0, gone(&[0]));
    let all_wait = |script: &mut Script| script.at(0.0, Input::JobWaits(0));
    for without in [none as fn(&mut Script) -> Vec<Order>, all_wait] {
        let mut script = Script::new(Limits::default());
        script.ready(0.0);
        without(&mut script);
        assert_eq!(script.at(9999.0, Input::Tick), []);
        assert_eq!(script.life.state(), State::Idle);
    }
}

#[test]
fn a_job_that_waits_is_due_again_from_its_check_on() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(0.0, Input::JobWaits(0));
    script.at(5.0, jobs(&[(0, 20)]));
    script.at(1000.0, Input::JobReady(0));
    script.at(1059.0, Input::Tick);
    assert_eq!(script.life.state(), State::Idle);
    script.at(1060.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue, "no run began for three intervals");
    script.at(1061.0, Input::JobWaits(0));
    assert_eq!(script.life.state(), State::Idle, "it waits again");
    script.at(1062.0, Input::JobReady(4));
    assert_eq!(script.at(9999.0, Input::Tick), [], "a worker may claim any number");
}

#[test]
fn a_worker_whose_last_due_job_goes_is_overdue_no_longer() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(0.0, jobs(&[(1, 10)]));
    script.at(60.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue);
    script.at(61.0, gone(&[1]));
    assert_eq!(script.life.state(), State::Overdue, "the other one is due");
    script.at(62.0, gone(&[0]));
    assert_eq!(script.life.state(), State::Idle);
}

#[test]
fn a_pause_that_a_run_asked_for_is_no_silence() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(0.0, Input::RunBegan(0));
    script.at(1.0, Input::RunEnded { job: 0, ok: false });
    script.at(1.0, Input::NextRun(0, seconds(3600)));
    assert_eq!(script.at(3600.0, Input::Tick), []);
    assert_eq!(script.life.state(), State::Idle);
    script.at(3651.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue, "now it should have begun");
    script.at(3652.0, Input::RunBegan(0));
    script.at(3653.0, Input::RunEnded { job: 0, ok: true });
    script.at(3713.0, Input::Tick);
    assert_eq!(script.life.state(), State::Overdue, "the pause was for one run");
}

#[test]
fn numbers_out_of_all_bounds_are_taken_as_they_are() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    let set = vec![(usize::MAX, Duration::MAX), (0, Duration::ZERO)];
    script.at(1.0, Input::Jobs { set, gone: vec![usize::MAX - 1] });
    script.at(1.0, Input::NextRun(usize::MAX, Duration::MAX));
    script.at(2.0, Input::RunBegan(usize::MAX));
    script.at(9999.0, Input::Tick);
    assert_eq!((script.life.state(), script.life.next()), (State::Running, None));
    script.at(9999.0, Input::RunEnded { job: usize::MAX, ok: false });
    script.at(10_058.0, Input::Tick);
    assert_eq!(script.life.state(), State::Idle);
}

#[test]
fn a_worker_with_nothing_to_do_for_a_while_has_no_process_and_comes_back_without_a_failure() {
    let mut script = Script::new(Limits::default());
    script.ready(0.0);
    let until = script.start + seconds(60);
    assert!(script.at(1.0, Input::Rest(until)).is_empty(), "a job is due");
    script.at(1.0, Input::JobWaits(0));
    assert_eq!(script.at(1.0, Input::Rest(until)), [Order::Ask(seconds(5))]);
    assert!(script.life.goes_to_rest());
    script.at(1.2, exited());
    assert_eq!((script.life.state(), script.life.failure(), script.life.restarts()), (State::Resting, None, 0));
    assert_eq!(script.life.next().map(|next| (next.what, next.at)), Some(("check", until)));
    script.at(59.0, Input::Tick);
    assert_eq!(script.life.state(), State::Resting);
    script.at(60.0, Input::Tick);
    assert_eq!(script.life.state(), State::Waiting);
    // Somebody asks while it is about to end.
    let mut asked = Script::new(Limits::default());
    asked.ready(0.0).at(1.0, Input::JobWaits(0));
    asked.at(1.0, Input::Rest(until));
    asked.at(1.1, Input::Changed);
    asked.at(1.2, exited());
    asked.at(1.3, Input::Tick);
    assert_eq!(asked.life.state(), State::Waiting);
    // Somebody asks, or a file changes.
    for input in [Input::Changed, Input::Restart] {
        let mut script = Script::new(Limits::default());
        script.ready(0.0).at(1.0, Input::JobWaits(0));
        script.at(1.0, Input::Rest(until));
        script.at(1.2, exited());
        script.at(2.0, input);
        assert_eq!(script.life.state(), State::Waiting);
    }
    let mut script = Script::new(Limits::default());
    script.ready(0.0).at(1.0, Input::JobWaits(0));
    script.at(1.0, Input::Rest(until));
    script.at(1.1, Input::Stop);
    script.at(1.2, exited());
    assert_eq!(script.life.state(), State::Stopped, "a stop is one");
}
