"""What the units of an input share: one SQLite file, used by several processes and threads, kept across restarts.

    resource   what discovery has found, until it expires
    value      the pairs of the key-value stores, enrichment too, until they expire
    member     the sets of the key-value stores
    slot       when a unit ran against a resource for the first time: the grid of its runs
    hang       how often in a row a run against a resource hung, and until when it is left alone
    fact       numbers: the version of the resources, until when a unit has run, which plugins the resources name
               that a discovery plugin has found (when that was noted)

A file that is damaged is renamed, said, and started anew: all of it can be found out again. Connections belong to
threads. Whoever renames the file takes a lock first; the others notice by its inode.
"""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any, Callable, Iterator, Sequence, TypeVar

    Result = TypeVar("Result")

VERSION = 1
_BUSY_SECONDS = 30.0
_BUSY_PAUSE = 0.01
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS resource (key TEXT PRIMARY KEY, plugin TEXT, site TEXT, class TEXT, subclass TEXT,"
    " type TEXT, id TEXT, endpoint TEXT, created REAL, metadata TEXT, expires REAL)",
    "CREATE INDEX IF NOT EXISTS resource_expires ON resource (expires)",
    "CREATE TABLE IF NOT EXISTS value (name TEXT PRIMARY KEY, value TEXT, expires REAL)",
    "CREATE INDEX IF NOT EXISTS value_expires ON value (expires)",
    "CREATE TABLE IF NOT EXISTS member (name TEXT, member TEXT, PRIMARY KEY (name, member))",
    "CREATE TABLE IF NOT EXISTS slot (unit TEXT, key TEXT, at REAL, PRIMARY KEY (unit, key))",
    "CREATE TABLE IF NOT EXISTS hang (unit TEXT, key TEXT, times INTEGER, until REAL, PRIMARY KEY (unit, key))",
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value REAL)",
)


class StoreError(Exception):
    """The file cannot be used, and that is no damage of it: no room, no right, another version."""


class Store:
    """One such file."""

    def __init__(self, path: str, warn: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        """`warn` is told of a file that was set aside. Raises `StoreError`."""
        import sqlite3  # some builds of Python have none; only this dialect needs it

        self._sqlite = sqlite3
        self.path = path
        self._warn = warn
        self.clock = clock
        self._local = threading.local()
        self._turn = threading.Lock()
        try:
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {os.path.dirname(path)}: {error.strerror}") from error
        self.read(lambda connection: None, check=True)

    def read(self, work: Callable[[sqlite3.Connection], Result], check: bool = False) -> Result:
        """Does something with the connection of this thread; again with a new file where this one is damaged."""
        for _ in range(3):
            seen = self._inode()
            try:
                connection = self._connection()
                if check and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise self._sqlite.DatabaseError("database disk image is malformed")
                return work(connection)
            except self._sqlite.DatabaseError as error:
                self.close()
                if not _is_damage(error):
                    raise StoreError(f"{self.path}: {error}") from error
                self._set_aside(seen, str(error))
        raise StoreError(f"{self.path} is damaged again and again")

    def write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Does something in one transaction, which happens whole or not at all."""

        def in_transaction(connection: sqlite3.Connection) -> Result:
            with _transaction(connection):
                return work(connection)

        return self.read(in_transaction)

    def changes(self) -> tuple[int, int, int]:
        """Returns numbers that are others after anybody has written, and are had for next to nothing."""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes

        return (self._inode(), *self.read(work))

    def close(self) -> None:
        """Closes the connection of this thread."""
        connection, self._local.connection = getattr(self._local, "connection", None), None
        if connection is not None:
            connection.close()

    def _inode(self) -> int:
        try:
            return os.stat(self.path).st_ino
        except OSError:
            return 0

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.inode == self._inode():
            return connection
        self.close()
        connection = self._sqlite.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._keep_private()
        self._local.connection, self._local.inode = connection, self._inode()
        return connection

    def _keep_private(self) -> None:
        """Closes the file to other users; SQLite makes those beside it with the mode that it has then.

        Not by opening it first: a descriptor that is closed takes the locks of all connections of this process with it.
        """
        for name in (self.path, self.path + "-wal", self.path + "-shm"):
            try:
                if os.stat(name).st_mode & 0o077:
                    os.chmod(name, 0o600)
            except OSError:
                # It is not there, or another user's.
                pass

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Has the file keep a log; SQLite itself does not wait where another process is just doing that."""
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except self._sqlite.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(_BUSY_PAUSE)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # A worker has a connection for each of its threads: little of the file in memory for each.
        connection.execute("PRAGMA cache_size = -256")
        with self._turn:
            self._write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            return
        if version > VERSION:
            raise StoreError(f"{self.path} was written by a newer pythond (version {version} of the file)")
        with _transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def _set_aside(self, seen: int, why: str) -> None:
        """Renames a damaged file, unless somebody else has done it since it was seen."""
        with _locked(self.path + ".lock"):
            if self._inode() != seen or not seen:
                return
            aside = f"{self.path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            number = 1
            while os.path.exists(aside):
                number += 1
                aside = re.sub(r"Z.*$", f"Z-{number}", aside)
            for end in ("-wal", "-shm", ""):
                try:
                    os.rename(self.path + end, aside + end)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise StoreError(f"cannot set the damaged {self.path} aside: {error.strerror}") from error
        self._warn(
            f"{self.path} is damaged ({why}): it was set aside as {os.path.basename(aside)}, and resources, "
            "key-value pairs and enrichment start anew"
        )

    # --- facts ---

    def fact(self, name: str) -> float:
        """Returns a number that was kept; 0 where there is none."""
        row = self.read(lambda connection: _one(connection, "SELECT value FROM fact WHERE name = ?", (name,)))
        return float(row[0]) if row else 0.0

    def keep_fact(self, name: str, value: float) -> None:
        self.write(lambda connection: keep_fact(connection, name, value))

    def forget_expired(self) -> None:
        """Removes the pairs whose time is over; they are not seen before that either."""
        now = self.clock()
        self.write(lambda connection: connection.execute("DELETE FROM value WHERE expires <= ?", (now,)))


def keep_fact(connection: sqlite3.Connection, name: str, value: float) -> None:
    connection.execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)", (name, value))


def _one(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> Any:
    return connection.execute(statement, values).fetchone()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    # At once as a writer: one that becomes it later fails where another has written meanwhile.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _locked(path: str) -> Iterator[None]:
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # The numbers of SQLITE_CORRUPT and SQLITE_NOTADB; Python tells them since 3.11 only.
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (11, 26)
    return any(text in str(error) for text in ("malformed", "not a database", "file is encrypted"))
