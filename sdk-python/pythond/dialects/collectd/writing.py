"""The way to write callbacks: a bounded queue that holds back whoever dispatches, and threads that empty it."""

from __future__ import annotations

import collections
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Write = Callable[[Any], None]


# What waits at a stop should be written within the grace that a stop has.
_SECONDS = 2.0
_FIRST_GUESS = 0.01


class WriteQueue:
    """Value lists on their way to write callbacks. Nothing in it is ever thrown away.

    Its bound is what the writers do in two seconds, so that a slow one does not leave more at a stop than can be
    written then. Before `start` it takes whatever comes, for nobody empties it yet; after `stop` who puts something in
    writes it.
    """

    def __init__(self, write: Write, most: int) -> None:
        self._write = write
        self._most = most
        self._waiting: collections.deque[Any] = collections.deque()
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._state = "new"
        self._writers = 1
        self._own = threading.local()
        # How long a write lasts, on average.
        self._lasts = _FIRST_GUESS

    def start(self, threads: int) -> None:
        with self._lock:
            self._state = "open"
            self._writers = threads
        for number in range(threads):
            thread = threading.Thread(target=self._empty, name=f"writer#{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def put(self, item: Any) -> None:
        """Takes an item; waits while the queue is full, but not in a writer, which would wait for itself."""
        with self._lock:
            while self._state == "open" and len(self._waiting) >= self._bound() and not self._is_writer():
                self._emptied.wait()
            if self._state != "closed":
                self._waiting.append(item)
                self._filled.notify()
                return
        self._write(item)

    def stop(self) -> None:
        """Waits until all is written."""
        with self._lock:
            # Where nobody has begun, all of it is written below.
            self._state = "closed" if self._state == "new" else "closing"
            self._filled.notify_all()
            self._emptied.notify_all()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(3600.0)
        with self._lock:
            self._state = "closed"
        while self._waiting:
            self._write(self._waiting.popleft())

    def __len__(self) -> int:
        return len(self._waiting)

    def _bound(self) -> int:
        return max(self._writers, min(self._most, int(_SECONDS * self._writers / max(self._lasts, 1e-6))))

    def _is_writer(self) -> bool:
        return getattr(self._own, "is_writer", False)

    def _empty(self) -> None:
        self._own.is_writer = True
        while True:
            with self._lock:
                while not self._waiting and self._state == "open":
                    self._filled.wait()
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._emptied.notify()
            began = time.monotonic()
            self._write(item)
            self._lasts += (time.monotonic() - began - self._lasts) / 8
