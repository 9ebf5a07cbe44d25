"""A file as a module, under the name that the dialect chooses, and everything that can be wrong with it.

The order of `sys.path` decides who sees what:

    core · the dialect's first folders · standard library · the unit's roots · everything else (PYTHONPATH,
    site-packages) · the dialect's last folders

So a module beside the unit's file wins over an installed one, and `import json` is the standard library's for
everybody, siblings included, even where a `json.py` lies in a root. The file of a unit that has such a name is loaded
by its path and registered as `<folder>.<stem>`: it runs, and nobody can import it by accident. A file of such a name
that others import cannot be had by its bare name; it needs another name.

A folder with an `__init__.py` is a package for its scripts, and so are the folders around it that have one: the script
`python.d/pkg/collect.py` is the module `pkg.collect`, and `from .lib import …` is `pkg/lib.py`. What the outermost one
lies in comes last on `sys.path`. Where an installed package has the name of the outermost one, a script goes on to mean
that by it: relative imports work all the same, and the script keeps the name that it has without a package.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import types

from pythond import codes, guard, leftout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Sequence

    from pythond.dialects import Unit
    from pythond.guard import IsUser
    from pythond.sources import Sources

CORE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Failure(Exception):
    """Why a unit cannot run, as the `fatal` frame says it."""

    def __init__(self, phase: str, code: str, exc: str, msg: str, permanent: bool, **more: Any) -> None:
        """`permanent`: only a change cures it. `more` may be `file`, `line`, `col`, `src`, `tb`, `notes`, `help`, and
        `passive=True` where the file has nothing to run and was not meant to, for others import it."""
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

    @property
    def is_passive(self) -> bool:
        return bool(self.frame.get("passive"))


# The packages (not the standard library's) that were loaded before the unit's roots were known.
preloaded: tuple[str, ...] = ()


def arrange_path(first: Sequence[str], roots: Sequence[str], last: Sequence[str] = ()) -> None:
    """Puts `sys.path` into the order that stands at the top of this file."""
    if preloaded:
        _forget_shadowed(roots)
    standard = [path for path in sys.path if _is_standard_dir(path)]
    others = [path for path in sys.path if path not in standard and path not in last]
    wanted = [CORE, *first, *standard, *roots, *others, *last]
    sys.path[:] = list(dict.fromkeys(wanted))


def _forget_shadowed(roots: Sequence[str]) -> None:
    """Forgets all preloaded packages where a root holds one of that name: the root's own wins, also for the others."""
    names = {name.partition(".")[0] for root in roots if os.path.isdir(root) for name in os.listdir(root)}
    if names.isdisjoint(preloaded):
        return
    for name in list(sys.modules):
        if name.partition(".")[0] in preloaded:
            del sys.modules[name]


def make_room(unit: Unit) -> None:
    """Forgets modules of other folders that the unit's own folder has too: each unit of a process finds its own."""
    if not unit.roots:
        return
    own = unit.roots[0].rstrip(os.sep) + os.sep
    try:
        names = {name.partition(".")[0] for name in os.listdir(own)}
    except OSError:
        return
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.partition(".")[0] not in names or not isinstance(path, str) or path.startswith(own):
            continue
        if unit.files.is_user(path):
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


class Names:
    """The names of a unit's file as a module, and the packages that it lies in."""

    __slots__ = ("home", "name", "packages", "within")

    def __init__(self, unit: Unit) -> None:
        folder = os.path.dirname(unit.file)
        for _ in range(unit.module.count(".")):
            folder = os.path.dirname(folder)
        # Each with its folder, the outermost first; they end where a folder has no `__init__.py`.
        self.packages: list[tuple[str, str]] = []
        while os.path.basename(folder).isidentifier() and unit.files.is_there(os.path.join(folder, "__init__.py")):
            self.packages.insert(0, (os.path.basename(folder), folder))
            folder = os.path.dirname(folder)
        # What the outermost package lies in.
        self.home = folder
        # Under this name it is known to pickle and to whoever asks for `__name__`; under the other to relative imports.
        self.name = self.within = _plain_name(unit)
        if self.packages:
            top = self.packages[0][0]
            is_taken = _is_taken(top, self.home, unit.files)
            self._call_packages(f"{top}_" if is_taken else top)
            self.within = f"{self.packages[-1][0]}.{unit.module}"
            if not is_taken:
                self.name = self.within

    def _call_packages(self, top: str) -> None:
        called = top
        named = [(called, self.packages[0][1])]
        for name, folder in self.packages[1:]:
            called = f"{called}.{name}"
            named.append((called, folder))
        self.packages = named


def module_name(unit: Unit) -> str:
    """Returns the name under which the file is registered: `module`, with the packages that its folder is before it;
    or `<folder>.<module>` where that is the name of a standard module."""
    return Names(unit).name


def _plain_name(unit: Unit) -> str:
    if not is_standard(unit.module.partition(".")[0]):
        return unit.module
    folder = os.path.dirname(unit.file)
    for _ in range(unit.module.count(".")):
        folder = os.path.dirname(folder)
    return f"{os.path.basename(folder) or 'python'}.{unit.module}"


def _is_taken(top: str, home: str, files: Sources) -> bool:
    """Says whether a package of the user has the name of one that is installed: scripts in it mean that one."""
    if is_standard(top) or top in preloaded:
        return True
    others = [path for path in sys.path if path != home and not files.is_user(os.path.join(path, "x.py"))]
    spec = importlib.machinery.PathFinder.find_spec(top, others)
    return spec is not None and spec.loader is not None


def load(unit: Unit) -> ModuleType:
    """Runs the unit's file as a module and returns it.

    Raises `Failure`, whatever the file does.
    """
    try:
        names = Names(unit)
        for name, folder in names.packages:
            _make_package(name, folder, unit.files)
        if names.packages and names.home not in sys.path:
            # Last, so that no folder beside the package hides anything: the name of the module is one that a child of
            # this process can import, too.
            sys.path.append(names.home)
        if "." in unit.module and (names.packages or names.name == unit.module):
            # So that `from . import sibling` works; an `__init__.py` is the user's code too.
            importlib.import_module(names.within.rpartition(".")[0])
        bare = "" if is_standard(unit.module.partition(".")[0]) or "." in unit.module else unit.module
        return run_as(names.name, unit.file, unit.files, names.within, bare)
    except BaseException as error:
        failure = load_failure(error, unit.files.is_user, "import")
        if "relative import" in failure.frame["msg"]:
            failure.frame["help"] = "only a folder with an `__init__.py` is a package for its scripts"
            failure.frame["permanent"] = True  # a ValueError, before Python 3.9
        raise failure from error


def _make_package(name: str, folder: str, files: Sources) -> None:
    """Imports a folder with an `__init__.py` as a package, unless it is imported already; raises what that raises."""
    known = sys.modules.get(name)
    if known is not None and folder in getattr(known, "__path__", ()):
        return
    for other in list(sys.modules):
        if other == name or other.startswith(f"{name}."):
            del sys.modules[other]  # that of another root
    path = os.path.join(folder, "__init__.py")
    spec = importlib.machinery.ModuleSpec(name, files.loader(name, path), origin=path, is_package=True)
    spec.submodule_search_locations = [folder]
    _run(spec, name, ())


def run_as(name: str, path: str, files: Sources, within: str = "", bare: str = "") -> ModuleType:
    """Runs a file as a module of any name; raises what the file raises.

    `within` is what relative imports start from, by default the name; `bare` is another name under which its siblings
    may import it.
    """
    within = within or name
    spec = importlib.machinery.ModuleSpec(within, files.loader(within, path), origin=path)
    return _run(spec, name, (within, bare))


def _run(spec: importlib.machinery.ModuleSpec, name: str, others: Sequence[str]) -> ModuleType:
    """Makes the module of a spec, known under all the names that are not empty."""
    spec.has_location = True
    module = types.ModuleType(name)
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__file__ = spec.origin
    module.__package__ = spec.parent
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    names = [one for one in dict.fromkeys((name, *others)) if one]
    sys.modules.update(dict.fromkeys(names, module))
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for one in names:
            sys.modules.pop(one, None)
        raise
    module = sys.modules.get(name, module)
    parent, _, last = spec.name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)
    return module


def as_failure(error: BaseException, is_user: IsUser, phase: str) -> Failure:
    """Returns what a dialect has raised as a failure of its unit."""
    return error if isinstance(error, Failure) else load_failure(error, is_user, phase)


def load_failure(error: BaseException, is_user: IsUser, phase: str) -> Failure:
    """Says what is wrong with a unit, given what was raised while its file was imported or a collector was made."""
    exc = type(error).__name__
    tb = guard.user_part(error)
    more: dict[str, Any] = {"tb": guard.trace(error, tb)}
    if isinstance(error, SyntaxError):
        more.update(_syntax_place(error))
        pointer = leftout.why_no_python(error.filename or "", error.text or "")
        if pointer:
            more["help"] = pointer
        return Failure(phase, codes.SYNTAX_ERROR, exc, error.msg or "invalid syntax", True, **more)
    try:
        places = guard.where(tb, is_user)
    except Exception:
        places = []
    if places:
        more.update({key: places[0][key] for key in ("file", "line", "col", "end_col", "src") if key in places[0]})
    message = guard.message(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        left_out = leftout.why_missing(error.name, more["file"]) if "file" in more else None
        more["help"] = left_out or f"install it for the interpreter of this input: {sys.executable}"
        message = f"No module named {error.name!r}"
        return Failure(phase, codes.MISSING_MODULE, exc, message, True, **more)
    return Failure(phase, codes.LOAD_FAILED, exc, message, isinstance(error, ImportError), **more)


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


def warnings_for(unit: Unit) -> list[tuple[str, str, int]]:
    """Returns what the user should know of the file, although it runs: code, text, line."""
    top = unit.module.partition(".")[0]
    if not is_standard(top):
        return []
    text = (
        f"`{top}` is the name of a standard library module; {os.path.basename(unit.file)} is loaded as "
        f"`{module_name(unit)}`, and `import {top}` gives the standard one"
    )
    return [(codes.STANDARD_NAME, text, 1)]
