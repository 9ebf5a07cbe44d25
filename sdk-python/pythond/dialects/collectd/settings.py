"""Reads what an input runs: its own keys, and what collectd.conf says to Python plugins."""

from __future__ import annotations

import os

from pythond import codes, loader
from pythond.dialects import Fault
from pythond.dialects.collectd import data_sets, extract, grammar, include, text
from pythond.dialects.collectd.grammar import Item
from pythond.dialects.collectd.options import NUMBERS, Block, Settings, Shape, is_for_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Protocol, Sequence

    from pythond.dialects import Host

    class Files(Protocol):
        """Where settings files are read; a `Host` is one."""

        def reads(self, path: str) -> bytes: ...

        def looks(self, folder: str) -> list[str]: ...


PLACES = ("/etc/collectd/collectd.conf", "/etc/collectd.conf")
_TEXTS = ("hostname", "basedir")
# Global options that say nothing to us, and need not be named for it.
_SILENT = ("fqdnlookup", "pidfile", "plugindir", "collectinternalstats", "writequeuelimitlow")


def read(host: Host, roots: Sequence[str] = (), *, looks: bool = True) -> Settings:
    """Reads all that belongs to an input. `looks`: for a collectd.conf at its usual places, where none is named.

    Raises `loader.Failure` where there is nothing to read.
    """
    keys, settings = host.settings, Settings()
    noting = _Noting(host, settings.reads)
    if keys.get("modules"):
        settings.blocks.append(Block(_block_of_modules(keys, roots, settings.faults), 0))
        settings.is_loaded = True
    else:
        settings.file = str(keys.get("config") or "") or (_config_file() if looks else "")
        if settings.file:
            _read_file(settings, noting)
    return _completed(settings, host, noting)


def read_extract(host: Host, path: str, config: str) -> Settings:
    """Reads what the lister has written for a unit. Raises `OSError`, `ValueError`."""
    settings = Settings()
    settings.file = config
    noting = _Noting(host, settings.reads)
    extract.read(noting.reads(path), settings)
    return _completed(settings, host, noting)


def _completed(settings: Settings, host: Host, noting: _Noting) -> Settings:
    """Adds the input's own keys, and the types."""
    keys = host.settings
    settings.said_numbers, settings.said_texts = dict(settings.numbers), dict(settings.texts)
    for key in ("hostname", "interval"):
        value = keys.get(key)
        if value:
            if key == "hostname":
                settings.texts[key] = str(value)
            else:
                settings.numbers[key] = float(value)
                settings.interval_at_load = 0.0
    settings.texts.setdefault("hostname", host.hostname)
    more = keys.get("types_db") or ()
    more = [more] if isinstance(more, str) else more
    settings.types = data_sets.read(settings.types_files, more, noting, settings.faults)
    settings.shape = Shape(keys, settings.numbers["timeout"])
    return settings


class _Noting:
    """Reads files by a host and keeps their paths."""

    def __init__(self, host: Host, paths: list[str]) -> None:
        self._host = host
        self._paths = paths
        self.looks = host.looks

    def reads(self, path: str) -> bytes:
        if path not in self._paths:
            self._paths.append(path)
        return self._host.reads(path)


def _config_file() -> str:
    for path in PLACES:
        if os.path.exists(path):
            return path
    text_ = f"neither {' nor '.join(PLACES)} is there"
    help = 'name the file: config = "…", or plugins without one: modules = ["…"]'
    raise loader.Failure("list", codes.FOREIGN_SYNTAX, "FileNotFoundError", text_, True, file=PLACES[0], help=help)


def _read_file(settings: Settings, host: _Noting) -> None:
    try:
        items = include.read(settings.file, host, settings.faults)
    except OSError as error:
        why = error.strerror or str(error)
        raise loader.Failure(
            "list",
            codes.FOREIGN_SYNTAX,
            type(error).__name__,
            f"cannot read {settings.file}: {why}",
            True,
            file=settings.file,
        ) from error
    foreign: list[Item] = []
    for item in items:
        if not _takes(settings, item):
            foreign.append(item)
    settings.foreign = _named(foreign)
    settings.faults = [one for one in settings.faults if not _is_in(one, foreign)]
    if settings.blocks and not settings.is_loaded:
        first = settings.blocks[0].item
        told = "there is no `LoadPlugin python`: collectd would not run this block, pythond does"
        settings.faults.append(Fault(codes.FOREIGN_VALUE, told, first.file, first.line, first.column, "warning"))


def _is_in(fault: Fault, foreign: Sequence[Item]) -> bool:
    """Says whether a warning is about what is not ours."""
    return fault.severity == "warning" and any(
        fault.file == item.file and item.line <= fault.line <= item.end_line for item in foreign
    )


def _takes(settings: Settings, item: Item) -> bool:
    """Takes a root item over; says whether it is for Python."""
    key, first = item.key.lower(), item.values[0] if item.values else None
    if is_for_python(item):
        if settings.loads_itself:
            _load(settings)
        settings.blocks.append(Block(item, len(settings.blocks)))
        return True
    if key == "loadplugin" and isinstance(first, str):
        if first.lower() == "python":
            _load(settings)
            _take_load_options(settings, item)
            return True
        return False
    if key == "autoloadplugin":
        settings.loads_itself = item.values == [True]
        return True
    if key == "interval" and settings.is_loaded:
        told = f"it comes after `LoadPlugin python`, whose callbacks keep {settings.interval:g} s, as in collectd"
        _tell(settings, item, f"`Interval`: {told}", "warning")
    if key in NUMBERS:
        settings.numbers[key] = _number(settings, item, settings.numbers[key])
        return True
    if key in _TEXTS:
        given = item.text()
        if given is None:
            _tell(settings, item, f"`{item.key}` must be one text")
        else:
            settings.texts[key] = given
        return True
    if key == "typesdb":
        for value in item.values:
            settings.types_files.append(text.shown(value) if isinstance(value, (str, bytes)) else str(value))
        return True
    return key in _SILENT


def _load(settings: Settings) -> None:
    """Notes what holds when Python is loaded: collectd does not look at an `Interval` that comes later."""
    if not settings.is_loaded:
        settings.is_loaded = True
        settings.interval_at_load = settings.numbers["interval"]


def _take_load_options(settings: Settings, item: Item) -> None:
    for child in item.children:
        key = child.key.lower()
        if key == "interval":
            settings.load_interval = _number(settings, child, settings.load_interval)
        elif key == "flushinterval":
            settings.flush_interval = _number(settings, child, 0.0)
        elif key == "flushtimeout":
            settings.flush_timeout = _number(settings, child, 0.0)
        elif key != "globals":
            _tell(settings, child, f"`{child.key}` is no option of `<LoadPlugin python>`", "warning")


def _number(settings: Settings, item: Item, before: float) -> float:
    """Returns a number above 0; that of before, with a fault, where there is none."""
    value = item.values[0] if len(item.values) == 1 else None
    if isinstance(value, float) and not isinstance(value, bool) and value > 0:
        return value
    given = " ".join(_written(one) for one in item.values)
    _tell(settings, item, f"`{item.key} {given}`: it must be one number above 0, {before:g} is taken")
    return before


def _written(value: grammar.Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else f'"{text.shown(value)}"'


def _tell(settings: Settings, item: Item, told: str, severity: str = "error") -> None:
    column = item.columns[0] if item.columns else item.column
    settings.faults.append(Fault(codes.FOREIGN_VALUE, told, item.file, item.line, column, severity))


def _named(foreign: Sequence[Item]) -> list[str]:
    """Returns what is not for Python, each once: `LoadPlugin cpu, network`, `<Chain>`."""
    loads = [_first_text(item) for item in foreign if item.named("LoadPlugin")]
    others: list[str] = []
    for item in foreign:
        if item.named("LoadPlugin"):
            continue
        argument = _first_text(item)
        if item.named("Plugin") and argument in loads:
            continue
        others.append(f"<{item.key} {argument}>".replace(" >", ">") if item.is_block else item.key)
    named = [f"LoadPlugin {', '.join(dict.fromkeys(loads))}"] if loads else []
    return named + list(dict.fromkeys(others))


def _first_text(item: Item) -> str:
    first = item.values[0] if item.values else ""
    return text.shown(first) if isinstance(first, (str, bytes)) else ""


# --- without a collectd.conf ---


def _block_of_modules(keys: Mapping[str, Any], roots: Sequence[str], faults: list[Fault]) -> Item:
    """Returns the `<Plugin python>` that would run the plugin files of `modules`."""
    block = _statement("Plugin", ["python"], is_block=True)
    for given in keys.get("modules") or ():
        path = _module_file(str(given), roots)
        if path is None:
            looked = ", ".join(roots) or "no folder"
            faults.append(Fault(codes.FOREIGN_VALUE, f"`modules`: {given} is not there (looked in: {looked})"))
            continue
        block.children.append(_statement("ModulePath", [os.path.dirname(path)]))
        block.children.append(_statement("Import", [os.path.splitext(os.path.basename(path))[0]]))
    for name, table in (keys.get("module") or {}).items():
        node = item_of(table, "Module", is_block=True)
        node.values = [str(name)]
        block.children.append(node)
    return block


def _module_file(given: str, roots: Sequence[str]) -> str | None:
    """Returns a plugin's file, or the folder of one that is a package."""
    for path in [given] if os.path.isabs(given) else [os.path.join(root, given) for root in roots]:
        path = os.path.normpath(path)
        if os.path.basename(path) == "__init__.py":
            path = os.path.dirname(path)
        if os.path.exists(path):
            return path
    return None


def _statement(key: str, values: Sequence[grammar.Value], is_block: bool = False) -> Item:
    item = Item(key, "", 0, 0, is_block)
    item.values.extend(values)
    return item


def item_of(given: Any, key: str, is_block: bool = False) -> Item:
    """Returns what a value of our own settings is in collectd.conf: a table is a block, a list several arguments."""
    if isinstance(given, dict):
        item = Item(key, "", 0, 0, True)
        for name, value in given.items():
            several = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
            for one in value if several else [value]:
                item.children.append(item_of(one, str(name)))
        return item
    values = given if isinstance(given, list) else [given]
    return _statement(key, [_value(one) for one in values], is_block)


def _value(given: Any) -> grammar.Value:
    if isinstance(given, (bool, str, bytes)):
        return given
    return float(given) if isinstance(given, (int, float)) else str(given)
