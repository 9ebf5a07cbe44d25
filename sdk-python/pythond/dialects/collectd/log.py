"""The log of a process, and what exceptions look like in it.

Lines go to stderr, which the agent keeps as the framework log of the input: `LEVEL name : text`.
"""

from __future__ import annotations

import os
import sys
import traceback

from pythond import guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7
LEVELS = {ERROR: "ERROR", WARNING: "WARNING", NOTICE: "NOTICE", INFO: "INFO", DEBUG: "DEBUG"}
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CORE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


_is_mute = False


def mute(is_mute: bool) -> None:
    """Has nothing be written in this process, or something again."""
    global _is_mute
    _is_mute = is_mute


def write(severity: int, name: str, message: str) -> None:
    """Writes a message; a stream that takes it no more is no failure of the plugin."""
    if _is_mute:
        return
    try:
        sys.stderr.write(f"{LEVELS.get(severity, 'INFO')} {name} : {message}\n")
    except (OSError, ValueError):
        # Closed by the plugin, or by whoever reads it.
        pass


def message(error: BaseException) -> str:
    return guard.message(error)


def one_line(error: BaseException) -> str:
    """Returns `RuntimeError: boom`."""
    return f"{type(error).__name__}: {guard.message(error)}"


def trace(error: BaseException) -> list[str]:
    """Returns the parts of a traceback without the lines of the SDK, which are C in the original."""
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__)
        one: traceback.TracebackException | None = told
        seen: set[int] = set()
        todo: list[Any] = [one]
        while todo:
            one = todo.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            one.stack[:] = [frame for frame in one.stack if not _is_ours(frame.filename)]
            todo += [one.__cause__, one.__context__]
        if not told.stack and told.__cause__ is None and told.__context__ is None:
            # Raised by what is C there: such an exception has no traceback.
            return []
        return [part[:-1] if part.endswith("\n") else part for part in told.format()]
    except Exception as failure:
        return [f"(the traceback cannot be made: {type(failure).__name__})"]


def _is_ours(path: str) -> bool:
    return path.startswith((_CORE, "<frozen importlib")) or (os.sep + "importlib" + os.sep) in path


def calling_module() -> str:
    """Returns the module of the plugin that is being run in this thread; empty where there is none."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((_CORE, "<")) and (os.sep + "threading.py") not in path:
            name = str(frame.f_globals.get("__name__", ""))
            return "" if name == "__main__" or _is_standard(path) else name
        frame = frame.f_back
    return ""


_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def _is_standard(path: str) -> bool:
    return path.startswith(_STANDARD) and "site-packages" not in path and "dist-packages" not in path
