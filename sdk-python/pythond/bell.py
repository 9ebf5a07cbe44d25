"""What one thread waits for and any other rings: a lock, for an `Event` runs ten functions in Python for each wait."""

from __future__ import annotations

import _thread


class Bell:
    """Wakes the one thread that waits, or the next wait at once where none does."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> None:
        """Waits until it is rung, at most so long; a ring wakes one wait."""
        self._lock.acquire(True, seconds)

    def ring(self) -> None:
        """Never blocks, and may be called by a signal handler."""
        try:
            self._lock.release()
        except RuntimeError:
            # It was rung already.
            pass
