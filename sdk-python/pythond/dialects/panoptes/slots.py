"""What a unit remembers across restarts: its grid for each resource, how far it came, and which resources hung; of a
discovery plugin, which plugins its resources name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Iterable, Mapping

    from pythond.dialects.panoptes.store import Store

_LONGEST_REST = 3600.0


class Slots:
    """Of one unit. Times are those of the wall clock: they are compared across processes."""

    def __init__(self, store: Store, unit: str) -> None:
        self._store = store
        self._unit = unit

    def known(self) -> dict[str, float]:
        """Returns a point of the grid of each resource that the unit has run against."""
        statement = "SELECT key, at FROM slot WHERE unit = ?"
        return dict(self._store.read(lambda connection: connection.execute(statement, (self._unit,)).fetchall()))

    def keep(self, slots: Mapping[str, float]) -> None:
        rows = [(self._unit, key, at) for key, at in slots.items()]
        statement = "INSERT OR REPLACE INTO slot (unit, key, at) VALUES (?, ?, ?)"
        self._store.write(lambda connection: connection.executemany(statement, rows))

    def forget(self, keys: Iterable[str]) -> None:
        rows = [(self._unit, key) for key in keys]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM slot WHERE unit = ? AND key = ?", rows)
            connection.executemany("DELETE FROM hang WHERE unit = ? AND key = ?", rows)

        self._store.write(work)

    def ran_until(self) -> float:
        """Returns the moment until which everything that was due had its turn; 0 if the unit never ran."""
        return self._store.fact(f"ran:{self._unit}")

    def keep_ran_until(self, at: float) -> None:
        self._store.keep_fact(f"ran:{self._unit}", at)

    def hung(self) -> dict[str, tuple[int, float]]:
        """Returns how often in a row runs hung, and until when their resources are left alone."""
        statement = "SELECT key, times, until FROM hang WHERE unit = ?"
        rows = self._store.read(lambda connection: connection.execute(statement, (self._unit,)).fetchall())
        return {key: (times, until) for key, times, until in rows}

    def keep_hung(self, keys: Iterable[str], every: float, now: float) -> None:
        """Notes runs that hung: the next try is after 2, 4, 8 … intervals, at most an hour."""
        before = self.hung()
        rows = []
        for key in keys:
            times = before.get(key, (0, 0.0))[0] + 1
            rest = max(every, min(every * 2 ** min(times, 16), _LONGEST_REST))
            rows.append((self._unit, key, times, now + rest))
        statement = "INSERT OR REPLACE INTO hang (unit, key, times, until) VALUES (?, ?, ?, ?)"
        self._store.write(lambda connection: connection.executemany(statement, rows))

    def forgive(self, key: str) -> None:
        """Forgets that runs against a resource hung: one has ended."""
        statement = "DELETE FROM hang WHERE unit = ? AND key = ?"
        self._store.write(lambda connection: connection.execute(statement, (self._unit, key)))

    def named(self) -> set[str]:
        """Returns the plugins that the resources name which a discovery plugin has found at any time."""
        prefix = self._fact_of_name("")
        statement = "SELECT substr(name, ?) FROM fact WHERE substr(name, 1, ?) = ?"
        values = (len(prefix) + 1, len(prefix), prefix)
        return {
            name for (name,) in self._store.read(lambda connection: connection.execute(statement, values).fetchall())
        }

    def keep_named(self, names: Iterable[str]) -> None:
        now = self._store.clock()
        facts = [(self._fact_of_name(name), now) for name in names]
        statement = "INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)"
        self._store.write(lambda connection: connection.executemany(statement, facts))

    def _fact_of_name(self, name: str) -> str:
        return f"named:{self._unit}:{name}"
