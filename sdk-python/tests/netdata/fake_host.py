"""A small host for the dialect: it keeps what it is told, and a loop that runs jobs as the worker does."""

from __future__ import annotations

import os
import threading
import time

from pythond import dialects, rows
from pythond.dialects import NotRunnable, NotYet, Unit


class Answer:
    """What the agent says to rows: that it has them."""

    ok = True
    status = 200
    accepted = refused = no_value = 0
    text = ""


class FakeHost:
    """The `dialects.Host` of one unit, or of a listing."""

    def __init__(self, settings=None, input="netdata", isolation="job", state_dir="", hostname="web01"):
        self.id = input
        self.input = input
        self.settings = settings or {}
        self.config = {}
        self.state_dir = str(state_dir)
        self.hostname = hostname
        self.interval = 10.0
        self.isolation = isolation
        self.jobs = []
        self.rows = []
        self.warnings = []
        self.read_files = []
        self.looked = []
        self._warned = set()

    def put(self, job, sent):
        assert all(isinstance(one, rows.Row) for one in sent)
        self.rows.append(sent)
        return Answer()

    def hand_in(self, job, sent):
        self.put(job, sent)

    def reads(self, path):
        self.read_files.append(path)
        with open(path, "rb") as file:
            return file.read()

    def looks(self, folder):
        self.looked.append(folder)
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def add(self, job):
        assert isinstance(job, dialects.Job)
        self.jobs.append(job)

    def drop(self, job):
        self.jobs.remove(job)

    def warn(self, code, text, file="", line=0, column=0):
        if (code, text) not in self._warned:
            self._warned.add((code, text))
            self.warnings.append((code, text, file, line, column))


def units_of(dialect, host, roots=(), file=""):
    """Lists; returns the units that run, those that are off, and the faults."""
    listing = dialect.list(Unit(id="", file=str(file), roots=[str(root) for root in roots], input=host.input), host)
    running = {unit.id: unit for unit in listing.units if not unit.off}
    off = {unit.id: unit.off for unit in listing.units if unit.off}
    return running, off, listing.faults


def load(dialect, told, host, roots=()):
    """Loads a unit that was told; returns its job."""
    unit = Unit(
        id=told.id, file=told.file, module="", roots=[str(one) for one in roots], parts=told.parts, input=host.input
    )
    dialect.load(unit, host)
    return host.jobs[-1]


def serve(job, until, tell):
    """Checks and runs a job on a grid until `until` is set; `tell` gets what failed."""
    due = time.monotonic()
    is_ready = False
    while not until.wait(max(0.0, due - time.monotonic())):
        now = time.monotonic()
        if not is_ready:
            try:
                job.check()
                is_ready, due = True, _next(job.every)
                continue
            except NotYet as why:
                tell(f"{job.key}: waiting: {why}")
                due = now + why.again_in
            except NotRunnable as why:
                tell(f"{job.key}: waiting: {why}")
                return
            except BaseException as error:
                tell(f"{job.key}: failing: {type(error).__name__}: {error}")
                due = now + job.every
            continue
        try:
            pause = job.run()
        except BaseException as error:
            tell(f"{job.key}: failed: {type(error).__name__}: {error}")
            pause = None
        due = _next(job.every) if pause is None else time.monotonic() + pause


def _next(every):
    now = time.monotonic()
    return now - now % every + every


def serve_all(jobs, until, tell=print):
    """Serves jobs in a thread each."""
    threads = [threading.Thread(target=serve, args=(job, until, tell), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads
