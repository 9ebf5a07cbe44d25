"""Rows and events on their way to the agent: kept for a moment, so that one request takes many, and until it has them.

Rows leave at the end of the read callback that made them, when a thousand wait, and when they are a second old. What
the agent cannot take now is sent again; when too much waits, whoever dispatches waits.
"""

from __future__ import annotations

import collections
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pythond.dialects import Host, Job
    from pythond.rows import Row

BATCH = 1000
MOST = 20_000
AGE = 1.0
# No answer, not in time, too much, not now.
_AGAIN = (0, 408, 429, 503)


class _Pile(collections.deque):  # type: ignore[type-arg]  # of rows; Python 3.8 cannot say so here
    """The rows of one job. Threads put rows on it without a lock, which would be a third of what a value costs here."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = threading.RLock()


class Outbox:
    """What waits for the agent, by the job that made it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._is_child = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._sending_events = threading.RLock()
        self._piles: dict[Job | None, _Pile] = {}
        self._events: collections.deque[tuple[Job | None, bytes]] = collections.deque()
        self._filled = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def forked(self) -> None:
        """Begins anew in a forked child: what waits is the parent's, and no thread of it is here."""
        self._begin()
        self._is_child = True

    def add(self, job: Job | None, row: Row) -> None:
        """Takes a row; waits while too many wait for the agent."""
        pile = self._piles.get(job)
        if pile is None:
            with self._lock:
                pile = self._piles.setdefault(job, _Pile())
        pile.append(row)
        if self._is_child or len(pile) >= BATCH:
            # A child may end at any moment, without a word.
            self.send(job)
            while len(self) >= MOST and not self._closed.wait(AGE):
                self.send(job)
        elif not self._filled.is_set():
            self._fill()

    def _fill(self) -> None:
        self._filled.set()
        with self._lock:
            if self._thread is not None or self._closed.is_set() or self._is_child:
                return
            self._thread = threading.Thread(target=self._keep_sending, name="outbox", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return sum(len(pile) for pile in list(self._piles.values()))

    def post(self, job: Job | None, body: bytes) -> None:
        """Sends an event, now or later."""
        self._events.append((job, body))
        if not self._send_events():
            self._fill()

    def send(self, job: Job | None) -> bool:
        """Sends the rows of a job; says whether none wait any more."""
        pile = self._piles.get(job)
        if pile is None:
            return True
        with pile.sending:
            while pile:
                rows = [pile.popleft() for _ in range(min(len(pile), BATCH))]
                if self._host.put(job, rows).status in _AGAIN:
                    pile.extendleft(reversed(rows))
                    self._fill()
                    return False
            return True

    def _send_events(self) -> bool:
        with self._sending_events:
            while self._events:
                job, body = self._events[0]
                if self._host.post(job, "keyevent", body).status in _AGAIN:
                    return False
                self._events.popleft()
            return True

    def send_all(self) -> bool:
        """Sends everything; says whether nothing waits any more."""
        done = [self.send(job) for job in list(self._piles)]
        return self._send_events() and all(done)

    def close(self, until: float) -> int:
        """Sends everything, again and again until a moment on the monotonic clock; returns how many rows remain."""
        self._closed.set()
        self._filled.set()
        while not self.send_all() and time.monotonic() < until:
            time.sleep(0.1)
        return len(self)

    def abandon(self) -> None:
        """Ends the thread without sending anything any more."""
        self._piles.clear()
        self._events.clear()
        self._closed.set()
        self._filled.set()
        if self._thread is not None:
            self._thread.join()

    def forget(self, job: Job) -> None:
        """Forgets the pile of a job that has ended."""
        if self.send(job):
            self._piles.pop(job, None)

    def _keep_sending(self) -> None:
        """Sends what no end of a callback has sent: values of a plugin's own threads, and of callbacks that last."""
        while True:
            self._filled.wait()
            if self._closed.wait(AGE):
                return
            self._filled.clear()
            if not self.send_all():
                self._filled.set()
