"""The answer to `pythond status NAME --resources`: what the jobs of a unit run against, told in frames.

    the agent's frame   `u` is the number of the unit, `ask` that of the question
    our frames          both again; `k` counts them from 0; each has some `rows`, the first `columns`, the last `last`

A thread makes the table and sends it, for both may take a while and the control thread must hear a stop meanwhile.
"""

from __future__ import annotations

import threading
import time

from pythond import control, guard
from pythond.dialects import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Sequence

    from pythond.control import Frame
    from pythond.dialects import Job
    from pythond.host import UnitHost

    class Asked(Protocol):
        """A job that is asked; `jobs.Scheduled` is it."""

        job: Job
        host: UnitHost

    class Channel(Protocol):
        """Where frames go; `control.Channel` is it."""

        def send(self, kind: str, **fields: Any) -> bool: ...
        def wait_for_room(self, seconds: float) -> None: ...


# As long as the agent waits for the whole answer.
_PATIENCE = 5.0
_ROOM = 1.0
# A frame that is too long finds room, and does not go out all the same.
_TRIES = 20
_CELL_CHARS = 300
_WHY_BYTES = 2048
_NO_TABLE = "its collectors do not run against resources that could be listed"


class Inquiries:
    """The questions to this process; those to one unit are answered one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._threads: dict[int, threading.Thread] = {}

    def take(self, frame: Frame, jobs: Sequence[Asked]) -> None:
        """Has a question answered out of all jobs of this process. Called from the control thread only."""
        number, ask = frame.get("u"), frame.get("ask")
        if not isinstance(number, int) or not isinstance(ask, int):
            return
        until = time.monotonic() + _PATIENCE
        before = self._threads.get(number)
        if before is not None and before.is_alive():
            self._tell(number, ask, Table((), (), "it is still busy with the answer to an earlier question"), until)
            return
        mine = [one for one in jobs if one.host.number == number]
        thread = threading.Thread(
            target=lambda: self._tell(number, ask, table_of(mine), until), name="resources", daemon=True
        )
        try:
            thread.start()
            self._threads[number] = thread
        except RuntimeError as error:
            self._tell(number, ask, Table((), (), f"no thread can be started for the answer: {error}"), until)

    def _tell(self, number: int, ask: int, table: Table, until: float) -> None:
        head: dict[str, Any] = {"columns": list(table.columns), "why": control.cut(table.why, _WHY_BYTES)}
        pieces = control.in_pieces(table.rows) or [[]]
        for k, rows in enumerate(pieces):
            piece = {"u": number, "ask": ask, "k": k, "rows": rows, "last": k == len(pieces) - 1, **head}
            if not self._send(piece, until):
                # The agent sees that the rest is missing.
                return
            head = {}

    def _send(self, piece: dict[str, Any], until: float) -> bool:
        """Sends a frame, again where another thread has taken the room for it; says whether it went out."""
        for _ in range(_TRIES):
            self._channel.wait_for_room(_ROOM)
            if self._channel.send("resources", **piece):
                return True
            if time.monotonic() >= until:
                break
        return False


def table_of(jobs: Sequence[Asked]) -> Table:
    """Returns the tables of these jobs as one, or why there is none; raises nothing."""
    if not jobs:
        return Table((), (), "it has no jobs")
    columns: list[str] = []
    rows: list[Sequence[str]] = []
    why = _NO_TABLE
    for one in jobs:
        _, failure, told = guard.run(_told_by, one.host.is_user, one.job)
        if failure is not None:
            return Table((), (), f"the table could not be made: {failure['exc']}: {failure['msg']}")
        if not isinstance(told, Table):
            continue
        if columns and columns != told.columns:
            return Table((), (), "its jobs have tables with other columns each")
        columns = list(told.columns)
        rows += told.rows
        why = told.why
    return Table(columns, rows, "" if rows else why)


def _told_by(job: Job) -> Table | None:
    """Returns the table of a job, all of it lines of text: what is wrong with it shows here."""
    told = job.resources()
    if told is None:
        return None
    columns = [_cell(name) for name in told.columns]
    return Table(columns, [[_cell(cell) for cell in row] for row in told.rows], str(told.why))


def _cell(value: object) -> str:
    """Returns what stands in one cell: a line, and not a long one."""
    text = str(value)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "…"
