"""Rows of readings: what a foreign collector API gives the agent, which counts out rates and shares.

A row holds readings of one moment and one set of tags, and becomes one point. The agent remembers the last reading of
each series, so a rate survives the end of a worker. What each kind and option means stands in `docs/rows.md`.
"""

from __future__ import annotations

import json
import math
import time

from pythond.client import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

PATH = "/v1/rows"
# For the bodies of several jobs, each with the token of its unit.
PATH_OF_SEVERAL = "/v1/rows/several"
_LEAST, _MOST = -(2**63), 2**64 - 1


class _Slots:
    """Compares and shows instances by their slots."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"


class Reading(_Slots):
    """One value of a row."""

    __slots__ = (
        "field",
        "kind",
        "late",
        "max",
        "max_gap",
        "min",
        "out",
        "raw_field",
        "raw_type",
        "round",
        "scale",
        "value",
        "wrap",
    )

    def __init__(
        self,
        field: str,
        value: float,
        kind: str = "gauge",
        scale: float = 1.0,
        wrap: int | str | None = None,
        out: str = "rate",
        raw_field: str = "",
        min: float | None = None,
        max: float | None = None,
        max_gap: float | None = None,
        round: str = "",
        raw_type: str = "float",
        late: str = "",
    ) -> None:
        """Takes an int of any size, a float or a bool as value.

        `kind`: "gauge", "counter", "derive", "absolute", "row_percent" or "row_percent_inc". `wrap`: 32, 64 or "auto".
        `out`: "rate", "raw" or "both", where the raw value is named `raw_field`. `raw_type`: "float" or "integer".
        `round`: "" or "truncate". `late`: "" or "replace".
        """
        self.field = field
        self.value = value
        self.kind = kind
        self.scale = scale
        self.wrap = wrap
        self.out = out
        self.raw_field = raw_field
        self.min = min
        self.max = max
        self.max_gap = max_gap
        self.round = round
        self.raw_type = raw_type
        self.late = late

    def with_value(self, value: float) -> Reading:
        """Returns the same with another value."""
        one = object.__new__(Reading)
        for name in self.__slots__:
            setattr(one, name, getattr(self, name))
        one.value = value
        return one


class Row(_Slots):
    """Readings of one moment and one set of tags.

    Without a time it is of the moment when it is sent, without an interval of the job's.
    """

    __slots__ = ("interval", "measurement", "readings", "tags", "time_ns")

    def __init__(
        self,
        measurement: str,
        tags: Mapping[str, str],
        readings: Sequence[Reading],
        time_ns: int | None = None,
        interval: float | None = None,
    ) -> None:
        self.measurement = measurement
        self.tags = tags
        self.readings = readings
        self.time_ns = time_ns
        self.interval = interval


class Pattern:
    """What many rows have in common: all but their time and values. Its form in a request is made once.

    That is a third of the work where a row has one value and there are tens of thousands of them a second.
    """

    __slots__ = ("interval", "measurement", "readings", "tags", "text", "text_with_interval")

    def __init__(
        self, measurement: str, tags: Mapping[str, str], readings: Sequence[Reading], interval: float | None = None
    ) -> None:
        """The values of the readings do not matter."""
        self.measurement = measurement
        self.tags = tags
        self.readings = readings
        self.interval = interval
        row = Row(measurement, tags, readings, 0, interval)
        places = ",".join(_place_of(row, one) for one in readings)
        head = _escaped({"m": measurement, "t": dict(tags)})[:-1]
        body = f'{head},"ns":%d,"r":[{places}]'
        self.text = body + "}"
        is_own = interval is not None and interval > 0
        self.text_with_interval = f'{body},"i":{_escaped(interval)}}}' if is_own else self.text


class Sample(Row):
    """A row of a pattern."""

    __slots__ = ("numbers", "pattern")

    def __init__(self, pattern: Pattern, time_ns: int, values: Sequence[float]) -> None:
        """Takes a value for each reading of the pattern: a finite float, or an int that fits into 64 bits."""
        self.pattern = pattern
        self.numbers = (time_ns, *values)

    def __getattr__(self, name: str) -> Any:
        """Returns what a row has; none of it is made before somebody asks for it."""
        if name == "time_ns":
            return self.numbers[0]
        if name == "readings":
            return [one.with_value(value) for one, value in zip(self.pattern.readings, self.numbers[1:])]
        if name in Row.__slots__:
            return getattr(self.pattern, name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Row):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Row.__slots__)

    __hash__ = None  # type: ignore[assignment]  # as of a row

    def text(self, interval: float) -> str:
        """Returns its form in a request of such an interval."""
        pattern = self.pattern
        text = pattern.text if pattern.interval == interval else pattern.text_with_interval
        return text % self.numbers


class Answer(_Slots):
    """What became of rows; `status` is 0 where the agent could not be reached."""

    __slots__ = ("accepted", "no_value", "refused", "resets", "status", "text")

    def __init__(self, status: int, accepted: int, refused: int, no_value: int, text: str, resets: int = 0) -> None:
        """`accepted` and `refused` count rows, `no_value` readings, `resets` those of them whose counter began anew."""
        self.status = status
        self.accepted = accepted
        self.refused = refused
        self.no_value = no_value
        self.text = text
        self.resets = resets

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def encode(job_key: str, interval: float, rows: Sequence[Row], now_ns: int | None = None) -> bytes:
    """Returns the body of a request; rows without a time get `now_ns`, by default the present time.

    Raises ValueError for a number that JSON does not have, with the row and the reading that it stands in.
    """
    return body_of(job_key, interval, texts(interval, rows, now_ns)).encode("ascii")


def texts(interval: float, rows: Sequence[Row], now_ns: int | None = None) -> list[str]:
    """Returns each row as it stands in a request of such an interval. Raises ValueError as `encode` does."""
    if now_ns is None:
        now_ns = time.time_ns()
    return [row.text(interval) if type(row) is Sample else _to_json(_row(row, now_ns, interval)) for row in rows]


def body_of(job_key: str, interval: float, texts: Sequence[str]) -> str:
    """Returns the body of a request with rows that `texts` has made; it holds ASCII only."""
    return f'{{"job":{_to_json(job_key)},"interval":{_to_json(interval)},"rows":[{",".join(texts)}]}}'


# `json.dumps` with these options would make an encoder for each row.
_to_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _escaped(shown: Any) -> str:
    """Returns the JSON of something as a part of a pattern."""
    return json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("%", "%%")


def _place_of(row: Row, reading: Reading) -> str:
    """Returns a reading with a place for its value."""
    options = _options(row, reading)
    return f"[{_escaped(reading.field)},%r,{_escaped(options)}]" if options else f"[{_escaped(reading.field)},%r]"


def answer_of(status: int, text: str, sent: int = 0, told: Any = None) -> Answer:
    """Reads the agent's answer to so many rows; without `accepted` in it none was taken. `told` is its JSON."""
    if told is None:
        try:
            told = json.loads(text)
        except ValueError:
            pass
    if not isinstance(told, dict):
        told = {}
    if 200 <= status < 300:
        return Answer(status, _count(told, "accepted"), 0, _count(told, "no_value"), "", _count(told, "resets"))
    refused = _count(told, "refused_count") if "accepted" in told else sent
    message = told.get("message")
    return Answer(status, _count(told, "accepted"), refused, 0, message if isinstance(message, str) else text)


def answers_of(text: str) -> list[Reply]:
    """Reads the agent's answer to the bodies of several jobs: to each as if it had come alone; none where it cannot be
    read."""
    try:
        return [_answer_to_one(entry) for entry in json.loads(text)["groups"]]
    except (ValueError, KeyError, TypeError):
        return []


def _answer_to_one(entry: dict[str, Any]) -> Reply:
    repaired = entry.get("repaired") or ""
    if "status" in entry:
        return Reply(int(entry["status"]), json.dumps(entry["answer"]), entry.get("retry_after"), repaired)
    return Reply(200, "", None, repaired, entry)


def _count(told: dict[str, Any], key: str) -> int:
    count = told.get(key)
    return count if isinstance(count, int) else 0


def _row(row: Row, now_ns: int, interval: float) -> dict[str, Any]:
    shown = {
        "m": row.measurement,
        "t": dict(row.tags),
        "ns": now_ns if row.time_ns is None else row.time_ns,
        "r": [_reading(row, reading) for reading in row.readings],
    }
    if row.interval is not None and row.interval != interval and row.interval > 0:
        shown["i"] = row.interval
    return shown


def _reading(row: Row, reading: Reading) -> list[Any]:
    value = reading.value
    if type(value) is not float or not math.isfinite(value):
        value = _number(row, reading, "value", value)
    options = _options(row, reading)
    return [reading.field, value, options] if options else [reading.field, value]


def _options(row: Row, reading: Reading) -> dict[str, Any]:
    """Returns what differs from a plain gauge."""
    options: dict[str, Any] = {}
    if reading.kind != "gauge":
        options["kind"] = reading.kind
    if reading.scale != 1.0:
        options["scale"] = _number(row, reading, "scale", reading.scale)
    if reading.wrap is not None:
        options["wrap"] = reading.wrap
    if reading.out != "rate":
        options["out"] = reading.out
        if reading.raw_field:
            options["raw"] = reading.raw_field
        if reading.raw_type != "float":
            options["raw_type"] = reading.raw_type
    if reading.min is not None:
        options["min"] = _number(row, reading, "min", reading.min)
    if reading.max is not None:
        options["max"] = _number(row, reading, "max", reading.max)
    if reading.max_gap is not None:
        options["max_gap"] = _number(row, reading, "max_gap", reading.max_gap)
    if reading.round:
        options["round"] = reading.round
    if reading.late:
        options["late"] = reading.late
    return options


def _number(row: Row, reading: Reading, what: str, number: float) -> float:
    if isinstance(number, float):
        if math.isfinite(number):
            return number
    elif isinstance(number, int):
        if _LEAST <= number <= _MOST:
            return int(number)
        try:
            return float(number)
        except OverflowError:
            raise ValueError(f"{_place(row, reading)}: `{what}` is larger than any float") from None
    raise ValueError(
        f"{_place(row, reading)}: `{what}` is {number!r}; it must be a finite int or float, or be left out"
    )


def _place(row: Row, reading: Reading) -> str:
    return f"row `{row.measurement}`, reading `{reading.field}`"
