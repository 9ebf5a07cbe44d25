"""The jobs of a worker: they come, go and change at any time, and each runs on a schedule of its own.

    added → checked → ready → runs on its grid → dropped, or the worker stops (`cancel`) → `stop`
               ↑ └ waiting: again after its time, or when somebody asks
               └── the check raised: a failed run, again after a pause

A job has a thread of its own, in which all of this happens. A job that is alone has the main thread: collectors count
on it (signals, event loops, libraries that are bound to it), and it costs less memory.
"""

from __future__ import annotations

import sys
import threading
import time

from pythond import control, guard, rows, schedule
from pythond.bell import Bell
from pythond.courier import Courier, Parcel
from pythond.dialects import NotRunnable, NotYet
from pythond.host import DEFAULT_INTERVAL, Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Sequence

    from pythond.courier import Agent
    from pythond.dialects import Job
    from pythond.host import UnitHost

    class Process(Protocol):
        """What the jobs need of the process around them; `worker.Worker` is it."""

        def settle(self) -> None:
            """Puts right what the user's code may have left behind."""

        def report_files(self) -> None:
            """Tells the agent which files came into use."""

    class Channel(Protocol):
        """Where frames go; `control.Channel` is it."""

        def send(self, kind: str, **fields: Any) -> bool: ...
        def wait_for_room(self, seconds: float) -> None: ...


_LONGEST_WAIT = 3600.0
_ROOM = 1.0
# Between two runs: longer, and the connection to the agent is closed meanwhile.
_LONG_REST = 4.0
# Jobs of one process run in step, which saves wakes: not with an interval that this would change noticeably.
_LONGEST_IN_STEP = 10.0
# How long `once` waits between two runs of a job that puts rows: a rate needs time.
_LONGEST_STEP = 2.0
_TITLE_BYTES = 400


class Scheduled:
    """A job of this worker, and how it stands."""

    __slots__ = (
        "asked",
        "every",
        "failed_checks",
        "has_ended",
        "host",
        "index",
        "is_awaited",
        "is_dropped",
        "is_ready",
        "job",
        "key",
        "parcel",
        "runs",
        "tally",
        "texts",
        "title",
        "wake",
    )

    def __init__(self, index: int, job: Job, host: UnitHost) -> None:
        self.index = index
        self.job = job
        self.key = str(job.key)
        self.host = host
        # As the agent was told it.
        self.every = schedule.interval_of(job.every, DEFAULT_INTERVAL)
        self.title = str(job.title)
        self.runs = 0
        # In a row.
        self.failed_checks = 0
        self.is_ready = False
        self.is_dropped = False
        self.has_ended = False
        self.asked = False
        self.tally = Tally()
        self.wake = Bell()
        # The rows that the run under way has handed in.
        self.texts: list[str] = []
        # What is being delivered of the run before, and whether the next one waits for that.
        self.parcel: Parcel | None = None
        self.is_awaited = False

    def described(self, next_ms: int = 0) -> dict[str, Any]:
        return {
            "i": self.index,
            "u": self.host.number,
            "key": self.key,
            "title": control.cut(self.title, _TITLE_BYTES),
            "every": self.every,
            "line": self.job.line,
            "next_ms": next_ms,
            **({} if self.job.makes_points else {"silent": True}),
        }


class Jobs:
    """All jobs of this worker, whatever unit they are of."""

    def __init__(self, channel: Channel, process: Process, stopping: threading.Event, phase: float = 0.0) -> None:
        """`stopping` is the worker's; `phase` moves all runs but the first (`schedule.second_due`)."""
        self._channel = channel
        self._process = process
        self._stopping = stopping
        self.phase = phase
        self._lock = threading.Lock()
        self._there: dict[int, Scheduled] = {}
        self._made = 0
        self._untold: list[Scheduled] = []
        self._is_serving = False
        # What the main thread is to run; the bell says that it may look.
        self._main: Scheduled | None = None
        self._main_is_free = False
        self._main_wake = Bell()
        self._threads: list[threading.Thread] = []
        # Where reports of several jobs go, and who takes them there once there are several.
        self.agent: Agent | None = None
        self._courier: Courier | None = None
        # When the grid of several jobs began.
        self._began = time.monotonic()

    # --- from any thread ---

    def add(self, job: Job, host: UnitHost) -> None:
        """Has a job run; until `serve` is called it only waits."""
        with self._lock:
            known = self._there.get(id(job))
            if known is not None:
                known.is_dropped = False
                return
            one = Scheduled(self._made, job, host)
            self._made += 1
            self._there[id(job)] = one
            if not self._is_serving:
                self._untold.append(one)
                return
        self._tell_set([one])
        self._start(one)

    def drop(self, job: Job) -> None:
        """Ends a job after the run in progress."""
        with self._lock:
            one = self._there.get(id(job))
            if one is None:
                return
            one.is_dropped = True
            if (self._is_serving or one.is_ready) and not one.has_ended:
                one.wake.ring()
                return
            del self._there[id(job)]
            was_told = one not in self._untold
            if not was_told:
                self._untold.remove(one)
        if was_told:
            self._channel.send("jobs", set=[], gone=[one.index])

    def drop_of(self, host: UnitHost) -> None:
        """Drops what a unit has added: it could not be loaded after all."""
        for one in self.all():
            if one.host is host:
                self.drop(one.job)

    def forget(self) -> None:
        """Lets go of all jobs, which have ended."""
        self._there.clear()

    def find(self, job: Job | None) -> Scheduled | None:
        return None if job is None else self._there.get(id(job))

    def run_now(self, index: object) -> None:
        """Has a job run at once; where it waits, its check comes before."""
        for one in self.all():
            if one.index == index:
                one.asked = True
                one.wake.ring()

    def recheck(self) -> None:
        """Has all jobs that wait, or whose check failed, check again at once."""
        for one in self.all():
            if not one.is_ready:
                one.asked = True
                one.wake.ring()

    def stop(self) -> None:
        """Has all jobs see that the worker is stopping."""
        for one in self.all():
            one.wake.ring()
        self._main_wake.ring()

    def cancel(self) -> None:
        """Has runs under way end early, as far as they can."""
        for one in self.all():
            guard.run(one.job.cancel, one.host.is_user)

    def all(self) -> list[Scheduled]:
        with self._lock:
            return list(self._there.values())

    def tell(self) -> None:
        """Tells the agent of the jobs that were added while nothing ran yet."""
        with self._lock:
            untold, self._untold = self._untold, []
        self._tell_set(untold)

    def _tell_set(self, some: Sequence[Scheduled]) -> None:
        for piece in control.in_pieces([one.described() for one in some]):
            self._channel.wait_for_room(_ROOM)
            self._channel.send("jobs", set=piece, gone=[])

    # --- on schedule ---

    def serve(self) -> None:
        """Runs the jobs until the stop; the one that is alone in the calling thread, the main one."""
        with self._lock:
            self._is_serving = True
            first = list(self._there.values())
            self._main_is_free = True
        self.tell()
        if len(first) == 1:
            self._start(first[0])
        else:
            for one in first:
                self._start_thread(one)
        while True:
            if self._stopping.is_set():
                break
            with self._lock:
                mine, self._main = self._main, None
                self._main_is_free = mine is None
            if mine is not None:
                self._keep(mine)
            else:
                self._main_wake.wait(_LONGEST_WAIT)
        for thread in self._threads:
            _join(thread)
        if self._courier is not None:
            self._courier.close()

    def _start(self, one: Scheduled) -> None:
        """Gives a job the main thread if it is alone and that is free, else a thread of its own."""
        with self._lock:
            is_alone = len(self._there) == 1
            if is_alone and self._main_is_free:
                self._main, self._main_is_free = one, False
                self._main_wake.ring()
                return
        self._start_thread(one)

    def _start_thread(self, one: Scheduled) -> None:
        name = str(one.job.title) or one.key
        thread = threading.Thread(target=self._keep, args=(one,), name=name, daemon=True)
        with self._lock:
            if self._stopping.is_set():
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            try:
                if self._courier is None and self.agent is not None and len(self._there) > 1:
                    self._courier = Courier(self._channel, self.agent, self._process, self._stopping)
                thread.start()
                self._threads.append(thread)
                return
            except RuntimeError as error:
                one.has_ended = True
                why = f"no thread can be started for it: {error}"
        self._tell_state(one, "stopped", why)

    def _keep(self, one: Scheduled) -> None:
        """Does all that a job does, in its thread."""
        while True:
            if self._becomes_ready(one):
                self._run_on_grid(one)
                self._await_parcel(one)
            with self._lock:
                if self._stopping.is_set():
                    break
                if one.is_dropped:
                    del self._there[id(one.job)]
                    break
        self._end(one)
        if one.is_dropped:
            self._channel.send("jobs", set=[], gone=[one.index])

    def _becomes_ready(self, one: Scheduled) -> bool:
        """Checks a job until that goes well; says whether it did."""
        one.is_ready = False
        due: float | None = time.monotonic()
        while self._wait(one, due):
            pause = self._check(one)
            if one.is_ready:
                return True
            due = None if pause is None else time.monotonic() + pause
        return False

    def _run_on_grid(self, one: Scheduled) -> None:
        start = due = time.monotonic()
        is_moved = False
        while self._wait(one, due):
            courier = self._courier
            outcome, pause = self._run(one)
            if courier is None:
                self._put(one)
            now = time.monotonic()
            changed = self._has_changed(one)
            if pause is not None:
                due = now + pause
            elif is_moved:
                if changed:
                    # The new grid begins at this run: one that doubles its interval waits all of it.
                    start = min(due, now)
                due = schedule.next_due(start, one.every, now)
            elif courier is None or changed or one.every > _LONGEST_IN_STEP:
                # One that has just doubled its interval waits all of it, whatever the others do.
                start = due = schedule.second_due(start, one.every, self.phase, now)
                is_moved = True
            else:
                grid = self._began + schedule.place_in_turn(one.index, one.every)
                start = due = schedule.joined_due(grid, one.every, self.phase, now)
                is_moved = True
            if changed:
                self._channel.send("jobs", set=[one.described(_milliseconds(due - now))], gone=[])
            if courier is None:
                self._report_end(one, outcome, due - now)
            else:
                texts, one.texts = one.texts, []
                courier.take(Parcel(one, texts, outcome, one.host.take(one.tally), due))
            if due - now > _LONG_REST:
                one.host.rest()

    def _wait(self, one: Scheduled, due: float | None) -> bool:
        """Waits until a job is due (None: not by itself) or asked for; says whether to go on, which is not so after a
        stop or where it was dropped."""
        while not self._stopping.is_set() and not one.is_dropped:
            left = _LONGEST_WAIT if due is None else due - time.monotonic()
            if left <= 0 or one.asked:
                if one.parcel is not None:
                    self._await_parcel(one)
                    continue
                one.asked = False
                return True
            one.wake.wait(min(left, _LONGEST_WAIT))
        return False

    def _await_parcel(self, one: Scheduled) -> None:
        """Waits until what the run before has handed in is settled: reports of a job keep their order."""
        one.is_awaited = True
        while one.parcel is not None:
            one.wake.wait(_LONGEST_WAIT)
        one.is_awaited = False

    # --- once ---

    def run_times(self, times: int, only: Sequence[str] = ()) -> None:
        """Runs each job, or those with the keys `only`, so many times in the calling thread, also those that come then.

        With 0 each is run once, and once more where one reading says little: that of a counter gives no value.
        """
        done = 0
        while True:
            self.tell()
            left = [one for one in self.all() if one.index >= done]
            if not left:
                return
            one = left[0]
            done = one.index + 1
            if only and one.key not in only:
                continue
            self._check(one)
            if not one.is_ready:
                continue
            no_value = self._run_once(one)
            wanted = times or (2 if one.job.needs_two or no_value else 1)
            for _ in range(wanted - 1):
                if one.tally.puts_rows or one.job.needs_two:
                    self._stopping.wait(min(one.every, _LONGEST_STEP))
                if self._stopping.is_set():
                    return
                if one.is_dropped:
                    break
                self._run_once(one)

    def _run_once(self, one: Scheduled) -> int:
        """Runs a job and tells it; returns how many readings gave no value."""
        outcome, _ = self._run(one)
        self._put(one)
        self._has_changed(one)
        return self._report_end(one, outcome, 0.0)

    def finish(self) -> None:
        """Stops the jobs that have not been stopped in a thread of their own."""
        for one in self.all():
            self._end(one)

    # --- one step of one job, in its thread ---

    def _check(self, one: Scheduled) -> float | None:
        """Checks a job and tells what came of it; returns the pause before the next check, None: not by itself."""
        one.tally.deadline = time.monotonic() + one.every
        took, failure, verdict = guard.run(_verdict, one.host.is_user, one.job)
        self._process.settle()
        if failure is not None:
            one.runs += 1
            one.failed_checks += 1
            pause = schedule.pause_after_checks(one.failed_checks, one.every)
            self._channel.send("run", i=one.index, k=one.runs)
            self._report_end(one, {"ms": round(took, 3), "ok": False, **failure}, pause)
            return pause
        one.failed_checks = 0
        self._process.report_files()
        if verdict is None:
            # Whoever has asked for a check meanwhile has got it.
            one.is_ready, one.asked = True, False
            if self._has_changed(one):
                # It is checked at another pace than it runs at.
                self._channel.send("jobs", set=[one.described()], gone=[])
            self._tell_state(one, "ready")
            return 0.0
        again_in = schedule.interval_of(verdict.again_in, one.every) if isinstance(verdict, NotYet) else None
        self._tell_state(one, "waiting", guard.message(verdict), again_in or 0.0)  # type: ignore[arg-type]
        if again_in is None or again_in > _LONG_REST:
            one.host.rest()
        return again_in

    def _put(self, one: Scheduled) -> None:
        """Sends what the run has handed in, as the job that is alone does it."""
        texts, one.texts = one.texts, []
        if texts:
            body = rows.body_of(one.key, one.every, texts).encode("ascii")
            one.host.put_encoded(one.job, body, len(texts))

    def _run(self, one: Scheduled) -> tuple[dict[str, Any], float | None]:
        """Runs a job once; returns what its `end` frame says of it, and the pause that it asks for."""
        one.runs += 1
        # Before it begins: one that holds the interpreter's lock, or crashes, could not be told any more.
        self._channel.send("run", i=one.index, k=one.runs)
        one.tally.deadline = time.monotonic() + one.every
        took, failure, value = guard.run(one.job.run, one.host.is_user)
        self._process.settle()
        return {"ms": round(took, 3), "ok": failure is None, **(failure or {})}, schedule.pause_of(value)

    def _report_end(self, one: Scheduled, outcome: dict[str, Any], wait: float) -> int:
        """Returns how many readings gave no value."""
        self._process.report_files()
        counts = one.host.take(one.tally)
        self._channel.send("end", i=one.index, k=one.runs, **outcome, **counts, next_ms=_milliseconds(wait))
        return counts["no_value"]

    def _has_changed(self, one: Scheduled) -> bool:
        """Takes over a new interval or title, and says whether it is one; either may be a property that raises."""
        before = one.every, one.title
        one.every = schedule.interval_of(_told_by(one.job, "every"), one.every)
        title = _told_by(one.job, "title")
        one.title = one.title if title is None else str(title)
        return (one.every, one.title) != before

    def _tell_state(self, one: Scheduled, state: str, why: str = "", wait: float = 0.0) -> None:
        text = control.cut(why)
        self._channel.send("job", i=one.index, state=state, why=text, code="", next_ms=_milliseconds(wait))

    def _end(self, one: Scheduled) -> None:
        if one.has_ended:
            return
        one.has_ended = True
        failure = guard.run(one.job.stop, one.host.is_user)[1]
        self._process.settle()
        if failure is not None:
            sys.stderr.write(f"`stop` of the job `{one.key}` failed:\n{failure['tb']}")


def _verdict(job: Job) -> NotYet | NotRunnable | None:
    """Returns why a job cannot run yet, None where it can; anything else that its check raises is its failure."""
    try:
        job.check()
    except (NotYet, NotRunnable) as verdict:
        return verdict
    return None


def _told_by(job: Job, name: str) -> object:
    try:
        return getattr(job, name)
    except BaseException:
        return None


def _milliseconds(seconds: float) -> int:
    """Returns whole milliseconds; 0 only where there is nothing to wait for, which is told so."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def _join(thread: threading.Thread) -> None:
    """Waits for a thread; in pieces, for an endless wait cannot be interrupted on every Python."""
    while thread.is_alive():
        thread.join(_LONGEST_WAIT)
