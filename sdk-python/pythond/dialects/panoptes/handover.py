"""The way of rows to the agent: what several runs have at the same time goes in one request.

The agent takes the requests of a job one after the other, each when it is on disk. With a request for each run, as many
runs as the disk has commits would be all that a plugin can do in a second.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from pythond.rows import Answer, Row

_MOST_ROWS = 500


class _Parcel:
    """The rows of one run, and what became of them."""

    __slots__ = ("answer", "error", "rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.answer: Answer | None = None
        self.error: Exception | None = None


class Handover:
    """Sends rows of many threads; whoever comes while nobody sends, sends for all."""

    def __init__(self, put: Callable[[Sequence[Row]], Answer]) -> None:
        self._put = put
        self._changed = threading.Condition()
        self._waiting: list[_Parcel] = []
        self._is_sending = False

    def send(self, rows: Sequence[Row]) -> Answer:
        """Returns the agent's answer to the request that these rows were part of. Raises what `put` raises."""
        mine = _Parcel(rows)
        with self._changed:
            self._waiting.append(mine)
            while mine.answer is None and mine.error is None:
                if self._is_sending:
                    self._changed.wait()
                    continue
                parcels = self._take()
                self._is_sending = True
                self._changed.release()
                try:
                    self._send(parcels)
                finally:
                    self._changed.acquire()
                    self._is_sending = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.answer is not None, "the loop ends with one of them"
        return mine.answer

    def _take(self) -> list[_Parcel]:
        taken: list[_Parcel] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0].rows) <= _MOST_ROWS):
            size += len(self._waiting[0].rows)
            taken.append(self._waiting.pop(0))
        return taken

    def _send(self, parcels: Sequence[_Parcel]) -> None:
        try:
            answer = self._put([row for parcel in parcels for row in parcel.rows])
            for parcel in parcels:
                parcel.answer = answer
        except Exception as error:
            for parcel in parcels:
                parcel.error = error
