"""The key-value stores of all plugins of an input, in their common file; enrichment is kept in them too."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from pythond.dialects.panoptes.store import Store


class Pairs:
    """A backend of `PanoptesKeyValueStore`. Pairs of a name expire; sets do not, as in the original."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> str | None:
        now = self._store.clock()
        return self._store.read(lambda connection: _value(connection, name, now))

    def put(self, name: str, value: str, expire: float | None) -> str | None:
        """Keeps a value and returns the one before it, in one step for all processes."""
        now = self._store.clock()

        def work(connection: sqlite3.Connection) -> str | None:
            before = _value(connection, name, now)
            until = None if expire is None else now + expire
            statement = "INSERT OR REPLACE INTO value (name, value, expires) VALUES (?, ?, ?)"
            connection.execute(statement, (name, value, until))
            return before

        return self._store.write(work)

    def ttl(self, name: str) -> float | None:
        now = self._store.clock()
        statement = "SELECT expires FROM value WHERE name = ? AND expires > ?"
        row = self._store.read(lambda connection: connection.execute(statement, (name, now)).fetchone())
        return None if row is None else row[0] - now

    def names(self, pattern: str) -> list[str]:
        now = self._store.clock()
        # SQLite's GLOB has `[^…]` like Redis, and no backslash.
        glob = re.sub(r"\\(.)", r"[\1]", pattern)
        statement = "SELECT name FROM value WHERE name GLOB ? AND (expires IS NULL OR expires > ?)"
        rows = self._store.read(lambda connection: connection.execute(statement, (glob, now)).fetchall())
        sets = self._store.read(
            lambda connection: connection.execute(
                "SELECT DISTINCT name FROM member WHERE name GLOB ?", (glob,)
            ).fetchall()
        )
        return sorted({row[0] for row in rows + sets})

    def delete(self, name: str) -> bool:
        now = self._store.clock()

        def work(connection: sqlite3.Connection) -> bool:
            there = _value(connection, name, now) is not None
            connection.execute("DELETE FROM value WHERE name = ?", (name,))
            return connection.execute("DELETE FROM member WHERE name = ?", (name,)).rowcount > 0 or there

        return self._store.write(work)

    def add_member(self, name: str, member: str) -> None:
        statement = "INSERT OR IGNORE INTO member (name, member) VALUES (?, ?)"
        self._store.write(lambda connection: connection.execute(statement, (name, member)))

    def members(self, name: str) -> set[str]:
        statement = "SELECT member FROM member WHERE name = ?"
        rows = self._store.read(lambda connection: connection.execute(statement, (name,)).fetchall())
        return {row[0] for row in rows}


def _value(connection: sqlite3.Connection, name: str, now: float) -> str | None:
    statement = "SELECT value FROM value WHERE name = ? AND (expires IS NULL OR expires > ?)"
    row = connection.execute(statement, (name, now)).fetchone()
    return None if row is None else row[0]
