import json
import time
from decimal import Decimal
from enum import IntEnum

import pytest

from pythond.rows import Answer, Pattern, Reading, Row, Sample, answer_of, encode


def body_of(*rows, job="local", interval=10.0, now_ns=7):
    return json.loads(encode(job, interval, rows, now_ns))


def reading_of(*args, **options):
    return body_of(Row("m", {}, [Reading(*args, **options)]))["rows"][0]["r"][0]


def test_the_body_is_what_the_agent_reads():
    reads = Reading("reads", 7, "counter", 0.001, "auto", "both", "reads_raw", max_gap=30)
    row = Row("cpu", {"core": "0"}, [Reading("user", 12.5), reads], 1_700_000_000_000_000_000)
    assert encode("local", 10.0, [row]) == (
        b'{"job":"local","interval":10.0,"rows":[{"m":"cpu","t":{"core":"0"},"ns":1700000000000000000,"r":[["user",12.5],'
        b'["reads",7,{"kind":"counter","scale":0.001,"wrap":"auto","out":"both","raw":"reads_raw","max_gap":30}]]}]}'
    )


def test_a_row_may_have_an_interval_of_its_own():
    rows = [Row("m", {}, [], 5), Row("m", {}, [], 5, 10.0), Row("m", {}, [], 5, 60.0)]
    assert [row.get("i") for row in body_of(*rows)["rows"]] == [None, None, 60.0]


@pytest.mark.parametrize("interval", [None, 0.0, 10.0, 60.0])
@pytest.mark.parametrize(
    "readings",
    [
        [Reading("value", 0.5)],
        [Reading('100%d "ä"', -1e300), Reading("%s", 7, "derive", out="raw", raw_field="%s", raw_type="integer")],
        [Reading("rx", 2**64 - 1, "counter", wrap="auto", out="both", raw_field="r", min=0, max=1e9, max_gap=20.0)],
        [Reading("x", -(2**63), "absolute", 0.1)],
    ],
)
def test_a_sample_of_a_pattern_is_the_row_that_it_stands_for(readings, interval):
    tags = {"a%b": "50 %", "c": "\u00e4\n"}
    row = Row("m%", tags, readings, 1_700_000_000_000_000_000, interval)
    sample = Sample(Pattern("m%", tags, readings, interval), row.time_ns, [one.value for one in readings])
    assert encode("job", 10.0, [sample, sample]) == encode("job", 10.0, [row, row])
    assert encode("job", 10.0, [sample, row]) == encode("job", 10.0, [row, row])
    assert sample == row and [sample.measurement, sample.interval] == ["m%", interval]
    with pytest.raises(AttributeError):
        sample.other  # noqa: B018


def test_the_job_comes_first_so_that_the_agent_finds_it_at_once():
    assert encode("a", 1.0, []).startswith(b'{"job":"a",')


def test_rows_without_a_time_get_that_of_the_sending():
    rows = [Row("m", {}, []), Row("m", {}, [], 5)]
    assert [row["ns"] for row in body_of(*rows)["rows"]] == [7, 5]
    before = time.time_ns()
    sent = json.loads(encode("", 1.0, rows))["rows"][0]["ns"]
    assert before <= sent <= time.time_ns()


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, None),
        ({"kind": "gauge", "scale": 1, "raw_field": "y", "raw_type": "integer"}, None),
        ({"scale": 0.5}, {"scale": 0.5}),
        ({"kind": "counter", "wrap": 32}, {"kind": "counter", "wrap": 32}),
        ({"out": "raw", "raw_type": "integer"}, {"out": "raw", "raw_type": "integer"}),
        ({"kind": "derive", "min": 0, "max": 1.5}, {"kind": "derive", "min": 0, "max": 1.5}),
        ({"kind": "derive", "round": "truncate"}, {"kind": "derive", "round": "truncate"}),
        ({"kind": "absolute", "late": "replace"}, {"kind": "absolute", "late": "replace"}),
    ],
)
def test_only_what_differs_from_a_plain_gauge_is_sent(options, sent):
    assert reading_of("x", 1, **options) == (["x", 1] if sent is None else ["x", 1, sent])


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (2**64, "1.8446744073709552e+19"),
        (-(2**63) - 1, "-9.223372036854776e+18"),
        (True, "1"),
        (False, "0"),
        (Level.HIGH, "3"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
    ],
)
def test_a_value_keeps_its_bits(value, sent):
    assert encode("", 1.0, [Row("m", {}, [Reading("x", value)])], 1).decode().endswith(f'[["x",{sent}]]}}]}}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "1", Decimal(1), 10**400])
def test_what_is_no_number_is_refused_with_its_reading(value):
    rows = [Row("ok", {}, [Reading("x", 1)]), Row("net", {}, [Reading("in", 1), Reading("out", value)])]
    with pytest.raises(ValueError, match=r"^row `net`, reading `out`: `value` is "):
        encode("local", 1.0, rows)


@pytest.mark.parametrize("option", ["scale", "min", "max", "max_gap"])
def test_an_option_that_is_no_number_is_refused_too(option):
    with pytest.raises(ValueError, match=rf"^row `m`, reading `x`: `{option}` is nan; "):
        reading_of("x", 1, kind="counter", **{option: float("nan")})


def test_names_that_cannot_be_decoded_are_sent():
    body = encode("", 1.0, [Row("df", {"path": "/\udcff/ü"}, [Reading("used", 1)])], 1)
    assert rb'"/\udcff/\u00fc"' in body


def test_the_answer_tells_what_became_of_the_rows():
    assert answer_of(200, '{"accepted":3,"no_value":2,"resets":1}') == Answer(200, 3, 0, 2, "", 1)
    assert answer_of(200, "") == Answer(200, 0, 0, 0, "")
    refused = '{"error_code":"e","message":"1 of 3 rows refused","accepted":2,"refused":[{}],"refused_count":1}'
    assert answer_of(400, refused, 3) == Answer(400, 2, 1, 0, "1 of 3 rows refused")
    assert answer_of(400, '{"error_code":"e","message":"no JSON"}', 3) == Answer(400, 0, 3, 0, "no JSON")
    assert answer_of(0, "agent at s: gone", 3) == Answer(0, 0, 3, 0, "agent at s: gone")
    assert answer_of(502, "[1]", 3) == Answer(502, 0, 3, 0, "[1]")
    assert [answer_of(status, "").ok for status in (0, 200, 204, 400, 503)] == [False, True, True, False, False]


def test_rows_are_cheap_and_show_what_they_hold():
    for thing in (Reading("x", 1), Row("m", {}, []), Answer(200, 0, 0, 0, "")):
        assert not hasattr(thing, "__dict__")
    assert (
        repr(Row("m", {"a": "b"}, [], 1))
        == "Row(interval=None, measurement='m', readings=[], tags={'a': 'b'}, time_ns=1)"
    )
    assert Reading("x", 1) == Reading("x", 1) != Reading("x", 2)
    assert Reading("x", 1) != "x"
