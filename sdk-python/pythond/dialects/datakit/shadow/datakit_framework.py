"""DataKit's collector API: inherit `DataKitFramework`, set `interval`, define `run`, report with `feed_…` or `report`.

    from datakit_framework import DataKitFramework

    class Load(DataKitFramework):
        interval = 10

        def run(self):
            self.feed_metric(measurement="load", fields={"load1": os.getloadavg()[0]})

Under pythond, reports that name no other `ip` and `port` go to the agent that runs the script. This file also works
alone, copied beside a script, with a DataKit on 127.0.0.1:9529; then it logs to
`~/_datakit_pythond_framework_<log_name>_.log`.

Signatures, JSON and return values are DataKit's. A report waits for its answer, is tried again while the receiver is
down or busy (until the next run is due), and never raises because of the delivery: what was refused or could not be
sent is logged with its reason.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from string import Template  # noqa: F401 (scripts take it from here)
from time import monotonic as _monotonic
from time import sleep as _sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging.handlers import RotatingFileHandler  # noqa: F401 (see `__getattr__`)
    from typing import Any, Callable

    from pythond.dialects.datakit import Link

    requests: Any

logger = logging.getLogger("pythond_framework")

_ANSWER_TIMEOUT = 10.0
_DEFAULT_BUDGET = 10.0
_LOG_BYTES = 100000
_LOG_FILES = 10

# Made here and not where they are used: a function of `re` takes a worker's first run 60 KB of its own memory.
_MUST_BE_QUOTED = re.compile(r"(?!%[0-9A-Fa-f]{2})[^A-Za-z0-9._~-]", re.DOTALL)
_WRITE_PATH = re.compile(r"/v1/write/([^/?#]+)")
_PRECISION = re.compile(r"[?&]precision=([^&#]*)")
_URL = re.compile(r"(https?|http\+unix)://(\[[^\]/]*\]|[^:/?#]+)(?::(\d*))?(/?.*)", re.DOTALL)
_UNSENDABLE = re.compile(r"[^!-~]")

# Set by the agent's worker; None where this file stands alone.
_worker: Link | None = None
_agent_address: tuple[str, int] | None = None
_DEFAULTS = (("127.0.0.1", "9529"), ("localhost", "9529"))
_local = threading.local()
_log_lock = threading.Lock()


def __getattr__(name: str) -> Any:
    """Gives the names that DataKit's module has and that cost too much to load for every script."""
    if name == "RotatingFileHandler":
        from logging.handlers import RotatingFileHandler

        return RotatingFileHandler
    if name == "requests":
        import importlib

        try:
            return importlib.import_module("requests")
        except ImportError as error:
            raise AttributeError("`requests` is not installed; nothing of this module needs it") from error
    if name == "__all__":  # asked for by `from datakit_framework import *`
        names = [*_PUBLIC, "RotatingFileHandler"]
        return [*names, "requests"] if _has_requests() else names
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_PUBLIC = ("DataKitFramework", "Template", "init_log", "logger", "logging", "mylog", "os", "sys")


def _has_requests() -> bool:
    from importlib.machinery import PathFinder

    return "requests" in sys.modules or PathFinder.find_spec("requests") is not None


def _attach(worker: Link | None, address: tuple[str, int] | None = None) -> None:
    """Makes this module report through the agent's worker; for pythond only. `address` is the agent's own over TCP."""
    global _worker, _agent_address
    _worker = worker
    _agent_address = address
    if address is not None:
        _agent_targets.add(("http", *address))


# --- the log ---------------------------------------------------------------------------------------------------------


def init_log() -> None:
    """Opens the framework log, once: the file in the home directory, or under the agent its log of this script."""
    with _log_lock:
        if DataKitFramework.is_init_log:
            return
        DataKitFramework.is_init_log = True
        logger.setLevel(logging.DEBUG)
        logger.addHandler(_open_log() if _worker is None else _agent_log())


def _open_log() -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    name = str(DataKitFramework.log_name).replace("/", "_").replace(os.sep, "_")
    path = os.path.join(os.path.expanduser("~"), f"_datakit_pythond_framework_{name}_.log")
    handler: logging.Handler
    try:
        handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
        print(path)
    except OSError as error:
        handler = logging.StreamHandler()
        print(f"the framework log goes to stderr: {error}", file=sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    return handler


def _agent_log() -> logging.Handler:
    # The agent reads stderr and keeps the log files: several workers cannot rotate one file.
    logger.propagate = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return handler


def mylog(msg: Any, *args: Any, **kw: Any) -> None:
    """Writes a line to the framework log; arguments that the text has no place for are added at its end."""
    init_log()
    try:
        text = str(msg) % args if args else str(msg)
    except (TypeError, ValueError):
        text = " ".join(str(part) for part in (msg, *args))
    logger.info("%s", text, **kw)


class _Log:
    """`self.log`: a logger below the framework's. Not a property: a script may have a `self.log` of its own."""

    def __get__(self, owner: DataKitFramework | None, cls: type) -> logging.Logger:
        init_log()
        return logger.getChild(cls.__name__)


# --- the class -------------------------------------------------------------------------------------------------------


class DataKitFramework:
    """The base of every collector. A subclass sets `name` and `interval` (seconds) and defines `run`."""

    name = "DataKitFramework"
    log_name = ""
    is_init_log = False
    # Additions to DataKit: the table `config` of the script's input, and a standard logger.
    config: dict[str, Any] = {}
    log = _Log()

    __dk_host: Any = "127.0.0.1"
    __dk_port: Any = 9529
    __magic = "{xxx}"
    __token = ""

    def __init__(self, **kwargs: Any) -> None:
        """Takes `ip` and `port` of another receiver; `ip` may be `https://host` or `unix:///path/of.sock` as well.

        `agent_token` goes to that receiver as `Authorization: Bearer`. Other arguments are ignored.
        """
        if kwargs.get("ip"):
            self.__dk_host = kwargs["ip"]
        if kwargs.get("port"):
            self.__dk_port = kwargs["port"]
        if kwargs.get("agent_token"):
            self.__token = str(kwargs["agent_token"])

    def run(self) -> Any:
        """Collects and reports; called every `interval` seconds."""
        raise NotImplementedError

    def test(self) -> None:
        print("log_name = " + str(self.log_name))
        mylog("789")

    def report(self, data: Any) -> Any:
        """Sends points: `{"M": [...], "L": [...], "input": "name", ...}`, one request for each category.

        Returns the text of the last answer: empty after success, JSON with the reason after a refusal, and empty too
        if there was no answer.
        """
        if data is None or isinstance(data, str):
            raise TypeError(f"report() needs a dict of lists, got {type(data).__name__}")
        values = [(path, data[key] if key in data else "") for key, path in _CATEGORIES]  # noqa: SIM401 (a list)
        if all(value is None for _, value in values):
            return None
        if isinstance(data, (list, tuple, set, frozenset)):
            _refused(self, "", 0, 0, f"report() needs a dict of lists, got a {type(data).__name__}; nothing was sent")
            return ""
        query = _query(data)
        text: Any = ""
        for path, value in values:
            if value:
                text = self.http_post_json(self.construct_url(f"v1/write/{path}{query}"), value)
        return text

    def checkArgEmpty(self, name: Any, checkStr: Any) -> None:
        """Raises `ValueError` if a required argument is missing or empty."""
        if not checkStr:
            raise ValueError(f'arguments missing "{name}"')

    def feed_metric(
        self,
        input: Any = None,
        measurement: Any = None,
        tags: Any = None,
        fields: Any = None,
        time: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports one metric; further keyword arguments become fields."""
        self.checkArgEmpty("measurement", measurement)
        self.checkArgEmpty("fields", fields)
        point = {
            "measurement": measurement,
            "tags": tags,
            "fields": {**fields, **kwargs} if kwargs else fields,
            "time": time,
        }
        return self.report({"M": [point], "input": input})

    def feed_logging(
        self,
        input: Any = None,
        source: Any = None,
        tags: Any = None,
        message: Any = None,
        time: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports one log line; further keyword arguments become fields, `status` is the level."""
        self.checkArgEmpty("source", source)
        point = {"measurement": source, "tags": tags, "fields": {"message": message, **kwargs}, "time": time}
        return self.report({"L": [point], "input": input})

    def feed_object(
        self,
        input: Any = None,
        cls: Any = None,
        name: Any = None,
        tags: Any = None,
        fields: Any = None,
        time: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports one object of a class, with its name; further keyword arguments become fields."""
        self.checkArgEmpty("cls", cls)
        self.checkArgEmpty("fields", fields)
        point = {
            "measurement": cls,
            "tags": {**(tags or {}), "name": name},
            "fields": {**fields, **kwargs} if kwargs else fields,
            "time": time,
        }
        return self.report({"O": [point], "input": input})

    def feed_user_event(
        self,
        df_user_id: Any = None,
        tags: Any = None,
        df_date_range: Any = 10,
        df_status: Any = None,
        df_event_id: Any = None,
        df_title: Any = None,
        df_message: Any = None,
        *,
        time: Any = None,
        input: Any = None,
        measurement: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports an event of a user; further keyword arguments become fields."""
        self.checkArgEmpty("df_user_id", df_user_id)
        own = {"df_user_id": df_user_id}
        event = (df_date_range, df_status, df_event_id, df_title, df_message)
        return self.report(_event(self, "user", own, tags, event, kwargs, time, input, measurement))

    def feed_monitor_event(
        self,
        df_dimension_tags: Any = None,
        tags: Any = None,
        df_date_range: Any = 10,
        df_status: Any = None,
        df_event_id: Any = None,
        df_title: Any = None,
        df_message: Any = None,
        *,
        time: Any = None,
        input: Any = None,
        measurement: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports an event of a monitor, `df_dimension_tags` being a JSON object as text or as a dict."""
        self.checkArgEmpty("df_dimension_tags", df_dimension_tags)
        own = {"df_dimension_tags": df_dimension_tags}
        event = (df_date_range, df_status, df_event_id, df_title, df_message)
        return self.report(_event(self, "monitor", own, tags, event, kwargs, time, input, measurement))

    def feed_system_event(
        self,
        tags: Any = None,
        df_date_range: Any = 10,
        df_status: Any = None,
        df_event_id: Any = None,
        df_title: Any = None,
        df_message: Any = None,
        *,
        time: Any = None,
        input: Any = None,
        measurement: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Reports an event of the system; further keyword arguments become fields."""
        event = (df_date_range, df_status, df_event_id, df_title, df_message)
        return self.report(_event(self, "system", {}, tags, event, kwargs, time, input, measurement))

    def construct_url(self, path: Any) -> str:
        """Returns the URL of a path at this collector's receiver; the default one is the agent, wherever it listens."""
        if _agent_address is not None and (self.__dk_host, str(self.__dk_port)) in _DEFAULTS:
            host, port = _agent_address
            return f"http://{f'[{host}]' if ':' in host else host}:{port}/{path}"
        host = str(self.__dk_host).rstrip("/")
        if host.startswith("unix:"):
            socket_path = "/" + host[len("unix:") :].lstrip("/")
            return f"http+unix://{socket_path.replace('%', '%25').replace('/', '%2F')}/{path}"
        scheme, mark, host = host.rpartition("://")
        if host.count(":") > 1 and not host.startswith("["):
            host = f"[{host}]"
        return f"{scheme + mark or 'http://'}{host}:{self.__dk_port}/{path}"

    def set_lasterror(self, input_name: Any, err_msg: Any) -> Any:
        """Tells the receiver of an error of this collector."""
        return self.http_post_json(self.construct_url("v1/lasterror"), {"input": input_name, "err_content": err_msg})

    def http_post_json(self, url: Any, raw_data: Any) -> Any:
        """Posts a value as JSON; returns the text of the answer, or an empty one."""
        return self.http_post_data_core(url, raw_data, "POST", True)

    def http_post_raw(self, url: Any, raw_data: Any) -> Any:
        """Posts a text as it is; returns the text of the answer, or an empty one."""
        return self.http_post_data_core(url, raw_data, "POST", False)

    def http_post_data_core(self, url: Any, raw_data: Any, method: Any, is_json: Any) -> Any:
        """Posts (`POST`) or gets (`GET`, without data); returns the text of the answer, or an empty one."""
        if method == "GET":
            return _send(self, "GET", str(url), b"", 0, "", self.__token)
        if method != "POST":
            return ""
        if not is_json:
            body = bytes(raw_data) if isinstance(raw_data, (bytes, bytearray)) else str(raw_data).encode("utf-8")
            return _send(self, "POST", str(url), body, body.count(b"\n") + 1, "", self.__token)
        encoded, count = _encoded(self, str(url), raw_data)
        if encoded is None:
            return ""
        return _send(self, "POST", str(url), encoded, count, "application/json", self.__token)


# --- what is sent ----------------------------------------------------------------------------------------------------

_CATEGORIES = (
    ("M", "metric"),
    ("L", "logging"),
    ("R", "rum"),
    ("O", "object"),
    ("CO", "custom_object"),
    ("E", "keyevent"),
)
_OPTIONS = ("precision", "input", "ignore_global_tags", "version")


def _event(
    owner: DataKitFramework,
    source: str,
    own: dict[str, Any],
    tags: Any,
    event: tuple[Any, Any, Any, Any, Any],
    kwargs: dict[str, Any],
    time: Any,
    input: Any,
    measurement: Any,
) -> dict[str, Any]:
    date_range, status, event_id, title, message = event
    if date_range is False or date_range != 0:  # a range of 0 seconds is one
        owner.checkArgEmpty("df_date_range", date_range)
    owner.checkArgEmpty("df_status", status)
    owner.checkArgEmpty("df_event_id", event_id)
    owner.checkArgEmpty("df_title", title)
    fields = {
        "df_date_range": date_range,
        "df_source": source,
        **own,
        "df_status": status,
        "df_event_id": event_id,
        "df_title": title,
        "df_message": message or "",
        **kwargs,
    }
    point = {"measurement": measurement or "measurement", "tags": tags or {}, "fields": fields}
    if time is not None:
        point["time"] = time
    return {"E": [point], "input": input}


def _query(data: dict[str, Any]) -> str:
    """Writes the options of a report as a query, in DataKit's order."""
    parts = [f"{key}={_quoted(data[key])}" for key in _OPTIONS if data.get(key)]
    return "?" + "&".join(parts) if parts else ""


def _quoted(value: Any) -> str:
    """Percent-encodes a value of a query; what a script has encoded itself is left alone, as with `requests`."""
    return _MUST_BE_QUOTED.sub(_percent, "true" if value is True else str(value))


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode("utf-8", "replace"))


def _encoded(owner: Any, url: str, data: Any) -> tuple[bytes | None, int]:
    """Writes a value as JSON; returns the bytes, or None, and the number of points in them.

    What has no JSON form is brought into one where that is sensible, else left out of its point, and said either way.
    A point of which no field is left is refused, and the other points of the list are sent.
    """
    try:
        return json.dumps(data, allow_nan=False).encode("ascii"), len(data) if isinstance(data, (list, tuple)) else 1
    except Exception as error:  # also what the script's own objects raise while they are looked at
        reason = _short(error)
    category = _category(url)
    if not isinstance(data, (list, tuple)):
        try:
            return json.dumps(_plain(data), allow_nan=False).encode("ascii"), 1
        except Exception:
            _refused(owner, category, 1, 0, f"{type(data).__name__} has no JSON form: {reason}")
            return None, 0
    kept: list[str] = []
    for index, point in enumerate(data):
        try:
            kept.append(json.dumps(point, allow_nan=False))
            continue
        except Exception as error:
            name, reason = "", _short(error)
        try:
            mender = _Mender(owner, url, point)
            name = mender.name
            kept.append(json.dumps(mender.mended(), allow_nan=False))
            continue
        except _NoForm as error:
            reason = str(error)
        except Exception as error:
            reason = f"has no JSON form: {_short(error)}"
        label = f"point {index} (`{name}`)" if name else f"point {index}"
        if _worker is not None:
            _worker.unfit(owner, category, f"{label} {reason}")
        else:
            _refused(owner, category, 1, 0, f"{label} {reason}")
    return (f"[{', '.join(kept)}]".encode("ascii"), len(kept)) if kept else (None, 0)


class _NoForm(Exception):
    """A value has no form that can be sent; the text goes on where the name of the value ends: `is nan, …`."""


class _WrongKey(_NoForm):
    """A key is no text, nor anything that can be taken for one."""


class _Mender:
    """Brings one point into a form that JSON has, and says of each key what was done."""

    def __init__(self, owner: Any, url: str, point: Any) -> None:
        if not _is_table(point):
            raise _NoForm(f"has no JSON form: it is of type {_kind(point)}; it must be a dict")
        self._owner = owner
        self._precision = _precision(url)
        self._point = {key: point[key] for key in point.keys()}  # noqa: SIM118 (rows of databases iterate over values)
        self.name = _as_text(self._point.get("measurement"))

    def mended(self) -> dict[Any, Any]:
        """Returns the point. Raises `_NoForm` where no field of it is left."""
        point = dict(self._point)
        for part, value in self._point.items():
            if part == "fields" and _is_table(value):
                point[part] = self._fields(value)
            elif part == "tags" and _is_table(value):
                point[part] = self._table("tag", value, _tag)
            elif part == "time":
                point[part] = self._time(value)
            elif part == "measurement" and not _is_json(value):
                point[part] = self.name
                _changed(
                    self._owner, part, "", f"measurement `{self.name}` is of type {_kind(value)} and was taken as text"
                )
            elif not _is_json(value):
                del point[part]  # a key that nobody knows
        return point

    def _fields(self, fields: Any) -> dict[str, Any]:
        kept = self._table("field", fields, _plain)
        if fields.keys() and all(value is None for value in kept.values()):
            raise _NoForm("has no field left; it must have at least one with a value")
        return kept

    def _table(self, part: str, values: Any, form: Callable[[Any], Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key in values.keys():  # noqa: SIM118
            value = values[key]
            try:
                name = _key(key)
            except _NoForm as error:
                text = f"the key {_shown(key)} of a {part} of `{self.name}` {error}; the {part} was left out"
                _left_out(self._owner, part, _shown(key), text)
                continue
            try:
                kept[name] = form(value)
            except _NoForm as error:
                _left_out(self._owner, part, name, f"{part} `{name}` of `{self.name}` {error}; the {part} was left out")
                continue
            if not _is_json(value):
                what = f"is of type {_kind(value)} and was sent as {_told(kept[name])}"
                _changed(self._owner, part, name, f"{part} `{name}` of `{self.name}` {what}")
        return kept

    def _time(self, value: Any) -> Any:
        if _is_json(value):
            return value
        try:
            time = _time(value, self._precision)
        except _NoForm as error:
            _left_out(self._owner, "time", "", f"the time of `{self.name}` {error}; that of the arrival is taken")
            return None
        _changed(
            self._owner, "time", "", f"the time of `{self.name}` is of type {_kind(value)} and was sent as a number"
        )
        return time


def _changed(owner: Any, part: str, key: str, text: str) -> None:
    if _worker is None:
        _say_once(part, key, text)
    else:
        _worker.changed(owner, part, key, text)


def _left_out(owner: Any, part: str, key: str, text: str) -> None:
    if _worker is None:
        _say_once(part, key, text)
    else:
        _worker.left_out(owner, part, key, text)


def _say_once(part: str, key: str, text: str) -> None:
    """Writes to the log of this file alone what the agent's worker says elsewhere: once for each line and key."""
    place = _place()
    what = (place, part, key)
    if what not in _said and len(_said) < _MOST_SAID:
        _said.add(what)
        mylog("%s%s", text, place)


_said: set[tuple[str, str, str]] = set()
_MOST_SAID = 1000
# Of lists and tables within each other; the agent takes no more than 127.
_DEEPEST = 100
# In nanoseconds.
_PRECISIONS = {"n": 1, "u": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
        return True
    except Exception:
        return False


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (hasattr(value, "keys") and hasattr(value, "__getitem__"))


def _plain(value: Any, holders: tuple[int, ...] = ()) -> Any:
    """Returns a value in a form that JSON has: numbers as numbers, what reads like text as text. Raises `_NoForm`."""
    if value is None or isinstance(value, (bool, str)):
        return value
    try:
        if isinstance(value, (int, float)):
            _finite(float(value), value)
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value).decode("utf-8", "replace")
        if isinstance(value, (list, tuple, set, frozenset)) or _is_table(value):
            return _plain_within(value, holders)
        return _plain_object(value, holders)
    except _NoForm:
        raise
    except OverflowError as error:
        raise _NoForm("is larger than any number that a point can hold") from error
    except Exception as error:  # raised by the object itself
        raise _NoForm(
            f"is of type {_kind(value)} and cannot be read: {type(error).__name__}: {_short(error)}"
        ) from error


def _plain_within(value: Any, holders: tuple[int, ...]) -> Any:
    """Returns a list or a table; what has no form in it becomes null, so that the others keep their places."""
    if id(value) in holders:
        raise _NoForm("holds itself")
    if len(holders) >= _DEEPEST:
        raise _NoForm(f"is nested deeper than {_DEEPEST} levels")
    inner = (*holders, id(value))

    def one(part: Any) -> Any:
        try:
            return _plain(part, inner)
        except _NoForm:
            if isinstance(part, (list, tuple, set, frozenset)) or _is_table(part):
                raise
            return None

    if not _is_table(value):
        return [one(part) for part in value]
    try:
        return {_key(key): one(value[key]) for key in value.keys()}  # noqa: SIM118
    except _WrongKey as error:
        raise _NoForm(f"has a key that {error}") from error


def _plain_object(value: Any, holders: tuple[int, ...]) -> Any:
    import enum

    cls = type(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, holders)
    if hasattr(cls, "dtype") and hasattr(cls, "tolist"):  # numpy: its own way says what it is
        plain = value.tolist()
        if plain is value:
            raise _NoForm(f"is of type {_kind(value)}, which no point can hold")
        return _plain(plain, holders)
    if hasattr(cls, "__len__") and hasattr(cls, "__iter__"):
        return _plain_within([*value], holders)
    if hasattr(cls, "__index__"):
        return int(value.__index__())
    if hasattr(cls, "__float__") and not isinstance(value, complex):  # which has it on old Pythons, and raises
        return _finite(float(value), value)
    if hasattr(cls, "isoformat"):
        return str(value.isoformat())
    if hasattr(cls, "total_seconds"):
        return _finite(float(value.total_seconds()), value)
    if hasattr(cls, "__fspath__"):
        return _plain(value.__fspath__(), holders)
    if isinstance(value, BaseException):
        return f"{_kind(value)}: {value}"
    # A class that says how it reads: a UUID, an address.
    if any("__str__" in vars(base) for base in cls.__mro__[:-1]):
        return str(value)
    raise _NoForm(f"is of type {_kind(value)}, which no point can hold")


def _finite(number: float, value: Any) -> float:
    if number != number or number in (float("inf"), float("-inf")):
        raise _NoForm(f"is {_shown(value)}, which no point can hold")
    return number


def _tag(value: Any) -> Any:
    """Returns the value of a tag, which is text. Raises `_NoForm`."""
    if isinstance(value, str):
        return value
    import enum

    if value is None or isinstance(value, (int, float)):
        return _plain(value)  # the agent takes numbers as text, and says so
    while isinstance(value, enum.Enum):
        value = value.value
    plain = _plain(value)
    if not isinstance(plain, (int, float)):
        return plain
    # As exact as it is: the `1.50` of a Decimal is no 1.5.
    return str(plain if hasattr(type(value), "tolist") else value)


def _key(key: Any) -> str:
    """Returns a key as JSON has it. Raises `_NoForm`."""
    if isinstance(key, str):
        return key
    try:
        plain = _plain(key)
    except _NoForm as error:
        raise _WrongKey(str(error)) from error
    if isinstance(plain, (list, dict)):
        raise _WrongKey(f"is of type {_kind(key)}; it must be text")
    return plain if isinstance(plain, str) else str(json.dumps(plain))


def _time(value: Any, precision: int) -> Any:
    """Returns a time as a number: a `datetime` without a zone is local. Raises `_NoForm`."""
    import datetime

    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime.datetime):
        return _plain(value)
    try:
        since = value.astimezone(datetime.timezone.utc) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    except Exception as error:
        raise _NoForm(f"is {_shown(value)}, which is no moment: {_short(error)}") from error
    return ns // precision if ns % precision == 0 else ns / precision


def _precision(url: str) -> int:
    found = _PRECISION.search(url)
    return _PRECISIONS.get(found.group(1), 1) if found else 1


def _as_text(value: Any) -> str:
    """Returns a measurement as text, an empty one where there is none."""
    if value is None:
        return ""
    try:
        plain = _plain(value)
    except _NoForm:
        plain = _shown(value)
    return plain if isinstance(plain, str) else str(plain)


def _kind(value: Any) -> str:
    return type(value).__name__


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except Exception:
        return f"a {_kind(value)}"


def _told(plain: Any) -> str:
    if isinstance(plain, str):
        return f"text: `{plain:.60}`"
    if isinstance(plain, (list, dict)):
        return "JSON text, with null for what has no form"
    return json.dumps(plain) if plain is None or isinstance(plain, bool) else f"the number {plain!r:.60}"


def _short(error: BaseException) -> str:
    try:
        return f"{error}"[:300] or type(error).__name__
    except Exception:
        return type(error).__name__


# --- how it is sent --------------------------------------------------------------------------------------------------


def _send(owner: Any, method: str, url: str, body: bytes, points: int, content_type: str, token: str) -> str:
    """Sends a request and says what became of it; the only place that chooses between the agent and the network."""
    category = _category(url)
    try:
        target, path = _parsed(url)
    except ValueError as error:
        _refused(owner, category, points, 0, f"{url[:200]!r} is no URL: {error}")
        return ""
    if _worker is not None and target in _agent_targets:
        status, text = _worker.send(owner, method, path, content_type, body)
        if category:
            _worker.sent(owner, category, points, status, text)
        elif not 200 <= status < 300:
            mylog(f"{method} {path}: {status or 'not sent'} {text}")
    else:
        headers = {"Content-Type": content_type} if content_type else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        status, text, repaired = _deliver(target, method, path, body, headers, _budget(owner))
        _tell_repaired(owner, repaired)
        if not 200 <= status < 300:
            _refused(owner, category, 0, status, text, f"{method} {url}: ")
    return text if status else ""


# What means "the agent that runs this script", where there is one: DataKit's default, and the agent's own address.
_agent_targets = {("http", "127.0.0.1", 9529), ("http", "localhost", 9529)}


def _category(url: str) -> str:
    found = _WRITE_PATH.search(url)
    return found.group(1) if found else ""


def _parsed(url: str) -> tuple[tuple[str, str, int], str]:
    """Splits a URL into its target (scheme, host or socket path, port) and the path with the query.

    Raises `ValueError`.
    """
    found = _URL.fullmatch(url)
    if not found:
        raise ValueError("it must look like http://host:port/path")
    scheme, host, port, path = found.groups()
    number = int(port) if port else {"http": 80, "https": 443}.get(scheme, 0)
    if number > 65535:
        raise ValueError(f"there is no port {number}")
    if scheme == "http+unix":
        host = re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found.group(1), 16)), host)
    path = path.partition("#")[0]
    # What may not stand in a request line, e.g. a space of a hand-made URL, is encoded as `requests` does.
    path = _UNSENDABLE.sub(_percent, path)
    return (scheme, host.strip("[]"), number), path if path.startswith("/") else "/" + path


def _budget(owner: Any) -> float:
    """Returns for how many seconds a report may be tried again: the interval of its collector."""
    try:
        seconds = float(getattr(owner, "interval", 0) or 0)
    except (TypeError, ValueError):
        seconds = 0.0
    return seconds if 0 < seconds < float("inf") else _DEFAULT_BUDGET


def _tell_repaired(owner: Any, header: str) -> None:
    """Says what another agent of ours has changed in what it took."""
    try:
        for one in json.loads(header or "[]"):
            _changed(owner, str(one["kind"]), str(one["key"]), str(one["what"]))
    except (ValueError, KeyError, TypeError):
        return  # of another version


def _deliver(
    target: tuple[str, str, int], method: str, path: str, body: bytes, headers: dict[str, str], budget: float
) -> tuple[int, str, str]:
    """Sends a request over the network, again while the receiver is down or busy; returns status and text, or 0 and
    the reason, and what the receiver says that it changed. The rule is that of `pythond.client`, which this file must
    do without."""
    deadline = _monotonic() + budget
    tries = 0
    while True:
        status, text, retry_after, repaired = _once(target, method, path, body, headers)
        pause = retry_after if retry_after is not None else min(0.1 * 2.0 ** min(tries, 16), 5.0)
        if status not in (0, 429, 503) or _monotonic() + pause > deadline:
            return status, text, repaired
        _sleep(pause)
        tries += 1


def _once(
    target: tuple[str, str, int], method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, str, float | None, str]:
    """Sends a request once, over the connection that this thread keeps to the target."""
    from http.client import HTTPException

    kept = _local.__dict__
    if kept.get("pid") != os.getpid():  # a forked child must not speak on the connections of its parent
        kept["pid"], kept["open"] = os.getpid(), {}
    connections = kept["open"]
    while True:
        reused = target in connections
        try:
            if not reused:
                connections[target] = _connect(target)
            connection = connections[target]
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            after = answer.getheader("Retry-After") or ""
            if answer.will_close:
                connections.pop(target).close()
            repaired = answer.getheader("X-Pythond-Repaired") or ""
            return answer.status, text, float(after) if after.isdigit() else None, repaired
        except (OSError, HTTPException, ValueError) as error:
            if target in connections:
                connections.pop(target).close()
            # The receiver may close a kept connection at any time; a new one tells.
            if not reused or isinstance(error, TimeoutError):
                return 0, f"not delivered: {type(error).__name__}: {error}", None, ""


def _connect(target: tuple[str, str, int]) -> Any:
    import http.client

    scheme, host, port = target
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_ANSWER_TIMEOUT)
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_ANSWER_TIMEOUT)
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=_ANSWER_TIMEOUT)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(_ANSWER_TIMEOUT)
    connection.sock.connect(host)
    return connection


def _refused(owner: Any, category: str, points: int, status: int, why: str, request: str = "") -> None:
    """Says that something was not taken: to the agent where there is one, else in the log."""
    if _worker is not None:
        _worker.unsendable(owner, category, points, status, f"{request}{why}")
    else:
        mylog(f"{request or category + ': '}{status or 'not sent'} {why}{_place()}")


def _place() -> str:
    """Returns the line of the script that reports."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f" ({frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name})"
