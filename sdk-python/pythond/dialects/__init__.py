"""The window through which the worker sees the collector APIs of the world.

A dialect is a module of this package. It looks at a file (`claims`, which never runs it), runs it (`load`) and returns
its jobs; the modules that its scripts import live in its `shadow` folder, which comes first on `sys.path` for that
dialect only. One worker speaks one dialect.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol

    from pythond.emit import Emit
    from pythond.loader import Source

    class Dialect(Protocol):
        """What a module of this package provides."""

        SHADOW: str
        # A script that does what all do.
        SAMPLE: str

        def claims(self, path: str) -> bool:
            """Says whether a file is a script of this dialect, by looking at it."""

        def load(self, source: Source, emit: Emit) -> list[Job]:
            """Runs a script and returns its jobs, the first report being possible from here on.

            Raises `loader.Failure`.
            """

        def forget(self) -> None:
            """Undoes what `load` has left outside of the script."""


# Every dialect, in the order in which they are asked. A test holds this list against the folders.
NAMES = ("datakit",)


class Job:
    """One schedule in a worker: what is called every so many seconds."""

    __slots__ = ("class_name", "every", "line", "name", "run", "stop")

    def __init__(
        self,
        name: str,
        every: float,
        run: Callable[[], object],
        stop: Callable[[], object] | None = None,
        class_name: str = "",
        line: int = 0,
    ) -> None:
        """`stop` is called once when the worker ends; `class_name` and `line` say where the job comes from."""
        self.name = name
        self.every = every
        self.run = run
        self.stop = stop
        self.class_name = class_name
        self.line = line


def get(name: str) -> Dialect:
    """Returns a dialect.

    Raises `ValueError` for a name that is not in `NAMES`.
    """
    if name not in NAMES:
        raise ValueError(f"`dialect` is `{name}`; it must be one of {', '.join(NAMES)}")
    dialect: Dialect = importlib.import_module(f"{__name__}.{name}")
    return dialect
