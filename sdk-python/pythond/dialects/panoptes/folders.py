"""Finds the info files below the folders of an input, and names their units."""

from __future__ import annotations

import os

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.panoptes.plugin import SUFFIX, TYPES, Plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Mapping, Sequence

    from pythond.dialects import Host

_EXAMPLE = SUFFIX + ".example"


class Found:
    """What lies below the folders of an input."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.faults: list[Fault] = []
        # `…example` files that nobody has copied yet.
        self.examples: list[str] = []


def folders_of(settings: Mapping[str, Any], type: str) -> list[str]:
    """Returns the setting of one type of plugin."""
    value = settings.get(type) or []
    return [value] if isinstance(value, str) else list(value)


def find(host: Host, roots: Sequence[str]) -> Found:
    """Reads all info files; of two with the same place below different roots the first counts."""
    found = Found()
    missing: list[Fault] = []
    for type in TYPES:
        seen: set[str] = set()
        for folder in folders_of(host.settings, type):
            places = _places(folder, roots)
            if not any(os.path.isdir(place) for place in places):
                tried = ", ".join(places)
                missing.append(
                    Fault(codes.NO_SUCH_PATH, f"`{type}`: there is no folder `{folder}`; looked for: {tried}")
                )
            for place in places:
                _look(host, found, place, type, seen)
    found.faults += missing
    if not found.plugins:
        found.faults.append(_nothing(host, found, bool(missing)))
    for path in found.examples:
        text = f"is not used: Panoptes ignores names that end in `.example`; rename it to `*{SUFFIX}` to run it"
        found.faults.append(Fault(codes.FOREIGN_VALUE, text, path, severity="warning"))
    _name_twice(found)
    return found


def _places(folder: str, roots: Sequence[str]) -> list[str]:
    if os.path.isabs(folder):
        return [folder]
    return [os.path.join(root, folder) for root in roots]


def _nothing(host: Host, found: Found, is_explained: bool) -> Fault:
    given = [folder for type in TYPES for folder in folders_of(host.settings, type)]
    if not given:
        return Fault(codes.MISSING_KEY, "one of `polling`, `discovery`, `enrichment` must name a folder with plugins")
    text = f"no plugin was found: no file `*{SUFFIX}` below {', '.join(given)}"
    help = f"`{os.path.basename(found.examples[0])}` is one but for its suffix" if found.examples else ""
    return Fault(codes.NOTHING_TO_RUN, text, severity="warning" if is_explained else "error", help=help)


def _look(host: Host, found: Found, top: str, type: str, seen: set[str]) -> None:
    names = set()
    for path in _walk(host, top, set()):
        relative = os.path.relpath(path, top)
        names.add(path)
        if relative in seen:
            continue
        if path.endswith(SUFFIX):
            seen.add(relative)
            try:
                text = host.reads(path).decode("utf-8-sig", "replace")
            except OSError as error:
                found.faults.append(Fault(codes.FOREIGN_SYNTAX, f"cannot be read: {error.strerror}", path))
                continue
            found.plugins.append(Plugin(path, type, text))
    found.examples += sorted(
        path for path in names if path.endswith(_EXAMPLE) and path[: -len(".example")] not in names
    )


def _walk(host: Host, folder: str, above: set[str]) -> Iterator[str]:
    """Yields all files below a folder in the order of their names; links are followed, but not into a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for name in sorted(host.looks(folder)):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            if name not in ("__pycache__", ".git"):
                yield from _walk(host, path, above | {real})
        elif name.endswith((SUFFIX, _EXAMPLE)):
            yield path


def _name_twice(found: Found) -> None:
    """Drops each plugin whose name another one of its type has already."""
    first: dict[tuple[str, str], Plugin] = {}
    kept = []
    for plugin in found.plugins:
        other = first.setdefault((plugin.type, plugin.key), plugin)
        if other is plugin:
            kept.append(plugin)
            continue
        value = plugin.ini.get("Core", "name")
        line, column = (value.line, value.column) if value else (1, 0)
        place = f"{other.path}:{other.line_of('Core', 'name')}"
        text = f"the name `{plugin.name}` is taken already, in {place}; this plugin does not run"
        found.faults.append(Fault(codes.GIVEN_TWICE, text, plugin.path, line, column, source=plugin.ini.source(line)))
    found.plugins = kept


def ids_of(plugins: Sequence[Plugin], input: str) -> list[str]:
    """Returns the unit of each plugin: by its name, and by its type where plugins of two types have one name."""
    taken: set[str] = set()
    ids = []
    for plugin in plugins:
        id = f"{input}.{plugin.key}"
        if id in taken:
            id = f"{id}-{plugin.type}"
        taken.add(id)
        ids.append(id)
    return ids
