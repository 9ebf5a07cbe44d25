"""DataKit's dialect: classes that inherit `DataKitFramework`."""

from __future__ import annotations

import os

from pythond import codes, guard, loader
from pythond.awaiting import JobLoop, is_coroutine
from pythond.dialects import Job, Listing, ToldUnit
from pythond.dialects.datakit.classes import (
    DEFAULT_INTERVAL,
    HOLDS_YIELD,
    NeverRuns,
    class_line,
    collectors,
    interval_of,
    is_run_itself,
    make,
)
from pythond.host import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pythond.dialects import Unit
    from pythond.host import UnitHost

PATH_FIRST = (os.path.join(os.path.dirname(os.path.abspath(__file__)), "shadow"),)
PATH_LAST = ()
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample.py")


def list(given: Unit, host: UnitHost) -> Listing:
    """Imports a script and tells one unit for each of its classes, of which it makes none. Raises `loader.Failure`."""
    named = collectors(_imported(given, host), _framework(), given)
    units = [
        ToldUnit(f"{given.id}:{name}", name, given.file, class_line(cls, given.file), parts={"class": name})
        for name, cls in named.items()
    ]
    return Listing(units)


def load(unit: Unit, host: UnitHost) -> None:
    """Imports a script and adds a job for each of its classes, or for the one that `parts` names.

    Raises `loader.Failure` where nothing is left to run; a class that cannot be made does not stop the others.
    """
    named = collectors(_imported(unit, host), _framework(), unit)
    failures: dict[str, loader.Failure] = {}
    for name, cls in named.items():
        try:
            collector = make(cls, unit)
        except loader.Failure as error:
            failures[name] = error
            continue
        job = Collector(name, collector, unit.file, host)
        _link(host).know(collector, host, job)
        host.add(job)
    if len(failures) == len(named):
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        _warn_of(name, failure, host)


def close(host: UnitHost) -> None:
    """Does nothing: a script has `atexit`."""


def forget() -> None:
    """Forgets what `load` told the framework, for the next script."""
    import datakit_framework

    datakit_framework._attach(None)


def _imported(unit: Unit, host: UnitHost) -> ModuleType:
    """Imports a script, which may report from here on. Raises `loader.Failure`."""
    framework = _framework()
    framework.log_name = host.input
    framework.config = dict(host.config)
    _link(host).begin(host)
    for code, text, line in loader.warnings_for(unit):
        host.warn(code, text, line=line)
    return loader.load(unit)


def _link(host: UnitHost) -> Link:
    """Returns what the framework of this process reports through."""
    import datakit_framework

    link = datakit_framework._worker
    if not isinstance(link, Link):
        link = Link()
        datakit_framework._attach(link, host.agent_address)
    return link


def _framework() -> Any:
    import datakit_framework

    return datakit_framework.DataKitFramework


def _warn_of(name: str, failure: loader.Failure, host: UnitHost) -> None:
    """Says that a class does not run although others of its file do."""
    frame = failure.frame
    said = frame["msg"] if frame["code"] == codes.NEEDS_ARGUMENTS else guard.joined(frame["exc"], frame["msg"])
    text = f"class `{name}` does not run: {said}\n{frame['tb']}".rstrip()
    host.warn(frame["code"], text, line=frame.get("line", 0))


class Collector(Job):
    """The schedule of one collector."""

    def __init__(self, key: str, collector: Any, file: str, host: UnitHost) -> None:
        self._collector = collector
        self._loop = JobLoop()
        self.key = key
        self.line = class_line(type(collector), file)
        name = getattr(collector, "name", None)
        if isinstance(name, str) and name not in (_framework().name, key):
            self.title = name
        try:
            self.every, warning = interval_of(getattr(collector, "interval", None))
        except Exception as error:
            self.every, warning = DEFAULT_INTERVAL, f"raised {type(error).__name__}; 10 s is taken"
        if warning:
            host.warn(
                codes.WRONG_INTERVAL,
                f"`interval` of `{self.title or type(collector).__name__}` {warning}",
                line=self.line,
            )

    def run(self) -> None:
        """Collects; what a script returns is its own and no pause, unless it has to be awaited."""
        returned = self._collector.run()
        if is_coroutine(returned):
            self._loop.finish(returned)
        elif is_run_itself(returned):
            raise NeverRuns(f"`run` {HOLDS_YIELD}")

    def cancel(self) -> None:
        """Ends a run early that awaits something."""
        self._loop.cancel()

    def stop(self) -> None:
        """Ends what runs have left behind in the event loop."""
        self._loop.close()


class Link:
    """What `datakit_framework` finds in place of a socket of its own when it runs under the agent.

    Scripts of one process share it. Who reports is known by the collector; code outside of any reports for the script
    that was loaded last.
    """

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[UnitHost, Job]] = {}

    def begin(self, host: UnitHost) -> None:
        """Notes that a script is loaded from here on."""
        self._last = host

    def know(self, collector: object, host: UnitHost, job: Job) -> None:
        self._jobs[id(collector)] = (host, job)

    def _of(self, owner: object) -> tuple[UnitHost, Job | None]:
        return self._jobs.get(id(owner)) or (self._last, None)

    def send(self, owner: object, method: str, path: str, content_type: str, body: bytes) -> tuple[int, str]:
        """Sends a request to the agent; returns the status and text of its answer, or 0 and a reason."""
        host, job = self._of(owner)
        reply = host.request(job, method, path, content_type, body)
        return reply.status, reply.text

    def sent(self, owner: object, category: str, points: int, status: int, text: str) -> None:
        """Notes the end of a report."""
        accepted, refused = judge(status, text, points)
        host, job = self._of(owner)
        host.count(job, 1, accepted, refused)
        if not 200 <= status < 300:
            host.refused(job, category, status, text, refused)

    def unsendable(self, owner: object, category: str, points: int, status: int, why: str) -> None:
        """Notes what never came to the agent: points without a JSON form, a refusal by another receiver."""
        host, job = self._of(owner)
        host.count(job, 0, 0, points)
        host.refused(job, category, status, why, points)

    def unfit(self, owner: object, category: str, why: str) -> None:
        """Notes a point that cannot be sent, whoever would receive it."""
        host, job = self._of(owner)
        host.count(job, 0, 0, 1)
        host.refused(job, category, 0, why, 1, codes.NO_FIELDS)

    def changed(self, owner: object, part: str, key: str, text: str) -> None:
        """Notes a value of a point that was sent as another one."""
        self._of(owner)[0].repaired(codes.CHANGED_VALUE, f"{part} {key}", text)

    def left_out(self, owner: object, part: str, key: str, text: str) -> None:
        """Notes what was left out of a point before it was sent."""
        code = {"tag": codes.WRONG_TAG, "time": codes.WRONG_TIME}.get(part, codes.FIELD_LEFT_OUT)
        self._of(owner)[0].repaired(code, f"{part} {key}", text)
