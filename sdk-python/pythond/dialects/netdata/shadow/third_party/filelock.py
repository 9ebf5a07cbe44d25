"""Locks on files between processes."""

from __future__ import annotations

import fcntl
import os
import time
from typing import Any

__all__ = ("BaseFileLock", "FileLock", "Timeout", "UnixFileLock")


class Timeout(TimeoutError):
    """A lock could not be taken in time."""

    def __init__(self, lock_file: str) -> None:
        super().__init__(lock_file)
        self.lock_file = lock_file

    def __str__(self) -> str:
        return f"The file lock '{self.lock_file}' could not be acquired."


class _Held:
    """What `acquire` returns: releases the lock at the end of a `with`."""

    def __init__(self, lock: FileLock) -> None:
        self.lock = lock

    def __enter__(self) -> FileLock:
        return self.lock

    def __exit__(self, *error: object) -> None:
        self.lock.release()


class FileLock:
    """A lock that one process at a time holds; taken several times it is released as often."""

    def __init__(self, lock_file: str, timeout: float = -1) -> None:
        """`timeout` in seconds; below 0 it waits for ever."""
        self._lock_file = lock_file
        self._fd: int | None = None
        self._times = 0
        self.timeout = timeout

    @property
    def lock_file(self) -> str:
        return self._lock_file

    @property
    def is_locked(self) -> bool:
        return self._fd is not None

    def acquire(self, timeout: float | None = None, poll_intervall: float = 0.05, **more: Any) -> _Held:
        """Takes the lock. Raises `Timeout`."""
        limit = self.timeout if timeout is None else timeout
        until = time.monotonic() + limit
        while self._fd is None and not self._take():
            if limit >= 0 and time.monotonic() >= until:
                raise Timeout(self._lock_file)
            time.sleep(poll_intervall)
        self._times += 1
        return _Held(self)

    def _take(self) -> bool:
        fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self, force: bool = False) -> None:
        """Gives the lock back, once it was released as often as it was taken."""
        self._times = 0 if force else max(0, self._times - 1)
        if self._fd is not None and not self._times:
            fd, self._fd = self._fd, None
            os.close(fd)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release(force=True)


BaseFileLock = UnixFileLock = FileLock
