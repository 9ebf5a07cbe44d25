"""What the original says, for every call of its golden output."""

import ast
import json
import re

import pytest
from panoptes_support import golden, section

from pythond.dialects.panoptes import points
from pythond.dialects.panoptes.resource_filter import Filter, FilterError
from pythond.dialects.panoptes.transforms import Transforms
from yahoo_panoptes.framework.metrics import (
    PanoptesMetric,
    PanoptesMetricDimension,
    PanoptesMetricsGroup,
    PanoptesMetricsGroupSet,
    PanoptesMetricType,
)
from yahoo_panoptes.framework.resources import PanoptesResource


def device():
    return PanoptesResource.resource_from_dict(
        {
            "resource_plugin": "plugin_discovery_from_json_file",
            "resource_site": "local",
            "resource_class": "tutorial",
            "resource_subclass": "host",
            "resource_type": "generic",
            "resource_id": "tutorial_device",
            "resource_endpoint": "localhost",
            "resource_creation_timestamp": 1795178108.160493,
            "resource_metadata": {"_resource_ttl": "900", "os_name": "Advanced Core OS"},
        }
    )


def localhost():
    one = dict(device().raw, resource_class="system", resource_id="localhost")
    return PanoptesResource.resource_from_dict({**one, "resource_metadata": {"_resource_ttl": "900"}})


# What the original documents and does not do (spec 5.2); all other queries give what they gave there.
MEANT = {
    'resource_metadata.os_name LIKE "Adv%"': ["tutorial_device"],
    'RESOURCE_CLASS eq "system"': ["localhost"],
    'resource_class ne "system"': ["tutorial_device"],
    'resource_metadata.os_name = "zz" OR resource_class = "system"': ["localhost"],
    'resource_class = "system" AND resource_metadata._resource_ttl = "900" '
    'AND resource_metadata.os_name = "Advanced Core OS"': [],
    'resource_id = "a\\"b"': [],
}


def test_each_query_of_the_original_has_its_documented_meaning():
    seen = 0
    for line in golden():
        found = re.match(r"DSL (.*?)\s*-> (.*)$", line)
        if not found:
            continue
        seen += 1
        query, result = found.groups()
        if result.startswith(("EXC ParseException", "EXC AssertionError")):
            with pytest.raises(FilterError):
                Filter(query)
            continue
        wanted = MEANT[query] if query in MEANT else ast.literal_eval(result)
        matched = [one.resource_id for one in (localhost(), device()) if Filter(query).matches(one)]
        assert matched == wanted, query
    assert seen == 19


def group():
    made = PanoptesMetricsGroup(device(), "g", 60, 1795178110.36)
    made.add_metric(PanoptesMetric("a", 2, 1, 2))
    made.add_metric(PanoptesMetric("a", 1, 0, 1))
    made.add_dimension(PanoptesMetricDimension("d", "1"))
    return made


def set_of(one):
    groups = PanoptesMetricsGroupSet()
    groups.add(one)
    groups.add(one)
    return groups


def upserted():
    made = group()
    return made.upsert_dimension(PanoptesMetricDimension("d", "3")), made.dimensions


def deleted():
    made = group()
    return made.delete_dimension_by_name("d"), made.get_dimension_by_name("d") is None


def final():
    made = group()
    made.upsert_dimension(PanoptesMetricDimension("d", "3"))
    return made


def same_name_other_type():
    made = PanoptesMetricsGroup(device(), "g", 60)
    made.add_metric(PanoptesMetric("a", 1, 0))
    return made.add_metric(PanoptesMetric("a", 1, 1))


def copied():
    made = group()
    return made.copy() == made, made.copy().creation_timestamp, made.copy() is not made


def with_value(value, at=None):
    made = PanoptesMetricsGroup(device(), "g", 60, at)
    made.add_metric(PanoptesMetric("a", value, 0, at))
    return made


def D(*args):
    made = PanoptesMetricDimension(*args)
    return made.json, repr(made), str(made)


def PM(*args):
    return PanoptesMetric(*args).json


def G(group_type, interval, owner=None):
    return PanoptesMetricsGroup(owner or device(), group_type, interval).interval


CALLS = {
    "metric": lambda: PM("a", 1, PanoptesMetricType.GAUGE, 1.23456),
    "metric repr": lambda: PanoptesMetric("a", 1.5, 1, 1),
    "str": lambda: str(PanoptesMetric("a", 1.5, 1, 1)),
    "dup metric": lambda: group().add_metric(PanoptesMetric("a", 5, 0)),
    "same name other type": same_name_other_type,
    "dup dim": lambda: group().add_dimension(PanoptesMetricDimension("d", "2")),
    "upsert": upserted,
    "add_metric bad": lambda: group().add_metric(5),
    "get dim none": lambda: group().get_dimension_by_name("zz"),
    "del": deleted,
    "json": lambda: final().json,
    "repr": final,
    "copy eq": copied,
    "ts": lambda: final().creation_timestamp,
    "set len": lambda: len(set_of(final())),
    "set add bad": lambda: PanoptesMetricsGroupSet().add(5),
    "set + set": lambda: len(set_of(final()) + set_of(final())),
    "set + 5": lambda: PanoptesMetricsGroupSet() + 5,
    "setrepr": lambda: set_of(final()),
    "flatten": lambda: PanoptesMetricsGroup.flatten_metrics(json.loads(group().json)["metrics"]),
    "eq differing value": lambda: with_value(1) == with_value(2),
    "eq ts": lambda: with_value(1, 1) == with_value(1, 2),
}


def test_each_call_of_the_metrics_gives_what_the_original_gives():
    lines = section("metrics API")
    resources_seen = False
    for line in lines:
        kind, call, result = re.match(r"(OK |EXC) (.*?) -> (.*)$", line).groups()
        if call == "G('g', 60)":
            # The second one has something else than a resource.
            work = (lambda: PanoptesMetricsGroup(5, "g", 60)) if resources_seen else (lambda: G("g", 60))
            resources_seen = True
        elif call in CALLS:
            work = CALLS[call]
        else:
            # `eval`: the calls stand in the file as they were made.
            work = lambda call=call: eval(call, {"PM": PM, "D": D, "G": G, "nan": float("nan")})  # noqa: E731
        if kind == "EXC":
            name, _, text = result.partition(" ")
            with pytest.raises(Exception) as caught:
                work()
            assert (type(caught.value).__name__, str(caught.value)) == (name, text), line
            continue
        assert timeless(repr(work())) == timeless(result), line
    assert len(lines) == 50


def timeless(text):
    return re.sub(r"1[78]\d{8}(\.\d+)?", "T", text)


def R(*args, **more):
    return PanoptesResource("s", "c", "sc", "t", "i", "e", *args, **more)


def entry(**more):
    made = {**R(5, "p").raw, "resource_metadata": {}, **more}
    return {key: value for key, value in made.items() if value is not None}


RESOURCE_CALLS = {
    "res": lambda: R(5, "p"),
    "json": lambda: R(5, "p").json,
    "no plugin repr": lambda: repr(R()),
    "ttl str": lambda: R(5, "p", "900"),
    "ttl": lambda: R(5, "p", 5).resource_ttl,
    "empty": lambda: PanoptesResource("", "c", "sc", "t", "i", "e"),
    "meta |": lambda: R(5, "p").add_metadata("k", "a|b"),
    "meta key": lambda: R(5, "p").add_metadata("1k", "v"),
    "meta nonstr": lambda: R(5, "p").add_metadata("k", 5),
    "eq ignores endpoint": lambda: R(5, "p") == PanoptesResource("s", "c", "sc", "t", "i", "other", 5, "p"),
    "hash eq": lambda: hash(R(5, "p")) == hash(PanoptesResource("s", "c", "sc", "t", "i", "other", 5, "p")),
    "from_dict missing": lambda: PanoptesResource.resource_from_dict(entry(resource_plugin=None)),
    "from_dict int ttl": lambda: PanoptesResource.resource_from_dict(entry(resource_metadata={"_resource_ttl": 5})),
}


def test_each_call_of_the_resources_gives_what_the_original_gives():
    lines = section("resource")
    for line in lines:
        kind, call, result = re.match(r"(OK |EXC) (.*?) -> (.*)$", line).groups()
        work = RESOURCE_CALLS[call]
        if kind == "EXC":
            name, _, text = result.partition(" ")
            with pytest.raises(Exception) as caught:
                work()
            assert (type(caught.value).__name__, str(caught.value)) == (name, text), line
        else:
            assert repr(work()) == result, line
    assert len(lines) == len(RESOURCE_CALLS)


# --- points ---


def influx(row):
    """A row as the original's consumer writes it."""

    def escaped(text):
        return re.sub(r"([,=\s])", r"\\\1", text)

    tags = "".join(f",{escaped(key)}={escaped(value)}" for key, value in sorted(row.tags.items()))
    fields = ",".join(f"{one.field}={one.value!r}" for one in sorted(row.readings, key=lambda one: one.field))
    return f"{row.measurement}{tags} {fields} {row.time_ns // 1_000_000_000}"


def row_of(one, warn=None, with_id=False):
    return points.row(one, Transforms(), with_id, warn or (lambda text, line: None))[0]


def test_the_lines_of_odd_groups_are_the_originals_but_for_what_no_point_can_hold():
    lines = section("influx")
    one = PanoptesMetricsGroup(device(), "my group-type.1", 60, 1795178110.36)
    for name, value in (("a", "x y"), ("b", "x,y=z"), ("c", 'back\\slash "q"'), ("d", "new\nline"), ("e", "é")):
        one.add_dimension(PanoptesMetricDimension(name, value))
    for name, value, kind in (("big", 1e20, 0), ("f", 0.3, 0), ("i", 50, 1), ("n", -1, 0), ("nan", float("nan"), 0)):
        one.add_metric(PanoptesMetric(name, value, kind))
    said = []
    found = row_of(one, lambda text, line: said.append(text))
    wanted = ast.literal_eval(lines[0].split(" -> ")[1])
    assert influx(found) == wanted.replace(",nan__gauge=nan", "")
    assert said == ["metric `nan` of `my group-type.1` is no number that a point can hold"]
    assert row_of(PanoptesMetricsGroup(device(), "my group-type.1", 60)) is None
    one = PanoptesMetricsGroup(device(), "my group-type.1", 60, 1795178110.36)
    one.add_dimension(PanoptesMetricDimension("resource_site", "other"))
    one.add_metric(PanoptesMetric("f", 1, 0))
    assert influx(row_of(one)) == ast.literal_eval(lines[2].split(" -> ")[1])


def test_the_tutorials_line_is_the_originals():
    wanted = next(line for line in golden() if line.startswith("INFLUX "))[len("INFLUX ") :]
    one = PanoptesMetricsGroup(device(), "example", 60, 1795178108.206)
    one.add_dimension(PanoptesMetricDimension("cpu_no", "5"))
    one.add_metric(PanoptesMetric("context_switch_count", 50, 1))
    one.add_metric(PanoptesMetric("cpu_load", 0.3, 0))
    assert influx(row_of(one)) == wanted
    assert row_of(one, with_id=True).tags["resource_id"] == "tutorial_device"


def test_fields_stand_in_their_own_order_and_not_in_that_of_the_metrics():
    one = PanoptesMetricsGroup(device(), "g", 60)
    for name, kind in (("a", 0), ("a", 1), ("a1", 0), ("aB", 1), ("a_b", 0)):
        one.add_metric(PanoptesMetric(name, 1, kind))
    fields = [reading.field for reading in row_of(one).readings]
    assert fields == sorted(fields) == ["a1__gauge", "aB__counter", "a__counter", "a__gauge", "a_b__gauge"]
