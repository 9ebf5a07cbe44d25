"""What a collectd.conf says to one unit, in a file of its own.

The lister writes it, the unit's worker reads it. It has no places in it and nothing that is for other units, so that it
changes only when something changes for this unit: a new `<Module>` block of one plugin leaves all others alone. What
was listed is noted beside it: while a file has a mistake, the units that come from it stay as they were.

    collectd-<unit>.json     {"numbers", "texts", "loads", "types", "blocks": [[statement, …], …]}
    collectd-listing.json    {"config", "isolation", "units": [[told unit, files], …]}
    collectd-folders.json    [folder, …]: every `ModulePath`
"""

from __future__ import annotations

import json
import os
import re
import tempfile

from pythond import sources
from pythond.dialects import ToldUnit
from pythond.dialects.collectd.grammar import Item
from pythond.dialects.collectd.options import Block, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

_LISTING = "collectd-listing.json"
_FOLDERS = "collectd-folders.json"
_LOADS = ("load_interval", "interval_at_load", "flush_interval", "flush_timeout")
_TOLD = ("id", "title", "file", "line", "reads", "parts")


def write(settings: Settings, unit: str, folder: str, blocks: Sequence[Sequence[Item]]) -> str:
    """Writes what concerns a unit, with the statements that are for it; returns the path. Raises `OSError`."""
    shown = {
        "numbers": settings.said_numbers,
        "texts": settings.said_texts,
        "loads": [getattr(settings, name) for name in _LOADS],
        "types": settings.types_files,
        "blocks": [[plain(item) for item in block] for block in blocks],
    }
    readable = re.sub(r"[^\w.]", "_", unit)
    name = f"collectd-{readable[:80]}-{sources.sum_of(unit.encode('utf-8', 'replace'))[:8]}.json"
    return _write(os.path.join(folder, name), shown)


def read(data: bytes, settings: Settings) -> None:
    """Takes over what was written. Raises `ValueError`."""
    shown = json.loads(data)
    try:
        settings.numbers.update(shown["numbers"])
        settings.texts.update(shown["texts"])
        for name, value in zip(_LOADS, shown["loads"]):
            setattr(settings, name, value)
        settings.types_files += shown["types"]
        for number, statements in enumerate(shown["blocks"]):
            item = Item("Plugin", "", 0, 0, True)
            item.values.append("python")
            item.children += [_item(one) for one in statements]
            settings.blocks.append(Block(item, number))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no extract of collectd.conf: {error!r}") from error
    settings.is_loaded = True


def plain(item: Item) -> list[Any]:
    """Returns a statement or block without its place."""
    values = [{"bytes": one.decode("latin-1")} if isinstance(one, bytes) else one for one in item.values]
    return [item.key, values, [plain(child) for child in item.children] if item.is_block else None]


def _item(shown: Sequence[Any]) -> Item:
    key, values, children = shown
    item = Item(key, "", 0, 0, children is not None)
    item.values += [one["bytes"].encode("latin-1") if isinstance(one, dict) else one for one in values]
    item.children += [_item(child) for child in children or ()]
    return item


# --- the listing of before ---


class Noted:
    """A unit as it was listed, and the files that its statements stood in."""

    __slots__ = ("files", "unit")

    def __init__(self, unit: ToldUnit, files: Sequence[str]) -> None:
        self.unit = unit
        self.files = files


def note(units: Sequence[Noted], config: str, isolation: str, folder: str) -> None:
    """Notes a listing, and forgets the units that it has no more. Raises `OSError`."""
    told = [[{name: getattr(one.unit, name) for name in _TOLD}, one.files] for one in units]
    _write(os.path.join(folder, _LISTING), {"config": config, "isolation": isolation, "units": told})
    kept = {os.path.basename(one.unit.parts["settings"]) for one in units} | {_LISTING, _FOLDERS}
    for name in os.listdir(folder):
        if name.startswith("collectd-") and name.endswith(".json") and name not in kept:
            os.unlink(os.path.join(folder, name))


def noted(config: str, isolation: str, folder: str) -> list[Noted]:
    """Returns the units of the last listing; none where that was of something else."""
    try:
        with open(os.path.join(folder, _LISTING), "rb") as file:
            shown = json.load(file)
        if (shown["config"], shown["isolation"]) != (config, isolation):
            return []
        return [Noted(ToldUnit(**unit), files) for unit, files in shown["units"]]
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or of another version: what collectd.conf says now is as good.
        return []


# --- the folders of all blocks ---


def write_folders(folders: Sequence[str], folder: str) -> str:
    """Writes each `ModulePath` of a collectd.conf; returns the path. Raises `OSError`."""
    return _write(os.path.join(folder, _FOLDERS), list(folders))


def folders_in(path: str) -> list[str]:
    """Returns what `write_folders` has written there, the last one first, as they stand on `sys.path`."""
    try:
        with open(path, "rb") as file:
            return [str(one) for one in reversed(json.load(file))]
    except (OSError, ValueError, TypeError):
        # Of a check that has ended, or of another version.
        return []


def _write(path: str, shown: Any) -> str:
    data = json.dumps(shown, indent=1, sort_keys=True).encode("ascii")
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return path
    except OSError:
        # It is not there yet.
        pass
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".collectd-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise
    return path
