"""The window through which the worker sees the collector APIs of the world.

A dialect is a package below this folder. It tells the units of an input (`list`), runs one (`load`) by adding jobs to
its host, and ends it (`close`). What its collectors import lives in folders of its own, which come first (`PATH_FIRST`)
or last (`PATH_LAST`) on `sys.path`, for that dialect only. One worker speaks one dialect. `docs/dialects.md` tells how
to write one.
"""

from __future__ import annotations

import importlib

from pythond import guard, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Protocol, Sequence

    from pythond.rows import Answer, Row
    from pythond.sources import Sources

    class Host(Protocol):
        """What the worker lends to a dialect for one unit; safe from any thread."""

        id: str
        input: str
        # The dialect's own keys of the input, durations in seconds.
        settings: Mapping[str, Any]
        # The table `config` of the input.
        config: Mapping[str, Any]
        state_dir: str
        hostname: str
        interval: float
        isolation: str
        # What this process is for: worker, once (by hand), check or list.
        mode: str

        def put(self, job: Job | None, rows: Sequence[Row]) -> Answer:
            """Sends rows; they are on disk where the answer is `ok`."""

        def hand_in(self, job: Job | None, rows: Sequence[Row]) -> None:
            """Has rows sent when the run has ended, together with those of other jobs: cheaper than `put`, where
            nobody needs the answer."""

        def post(
            self,
            job: Job | None,
            category: str,
            body: bytes,
            content_type: str = "application/json",
            method: str = "POST",
            query: str = "",
        ) -> Answer:
            """Sends points of a category as they are, e.g. events."""

        def reads(self, path: str) -> bytes:
            """Reads a settings file of the unit, whose change concerns it from now on. Raises `OSError`."""

        def looks(self, folder: str) -> list[str]:
            """Returns the names in a folder, sorted; what comes or goes there makes the listing be repeated."""

        def add(self, job: Job) -> None:
            """Has a job run, from when the unit is loaded on."""

        def drop(self, job: Job) -> None:
            """Ends a job; a run in progress is its last."""

        def replace(self, why: str) -> None:
            """Asks for another process at once: this one is about to end itself, since what hangs cannot be ended."""

        def warn(self, code: str, text: str, file: str = "", line: int = 0, column: int = 0) -> None:
            """Warns of something odd, once for each text and place."""

    class Dialect(Protocol):
        """What a package below this folder provides."""

        # Folders whose modules win over installed ones, and such that lose.
        PATH_FIRST: Sequence[str]
        PATH_LAST: Sequence[str]
        # A file whose unit does what all do: run by the zygote before it forks.
        SAMPLE: str | None

        def list(self, given: Unit, host: Host) -> Listing:
            """Tells the units of an input, or of the file `given.file` where that is one (`pythond run FILE`).

            Raises `loader.Failure` for what cannot be listed at all.
            """

        def load(self, unit: Unit, host: Host) -> None:
            """Runs a unit: adds its jobs to the host. Raises `loader.Failure`."""

        def close(self, host: Host) -> None:
            """Does what is to be done at the end of a unit, after all jobs have stopped."""

        def forget(self) -> None:
            """Undoes what `load` has left outside of the unit."""


class NotYet(Exception):
    """Raised by `Job.check`: there is nothing to collect now; the check is repeated after so many seconds."""

    def __init__(self, why: str, again_in: float) -> None:
        super().__init__(why)
        self.why = why
        self.again_in = again_in


class NotRunnable(Exception):
    """Raised by `Job.check`: it is not repeated until somebody asks for it, or something changes."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Job:
    """One schedule in a unit: what is called every so many seconds. Subclass it, or set the attributes."""

    # Its place in ids, in the status and in counters.
    key: str
    # Shown beside the key, where there is more to say.
    title: str = ""
    # Seconds; may change at any time.
    every: float
    # Where it comes from in the unit's file.
    line: int = 0
    # `pythond run` runs it twice, `every` apart (at most 2 s), where nobody says how often; as any job whose first
    # rows gave no value.
    needs_two: bool = False
    # That its runs end without a point is nothing to complain of.
    makes_points: bool = True

    def check(self) -> None:
        """Says whether it can run, before the first run. Raises `NotYet` or `NotRunnable`."""

    def run(self) -> float | None:
        """Collects once. Raises what it likes; a number is the pause to the next run, instead of `every`."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Called from another thread when the worker is asked to stop: a run under way is to end early, if it can."""

    def resources(self) -> Table | None:
        """Returns what it runs against, for whoever asks; None: such jobs run against nothing that could be listed.

        Called from a thread of its own, beside a run, also while the job waits for its check.
        """
        return None

    def stop(self) -> None:
        """Called once, after the last run."""


class Table:
    """What a job runs against: a row of texts for each resource, below the names of the columns."""

    __slots__ = ("columns", "rows", "why")

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]], why: str = "") -> None:
        """`why` says why there are no rows."""
        self.columns = columns
        self.rows = rows
        self.why = why


class Unit:
    """What is to be run: a file, or parts of one."""

    __slots__ = ("file", "files", "id", "input", "module", "parts", "roots")

    def __init__(
        self,
        id: str,
        file: str = "",
        module: str = "",
        roots: Sequence[str] = (),
        parts: Any = None,
        input: str = "",
        files: Sources | None = None,
    ) -> None:
        """`parts` is what the listing told of it, None for a whole file; `files` are those of all this process."""
        self.id = id
        self.file = file
        self.module = module
        # The root that holds the file goes first: two of them may hold a file of the same name.
        self.roots = sorted(roots, key=lambda root: not file.startswith(root.rstrip("/") + "/"))
        self.parts = parts
        self.input = input
        self.files = files or sources.Sources(guard.user_files(file, list(roots)))


class ToldUnit:
    """One unit of a listing."""

    __slots__ = ("every", "file", "id", "line", "off", "parts", "process", "quiet", "reads", "title")

    def __init__(
        self,
        id: str,
        title: str,
        file: str,
        line: int = 0,
        reads: Sequence[str] = (),
        parts: Any = None,
        process: str = "",
        quiet: bool = False,
        every: float | None = None,
        off: str = "",
    ) -> None:
        """`reads`: files whose change concerns it. `process`: units of one such name, not empty, share a worker.
        `quiet`: that it is not well is not worth a warning. `off`: it does not run, and the file:line that says so."""
        self.id = id
        self.title = title
        self.file = file
        self.line = line
        self.reads = reads
        self.parts = parts
        self.process = process
        self.quiet = quiet
        self.every = every
        self.off = off


class Fault:
    """What is wrong with a settings file, and where; lines and columns count from 1, 0 is unknown."""

    __slots__ = ("code", "column", "file", "help", "line", "severity", "source", "text")

    def __init__(
        self,
        code: str,
        text: str,
        file: str = "",
        line: int = 0,
        column: int = 0,
        severity: str = "error",
        source: str = "",
        help: str = "",
    ) -> None:
        """`severity` is error or warning, `source` the line's text."""
        self.code = code
        self.text = text
        self.file = file
        self.line = line
        self.column = column
        self.severity = severity
        self.source = source
        self.help = help


class Listing:
    """What `list` finds."""

    __slots__ = ("faults", "units")

    def __init__(self, units: list[ToldUnit] | None = None, faults: list[Fault] | None = None) -> None:
        self.units = units if units is not None else []
        self.faults = faults if faults is not None else []


def get(name: str) -> Dialect:
    """Returns a dialect.

    Raises `ValueError` for one that is not there, or that cannot be imported.
    """
    module = f"{__name__}.{name}"
    if not name.isidentifier():
        raise ValueError(f"`dialect` is `{name}`; it must be the name of a package below pythond/dialects")
    try:
        dialect: Dialect = importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise ValueError(f"`dialect` is `{name}`; there is no such package below pythond/dialects") from error
        raise ValueError(f"the dialect `{name}` cannot be imported: {error}") from error
    return dialect
