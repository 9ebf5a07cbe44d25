"""`context.logger`: lines with their level and the run that they are of, on the way into the framework's log."""

from __future__ import annotations

import logging
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RunLogger(logging.Logger):
    """A logger of one run; those below it are of the same run, in whatever thread they are used."""

    def __init__(self, name: str, prefix: str) -> None:
        super().__init__(name, logging.INFO)
        self._prefix = prefix
        self.propagate = False
        handler = _Handler()
        handler.setFormatter(logging.Formatter(f"%(levelname)s {prefix.replace('%', '%%')} : %(message)s"))
        self.addHandler(handler)

    def getChild(self, suffix: str) -> RunLogger:
        return RunLogger(f"{self.name}.{suffix}", self._prefix)

    def warn(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """As `warning`; newer Pythons may have lost it, plugins call it."""
        self.warning(msg, *args, **kwargs)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # no parameters on Python 3.8
    """Writes to what `sys.stderr` is now."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)


def prefix_of(plugin: str, resource_id: str | None) -> str:
    """Returns what stands before each line of a run."""
    return f"{plugin}[{resource_id}]" if resource_id else plugin
