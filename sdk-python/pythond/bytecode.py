"""Compiles this package once for each Python, in a process that ends, before anything of it is imported.

A process that compiles it holds three megabytes more for as long as it lives, and workers live long. Without this each
of them would, after an installation, and at every start where Python is told to write no bytecode, as in many
containers. For scripts that wish is obeyed.
"""

from __future__ import annotations

import os
import time
from importlib.util import cache_from_source

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_CORE = os.path.dirname(_PACKAGE)
# The agent writes the first anew with every other version of the package, and the second where the folder is gone soon.
_LIST = os.path.join(_CORE, ".pythond-files")
_TEMPORARY = os.path.join(_CORE, ".pythond-temporary")
# Scripts import it from there.
_FRAMEWORK = os.path.join(_CORE, "datakit_framework.py")
_PATIENCE = 5.0
_PAUSE = 0.01
_LEAST_FREE = 16 << 20


def prepare() -> None:
    """Does it, unless it is done. Where it cannot be done, each process compiles what it imports, as without this."""
    if os.path.exists(_TEMPORARY):
        return
    try:
        done = cache_from_source(os.path.join(_PACKAGE, "all.py")) + ".done"
        version = _version()
        if _text_of(done) != version:
            _compile_in_turn(done, version)
    except (OSError, NotImplementedError):
        # A folder of another user, a full disk, a Python that keeps no bytecode at all.
        return


def _version() -> str:
    try:
        found = os.stat(_LIST)
    except FileNotFoundError:
        return "a checkout"
    return f"{found.st_mtime_ns} {found.st_size}"


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def _compile_in_turn(done: str, version: str) -> None:
    """Compiles it, or waits for another process that does."""
    import fcntl

    os.makedirs(os.path.dirname(done), exist_ok=True)
    disk = os.statvfs(os.path.dirname(done))
    if disk.f_bavail * disk.f_frsize < _LEAST_FREE:
        return
    with open(done + ".lock", "a", encoding="utf-8") as turn:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    return
                time.sleep(_PAUSE)
        if _text_of(done) != version and _compiled_by_a_child():
            with open(done + ".new", "w", encoding="utf-8") as file:
                file.write(version)
            os.replace(done + ".new", done)


def _compiled_by_a_child() -> bool:
    """Says whether there was room for all that could be compiled."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if _compile() else 1
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def _compile() -> bool:
    """Says whether there was room for all that could be compiled."""
    import py_compile

    is_whole = True
    for path in _files():
        try:
            py_compile.compile(path, doraise=True)
        except py_compile.PyCompileError:
            # Somebody else's file: whoever imports it is told.
            continue
        except OSError:
            is_whole = False
    return is_whole


def _files() -> list[str]:
    files = [_FRAMEWORK] if os.path.exists(_FRAMEWORK) else []
    for folder, _, names in os.walk(_PACKAGE):
        files += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    return files
