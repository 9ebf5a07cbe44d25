"""Which imports can have a process each, and why others cannot.

A throw-away child of the lister runs the imports in the order of the file and tells of each what it has registered,
which files it has loaded, and what it shares with earlier ones. A child that dies or hangs at an import is begun again
without it: that import cannot keep the others from being told.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import json
import os
import select
import signal
import sys
import time
import types

from pythond.dialects.collectd import current, log, plugins, text
from pythond.dialects.collectd.daemon import Daemon
from pythond.rows import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Mapping, Sequence

    from pythond.dialects.collectd.options import Settings
    from pythond.dialects.collectd.plugins import Import

# A process of its own would change what such callbacks get to see.
LISTENERS = {"write": "writes", "notification": "listens to", "log": "logs", "flush": "flushes"}
ENDED = "the process ended or hung during the import"
IMPORT_SECONDS = 10.0
_ALL_SECONDS = 25.0
_MOST_CHILDREN = 5
_MOST_FILES = 300


class Seen:
    """What is known of an import."""

    __slots__ = ("config_names", "file", "files", "folders", "kinds", "problem", "shares")

    def __init__(self, told: dict[str, Any] | None = None, problem: str = "") -> None:
        told = told or {}
        # Of callbacks, as far as they were registered or its source speaks of them.
        self.kinds: list[str] = told.get("kinds", [])
        self.config_names: list[str] = told.get("config", [])
        self.file: str = told.get("file", "")
        self.files: list[str] = told.get("files", [])
        # Each `ModulePath` from which it has modules.
        self.folders: list[str] = told.get("folders", [])
        # Imports with which it shares modules that hold state.
        self.shares: list[str] = told.get("shares", [])
        # Why it cannot be imported: the kind of the exception and the module it names.
        self.problem: str = told.get("problem", problem)


def look(settings: Settings, imports: Sequence[Import], is_foreign: Callable[[str], bool]) -> dict[str, Seen]:
    """Runs all imports and returns what is known of each. `is_foreign`: a file that is of no plugin."""
    seen: dict[str, Seen] = {}
    skipped: set[str] = set()
    until = time.monotonic() + _ALL_SECONDS
    for _ in range(_MOST_CHILDREN):
        found, stuck = _look_once(settings, imports, skipped, is_foreign, until)
        seen.update(found)
        if not stuck:
            break
        skipped.add(stuck)
        seen[stuck] = Seen(problem=ENDED)
    folders = [*reversed(plugins.paths_of(settings)), *sys.path]
    for one in imports:
        known = seen.setdefault(one.name, Seen(problem="was not looked at"))
        if not known.file:
            known.file = found_file(one.name, folders)
            known.files += [known.file] if known.file and known.file not in known.files else []
    return seen


def found_file(name: str, folders: Sequence[str]) -> str:
    """Returns the file of a module that cannot be imported; empty where there is none."""
    found = None
    for part in name.split("."):
        found = importlib.machinery.PathFinder.find_spec(part, folders)
        if found is None:
            return ""
        folders = list(found.submodule_search_locations or ())
    return (found.origin or "") if found is not None else ""


def _look_once(
    settings: Settings,
    imports: Sequence[Import],
    skipped: Collection[str],
    is_foreign: Callable[[str], bool],
    until: float,
) -> tuple[dict[str, Seen], str]:
    """Returns what one child tells, and the import at which it ended or hung."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(out)
            _run_imports(settings, imports, skipped, is_foreign, into)
        finally:
            os._exit(0)
    os.close(into)
    todo = [one.name for one in imports if one.name not in skipped]
    found: dict[str, Seen] = {}
    data = b""
    while todo:
        left = min(IMPORT_SECONDS, until - time.monotonic())
        if left <= 0 or not select.select([out], [], [], left)[0]:
            break
        chunk = os.read(out, 65536)
        if not chunk:
            break
        data += chunk
        *lines, data = data.split(b"\n")
        for line in lines:
            told = json.loads(line)
            found[told["name"]] = Seen(told)
            todo.remove(told["name"])
    os.close(out)
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        # It has ended.
        pass
    os.waitpid(pid, 0)
    return found, todo[0] if todo and until > time.monotonic() else ""


def _run_imports(
    settings: Settings,
    imports: Sequence[Import],
    skipped: Collection[str],
    is_foreign: Callable[[str], bool],
    into: int,
) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    daemon = _Deaf(settings)
    current.attach(daemon)
    import collectd  # noqa: F401  (it is of no plugin)

    # What the lister itself has loaded by now is nobody's.
    owners: dict[str, str] = dict.fromkeys(sys.modules, "")
    paths = plugins.paths_of(settings)
    for path in paths:
        sys.path.insert(0, path)
    folders = list(dict.fromkeys(os.path.abspath(path) for path in reversed(paths)))
    for one in imports:
        if one.name in skipped:
            continue
        told = _run_import(daemon, one.name, owners, folders, is_foreign)
        os.write(into, json.dumps({"name": one.name, **told}).encode() + b"\n")


def _run_import(
    daemon: _Deaf,
    name: str,
    owners: dict[str, str],
    folders: Sequence[str],
    is_foreign: Callable[[str], bool],
) -> dict[str, Any]:
    asked: set[str] = set()
    problem = ""
    daemon.owner, daemon.kinds = name, {}
    plain = builtins.__import__

    def noting(wanted: str, globals: Any = None, locals: Any = None, names: Any = (), level: int = 0) -> Any:
        found = plain(wanted, globals, locals, names, level)
        package = (globals or {}).get("__package__") or ""
        base = package.rsplit(".", level - 1)[0] if level > 1 else package
        whole = f"{base}.{wanted}".strip(".") if level else wanted
        asked.update([whole, *(f"{whole}.{one}" for one in names or ())])
        return found

    builtins.__import__ = noting  # type: ignore[assignment]
    before = sys.modules.get(name)
    try:
        plugins.make_room(name, folders)
        __import__(name)
    except BaseException as error:
        problem = f"{type(error).__name__}:{getattr(error, 'name', '') or ''}"
    finally:
        builtins.__import__ = plain
    asked.add(name)
    if sys.modules.get(name) is not before and not owners.get(name, ""):
        # Also one that took the place of another.
        owners.pop(name, None)
    new = [module for module in list(sys.modules) if module not in owners]
    for module in new:
        owners[module] = name
    shares = {
        owners[one] for one in asked if owners.get(one, name) not in ("", name) and _is_shared(one, daemon, is_foreign)
    }
    top = name.partition(".")[0]
    # A plugin that is installed as a package is the user's nevertheless.
    files = [_file_of(one) for one in new if _file_of(one)]
    own = {_file_of(one) for one in new if one.partition(".")[0] == top}
    files = [path for path in files if path in own or not is_foreign(path)]
    kinds = {kind for kind, modules in daemon.kinds.items() if modules} | _spoken_of(files)
    return {
        "kinds": sorted(kinds),
        "config": daemon.names_of(name),
        "file": _file_of(name),
        "files": files[:_MOST_FILES],
        "folders": [folder for folder in folders if any(_is_in(folder, one) for one in {*new, *asked})],
        "shares": sorted(shares),
        "problem": problem,
    }


def _file_of(module: str) -> str:
    path = getattr(sys.modules.get(module), "__file__", None)
    return path if isinstance(path, str) else ""


def _is_in(folder: str, module: str) -> bool:
    """Says whether a module, or a package without a file of its own, was found in a folder."""
    paths = [_file_of(module), *map(str, getattr(sys.modules.get(module), "__path__", ()))]
    return any(os.path.abspath(path).startswith(os.path.join(folder, "")) for path in paths if path)


def _is_shared(module: str, daemon: _Deaf, is_foreign: Callable[[str], bool]) -> bool:
    """Says whether it matters that two imports use one module: it has registered callbacks, or holds state."""
    found, path = sys.modules.get(module), _file_of(module)
    if found is None or not path or is_foreign(path):
        return False
    return module in daemon.registering or holds_state(found)


def holds_state(module: types.ModuleType) -> bool:
    """Says whether a module has what its functions may change: collections, objects, names declared `global`."""
    for name, value in vars(module).items():
        if name.startswith("__") and name.endswith("__"):
            continue
        if isinstance(value, types.FunctionType):
            if value.__module__ == module.__name__ and _changes_globals(value.__code__):
                return True
        elif not _is_constant(value):
            return True
    return False


def _is_constant(value: object) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(_is_constant(one) for one in value)
    if isinstance(value, type):
        return True
    plain = (str, bytes, int, float, complex, type(None), types.ModuleType, types.BuiltinFunctionType)
    return isinstance(value, plain) or type(value).__module__ in ("re", "logging", "typing", "__future__", "functools")


def _changes_globals(code: types.CodeType) -> bool:
    import dis

    if any(step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") for step in dis.get_instructions(code)):
        return True
    return any(_changes_globals(one) for one in code.co_consts if isinstance(one, types.CodeType))


def _spoken_of(files: Sequence[str]) -> set[str]:
    """Returns the kinds of listeners that files speak of: many plugins register them in an init callback."""
    found: set[str] = set()
    for path in files[:_MOST_FILES]:
        try:
            with open(path, "rb") as file:
                data = file.read(1 << 20)
        except OSError:
            continue
        found.update(kind for kind in LISTENERS if b"register_" + kind.encode() in data.replace(b"unregister_", b""))
    return found


class _Deaf(Daemon):
    """A daemon that nobody hears: it notes what is registered."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(_DeafHost(), settings, "")
        self.kinds: dict[str, set[str]] = {}
        # Modules whose functions were registered.
        self.registering: set[str] = set()
        log.mute(True)

    def register(self, kind: str, call: Any, data: Any, name: Any) -> Any:
        self._note(kind, call)
        return super().register(kind, call, data, name)

    def register_read(self, call: Any, interval: float, data: Any, name: Any) -> Any:
        self._note("read", call)
        return super().register_read(call, interval, data, name)

    def _note(self, kind: str, call: Any) -> None:
        module = str(getattr(call, "__module__", ""))
        self.kinds.setdefault(kind, set()).add(module)
        self.registering.add(module)

    def names_of(self, owner: str) -> list[str]:
        """Returns the names of the config callbacks of an import."""
        own = [one for one in self.registry.all("config") if one.owner == owner]
        return [text.shown(one.identifier).partition(".")[2] for one in own]


class _DeafHost:
    """A host that takes everything and tells nobody."""

    id = input = state_dir = hostname = isolation = mode = ""
    interval = 10.0
    settings: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}

    def put(self, job: Any, rows: Any) -> Answer:
        return Answer(200, len(rows), 0, 0, "")

    def hand_in(self, job: Any, rows: Any) -> None:
        """Nobody is told."""

    def post(self, job: Any, category: str, body: bytes, *more: Any, **named: Any) -> Answer:
        return Answer(200, 1, 0, 0, "")

    def reads(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def looks(self, folder: str) -> list[str]:
        return []

    def add(self, job: Any) -> None:
        """Nothing runs here."""

    def drop(self, job: Any) -> None:
        """Nothing runs here."""

    def replace(self, why: str) -> None:
        """Nothing runs here."""

    def warn(self, code: str, text: str, file: str = "", line: int = 0, column: int = 0) -> None:
        """Told when the unit is loaded."""
