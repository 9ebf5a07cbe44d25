"""What scripts report that JSON does not have: sent in another form, or left out, and said once."""

import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import linecache
import math
import pathlib
import sqlite3
import types
import uuid

import pytest

from datakit_framework import DataKitFramework
from pythond.testing import Answer


class Collector(DataKitFramework):
    interval = 1


class Hostile:
    def __iter__(self):
        raise RuntimeError("no")

    def __getattr__(self, name):
        raise RuntimeError("no") if name == "keys" else AttributeError(name)


class Told:
    """Looks like what numpy has: a value of a type of its own."""

    dtype = "float32"

    def __init__(self, value):
        self._value = value

    def tolist(self):
        return self._value


class Whole:
    def __index__(self):
        return 3


class Half:
    def __float__(self):
        return 0.5


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@pytest.mark.parametrize(
    "value, sent",
    [
        (decimal.Decimal("12.50"), 12.5),
        (fractions.Fraction(1, 4), 0.25),
        (Whole(), 3),
        (Half(), 0.5),
        (Told(1.5), 1.5),
        (Told(True), True),
        (Told([1.0, float("nan")]), [1.0, None]),
        (datetime.timedelta(minutes=1.5), 90.0),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), "2026-01-02T00:00:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(1, 2), "01:02:00"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (KeyError("k"), "KeyError: 'k'"),
        (Colour.RED, "red"),
        (Colour.TWO, 2),
        (b"a\xffb", "a\ufffdb"),
        (bytearray(b"ab"), "ab"),
        (memoryview(b"ab"), "ab"),
        (frozenset([1]), [1]),
        (collections.deque([decimal.Decimal(1)]), [1.0]),
        ([float("nan"), b"x"], [None, "x"]),
        ({b"k": decimal.Decimal(1)}, {"k": 1.0}),
        (types.MappingProxyType({"a": uuid.UUID(int=1)}), {"a": "00000000-0000-0000-0000-000000000001"}),
    ],
)
def test_what_drivers_return_becomes_a_number_or_a_text_and_is_said_once(agent, value, sent):
    collector = Collector()
    for _ in range(3):
        collector.feed_metric(measurement="m", fields={"a": value, "b": 1})
    assert [point.fields for point in agent.points] == [{"a": sent, "b": 1}] * 3
    assert [(frame["t"], frame["code"]) for frame in agent.frames] == [("warn", "PD0416")]
    frame = agent.frames[0]
    assert frame["msg"].startswith(f"field `a` of `m` is of type {type(value).__name__} and was sent as ")
    assert frame["file"] == __file__ and "feed_metric" in linecache.getline(__file__, frame["line"])


class Unreadable:
    def __float__(self):
        raise ValueError("not now")


@pytest.mark.parametrize(
    "bad, why",
    [
        (float("nan"), "is nan, which no point can hold"),
        (decimal.Decimal("Infinity"), "is Decimal('Infinity'), which no point can hold"),
        (decimal.Decimal("sNaN"), "is of type Decimal and cannot be read: "),
        (decimal.Decimal("1e400"), "is Decimal('1E+400'), which no point can hold"),
        (fractions.Fraction(10**400), "is larger than any number that a point can hold"),
        (object(), "is of type object, which no point can hold"),
        (1j, "is of type complex, which no point can hold"),
        (len, "is of type builtin_function_or_method, which no point can hold"),
        (Hostile(), "is of type Hostile and cannot be read: RuntimeError: no"),
        (Unreadable(), "is of type Unreadable and cannot be read: ValueError: not now"),
        ({("a", 1): 1}, "has a key that is of type tuple; it must be text"),
    ],
)
def test_what_has_no_form_is_left_out_with_its_reason_and_the_rest_is_kept(agent, bad, why):
    Collector().feed_metric(measurement="m", tags={"t": "v"}, fields={"a": bad, "b": 1})
    assert [(point.tags, point.fields) for point in agent.points] == [({"t": "v"}, {"b": 1})]
    frame = agent.frames[0]
    assert (frame["t"], frame["code"]) == ("warn", "PD0406")
    assert frame["msg"].startswith(f"field `a` of `m` {why}") and frame["msg"].endswith("; the field was left out")


def test_a_key_without_a_form_is_left_out_and_another_becomes_text(agent):
    fields = {("a", 1): 1, b"raw": 2, uuid.UUID(int=7): 3, 4: 4}
    Collector().feed_metric(measurement="m", fields=fields)
    assert agent.points[0].fields == {"raw": 2, str(uuid.UUID(int=7)): 3, "4": 4}
    assert "the key ('a', 1) of a field of `m` is of type tuple" in agent.frames[0]["msg"]


def test_tags_are_text_and_a_measurement_too(agent):
    tags = {"d": decimal.Decimal("1.50"), "b": b"x", "n": float("nan"), "o": object(), "e": Colour.TWO}
    Collector().report({"M": [{"measurement": b"m", "tags": tags, "fields": {"a": 1}}]})
    assert [(point.measurement, point.tags) for point in agent.points] == [("m", {"d": "1.50", "b": "x", "e": "2"})]
    assert [frame["code"] for frame in agent.frames] == ["PD0416", "PD0416", "PD0416", "PD0408", "PD0408", "PD0416"]


@pytest.mark.parametrize("precision, sent", [(None, 1767323045000006000), ("u", 1767323045000006), ("n", None)])
def test_a_time_may_be_a_datetime(agent, precision, sent):
    utc = datetime.timezone.utc
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=utc)
    point = {"measurement": "m", "fields": {"a": 1}, "time": at}
    Collector().report({"M": [point], "precision": precision})
    Collector().report({"M": [{**point, "time": at.replace(tzinfo=None)}], "precision": precision})
    here = round(at.replace(tzinfo=None).timestamp() * 10**6)
    unit = 1 if precision == "u" else 1000
    assert [point.time for point in agent.points] == [sent or 1767323045000006000, here * unit]
    assert agent.frames[0]["msg"] == "the time of `m` is of type datetime and was sent as a number"


@pytest.mark.parametrize("beside", [{}, {"none": None}, {"other": object()}])
def test_a_point_whose_only_field_is_no_number_is_refused_because_none_is_left(agent, beside):
    points = [{"measurement": "good", "fields": {"x": 1}}, {"measurement": "bad", "fields": {"a": math.inf, **beside}}]
    Collector().report({"M": points})
    assert [point.measurement for point in agent.points] == ["good"]
    assert agent.frames[0]["msg"] == "field `a` of `bad` is inf, which no point can hold; the field was left out"
    frame = next(frame for frame in agent.frames if frame["t"] == "refused")
    assert (frame["status"], frame["category"], frame["points"]) == (0, "metric", 1)
    assert frame["text"] == "point 1 (`bad`) has no field left; it must have at least one with a value"


def test_fields_may_be_a_row_of_a_database(agent):
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        row = database.execute("select 1 as a, x'616263' as b").fetchone()
    Collector().feed_metric(measurement="m", fields=row)
    assert agent.points[0].fields == {"a": 1, "b": "abc"}


def test_each_line_that_reports_a_key_is_named_and_each_collector_for_its_own_script(agent):
    collector = Collector()
    for _ in range(2):
        collector.feed_metric(measurement="m", fields={"a": float("nan"), "b": 1})
        collector.feed_metric(measurement="m", fields={"a": float("nan"), "c": float("nan"), "b": 1})
    lines = [frame["line"] for frame in agent.frames]
    assert len(agent.frames) == 3 and len(set(lines)) == 2


def test_what_the_agent_has_changed_is_said_once_for_each_line_and_key(agent):
    def changed(key, text):
        told = [{"code": "PD0412", "kind": "reserved_key", "key": key, "what": text}]
        return Answer(200, "", {"X-Pythond-Repaired": json.dumps(told)})

    agent.answers.extend([changed("tags.time", "first"), changed("tags.time", "second"), changed("tags.x", "third")])
    for _ in range(3):
        Collector().feed_metric(measurement="m", fields={"a": 1})
    assert [(frame["code"], frame["msg"]) for frame in agent.frames] == [("PD0412", "first"), ("PD0412", "third")]
    assert {(frame["t"], frame["file"]) for frame in agent.frames} == {("warn", __file__)}


@pytest.mark.parametrize("header", ["nonsense", "[1]", "{}", "[{}]"])
def test_what_another_version_says_of_its_changes_is_passed_over(agent, header):
    agent.answers.append(Answer(200, "", {"X-Pythond-Repaired": header}))
    assert Collector().feed_metric(measurement="m", fields={"a": 1}) == ""
    assert agent.frames == []
