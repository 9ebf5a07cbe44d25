"""Runs the statements of `<Plugin python>` in the order of the file: paths, imports, blocks of modules."""

from __future__ import annotations

import importlib.machinery
import os
import sys

from pythond import codes, guard, loader
from pythond.dialects import Fault
from pythond.dialects.collectd import classes, log, places, text
from pythond.dialects.collectd.data_sets import nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Sequence

    from pythond.dialects.collectd.daemon import Daemon
    from pythond.dialects.collectd.grammar import Item
    from pythond.dialects.collectd.options import Settings
    from pythond.guard import IsUser

_PYTHON_2 = "it is written for Python 2; collectd's own build for Python 3 cannot run it either"


class Import:
    """An `Import` of a configuration, the first of its name."""

    __slots__ = ("block", "item", "name")

    def __init__(self, name: str, item: Item, block: int) -> None:
        self.name = name
        self.item = item
        self.block = block


def imports_of(settings: Settings) -> list[Import]:
    """Returns what is imported; a module that is imported again is there already."""
    found: dict[str, Import] = {}
    for block in settings.blocks:
        for item in block.item.children:
            name = item.text()
            if item.named("Import") and name:
                found.setdefault(name, Import(name, item, block.number))
    return list(found.values())


def paths_of(settings: Settings) -> list[str]:
    """Returns the folders of all `ModulePath`, in the order of the file."""
    items = (item for block in settings.blocks for item in block.item.children)
    return [path for path in (item.text() for item in items if item.named("ModulePath")) if path]


def faults_in(settings: Settings) -> list[Fault]:
    """Returns what is wrong in the blocks, as far as it can be told without running anything."""
    faults: list[Fault] = []
    for block in settings.blocks:
        for item in block.item.children:
            _check(item, faults)
    return faults


def _check(item: Item, faults: list[Fault]) -> None:
    key = item.key.lower()
    place = (item.file, item.line, item.columns[0] if item.columns else item.column)
    if key in ("modulepath", "import", "module"):
        if item.text() is None:
            shown = {"modulepath": "ModulePath", "import": "Import", "module": "Module"}[key]
            hint = "in quotes, if the name has other characters than letters, digits and `_`" if item.values else ""
            faults.append(Fault(codes.FOREIGN_VALUE, f"`{shown}` takes exactly one text", *place, help=hint))
        elif key == "modulepath" and item.file and not os.path.isdir(item.text() or ""):
            faults.append(
                Fault(codes.FOREIGN_VALUE, f"`ModulePath`: {item.text()} is no folder", *place, severity="warning")
            )
    elif key == "logtraces":
        if not _is_truth(item):
            faults.append(Fault(codes.FOREIGN_VALUE, "`LogTraces` takes true or false", *place))
    elif key == "encoding":
        told = "`Encoding` has no effect: Python 3 always uses UTF-8 (collectd refuses to start with it)"
        faults.append(Fault(codes.FOREIGN_VALUE, told, *place, severity="warning"))
    elif key == "interactive":
        if item.values != [False]:
            faults.append(Fault(codes.FOREIGN_VALUE, "`Interactive` has no effect here", *place, severity="warning"))
    else:
        known = ("ModulePath", "LogTraces", "Interactive", "Encoding", "Import", "Module")
        near = nearest(item.key, known)
        hint = f"did you mean `{near}`?" if near else f"known are {', '.join(known)}"
        faults.append(Fault(codes.FOREIGN_VALUE, f"`{item.key}` is no option of `<Plugin python>`", *place, help=hint))


def run(
    daemon: Daemon, settings: Settings, wanted: Collection[str] | None, is_user: IsUser, *, tells_all: bool
) -> list[loader.Failure]:
    """Runs all blocks, but of imports only the wanted ones (None: all); returns why some of those cannot run.

    `tells_all`: a `<Module>` block that belongs to nobody is told; else it belongs to another process.
    """
    failures: list[loader.Failure] = []
    done: set[str] = set()
    folders: list[str] = []
    daemon.context.interval = settings.interval
    for item in (item for block in settings.blocks for item in block.item.children):
        key, name = item.key.lower(), item.text()
        if key == "modulepath" and name:
            sys.path.insert(0, name)
            folders.insert(0, name)
        elif key == "logtraces" and _is_truth(item):
            daemon.log_traces = _truth(daemon, item)
        elif key == "import" and name and name not in done and (wanted is None or name in wanted):
            done.add(name)
            failure = _import(daemon, name, folders, is_user)
            if failure is not None:
                failures.append(failure)
        elif key == "module" and name is not None:
            failure = _configure(daemon, item, name, is_user, tells_all=tells_all)
            if failure is not None:
                failures.append(failure)
        elif tells_all:
            _tell_wrong(daemon, item, key)
    daemon.owner, daemon.context.interval = "", None
    return failures


def _is_truth(item: Item) -> bool:
    """Says whether a statement has one argument, a truth value or a text."""
    return len(item.values) == 1 and isinstance(item.values[0], (bool, str))


def _truth(daemon: Daemon, item: Item) -> bool:
    value = item.values[0]
    if not isinstance(value, str):
        return value is True
    told = f"Using string value `{value}' for boolean option `{item.key}' is deprecated and will be removed in future "
    daemon.log(log.WARNING, f"python plugin: {told}releases. Use unquoted true or false instead.")
    return value.lower() in ("true", "yes", "on")


def _tell_wrong(daemon: Daemon, item: Item, key: str) -> None:
    """Logs a statement that cannot be obeyed, in the original's words."""
    if key in ("logtraces", "interactive") and not _is_truth(item):
        told = f"The `{item.key}' option requires exactly one boolean argument."
    elif key in ("modulepath", "import", "module", "encoding") and item.text() is None:
        told = f"The `{item.key}' option requires exactly one string argument."
    elif key not in ("modulepath", "import", "module", "encoding", "logtraces", "interactive"):
        told = f'Unknown config key "{item.key}".'
    else:
        return
    daemon.log(log.ERROR, f"python plugin: {told}")


def make_room(name: str, folders: Sequence[str]) -> None:
    """Has a plugin be found that is named like a module of the standard library which pythond has loaded already.

    In collectd's interpreter it comes first: nothing is loaded there yet, and its folder stands before all others.
    """
    known = sys.modules.get(name)
    if known is None or name in sys.builtin_module_names or name in ("collectd", "pythond", "__main__"):
        return
    found = importlib.machinery.PathFinder.find_spec(name, list(folders))
    if found is not None and found.origin not in (None, getattr(known, "__file__", None)):
        del sys.modules[name]


def _import(daemon: Daemon, name: str, folders: Sequence[str], is_user: IsUser) -> loader.Failure | None:
    daemon.owner = name
    try:
        make_room(name, folders)
        # Not `importlib`: its lines would stand in tracebacks.
        __import__(name)
        return None
    except BaseException as error:
        daemon.log(log.ERROR, f'python plugin: Error importing module "{name}".')
        daemon.log_exception("importing module", error)
        daemon.disown(name)
        failure = loader.load_failure(error, is_user, "import")
        if isinstance(error, SyntaxError) and is_python_2(error):
            failure.frame["help"] = _PYTHON_2
        failure.frame["notes"] = [*failure.frame.get("notes", []), f"Import {name}"]
        return failure


def is_python_2(error: SyntaxError) -> bool:
    """Says whether a syntax error is Python 2's way to write it."""
    import re

    line = (error.text or "").strip()
    signs = (
        r"print\s+[^(\s=]",
        r"print\s*$",
        r"exec\s+[^(]",
        r"except\s+[\w.()\s,]+,\s*\w+\s*:",
        r"raise\s+[\w.]+\s*,",
        r".*`.+`",
        r".*<>",
        r".*\b0[0-7]+\b",
        r".*\b\d+[lL]\b",
        r".*\bur['\"]",
    )
    return any(re.match(sign, line) for sign in signs)


def _configure(daemon: Daemon, item: Item, name: str, is_user: IsUser, *, tells_all: bool) -> loader.Failure | None:
    callback = daemon.registry.for_config(name)
    if callback is None:
        if tells_all:
            told = f"Found a configuration for the \"{name}\" plugin, but the plugin isn't loaded or didn't register"
            daemon.log(log.WARNING, f"python plugin: {told} a configuration callback.")
            told = nobody_for(name, daemon.registry.config_names())
            file, line, _ = places.of(item, daemon.settings)
            daemon.host.warn(codes.FOR_NOBODY, told, file, line)
        return None
    daemon.owner = callback.owner
    error = daemon.guarded("loading module", callback, config_of(item, None))
    if error is None:
        return None
    daemon.disown(callback.owner)
    failure = loader.load_failure(error, is_user, "config")
    raised = guard.joined(type(error).__name__, guard.message(error))
    failure.frame["msg"] = f"config callback of {name} raised {raised}"
    failure.frame["permanent"] = False
    file, line, column = places.of(item, daemon.settings)
    at = f"{file}:{line}:{column}: " if file else ""
    failure.frame["notes"] = [*failure.frame.get("notes", []), f"{at}<{item.key} {name}>"]
    return failure


def nobody_for(name: str, known: Sequence[str]) -> str:
    """Says that a `<Module>` block goes to nobody."""
    near = nearest(name, known)
    hint = f"; did you mean `{near}`?" if near else f"; registered: {', '.join(known)}" if known else ""
    return f"no plugin has registered a config callback for `<Module {name}>`{hint}"


def config_of(item: Item, parent: classes.Config | None) -> classes.Config:
    """Returns a statement or block as plugins get it."""
    node = classes.Config(item.key, parent, tuple(item.values))
    node.children = tuple(config_of(child, node) for child in item.children)
    return node


def shown_names(names: Sequence[str]) -> str:
    return ", ".join(f"`{text.shown(name)}`" for name in names)
