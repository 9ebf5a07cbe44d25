"""DataKit's dialect: classes that inherit `DataKitFramework`.

A class is a collector if it is defined in the script itself, is not abstract and has a `run` of its own or of a base
other than `DataKitFramework`. Its metaclass does not matter, a second name for it does not run it twice, and what was
imported is run where it was defined.
"""

from __future__ import annotations

import json
import linecache
import os

from pythond import guard, loader
from pythond.dialects import Job
from pythond.emit import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from pythond.emit import Emit
    from pythond.loader import Source

SHADOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shadow")
SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample.py")
DEFAULT_INTERVAL = 10.0
_FRAME_TEXT = 6000
_ABSTRACT = 1 << 20  # Py_TPFLAGS_IS_ABSTRACT, what `inspect.isabstract` looks at


def claims(path: str) -> bool:
    """Says whether a file mentions DataKit's framework."""
    try:
        with open(path, "rb") as file:
            return path.lower().endswith(".py") and b"DataKitFramework" in file.read()
    except OSError:
        return False


def load(source: Source, emit: Emit) -> list[Job]:
    """Imports the script and makes one collector of each class.

    Raises `loader.Failure` where nothing is left to run; a class that cannot be made does not stop the others.
    """
    import datakit_framework

    framework = datakit_framework.DataKitFramework
    framework.log_name = source.input
    framework.config = dict(source.config)
    link = datakit_framework._worker
    if not isinstance(link, Link):
        link = Link()
        datakit_framework._attach(link, source.agent_address)
    link.begin(emit)
    for warning in loader.warnings_for(source):
        emit.warn(warning["code"], warning["msg"], warning["line"])
    module = loader.load(source)
    classes, notes = find(module, framework)
    if not classes:
        text = "no class of this file is a collector: one that inherits `DataKitFramework` and defines `run`"
        kind = "Helper" if is_helper(module, framework) else "NoCollector"
        raise loader.Failure("find", "PD0204", kind, text, True, file=source.script, notes=notes)
    named = named_once(classes)
    source.classes = list(named)
    jobs: list[Job] = []
    failures: list[loader.Failure] = []
    for cls in classes if source.wanted is None else _wanted(source, named, notes):
        try:
            collector = make(cls, source)
        except loader.Failure as error:
            failures.append(error)
            continue
        link.know(collector, emit, len(jobs))
        jobs.append(_job(collector, framework, source.script, emit))
    if failures and not jobs:
        raise failures[0]
    for failure in failures:
        _warn_of(failure, emit)
    return jobs


def forget() -> None:
    """Forgets what `load` told the framework, for the next script."""
    import datakit_framework

    datakit_framework._attach(None)


def _warn_of(failure: loader.Failure, emit: Emit) -> None:
    """Says that a class does not run although others of its file do."""
    frame = failure.frame
    said = frame["msg"] if frame["code"] == "PD0205" else guard.joined(frame["exc"], frame["msg"])
    text = f"class `{frame['class']}` does not run: {said}\n{frame['tb']}".rstrip()
    emit.warn(frame["code"], text, frame.get("line", 0))


def find(module: ModuleType, framework: type) -> tuple[list[type], list[str]]:
    """Returns the collectors of a module in the order of their definition, and why each other class is none."""
    chosen: list[type] = []
    notes: list[str] = []
    seen = {id(framework)}
    for value in list(vars(module).values()):
        if not isinstance(value, type) or id(value) in seen:
            continue
        seen.add(id(value))
        why = _why_not(value, module.__name__, framework)
        if not why:
            chosen.append(value)
        elif value.__module__ == module.__name__ or issubclass(value, framework):
            notes.append(f"class `{value.__name__}` {why}")
    return chosen, notes


def named_once(classes: list[type]) -> dict[str, type]:
    """Returns the classes by their names; of several with one name (a factory makes such) the later get a number."""
    named: dict[str, type] = {}
    for cls in classes:
        name, times = cls.__name__, 1
        while name in named:
            times += 1
            name = f"{cls.__name__}~{times}"
        named[name] = cls
    return named


def _wanted(source: Source, named: dict[str, type], notes: list[str]) -> list[type]:
    """Returns the only collectors to make. Raises `loader.Failure` where one is not there."""
    for name in source.wanted or []:
        if name not in named:
            text = f"no class `{name}` of this file is a collector; those are {', '.join(f'`{one}`' for one in named)}"
            raise loader.Failure("find", "PD0204", "NoCollector", text, True, file=source.script, notes=notes)
    return [named[name] for name in source.wanted or []]


def is_helper(module: ModuleType, framework: type) -> bool:
    """Says whether a file without a collector was not meant to have one: it holds what other files import."""
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value is framework or value.__module__ != module.__name__:
            continue
        is_base = issubclass(value, framework) and value.__flags__ & _ABSTRACT
        if not is_base and (issubclass(value, framework) or callable(getattr(value, "run", None))):
            return False
    return True


def _why_not(cls: type, module: str, framework: type) -> str:
    if not issubclass(cls, framework):
        return "does not inherit `DataKitFramework`"
    if cls.__module__ != module:
        return f"is imported from `{cls.__module__}` and runs there only"
    if cls.__flags__ & _ABSTRACT:
        return "is abstract: " + ", ".join(f"`{name}`" for name in sorted(getattr(cls, "__abstractmethods__", ())))
    if getattr(cls, "run", None) is getattr(framework, "run", None):
        return "does not define `run`"
    return ""


def make(cls: type, source: Source) -> Any:
    """Makes a collector.

    Raises `loader.Failure`: PD0205 where the constructor wants arguments, PD0203 where it raises.
    """
    try:
        return cls()
    except BaseException as error:
        failure = loader.load_failure(error, source.is_user, "init")
        failure.frame["class"] = cls.__name__
        tb = error.__traceback__
        if isinstance(error, TypeError) and tb is not None and tb.tb_next is None:
            # Raised by the call, not in the constructor: no frame of the class was entered.
            line = class_line(cls, source.script)
            failure.frame.update(
                code="PD0205",
                permanent=True,
                msg=f"`{cls.__name__}` cannot be made without arguments: {guard.message(error)}",
                help="give the arguments of `__init__` defaults; settings come as `self.config`",
                file=source.script,
                line=line,
                src=guard.source_line(source.script, line),
            )
        raise failure from error


def _job(collector: Any, framework: Any, script: str, emit: Emit) -> Job:
    cls = type(collector)
    line = class_line(cls, script)
    name = getattr(collector, "name", None)
    if not isinstance(name, str) or not name or name == framework.name:
        name = cls.__name__
    try:
        every, warning = interval_of(getattr(collector, "interval", None))
    except Exception as error:
        every, warning = DEFAULT_INTERVAL, f"raised {type(error).__name__}; 10 s is taken"
    if warning:
        emit.warn("PD0209", f"`interval` of `{name}` {warning}", line)
    return Job(name, every, collector.run, class_name=cls.__name__, line=line)


def interval_of(value: Any) -> tuple[float, str]:
    """Returns the seconds between two runs, and what to say of a value that is not simply a number of them."""
    if not value:
        return DEFAULT_INTERVAL, ""
    shown = repr(value)[:60]
    try:
        every = float(value)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_INTERVAL, f"is {shown}; it must be a number of seconds, 10 is taken"
    if isinstance(value, bool) or not 0 < every < float("inf"):
        return DEFAULT_INTERVAL, f"is {shown}; it must be a number of seconds above 0, 10 is taken"
    if isinstance(value, str):
        return every, f'is "{value[:60]}"; taken as {every:g} s'
    return every, ""


def class_line(cls: type, path: str) -> int:
    """Returns the line on which a class begins; 1 where that cannot be told."""
    own: int | None = cls.__dict__.get("__firstlineno__")
    if own:
        return own
    for number, line in enumerate(linecache.getlines(path), 1):
        # No regular expression: making one for each class costs a worker 200 KB.
        first, _, rest = line.strip().partition(" ")
        name = rest.lstrip()
        if first == "class" and name.startswith(cls.__name__) and not name[len(cls.__name__) :][:1].isidentifier():
            return number
    return 1


def _fitting(answer: str) -> str:
    """Shortens a refusing answer so that it fits into a frame and still can be read."""
    if len(answer.encode("utf-8", "replace")) <= _FRAME_TEXT:
        return answer
    try:
        parsed = json.loads(answer)
        while len(answer) > _FRAME_TEXT and parsed["refused"]:
            del parsed["refused"][len(parsed["refused"]) // 2 :]
            answer = json.dumps(parsed)
    except (ValueError, KeyError, TypeError):
        # Not the agent's own form; the frame cuts it.
        pass
    return answer


class Link:
    """What `datakit_framework` finds in place of a socket of its own when it runs under the agent.

    Scripts of one process share it. Who reports is known by the collector; code outside of any reports for the script
    that was loaded last.
    """

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[Emit, int]] = {}

    def begin(self, emit: Emit) -> None:
        """Notes that a script is loaded from here on."""
        self._last = emit

    def know(self, collector: object, emit: Emit, job: int) -> None:
        self._jobs[id(collector)] = (emit, job)

    def _of(self, owner: object) -> tuple[Emit, int | None]:
        return self._jobs.get(id(owner)) or (self._last, None)

    def send(self, owner: object, method: str, path: str, content_type: str, body: bytes) -> tuple[int, str]:
        """Sends a request to the agent; returns the status and text of its answer, or 0 and a reason."""
        emit, job = self._of(owner)
        reply = emit.post(job, path, content_type, body, method)
        return reply.status, reply.text

    def sent(self, owner: object, category: str, points: int, status: int, text: str) -> None:
        """Notes the end of a report."""
        accepted, refused = judge(status, text, points)
        emit, job = self._of(owner)
        emit.count(job, 1, accepted, refused)
        if not 200 <= status < 300:
            emit.refused(job, category, status, _fitting(text), refused)

    def unsendable(self, owner: object, category: str, points: int, status: int, why: str) -> None:
        """Notes what never came to the agent: points without a JSON form, a refusal by another receiver."""
        emit, job = self._of(owner)
        emit.count(job, 0, 0, points)
        emit.refused(job, category, status, why, points)

    def left_out(self, why: str) -> None:
        """Notes a field that was left out of a point that was sent."""
        self._last.warn("PD0406", why)
