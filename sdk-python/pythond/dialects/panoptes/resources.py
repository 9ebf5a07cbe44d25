"""The resources of an input: what discovery has found, in the common file, and what a JSON file gives."""

from __future__ import annotations

import difflib
import json
import math
import time

from pythond import codes
from pythond.dialects import Fault
from pythond.dialects.panoptes.store import keep_fact

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any, Iterable, Sequence

    from pythond.dialects.panoptes.store import Store
    from yahoo_panoptes.framework.resources import PanoptesResource, PanoptesResourceSet

_VERSION = "resources"
_WEEK = 604800.0
# What each entry of a JSON file has.
_KEYS = frozenset(
    (
        "resource_plugin",
        "resource_site",
        "resource_class",
        "resource_subclass",
        "resource_type",
        "resource_id",
        "resource_endpoint",
        "resource_creation_timestamp",
        "resource_metadata",
    )
)
# They are much alike: only one that is nearly the same was meant to be another.
_ALIKE = 0.8
_COLUMNS = "plugin, site, class, subclass, type, id, endpoint, created, metadata, expires"


class Change:
    """What a new set of resources has changed."""

    __slots__ = ("added", "refreshed", "removed")

    def __init__(self, added: int, refreshed: int, removed: int) -> None:
        self.added = added
        self.refreshed = refreshed
        self.removed = removed


class Table:
    """The resources in the common file. A resource is gone so many seconds after it was last found."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def replace(self, found: PanoptesResourceSet) -> Change:
        """Takes a new set: of each plugin and site that it has resources of, it replaces all there are.

        One that is missing stays where its time is newer than that of the set.
        """
        now = self._store.clock()
        resources = list(found)
        groups = {(one.resource_plugin, one.resource_site) for one in resources}

        def work(connection: sqlite3.Connection) -> Change:
            before = _known(connection, groups, now)
            statement = f"INSERT OR REPLACE INTO resource (key, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
            connection.executemany(statement, [_row(one, now) for one in resources])
            keys = {one.serialization_key for one in resources}
            limit = found.resource_set_creation_timestamp
            gone = [key for key, (created, _) in before.items() if key not in keys and created <= limit]
            connection.executemany("DELETE FROM resource WHERE key = ?", [(key,) for key in gone])
            connection.execute("DELETE FROM resource WHERE expires <= ?", (now,))
            added = keys.difference(before)
            known = [one for one in resources if one.serialization_key in before]
            if added or gone or any(before[one.serialization_key][1] != _metadata(one) for one in known):
                _next_version(connection)
            return Change(len(added), len(keys) - len(added), len(gone))

        return self._store.write(work)

    def drop_expired(self) -> None:
        """Removes the resources whose time is over."""
        now = self._store.clock()

        def work(connection: sqlite3.Connection) -> None:
            if connection.execute("DELETE FROM resource WHERE expires <= ?", (now,)).rowcount:
                _next_version(connection)

        self._store.write(work)

    def version(self) -> float:
        """Returns a number that is another where resources came, went or changed; not where one was found again."""
        return self._store.fact(_VERSION)

    def next_expiry(self) -> float:
        """Returns when the next resource expires, unless it is found again; infinity without any."""
        row = self._store.read(lambda connection: connection.execute("SELECT min(expires) FROM resource").fetchone())
        return float("inf") if row[0] is None else float(row[0])

    def expiries(self) -> dict[str, float]:
        """Returns when each resource expires, by its key; less work than to make them all."""
        statement = "SELECT key, expires FROM resource WHERE expires > ?"
        now = self._store.clock()
        return dict(self._store.read(lambda connection: connection.execute(statement, (now,)).fetchall()))

    def read(self) -> list[PanoptesResource]:
        """Returns all resources, made anew: their time of creation is now, as in the original."""
        now = self._store.clock()
        statement = f"SELECT {_COLUMNS} FROM resource WHERE expires > ? ORDER BY key"
        rows = self._store.read(lambda connection: connection.execute(statement, (now,)).fetchall())
        return [_resource(row, now) for row in rows]


def _known(
    connection: sqlite3.Connection, groups: Iterable[tuple[str | None, str]], now: float
) -> dict[str, tuple[float, str]]:
    known: dict[str, tuple[float, str]] = {}
    for group in groups:
        statement = "SELECT key, created, metadata FROM resource WHERE plugin = ? AND site = ? AND expires > ?"
        for key, created, metadata in connection.execute(statement, (*group, now)):
            known[key] = created, metadata
    return known


def _row(resource: PanoptesResource, now: float) -> tuple[Any, ...]:
    return (
        resource.serialization_key,
        resource.resource_plugin,
        resource.resource_site,
        resource.resource_class,
        resource.resource_subclass,
        resource.resource_type,
        resource.resource_id,
        resource.resource_endpoint,
        _seconds(resource.resource_creation_timestamp, now),
        _metadata(resource),
        now + _seconds(resource.resource_ttl, _WEEK),
    )


def _metadata(resource: PanoptesResource) -> str:
    return json.dumps(resource.resource_metadata, sort_keys=True)


def _seconds(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number if math.isfinite(number) else otherwise


def _resource(row: Sequence[Any], now: float) -> PanoptesResource:
    from yahoo_panoptes.framework.resources import PanoptesResource

    plugin, site, class_, subclass, type_, id, endpoint, _, metadata, _ = row
    resource = PanoptesResource(site, class_, subclass, type_, id, endpoint, now, plugin)
    for key, value in json.loads(metadata).items():
        resource.add_metadata(key, value)
    return resource


def _next_version(connection: sqlite3.Connection) -> None:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (_VERSION,)).fetchone()
    keep_fact(connection, _VERSION, (row[0] if row else 0.0) + 1.0)


# --- a JSON file ---


def from_json(data: bytes, path: str) -> tuple[list[PanoptesResource], list[Fault]]:
    """Returns the resources of a JSON file, and what is wrong with it: each bad entry with its index and line."""
    from yahoo_panoptes.framework.resources import PanoptesResource

    text = data.decode("utf-8-sig", "replace")
    try:
        entries = json.loads(text)
    except ValueError as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        return [], [Fault(codes.FOREIGN_SYNTAX, f"is no JSON: {getattr(error, 'msg', error)}", path, line, column)]
    if not isinstance(entries, list):
        return [], [
            Fault(codes.FOREIGN_VALUE, f"must hold a list of resources, not {type(entries).__name__}", path, 1, 1)
        ]
    lines = _lines_of_entries(text)
    resources: dict[str, PanoptesResource] = {}
    faults = []
    for index, entry in enumerate(entries):
        line = lines[index] if index < len(lines) else 0
        why = _why_not(entry)
        if not why:
            resource = PanoptesResource.resource_from_dict({**entry, "resource_creation_timestamp": time.time()})
            resources.setdefault(resource.serialization_key, resource)
            continue
        text_ = f"entry {index} is left out: {why}"
        faults.append(Fault(codes.FOREIGN_VALUE, text_, path, line, severity="warning"))
    if not entries:
        faults.append(Fault(codes.FOREIGN_VALUE, "the list is empty", path, 1, 1, severity="warning"))
    elif not resources:
        faults.append(Fault(codes.FOREIGN_VALUE, "no entry is a resource", path, 1, 1))
    return list(resources.values()), faults


def _why_not(entry: Any) -> str:
    from yahoo_panoptes.framework.resources import PanoptesResource

    if not isinstance(entry, dict):
        return f"it must be an object, not {type(entry).__name__}"
    try:
        resource = PanoptesResource.resource_from_dict(entry)
    except KeyError as error:
        others = [key for key in entry if key not in _KEYS]
        near = difflib.get_close_matches(error.args[0], others, 1, _ALIKE)
        return f"the key {error} is missing" + (f"; did you mean it by `{near[0]}`?" if near else "")
    except (AssertionError, ValueError) as error:
        return _of_metadata(entry.get("resource_metadata")) or str(error)
    except (AttributeError, TypeError):
        return "`resource_metadata` must be an object"
    return "" if resource.resource_plugin else "`resource_plugin` must be a text"


def _of_metadata(metadata: Any) -> str:
    """Says which value of an entry's metadata is no text; what is refused about it otherwise says so itself."""
    if isinstance(metadata, dict):
        for key, value in metadata.items():
            if not isinstance(value, str) or not value:
                return f"`{key}` of `resource_metadata` is {json.dumps(value)}; it must be a text that is not empty"
    return ""


def _lines_of_entries(text: str) -> list[int]:
    """Returns the line on which each member of a JSON list begins."""
    decoder = json.JSONDecoder()
    lines: list[int] = []
    line, counted = 1, 0
    at = text.index("[") + 1
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text) or text[at] == "]":
            return lines
        line, counted = line + text.count("\n", counted, at), at
        lines.append(line)
        _, at = decoder.raw_decode(text, at)
