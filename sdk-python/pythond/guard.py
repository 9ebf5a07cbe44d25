"""Calls what belongs to a user and turns whatever comes out of it into facts.

Nothing that it raises passes: not SystemExit, KeyboardInterrupt, GeneratorExit, nor an exception whose text
cannot be made.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import time
import traceback

from pythond.control import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, Callable, Dict, List, Optional, Tuple

    IsUser = Callable[[str], bool]
    # As `linecache` has it: size, time of change, lines, name.
    Source = Tuple[int, Optional[float], List[str], str]
    Where = Dict[str, Any]


class AtFunction(Exception):
    """An error of ours about a function of the user's that has returned, so that no frame of its traceback is there."""

    def __init__(self, text: str, function: Any) -> None:
        super().__init__(text)
        self.code = getattr(getattr(function, "__func__", function), "__code__", None)


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MAX_FRAMES = 16
_MAX_LINE = 400


def user_files(file: str, roots: list[str]) -> IsUser:
    """Returns the test that tells the user's own files from libraries: the file, and what lies below its roots, or
    below the packages that these are part of."""
    prefixes = tuple(_outermost(root.rstrip(os.sep)) + os.sep for root in roots)

    def is_user(path: str) -> bool:
        if path == file:
            return True
        own = path.startswith(prefixes) and not path.startswith(_HERE)
        return own and "site-packages" + os.sep not in path and "dist-packages" + os.sep not in path

    return is_user


def _outermost(folder: str) -> str:
    """Returns the folder of the outermost package that a folder is part of; the folder itself where it is of none."""
    found = folder
    while os.path.basename(folder).isidentifier() and os.path.isfile(os.path.join(folder, "__init__.py")):
        found, folder = folder, os.path.dirname(folder)
    return found


def run(call: Callable[..., object], is_user: IsUser, *given: object) -> tuple[float, dict[str, Any] | None, object]:
    """Calls what is the user's; returns the milliseconds it took, if it raised what the `end` frame says of it, and
    what it returned."""
    started = time.monotonic()
    try:
        value = call(*given)
    except BaseException as error:
        took = time.monotonic() - started
        return took * 1000.0, describe(error, is_user), None
    return (time.monotonic() - started) * 1000.0, None, value


def describe(error: BaseException, is_user: IsUser) -> dict[str, Any]:
    """Describes an exception: its type, text, traceback and the user's frames in it, innermost first."""
    tb = user_part(error)
    facts: dict[str, Any] = {"exc": type(error).__name__, "msg": cut(message(error), 2048), "tb": trace(error, tb)}
    try:
        facts["where"] = where(tb, is_user) or _of_function(error)
        hint = _hint(error, tb, is_user)
        if hint:
            facts["hint"] = hint
    except Exception as failure:  # e.g. a collector that replaced `__dict__`: the traceback above is still there
        facts.setdefault("where", [])
        facts["tb"] += f"(no more is known: {type(failure).__name__})\n"
    return facts


def message(error: BaseException) -> str:
    """Returns the text of an exception, also of one whose `__str__` fails."""
    try:
        return str(error)
    except BaseException as failure:
        return f"<its text cannot be made: {type(failure).__name__}>"


def joined(exc: str, text: str) -> str:
    """Returns `KeyError: 'await'`, as the last line of a traceback says it."""
    return f"{exc}: {text}" if text else exc


def user_part(error: BaseException) -> TracebackType | None:
    """Returns the traceback without the frames at its outer end that are the worker's own and the import system's."""
    tb = error.__traceback__
    while tb is not None and _is_ours(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _is_ours(path: str) -> bool:
    return path.startswith((_HERE, "<frozen importlib"))


def trace(error: BaseException, tb: TracebackType | None) -> str:
    """Formats a traceback with its source lines, at most 8 KiB of it, cut in the middle."""
    try:
        return cut("".join(traceback.format_exception(type(error), error, tb)))
    except BaseException as failure:
        return f"{type(error).__name__}\n(the traceback cannot be made: {type(failure).__name__})\n"


def where(tb: TracebackType | None, is_user: IsUser) -> list[Where]:
    """Returns the user's frames of a traceback, innermost first."""
    found = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if is_user(code.co_filename):
            found.append((tb, code))
        tb = tb.tb_next
    return [_place(one, code) for one, code in reversed(found[-_MAX_FRAMES:])]


def _of_function(error: BaseException) -> list[Where]:
    code = error.code if isinstance(error, AtFunction) else None
    if code is None:
        return []
    line = code.co_firstlineno
    src = source_line(code.co_filename, line)[:_MAX_LINE]
    return [{"file": code.co_filename, "line": line, "func": code.co_name, "src": src}]


def _place(tb: TracebackType, code: Any) -> Where:
    src = source_line(code.co_filename, tb.tb_lineno)
    place: Where = {"file": code.co_filename, "line": tb.tb_lineno}
    if sys.version_info >= (3, 11):
        place.update(_columns(code, tb, src))
    place.update(func=code.co_name, src=src[:_MAX_LINE])
    return place


def _columns(code: Any, tb: TracebackType, src: str) -> dict[str, int]:
    """Returns `col` and `end_col`, counted in characters from 1; the end is the first column behind."""
    for number, (line, end_line, col, end_col) in enumerate(code.co_positions()):
        if number == tb.tb_lasti // 2:
            if line != tb.tb_lineno or col is None or end_col is None:
                break
            data = src.encode("utf-8", "replace")
            end = end_col if end_line == line else len(data)
            return {"col": _characters(data, col) + 1, "end_col": _characters(data, end) + 1}
    return {}


def _characters(data: bytes, size: int) -> int:
    return len(data[:size].decode("utf-8", "replace"))


def source_line(path: str, line: int) -> str:
    """Returns a source line as it was when the file was loaded (see `remember_source`)."""
    return linecache.getline(path, line).rstrip("\r\n")


def as_source(path: str, text: str) -> Source:
    """Returns the source of a file as `remember_source` takes it."""
    # Without a time of change `linecache` never looks at the file again.
    return (len(text), None, text.splitlines(True), path)


def remember_source(path: str, source: Source) -> None:
    """Keeps the source of a loaded file, so that tracebacks show what runs and not what was saved since."""
    linecache.cache[path] = source


def caller(is_user: IsUser) -> Where | None:
    """Returns the user's line that is being run, seen from within the SDK; None in a thread without one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if is_user(path):
            src = source_line(path, frame.f_lineno)
            return {"file": path, "line": frame.f_lineno, "func": frame.f_code.co_name, "src": src[:_MAX_LINE]}
        frame = frame.f_back
    return None


def _hint(error: BaseException, tb: TracebackType | None, is_user: IsUser) -> str:
    """Names what there was instead of the missing key or attribute; names only, values may be secret."""
    last = None
    while tb is not None:
        last, tb = tb, tb.tb_next
    if last is None or not is_user(last.tb_frame.f_code.co_filename):
        return ""
    if isinstance(error, KeyError):
        return _keys_hint(error, last)
    if isinstance(error, AttributeError) and isinstance(getattr(error, "name", None), str):
        return _attributes_hint(getattr(error, "obj", None))
    return ""


def _keys_hint(error: KeyError, tb: TracebackType) -> str:
    line = source_line(tb.tb_frame.f_code.co_filename, tb.tb_lineno)
    for name in re.findall(r"([A-Za-z_]\w*(?:\.\w+)?)\s*(?:\[|\.pop\()", line):
        first, _, second = name.partition(".")
        value = tb.tb_frame.f_locals.get(first, tb.tb_frame.f_globals.get(first))
        if second:
            value = getattr(value, "__dict__", {}).get(second)
        if type(value) is dict and not (error.args and error.args[0] in value):
            return f"`{name}` has the keys: {_names(value)}"
    return ""


def _attributes_hint(obj: Any) -> str:
    own = getattr(obj, "__dict__", {})
    names = [name for name in [*own, *type(obj).__dict__] if not name.startswith("_")]
    return f"`{type(obj).__name__}` has: {_names(names)}" if names else ""


def _names(names: Any) -> str:
    known = [repr(name)[:40] for name in names if isinstance(name, (str, int))]
    return ", ".join(known[:10]) + (", …" if len(known) > 10 else "") if known else "none"
