"""The runs of one plugin: threads that take what is due, and one that watches over them.

    watcher    hands out what is due, in order; looks after other things (`look`); sees runs that are too long
    threads    at most `concurrency`; each does one run at a time
    the job    waits for what was due and reports it (`wait_for`, `take_report`)

A thread cannot be ended from outside. So where a run takes longer than its limit, no new run begins, the others get
their grace, and `replace` is called, which ends the process; what comes after that is the agent's.
"""

from __future__ import annotations

import math
import queue
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from pythond.dialects.panoptes.due import Due, Schedule

# How late a run may begin before that is worth a word.
LATE = 1.0
# How soon the job sees that the worker is stopping.
_LOOK = 0.5


class Run:
    """One run in progress."""

    __slots__ = ("began", "due", "ident", "is_over")

    def __init__(self, due: Due, began: float) -> None:
        self.due = due
        self.began = began
        self.ident: int | None = None
        self.is_over = False


class Report:
    """What has happened since the last one."""

    def __init__(self) -> None:
        self.runs = 0
        self.late = 0
        self.latest = 0.0


class Runs:
    """See the top of this file."""

    def __init__(
        self,
        schedule: Schedule,
        work: Callable[[str], float | None],
        look: Callable[[float], float],
        replace: Callable[[list[Run]], None],
        *,
        concurrency: int,
        limit: float,
        grace: float,
        show: Callable[[Run], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`work` does one run and never raises; it returns until when the resource is to be left alone, or None.
        `look` is called between runs with the time, and returns when it wants to be called again."""
        self._schedule = schedule
        self._work = work
        self._look = look
        self._replace = replace
        self._concurrency = concurrency
        self._limit = limit
        self._grace = grace
        self._show = show
        self._clock = clock
        # Guards all that follows, and the schedule.
        self.changed = threading.Condition()
        self._running: dict[str, Run] = {}
        self._queue: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._look_at = -math.inf
        self._watcher: threading.Thread | None = None
        self._stopping = False
        # The runs that were too long, once there are some; and when the process is to go.
        self.hung: list[Run] = []
        self._leave_at = math.inf
        # Since when no run begins any more.
        self.drained_since = math.inf
        self._report = Report()

    def start(self) -> None:
        """Begins, the first time that it is called."""
        with self.changed:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="panoptes", daemon=True)
                self._watcher.start()

    def stop(self) -> None:
        """Begins no more runs, and waits for those that run; how long is up to whoever ends the process."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
            while self._running:
                self.changed.wait(1.0)
            for _ in range(self._threads):
                self._queue.put(None)

    def all_now(self) -> None:
        """Has everything run at once."""
        with self.changed:
            self._schedule.all_now(self._clock())
            self.changed.notify_all()

    def running(self) -> int:
        with self.changed:
            return len(self._running)

    def waiting(self) -> tuple[int, float]:
        """Returns how many runs are late now, those in line as well as those that take too long, and by how much."""
        with self.changed:
            now = self._clock()
            late = [now - one.due for one in self._schedule.waiting(now) if now - one.due > LATE]
            late += [now - run.began for run in self._running.values() if now - run.began > self._schedule.every]
            return len(late), max(late, default=0.0)

    def wait_for(self, most: float) -> None:
        """Waits until all that is due or runs now is over; once something is, no longer than `most` seconds."""
        with self.changed:
            began = self._clock()
            mine = [*self._schedule.waiting(began), *(run.due for run in self._running.values())]
            while not self._stopping:
                mine = [one for one in mine if one.is_running or (one.due <= began and one.key in self._schedule)]
                left = most - (self._clock() - began)
                if not mine or (self._report.runs and left <= 0):
                    return
                self.changed.wait(_LOOK if left <= 0 else min(_LOOK, left))

    def take_report(self) -> Report:
        with self.changed:
            report, self._report = self._report, Report()
            return report

    def next_due(self) -> float:
        with self.changed:
            return self._schedule.next_due()

    def ran_until(self, now: float) -> float:
        """Returns the moment until which all that was due has begun."""
        with self.changed:
            return min(now, self.drained_since, self._schedule.next_due())

    # --- the watcher ---

    def _watch(self) -> None:
        while True:
            now = self._clock()
            if now >= self._look_at:
                self._look_at = self._look(now)
            with self.changed:
                if self._stopping:
                    return
                now = self._clock()
                if not self.hung:
                    self._hand_out(now)
                self._see_long_runs(now)
                if self.hung and (now >= self._leave_at or len(self._running) == len(self.hung)):
                    break
                until = min(self._next(now), self._look_at)
                if until > self._clock():
                    self.changed.wait(min(until - now, threading.TIMEOUT_MAX))
        self._replace([run for run in self._running.values() if not run.is_over])

    def _hand_out(self, now: float) -> None:
        while len(self._running) < self._concurrency:
            due = self._schedule.take(now)
            if due is None:
                return
            run = Run(due, now)
            self._running[due.key] = run
            if self._idle <= self._queue.qsize():
                self._threads += 1
                threading.Thread(target=self._serve, name=f"panoptes-{self._threads}", daemon=True).start()
            self._queue.put(run)

    def _see_long_runs(self, now: float) -> None:
        for run in self._running.values():
            if now - run.began < self._limit or run in self.hung:
                continue
            if not self.hung:
                self._leave_at = now + self._grace
                self.drained_since = now
            self.hung.append(run)
            self._show(run)

    def _next(self, now: float) -> float:
        """Returns when there is something to do, if nothing happens before."""
        limits = [run.began + self._limit for run in self._running.values() if run not in self.hung]
        nearest = min([*limits, self._leave_at])
        if not self.hung and len(self._running) < self._concurrency:
            nearest = min(nearest, self._schedule.next_due())
        return nearest

    # --- the threads ---

    def _serve(self) -> None:
        while True:
            with self.changed:
                self._idle += 1
            run = self._queue.get()
            with self.changed:
                self._idle -= 1
            if run is None:
                return
            run.ident = threading.get_ident()
            until = self._work(run.due.key)
            with self.changed:
                now = self._clock()
                run.is_over = True
                if until is not None:
                    run.due.not_before = until
                del self._running[run.due.key]
                if run in self.hung:
                    self.hung.remove(run)
                    if not self.hung:
                        self._leave_at = self.drained_since = math.inf
                self._schedule.done(run.due, now)
                self._report.runs += 1
                if run.due.late > LATE:
                    self._report.late += 1
                self._report.latest = max(self._report.latest, run.due.late)
                self.changed.notify_all()
