"""A file as a module, under the name that the dialect chooses, and everything that can be wrong with it.

The order of `sys.path` decides who sees what:

    core · the dialect's shadow · standard library · the script's roots · everything else (PYTHONPATH, site-packages)

So a module beside the script wins over an installed one, and `import json` is the standard library's for everybody,
the script's siblings included, even where a `json.py` lies in a root. A *script* of such a name is loaded by its path
and registered as `<folder>.<stem>`: it runs, and nobody can import it by accident. A file of such a name that is no
script but a helper of one cannot be imported by its bare name; it needs another name.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import types

from pythond import guard
from pythond.sources import Sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Sequence

    from pythond.guard import IsUser

CORE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Source:
    """What the agent wants to be run."""

    __slots__ = (
        "agent_address",
        "classes",
        "config",
        "files",
        "input",
        "is_user",
        "module",
        "roots",
        "script",
        "wanted",
    )

    def __init__(
        self,
        script: str,
        module: str,
        roots: Sequence[str],
        input: str = "",
        config: dict[str, Any] | None = None,
        agent_address: tuple[str, int] | None = None,
        wanted: Sequence[str] | None = None,
        files: Sources | None = None,
    ) -> None:
        """`wanted` names the only collectors to make; `files` are those of all scripts of this process."""
        self.script = script
        self.module = module
        # The root that holds the script goes first: two of them may hold a file of the same name.
        self.roots = sorted(roots, key=lambda root: not script.startswith(root.rstrip(os.sep) + os.sep))
        self.input = input
        self.config = config or {}
        self.agent_address = agent_address
        self.wanted = wanted
        # The names of all collectors of the script, once it is loaded.
        self.classes: list[str] = []
        self.files = files or Sources(guard.user_files(script, list(roots)))
        self.is_user = self.files.is_user


class Failure(Exception):
    """Why a script cannot run, as the `fatal` frame says it."""

    def __init__(self, phase: str, code: str, exc: str, msg: str, permanent: bool, **more: Any) -> None:
        super().__init__(msg)
        self.frame: dict[str, Any] = {
            "phase": phase,
            "exc": exc,
            "msg": msg,
            "tb": "",
            "permanent": permanent,
            "code": code,
            "notes": [],
            **more,
        }


# The packages (not the standard library's) that were loaded before the script's roots were known.
preloaded: tuple[str, ...] = ()


def arrange_path(shadow: str | None, roots: Sequence[str]) -> None:
    """Puts `sys.path` into the order that stands at the top of this file."""
    if preloaded:
        _forget_shadowed(roots)
    first = [CORE] + ([shadow] if shadow else [])
    standard = [path for path in sys.path if _is_standard_dir(path)]
    others = [path for path in sys.path if path not in standard]
    wanted = first + standard + list(roots) + others
    sys.path[:] = list(dict.fromkeys(wanted))


def _forget_shadowed(roots: Sequence[str]) -> None:
    """Forgets all preloaded packages where a root holds one of that name: the root's own wins, also for the others."""
    names = {name.partition(".")[0] for root in roots if os.path.isdir(root) for name in os.listdir(root)}
    if names.isdisjoint(preloaded):
        return
    for name in list(sys.modules):
        if name.partition(".")[0] in preloaded:
            del sys.modules[name]


def make_room(source: Source) -> None:
    """Forgets modules of other folders that the script's own folder has too: each script of a process finds its own."""
    own = source.roots[0].rstrip(os.sep) + os.sep
    try:
        names = {name.partition(".")[0] for name in os.listdir(own)}
    except OSError:
        return
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.partition(".")[0] not in names or not isinstance(path, str) or path.startswith(own):
            continue
        if source.is_user(path):
            del sys.modules[name]


def is_standard(module: str) -> bool:
    """Says whether a top-level name belongs to the standard library of this interpreter."""
    if module in sys.builtin_module_names:
        return True
    if sys.version_info >= (3, 10):
        return module in sys.stdlib_module_names or module == "test"
    spec = importlib.machinery.PathFinder.find_spec(module, [path for path in sys.path if _is_standard_dir(path)])
    return spec is not None and spec.origin is not None


def _is_standard_dir(path: str) -> bool:
    home = os.path.dirname(os.path.abspath(os.__file__))
    name = os.path.basename(path)
    return path == home or name == "lib-dynload" or (name.startswith("python3") and name.endswith(".zip"))


def module_name(source: Source) -> str:
    """Returns the name under which the script is registered: `module`, or `<folder>.<module>` where that is taken."""
    if not is_standard(source.module.partition(".")[0]):
        return source.module
    folder = os.path.dirname(source.script)
    for _ in range(source.module.count(".")):
        folder = os.path.dirname(folder)
    return f"{os.path.basename(folder) or 'python'}.{source.module}"


def load(source: Source) -> ModuleType:
    """Runs the script as a module and returns it.

    Raises `Failure`, whatever the script does.
    """
    name = module_name(source)
    try:
        package = source.module.rpartition(".")[0]
        if package and name == source.module:
            # So that `from . import sibling` works; an `__init__.py` is the user's code too.
            importlib.import_module(package)
        return _run(name, source.script, source.files)
    except BaseException as error:
        raise load_failure(error, source.is_user, "import") from error


def _run(name: str, path: str, files: Sources) -> ModuleType:
    loader = files.loader(name, path)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = types.ModuleType(name)
    module.__spec__ = spec
    module.__loader__ = loader
    module.__file__ = path
    module.__package__ = name.rpartition(".")[0]
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return sys.modules.get(name, module)


def load_failure(error: BaseException, is_user: IsUser, phase: str) -> Failure:
    """Says what is wrong with a script, given what was raised while it was imported or a collector was made."""
    exc = type(error).__name__
    tb = guard.user_part(error)
    more: dict[str, Any] = {"tb": guard.trace(error, tb)}
    if isinstance(error, SyntaxError):
        more.update(_syntax_place(error))
        return Failure(phase, "PD0201", exc, error.msg or "invalid syntax", True, **more)
    try:
        places = guard.where(tb, is_user)
    except Exception:
        places = []
    if places:
        more.update({key: places[0][key] for key in ("file", "line", "col", "end_col", "src") if key in places[0]})
    message = guard.message(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        more["help"] = f"install it for the interpreter of this input: {sys.executable}"
        message = f"No module named {error.name!r}"
        return Failure(phase, "PD0202", exc, message, True, **more)
    return Failure(phase, "PD0203", exc, message, isinstance(error, ImportError), **more)


def _syntax_place(error: SyntaxError) -> dict[str, Any]:
    place: dict[str, Any] = {}
    if error.filename:
        place["file"] = error.filename
    if error.lineno:
        place["line"] = error.lineno
        place["src"] = (error.text or guard.source_line(error.filename or "", error.lineno)).rstrip("\r\n")[:400]
    if error.lineno and error.offset and error.offset > 0:
        end = getattr(error, "end_offset", None)
        same_line = getattr(error, "end_lineno", None) == error.lineno
        place["col"] = error.offset
        place["end_col"] = end if same_line and end and end > error.offset else error.offset + 1
    return place


def warnings_for(source: Source) -> list[dict[str, Any]]:
    """Returns what the user should know of the file, although it runs."""
    top = source.module.partition(".")[0]
    if not is_standard(top):
        return []
    text = (
        f"`{top}` is the name of a standard library module; {os.path.basename(source.script)} is loaded as "
        f"`{module_name(source)}`, and `import {top}` gives the standard one"
    )
    return [{"code": "PD0206", "msg": text, "line": 1}]
