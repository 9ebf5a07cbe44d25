"""Rates: the sequences of the original, computed from our rows as the agent computes them."""

import ast
import math
import re

import pytest
from panoptes_support import section
from test_panoptes_golden import device

from pythond.dialects.panoptes import points
from pythond.dialects.panoptes.transforms import TransformError, Transforms, parse
from yahoo_panoptes.framework.metrics import PanoptesMetric, PanoptesMetricsGroup


class Series:
    """The agent's arithmetic of a counter (dialects.md 5), for one series."""

    def __init__(self):
        self.last = None

    def values(self, reading, ns):
        """The fields of a point that a reading becomes."""
        if reading.kind == "gauge":
            return {reading.field: reading.value}
        at = ns / 1e9
        fields = {reading.raw_field: reading.value} if reading.out in ("raw", "both") else {}
        last, self.last = self.last, (at, reading.value)
        if last is None:
            return fields
        dt = at - last[0]
        if dt <= 0:
            assert reading.late == "replace"
            return fields
        if dt <= reading.max_gap and reading.value >= last[1] and reading.wrap is None:
            rate = (reading.value - last[1]) * reading.scale / dt
            fields[reading.field] = math.trunc(rate) if reading.round == "truncate" else rate
        return fields


def sequence(steps, texts, said=None):
    """The fields after each step; a step is a value of the counter and its time."""
    transforms = Transforms()
    for text in texts:
        transforms.add(text)
    series = {}
    told = []
    for value, at in steps:
        group = PanoptesMetricsGroup(device(), "ex", 60, at)
        group.add_metric(PanoptesMetric("ctr", value, 1, at))
        group.add_metric(PanoptesMetric("g", 1.5, 0, at))
        row, _ = points.row(group, transforms, False, lambda text, line: said is not None and said.append(text))
        fields = {}
        for reading in row.readings:
            fields.update(series.setdefault(reading.field, Series()).values(reading, row.time_ns))
        told.append(fields)
    return told


NOW = 1795178110.0
# The steps and transforms behind the names in the golden output, and what differs on purpose (spec 5.4).
SEQUENCES = {
    "first/second/dec": ([(100, 0), (700, 60), (650, 120), (1250, 180)], ["rate:ex:ctr"]),
    "int truncation": ([(0, 0), (59, 60), (179, 120)], ["rate:ex:ctr"]),
    "same ts": ([(0, 0), (10, 0)], ["rate:ex:ctr"]),
    "gap>3x": ([(0, 0), (10000, 181)], ["rate:ex:ctr"]),
    "gap=3x": ([(0, 0), (1800, 180)], ["rate:ex:ctr"]),
    "other type": ([(0, 0), (600, 60)], ["rate:other:ctr"]),
    "dest name != type": ([(0, 0), (600, 60)], ["rate:zz:ctr"]),
    "two lines same type": ([(0, 0), (600, 60)], ["rate:ex:ctr", "rate:ex:other"]),
}
DIFFERS = {"two names spaces", "unknown transform"}


def test_each_sequence_of_the_original_gives_the_same_rates():
    told = {}
    for line in section("transforms"):
        found = re.match(r"(.*?)\s*#\d+ (.*)$", line)
        if found:
            told.setdefault(found[1], []).append(ast.literal_eval(found[2]))
    assert set(told) == set(SEQUENCES) | DIFFERS
    for name, (steps, texts) in SEQUENCES.items():
        wanted = []
        for (metrics,) in told[name]:
            wanted.append({f"{metric}__{kind.lower()}": value for metric, kind, value in metrics})
        assert sequence([(value, NOW + at) for value, at in steps], texts) == wanted, name


def test_a_gauge_that_is_named_leaves_the_group_as_it_is_and_is_said():
    said = []
    told = sequence([(0, NOW), (600, NOW + 60)], ["rate:ex: ctr , g"], said)
    assert told == [
        {"ctr__counter": 0, "g__gauge": 1.5},
        {"ctr__counter": 600, "ctr__gauge": 10, "g__gauge": 1.5},
    ]
    assert said == ["no rate of `g`: it is a gauge already, and the rate would have its name"] * 2


def test_a_metric_that_is_not_there_leaves_the_group_as_it_is_and_is_said():
    said = []
    assert sequence([(0, NOW)], ["rate:ex:zz"], said) == [{"ctr__counter": 0, "g__gauge": 1.5}]
    assert said == ["no rate of `zz`: `ex` has no such metric, but ctr, g"]


def test_several_transforms_of_one_group_type_all_count():
    transforms = Transforms()
    transforms.add("rate:ex:a", 5)
    transforms.add("rate:ex:b,a", 6)
    assert transforms.of("ex") == {"a": 5, "b": 6}


def test_a_late_value_replaces_the_one_before_it():
    told = sequence([(0, NOW + 60), (100, NOW), (700, NOW + 60)], ["rate:ex:ctr"])
    assert [one.get("ctr__gauge") for one in told] == [None, None, 10]


def test_the_rate_is_of_the_metrics_own_times_and_not_of_the_groups():
    transforms = Transforms()
    transforms.add("rate:ex:ctr")
    group = PanoptesMetricsGroup(device(), "ex", 60, NOW + 0.9)
    group.add_metric(PanoptesMetric("ctr", 5, 1, NOW + 1.234))
    group.add_metric(PanoptesMetric("other", 5, 1, NOW + 7))
    row, _ = points.row(group, transforms, False, lambda text, line: None)
    assert row.time_ns == int(NOW) * 10**9 + 1_234_000_000
    row, _ = points.row(group, Transforms(), False, lambda text, line: None)
    assert row.time_ns == int(NOW) * 10**9


@pytest.mark.parametrize(
    ("text", "why", "offset"),
    [
        ("rate:ex", "must be rate:<metrics_group_type>:<name>[,<name>…], with two colons; it has 1", 0),
        ("rate:ex:a:b", "must be rate:<metrics_group_type>:<name>[,<name>…], with two colons; it has 3", 0),
        ("delta:ex:a", "`delta` is no transform; there is only `rate`", 0),
        ("rate::a", "the type of the metrics group is missing", 5),
        ("rate:ex: ,", "the names of the metrics are missing", 8),
    ],
)
def test_what_is_no_transform_is_told_with_its_place(text, why, offset):
    with pytest.raises(TransformError) as caught:
        parse(text)
    assert (caught.value.text, caught.value.offset) == (why, offset)
