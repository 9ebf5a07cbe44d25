"""Small helpers for modules."""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import Any, Callable, TypeVar

_Call = TypeVar("_Call", bound=Callable[..., Any])

# Also where `PATH` does not have them: the tutorial says so.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")


def _folders() -> list[str]:
    own = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return own + [folder for folder in _SYSTEM_FOLDERS if folder not in own]


PATH = _folders()
CHART_BEGIN = "BEGIN {0} {1}\n"
CHART_CREATE = "CHART {0} '{1}' '{2}' '{3}' '{4}' '{5}' {6} {7} {8}\n"
DIMENSION_CREATE = "DIMENSION '{0}' '{1}' {2} {3} {4} '{5}'\n"
DIMENSION_SET = "SET '{0}' = {1}\n"

print_lock = threading.Lock()


def safe_print(*msg: Any) -> None:
    """Prints; the text goes to the log. A module that holds `print_lock` for ever blocks nobody."""
    is_locked = print_lock.acquire(timeout=1.0)
    try:
        print("".join(map(str, msg)))
    finally:
        if is_locked:
            print_lock.release()


def find_binary(binary: str) -> str | None:
    """Returns where a program is that can be executed; None where it is not."""
    if not binary:
        return None
    for folder in _folders():
        path = os.path.join(folder, os.path.basename(binary) if os.sep not in binary else binary)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def read_last_line(path: str) -> str:
    """Returns the last line of a file, with its end. Raises `OSError`, also for an empty file."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        length = 1024
        while True:
            length = min(length * 4, size)
            file.seek(size - length)
            tail = file.read(length)
            start = tail.rfind(b"\n", 0, -1)
            if start >= 0 or length == size:
                return tail[start + 1 :].decode("utf-8", "replace")


def unicode_str(arg: Any) -> str:
    """Returns anything as text."""
    return str(arg)


def setdefault_values(config: dict[str, Any], base_dict: dict[str, Any]) -> dict[str, Any]:
    """Adds what a dictionary does not have, and returns it."""
    for key, value in base_dict.items():
        config.setdefault(key, value)
    return config


def on_try_except_finally(
    on_except: tuple[Any, ...] = (None,), on_finally: tuple[Any, ...] = (None,)
) -> Callable[[_Call], _Call]:
    """Makes a decorator that calls `(function, *arguments)` when the decorated one raises, and at its end."""

    def decorated(call: Any) -> Any:
        def guarded(*given: Any, **named: Any) -> Any:
            try:
                return call(*given, **named)
            except Exception:
                if callable(on_except[0]):
                    return on_except[0](*on_except[1:])
            finally:
                if callable(on_finally[0]):
                    on_finally[0](*on_finally[1:])
            return None

        return guarded

    return decorated


def run_and_exit(call: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function that ends the process, for a module that is run by hand."""

    def and_exit(*given: Any, **named: Any) -> Any:
        call(*given, **named)
        sys.exit(1)

    return and_exit


def static_vars(**values: Any) -> Callable[[_Call], _Call]:
    """Makes a decorator that sets attributes of a function."""

    def decorated(call: _Call) -> _Call:
        for name, value in values.items():
            setattr(call, name, value)
        return call

    return decorated
