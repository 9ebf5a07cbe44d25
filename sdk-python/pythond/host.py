"""What the worker lends to a dialect for one unit: the way to the agent, settings files, jobs; with the counts of each.

Reports are tried again until the job that makes them is due again, and at least once.
"""

from __future__ import annotations

import json
import os
import threading
import time

from pythond import codes, guard
from pythond.client import Reply
from pythond.control import cut
from pythond.rows import PATH as ROWS_PATH
from pythond.rows import Answer, answer_of, encode, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Protocol, Sequence

    from pythond.dialects import Job, Unit
    from pythond.jobs import Jobs
    from pythond.rows import Row

    class Agent(Protocol):
        """Where reports go; `client.Agent` is it."""

        def request(self, method: str, path: str, content_type: str, body: bytes, deadline: float) -> Reply: ...

    class Frames(Protocol):
        """Where frames go; `control.Channel` is it."""

        def send(self, kind: str, **fields: Any) -> bool: ...


DEFAULT_BUDGET = 10.0
DEFAULT_INTERVAL = 10.0
_MAX_WARNINGS = 1000
_MAX_WHY = 2048
_ANSWER_BYTES = 6000


class Tally:
    """What a job has reported since this was last asked, and until when it may try."""

    __slots__ = ("_no_value", "_points", "_refused", "_reports", "deadline", "puts_rows")

    def __init__(self) -> None:
        self._reports = self._points = self._refused = self._no_value = 0
        self.deadline = 0.0
        self.puts_rows = False

    def add(self, reports: int, points: int, refused: int, no_value: int = 0) -> None:
        self._reports += reports
        self._points += points
        self._refused += refused
        self._no_value += no_value

    def take(self) -> dict[str, int]:
        """Returns the counts and starts again from nothing."""
        counts = {
            "reports": self._reports,
            "points": self._points,
            "refused": self._refused,
            "no_value": self._no_value,
        }
        self._reports = self._points = self._refused = self._no_value = 0
        return counts


class UnitHost:
    """The `dialects.Host` of one unit; a job of None is code outside of any job."""

    def __init__(
        self,
        unit: Unit,
        agent: Agent,
        frames: Frames,
        jobs: Jobs | None = None,
        number: int = 0,
        *,
        settings: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        state_dir: str = "",
        hostname: str = "",
        interval: float = DEFAULT_INTERVAL,
        isolation: str = "",
        mode: str = "worker",
        agent_address: tuple[str, int] | None = None,
    ) -> None:
        """`number` is that of the unit in its worker, `agent_address` the agent's own over TCP."""
        self.id = unit.id
        self.input = unit.input
        self.settings: Mapping[str, Any] = settings or {}
        self.config: Mapping[str, Any] = config or {}
        self.state_dir = state_dir
        self.hostname = hostname
        self.interval = interval
        self.isolation = isolation
        self.mode = mode
        self.agent_address = agent_address
        self.number = number
        # Tells the agent who reports.
        self.token: str = getattr(agent, "token", "")
        self.is_user = unit.files.is_user
        self._files = unit.files
        self._agent = agent
        self._frames = frames
        self._jobs = jobs
        self._lock = threading.Lock()
        self._outside = Tally()
        self._warned: set[tuple[str, str, str, int]] = set()

    # --- reports ---

    def put(self, job: Job | None, rows: Sequence[Row]) -> Answer:
        """Sends rows; they are on disk where the answer is `ok`.

        Raises `ValueError` or `TypeError` for what has no form as a row.
        """
        if not rows:
            return Answer(200, 0, 0, 0, "")
        key, interval = ("", self.interval) if job is None else (job.key, job.every)
        return self.put_encoded(job, encode(key, interval, rows), len(rows))

    def put_encoded(self, job: Job | None, body: bytes, count: int) -> Answer:
        """Sends so many rows as `put` does, in the form of a request."""
        reply = self.request(job, "POST", ROWS_PATH, "application/json", body)
        self._tally(job).puts_rows = True
        counts: dict[str, int] = dict.fromkeys(("reports", "points", "refused", "no_value"), 0)
        answer = self.account(job, reply, count, counts)
        self.count(job, counts["reports"], counts["points"], counts["refused"], counts["no_value"])
        return answer

    def hand_in(self, job: Job | None, rows: Sequence[Row]) -> None:
        """Has rows sent when the run has ended, together with those of other jobs of the process; what became of them
        is told with the end of the run.

        Raises `ValueError` or `TypeError` for what has no form as a row.
        """
        scheduled = self._jobs.find(job) if self._jobs is not None else None
        if scheduled is None:
            self.put(job, rows)
        else:
            scheduled.texts += texts(scheduled.every, rows)

    def account(self, job: Job | None, reply: Reply, sent: int, counts: dict[str, int]) -> Answer:
        """Adds to `counts` what became of so many rows, and says so where some were not taken."""
        if reply.repaired:
            for code, what, text in _repairs(reply.repaired):
                self.repaired(code, what, text, job)
        answer = answer_of(reply.status, reply.text, sent, reply.told)
        if not answer.ok and not answer.refused:
            answer = Answer(answer.status, 0, sent, 0, answer.text)
        counts["reports"] += 1 if answer.ok else 0
        counts["points"] += answer.accepted
        counts["refused"] += answer.refused
        counts["no_value"] += answer.no_value
        if answer.refused:
            self.refused(job, "metric", answer.status, answer.text, answer.refused)
        return answer

    def post(
        self,
        job: Job | None,
        category: str,
        body: bytes,
        content_type: str = "application/json",
        method: str = "POST",
        query: str = "",
    ) -> Answer:
        """Sends points of a category as they are, or any request where `category` is a path that begins with `/`."""
        is_path = category.startswith("/")
        path = (category if is_path else f"/v1/write/{category}") + (f"?{query}" if query else "")
        reply = self.request(job, method, path, content_type, body)
        if is_path or method != "POST":
            return Answer(reply.status, 0, 0, 0, reply.text)
        accepted, refused = judge(reply.status, reply.text, _points_in(content_type, body))
        answer = Answer(reply.status, accepted, refused, 0, reply.text)
        self.count(job, 1, accepted, refused)
        if not answer.ok:
            self.refused(job, category, reply.status, reply.text, refused)
        return answer

    def request(self, job: Job | None, method: str, path: str, content_type: str, body: bytes) -> Reply:
        """Sends a request to the agent and counts nothing."""
        deadline = self._tally(job).deadline or time.monotonic() + DEFAULT_BUDGET
        reply = self._agent.request(method, path, content_type, body, deadline)
        if reply.repaired and path != ROWS_PATH:
            for code, what, text in _repairs(reply.repaired):
                self.repaired(code, what, text, job)
        return reply

    def count(self, job: Job | None, reports: int, points: int, refused: int, no_value: int = 0) -> None:
        tally = self._tally(job)
        with self._lock:
            tally.add(reports, points, refused, no_value)

    def refused(self, job: Job | None, category: str, status: int, text: str, points: int, code: str = "") -> bool:
        """Says that so many points of a report were not taken, and where in the user's code it was made.

        With a `code` they are such that nobody could take them, and were not sent.
        """
        scheduled = self._jobs.find(job) if self._jobs is not None else None
        return self._frames.send(
            "refused",
            u=self.number,
            i=None if scheduled is None else scheduled.index,
            category=category,
            status=status,
            text=cut(_fitting(text)),
            points=points,
            caller=guard.caller(self.is_user),
            **({"code": code} if code else {}),
        )

    def take(self, tally: Tally) -> dict[str, int]:
        """Returns what was counted since the last call."""
        with self._lock:
            return tally.take()

    def _tally(self, job: Job | None) -> Tally:
        scheduled = self._jobs.find(job) if self._jobs is not None else None
        return self._outside if scheduled is None else scheduled.tally

    # --- settings files ---

    def reads(self, path: str) -> bytes:
        """Reads a settings file: as it was, where the last good version runs. Raises `OSError`."""
        return self._files.read(os.path.abspath(path))

    def looks(self, folder: str) -> list[str]:
        """Returns the names in a folder, none where it is not there."""
        folder = os.path.abspath(folder)
        try:
            return self._files.look(folder)
        except OSError as error:
            self.warn(codes.NO_SUCH_PATH, f"cannot look into the folder {folder}: {error.strerror}", folder)
            return []

    # --- jobs ---

    def add(self, job: Job) -> None:
        """Has a job run, from when all units of the worker are loaded on."""
        assert self._jobs is not None, "without a worker nothing runs"
        self._jobs.add(job, self)

    def drop(self, job: Job) -> None:
        """Ends a job; a run in progress is its last."""
        assert self._jobs is not None, "without a worker nothing runs"
        self._jobs.drop(job)

    # --- words ---

    def repaired(self, code: str, what: str, text: str, job: Job | None = None) -> None:
        """Says what was changed or left out of a point, once for each line of the user's code and `what` it is, such
        as the kind of the change and the key: its value may be another each time.

        Where the user's code is over already, it is the line of the job.
        """
        place = guard.caller(self.is_user) or {"file": "", "line": 0 if job is None else job.line}
        self.warn(code, text, place["file"], place["line"], what=what)

    def warn(self, code: str, text: str, file: str = "", line: int = 0, column: int = 0, what: str = "") -> None:
        """Warns of something odd, once for each text and place; where `what` is given, once for that and the place."""
        known_by = (code, what or text, file, line)
        with self._lock:
            known = known_by in self._warned or len(self._warned) >= _MAX_WARNINGS
            if not known:
                self._warned.add(known_by)
        if not known:
            place = {"file": file, "line": line, "col": column}
            self._frames.send("warn", u=self.number, code=code, msg=cut(text), **place, severity="warning")

    def replace(self, why: str) -> None:
        """Asks for another process at once: this one is about to end itself, for what hangs in it cannot be ended."""
        self._frames.send("bye", reason="replace", why=cut(why, _MAX_WHY))

    def rest(self) -> None:
        """Closes this thread's connection to the agent, for nothing will be sent for a while."""
        rest = getattr(self._agent, "rest", None)
        if rest is not None:
            rest()


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


def _repairs(header: str) -> list[tuple[str, str, str]]:
    """Reads what the agent says of its repairs: of each the code, its kind with the key, and the sentence."""
    try:
        return [(str(one["code"]), f"{one['kind']} {one['key']}", str(one["what"])) for one in json.loads(header)]
    except (ValueError, KeyError, TypeError):
        return []  # an agent of another version


def _points_in(content_type: str, body: bytes) -> int:
    """Counts the points of a body: the elements of a JSON list, or lines."""
    if "json" not in content_type:
        return sum(1 for line in body.splitlines() if line.strip() and not line.lstrip().startswith(b"#"))
    try:
        found = json.loads(body)
    except ValueError:
        return 1
    return len(found) if isinstance(found, list) else 1


def _fitting(answer: str) -> str:
    """Shortens a refusing answer so that it fits into a frame and still can be read."""
    if len(answer.encode("utf-8", "replace")) <= _ANSWER_BYTES:
        return answer
    try:
        parsed = json.loads(answer)
        while len(answer) > _ANSWER_BYTES and parsed["refused"]:
            del parsed["refused"][len(parsed["refused"]) // 2 :]
            answer = json.dumps(parsed)
    except (ValueError, KeyError, TypeError):
        # Not the agent's own form; the frame cuts it.
        pass
    return answer
