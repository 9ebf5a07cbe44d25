//! The words of the machine: its states, what goes in, and what comes out.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    /// For a start slot.
    Waiting,
    Spawning,
    Loading,
    Idle,
    Running,
    /// In a run that lasts longer than it should, or without a run for longer than it should.
    Overdue,
    Stopping(StopStep),
    /// All its jobs wait for a check that is a while off: its process has ended, and starts again for that.
    Resting,
    Backoff,
    /// Cannot run until somebody changes something.
    Blocked,
    /// The breaker is open after too many failures.
    Tripped,
    /// KILL had no effect; no new copy while this one lives.
    Unkillable,
    /// It ended by itself, and the settings say to leave it so.
    Ended,
    Stopped,
}

/// How far a stop has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep {
    Dump,
    Ask,
    Term,
    Kill,
}

/// What kind of failure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// There is no process to be had.
    NotStarted,
    /// The unit could not be loaded.
    NotLoaded,
    Hung,
    /// The process ended by itself.
    Died,
}

/// A failure in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureText {
    pub fault: FailureKind,
    pub why: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum LifeInput {
    /// There is room to start.
    Slot,
    /// There is a process now.
    Spawned,
    NotSpawned {
        why: String,
        permanent: bool,
    },
    Hello,
    /// Loaded.
    Ready,
    /// Jobs that came or have another interval now, and jobs that went; at any time while there is a process.
    Jobs {
        set: Vec<(usize, Duration)>,
        gone: Vec<usize>,
    },
    /// The job waits for its check: no run of it can be missed.
    JobWaits(usize),
    /// All jobs wait for their check, and the first of them is due then.
    Rest(Instant),
    /// Its check went well: it runs from now on.
    JobReady(usize),
    /// The next run of the job is so far off, whatever its interval.
    NextRun(usize, Duration),
    RunBegan(usize),
    RunEnded {
        job: usize,
        ok: bool,
    },
    /// A report, a line of output: it lives.
    Activity,
    /// The unit cannot run; the process ends by itself.
    Fatal {
        why: String,
        permanent: bool,
    },
    /// The process lives, but its control socket is closed: nothing more will be heard of it.
    ControlLost,
    /// The process is gone, and what it left behind too.
    Exited {
        why: String,
        /// With exit code 0, of its own accord.
        clean: bool,
    },
    /// It uses more memory than it may: it is to be replaced after its run.
    TooLarge {
        why: String,
    },
    /// It ends itself, for something in it that can be ended in no other way, and wants to be replaced at once.
    Leaves {
        why: String,
    },
    Tick,
    /// The loop itself was held up (suspend, SIGSTOP): nobody else is late.
    Held(Duration),
    Stop,
    Restart,
    /// The unit's file changed, or somebody wants it tried now.
    Changed,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeAction {
    Spawn,
    /// Have the stacks written.
    Dump,
    /// Send the stop frame; the run may end within this time.
    Ask(Duration),
    Terminate,
    /// End the whole tree.
    Kill,
}

/// What follows by itself, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub what: &'static str,
    pub at: Instant,
}
