"""What a script may tell the agent through its dialect: reports, refusals, warnings; with the counts of each job."""

from __future__ import annotations

import json
import threading
import time

from pythond import guard
from pythond.client import Reply
from pythond.control import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pythond.guard import IsUser

    class Agent(Protocol):
        """Where reports go; `client.Agent` is it."""

        def request(self, method: str, path: str, content_type: str, body: bytes, deadline: float) -> Reply: ...

    class Frames(Protocol):
        """Where frames go; `control.Channel` is it."""

        def send(self, kind: str, **fields: Any) -> bool: ...


DEFAULT_BUDGET = 10.0
_MAX_WARNINGS = 1000


class Tally:
    """What a job has reported since this was last asked."""

    __slots__ = ("_points", "_refused", "_reports", "deadline")

    def __init__(self) -> None:
        self._reports = self._points = self._refused = 0
        self.deadline = 0.0

    def add(self, reports: int, points: int, refused: int) -> None:
        self._reports += reports
        self._points += points
        self._refused += refused

    def take(self) -> dict[str, int]:
        """Returns the counts and starts again from nothing."""
        counts = {"reports": self._reports, "points": self._points, "refused": self._refused}
        self._reports = self._points = self._refused = 0
        return counts


class Emit:
    """The way from a dialect to the agent. A job is named by its number; None is code outside of any job."""

    def __init__(self, agent: Agent, frames: Frames, is_user: IsUser) -> None:
        self._agent = agent
        self._frames = frames
        self._is_user = is_user
        self._lock = threading.Lock()
        self._tallies: dict[int | None, Tally] = {}
        self._warned: set[tuple[str, str]] = set()

    def post(self, job: int | None, path: str, content_type: str, body: bytes, method: str = "POST") -> Reply:
        """Sends a request to the agent; tries again until the job is due again, and at least once."""
        deadline = self._tally(job).deadline or time.monotonic() + DEFAULT_BUDGET
        return self._agent.request(method, path, content_type, body, deadline)

    def begin(self, job: int, every: float) -> None:
        """Notes that a run begins: its reports may be tried again until it is due again."""
        self._tally(job).deadline = time.monotonic() + every

    def take(self, job: int) -> dict[str, int]:
        """Returns what the job has reported since the last call."""
        with self._lock:
            return self._tallies.setdefault(job, Tally()).take()

    def count(self, job: int | None, reports: int, points: int, refused: int) -> None:
        with self._lock:
            self._tallies.setdefault(job, Tally()).add(reports, points, refused)

    def refused(self, job: int | None, category: str, status: int, text: str, points: int) -> bool:
        """Says that so many points of a report were not taken, and where in the script it was made."""
        place = guard.caller(self._is_user)
        return self._frames.send(
            "refused", i=job, category=category, status=status, text=cut(text), points=points, caller=place
        )

    def warn(self, code: str, text: str, line: int = 0) -> None:
        """Warns of something odd in the script, once for each text."""
        with self._lock:
            known = (code, text) in self._warned or len(self._warned) >= _MAX_WARNINGS
            if not known:
                self._warned.add((code, text))
        if not known:
            self._frames.send("warn", code=code, msg=cut(text), line=line)

    def _tally(self, job: int | None) -> Tally:
        with self._lock:
            return self._tallies.setdefault(job, Tally())


def judge(status: int, text: str, sent: int) -> tuple[int, int]:
    """Returns how many of the points sent were accepted, and how many refused, by the agent's answer."""
    if 200 <= status < 300:
        return sent, 0
    try:
        accepted = json.loads(text)["accepted"] if status == 400 else 0
    except (ValueError, KeyError, TypeError):
        accepted = 0
    if not isinstance(accepted, int) or not 0 <= accepted <= sent:
        accepted = 0
    return accepted, sent - accepted
