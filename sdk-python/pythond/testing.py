"""Tests of collectors, without an agent.

    from pythond.testing import FakeAgent, run_once

    def test_reports_the_load():
        with FakeAgent() as agent:
            run_once(Load)
            agent.assert_point("load", fields={"load1": float})

With pytest, the fixture `agent` is such an agent. It is a real server on a port of its own, so a worker process can
report to it as well; its rules are only the coarse ones, the agent's own are checked by `pythond run`.
"""

from __future__ import annotations

import difflib
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse
from collections import deque
from dataclasses import dataclass, field

from pythond import client
from pythond.dialects import Unit, datakit
from pythond.host import UnitHost
from pythond.sources import Sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Mapping

STATUS = ("ok", "info", "warning", "error", "critical", "nodata", "fatal")
SOURCES = ("system", "monitor", "user", "custom", "audit", "change")
_SHOWN_NEAR = 3


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def category(self) -> str:
        found = urllib.parse.urlsplit(self.path).path
        return found[len("/v1/write/") :] if found.startswith("/v1/write/") else ""

    @property
    def options(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))


@dataclass(frozen=True)
class Point:
    """One point that the agent took."""

    category: str
    measurement: str
    tags: Mapping[str, Any]
    fields: Mapping[str, Any]
    time: Any = None

    def __str__(self) -> str:
        return f"{self.category} {self.measurement}  tags {_listed(self.tags)}  fields {_listed(self.fields)}"


@dataclass(frozen=True)
class Rejection:
    """One point, or one report (index None), that was not taken."""

    category: str
    index: int | None
    reason: str


@dataclass(frozen=True)
class Answer:
    """What the agent is to answer instead of its own opinion."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeAgent:
    """Takes reports, checks their shape and keeps them.

    As a context manager it also is where `DataKitFramework` reports to in this process.
    """

    def __init__(self, interval: float = 1.0) -> None:
        """`interval` is for how many seconds a report is tried again."""
        self.requests: list[Request] = []
        self.points: list[Point] = []
        # As a dialect has put them: `{"job": …, "m": …, "t": …, "r": […]}`.
        self.rows: list[dict[str, Any]] = []
        self.rejections: list[Rejection] = []
        self.frames: list[dict[str, Any]] = []
        self.answers: deque[Answer] = deque()
        self._interval = interval
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.agent = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """The address over TCP."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FakeAgent:
        framework = import_framework()
        link = datakit.Link()
        unit = Unit("test", files=Sources(lambda path: not _is_library(path)))
        link.begin(UnitHost(unit, _Within(self.address, self._interval), self))
        framework._attach(link)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        import_framework()._attach(None)
        self.close()

    def send(self, kind: str, **fields: Any) -> bool:
        """Takes a frame of the SDK: what could not be sent at all is a rejection too."""
        self.frames.append({"t": kind, **fields})
        if kind == "refused" and fields["status"] == 0:
            self.rejections.append(Rejection(fields["category"], None, fields["text"]))
        return True

    def answer(self, request: Request) -> Answer:
        """Judges a request; overridden by what lies in `answers`."""
        with self._lock:
            self.requests.append(request)
            if self.answers:
                return self.answers.popleft()
            if request.path == "/v1/rows":
                return self._take_rows(json.loads(request.body))
            if request.path == "/v1/rows/several":
                taken = [self._take_rows(body).text for _, body in json.loads(request.body)["groups"]]
                return Answer(200, f'{{"groups":[{",".join(taken)}]}}')
            if request.method != "POST" or not request.category:
                return Answer(200)
            points, refused = judge(request)
            self.points += points
            self.rejections += [Rejection(request.category, index, reason) for index, reason in refused]
        if not refused:
            return Answer(200)
        body = {
            "error_code": "datakit.invalidData",
            "message": refused[0][1],
            "accepted": len(points),
            "refused": [{"index": index, "field": "", "reason": reason} for index, reason in refused],
        }
        return Answer(400, json.dumps(body), {"Content-Type": "application/json"})

    def _take_rows(self, body: Any) -> Answer:
        """Keeps rows; unlike the agent it makes no points of them, so each counts as one."""
        self.rows += [{"job": body["job"], **row} for row in body["rows"]]
        return Answer(200, json.dumps({"accepted": len(body["rows"]), "no_value": 0, "resets": 0}))

    def assert_point(
        self,
        measurement: str,
        tags: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        category: str = "metric",
    ) -> Point:
        """Returns the first point that fits; a value may be given as its type, e.g. `{"used": float}`."""
        return assert_point(self.points, measurement, tags, fields, category)

    def assert_metric(
        self, measurement: str, tags: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None
    ) -> Point:
        """Returns the first metric that fits."""
        return self.assert_point(measurement, tags, fields)

    def assert_no_rejections(self) -> None:
        """Fails if a point or a report was not taken, naming each."""
        lines = [f"  {one.category}[{'' if one.index is None else one.index}]: {one.reason}" for one in self.rejections]
        assert not self.rejections, "\n".join([f"{len(lines)} not taken:", *lines])


class _Within:
    """The way to the agent, with the deadline of a test instead of a schedule's."""

    def __init__(self, address: tuple[str, int], interval: float) -> None:
        self._agent = client.Agent(address)
        self._interval = interval

    def request(self, method: str, path: str, content_type: str, body: bytes, deadline: float) -> client.Reply:
        until = min(deadline, time.monotonic() + self._interval)
        return self._agent.request(method, path, content_type, body, until)


def judge(request: Request) -> tuple[list[Point], list[tuple[int, str]]]:
    """Returns the points of a report, and index and reason of those that are none."""
    if "json" not in request.headers.get("Content-Type", ""):
        return [], []
    try:
        values = json.loads(request.body)
    except ValueError as error:
        return [], [(0, f"the body is no JSON: {error}")]
    if not isinstance(values, list):
        return [], [(0, "the body must be a list of points")]
    points, refused = [], []
    for index, value in enumerate(values):
        reason = _fault(value, request.category)
        if reason:
            refused.append((index, reason))
        else:
            tags, fields = value.get("tags") or {}, value["fields"]
            points.append(Point(request.category, value["measurement"], tags, fields, value.get("time")))
    return points, refused


def _fault(value: Any, category: str) -> str:
    if not isinstance(value, dict) or not isinstance(value.get("measurement"), str) or not value["measurement"]:
        return "a point needs a `measurement`"
    fields = value.get("fields")
    if not isinstance(fields, dict) or not fields:
        return f"`{value['measurement']}` has no fields"
    if category == "keyevent":
        known = {**fields, **(value.get("tags") or {})}
        for name, allowed in (("df_status", STATUS), ("df_source", SOURCES)):
            if known.get(name) not in allowed:
                return f"`{name}` is `{known.get(name)}`; it must be one of {', '.join(allowed)}"
    return ""


def assert_point(
    points: list[Point],
    measurement: str,
    tags: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    category: str = "metric",
) -> Point:
    """Returns the first point that fits, or fails and shows the nearest ones with what differs."""
    for point in points:
        if not _differences(point, measurement, tags or {}, fields or {}, category):
            return point
    wanted = f"{category} {measurement}  tags {_listed(tags or {})}  fields {_listed(fields or {})}"
    lines = [f"no such point: {wanted}"]
    if not points:
        lines.append("nothing was reported at all")
    near = sorted(points, key=lambda point: _distance(point, measurement, tags or {}, fields or {}, category))
    for point in near[:_SHOWN_NEAR]:
        lines.append(f"  nearest: {point}")
        lines += [f"    ← {one}" for one in _differences(point, measurement, tags or {}, fields or {}, category)]
    raise AssertionError("\n".join(lines))


def _differences(
    point: Point, measurement: str, tags: Mapping[str, Any], fields: Mapping[str, Any], category: str
) -> list[str]:
    found = []
    if point.category != category:
        found.append(f"category is {point.category}")
    if point.measurement != measurement:
        ratio = difflib.SequenceMatcher(None, point.measurement, measurement).ratio()
        found.append(f"name is `{point.measurement}` ({ratio:.2f})")
    for kind, wanted, has in (("tag", tags, point.tags), ("field", fields, point.fields)):
        for key, value in wanted.items():
            if key not in has:
                like = difflib.get_close_matches(key, list(has), 1)
                found.append(f"{kind} `{key}` is missing" + (f"; there is `{like[0]}`" if like else ""))
            elif not _fits(has[key], value):
                found.append(f"{kind} `{key}` is {has[key]!r}, not {_shown(value)}")
    return found


def _distance(
    point: Point, measurement: str, tags: Mapping[str, Any], fields: Mapping[str, Any], category: str
) -> float:
    name = difflib.SequenceMatcher(None, point.measurement, measurement).ratio()
    return len(_differences(point, measurement, tags, fields, category)) - 2 * name


def _fits(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, type):
        return bool(value == wanted)
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _shown(value: Any) -> str:
    return f"a {value.__name__}" if isinstance(value, type) else repr(value)


def _listed(values: Mapping[str, Any]) -> str:
    parts = (f"{key}={value.__name__ if isinstance(value, type) else value}" for key, value in values.items())
    return " ".join(parts) or "-"


def import_framework() -> Any:
    """Imports `datakit_framework`, the one beside this package."""
    shadow = datakit.PATH_FIRST[0]
    if shadow not in sys.path:
        sys.path.insert(0, shadow)
    import datakit_framework

    return datakit_framework


def run_once(collector: Any, *args: Any, **kwargs: Any) -> Any:
    """Makes a collector, if a class is given, and runs it once as the worker would; returns the collector.

    Raises what `run` raises. Report to a `FakeAgent`, which must be entered.
    """
    made = collector(*args, **kwargs) if isinstance(collector, type) else collector
    made.run()
    return made


def _is_library(path: str) -> bool:
    own = os.path.dirname(os.path.abspath(__file__)) + os.sep
    home = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
    return path.startswith((own, home)) or "site-packages" + os.sep in path


class _Server(http.server.ThreadingHTTPServer):
    agent: FakeAgent
    daemon_threads = True
    block_on_close = False


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the second of two small writes waits for the acknowledgement of the first.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        answer = self.server.agent.answer(Request(self.command, self.path, dict(self.headers.items()), body))
        data = answer.text.encode("utf-8")
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the test does."""
